package agent

import (
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/agent/server"
)

func TestAccessOptions(t *testing.T) {
	for name, test := range map[string]struct {
		change func(o *Options)
		want   string
	}{
		"a certificate alone":             {func(o *Options) { o.Certificate.CertFile = "c" }, "need each other"},
		"a key alone":                     {func(o *Options) { o.Certificate.KeyFile = "k" }, "need each other"},
		"audiences for nothing":           {func(o *Options) { o.MetricsAuthAudiences = []string{"x"} }, "--metrics-auth-audiences needs --metrics-auth"},
		"a health address without a port": {func(o *Options) { o.HealthListen = "8081" }, `--health-listen "8081" must be host:port`},
		"tokens in the clear":             {func(o *Options) { o.MetricsAuth = true }, "tokens must not travel in the clear"},
		"no API server to ask": {func(o *Options) {
			o.MetricsAuth, o.Replay = true, "x"
			o.Certificate = server.Certificate{CertFile: "c", KeyFile: "k"}
		}, "--replay has none"},
		"TLS and authorization": {func(o *Options) {
			o.MetricsAuth = true
			o.Certificate = server.Certificate{CertFile: "c", KeyFile: "k"}
		}, ""},
	} {
		o := DefaultOptions()
		test.change(&o)
		err := o.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}
