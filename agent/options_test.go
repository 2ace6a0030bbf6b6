package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/kube-devops/kube-devops/agent/server"
)

func TestOptions(t *testing.T) {
	for name, test := range map[string]struct {
		change func(o *Options)
		want   string
	}{
		"a certificate alone":             {func(o *Options) { o.Certificate.CertFile = "c" }, "must be set together"},
		"a key alone":                     {func(o *Options) { o.Certificate.KeyFile = "k" }, "must be set together"},
		"audiences for nothing":           {func(o *Options) { o.MetricsAuthAudiences = []string{"x"} }, "--metrics-auth-audiences requires --metrics-auth"},
		"a health address without a port": {func(o *Options) { o.HealthListen = "8081" }, `--health-listen "8081" must be host:port`},
		"tokens in the clear":             {func(o *Options) { o.MetricsAuth = true }, "tokens must not be sent unencrypted"},
		"no API server to ask": {func(o *Options) {
			o.MetricsAuth, o.Replay = true, "x"
			o.Certificate = server.Certificate{CertFile: "c", KeyFile: "k"}
		}, "a recording has no API server"},
		"addresses for nothing":         {func(o *Options) { o.PodIPs = []string{"10.0.0.1"} }, "--pod-ips requires --leader-service"},
		"a Service without addresses":   {func(o *Options) { o.LeaderService = "ns/leader" }, "--pod-ips: needs the addresses of the pod"},
		"a Service without a namespace": {func(o *Options) { o.LeaderService = "leader" }, `--leader-service: "leader" must be NAMESPACE/NAME`},
		"a Service without an election": {func(o *Options) {
			o.LeaderService, o.PodIPs, o.LeaderElect = "ns/leader", []string{"10.0.0.1"}, false
		}, "--leader-service requires --leader-elect"},
		"a Service for a recording": {func(o *Options) { o.LeaderService, o.Replay = "ns/leader", "x" }, "--leader-service and --replay"},
		"a Service of the leader":   {func(o *Options) { o.LeaderService, o.PodIPs = "ns/leader", []string{"10.0.0.1", "fd00::1"} }, ""},
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

func TestNamespacesAreNames(t *testing.T) {
	for _, test := range []struct {
		namespaces []string
		replay     string
		want       string
	}{
		{namespaces: []string{"shop", "team-a"}},
		{namespaces: []string{"team-*"}, want: `"team-*" is not the name of a namespace`},
		{namespaces: []string{""}, want: `"" is not the name of a namespace`},
		{namespaces: []string{"shop", "shop"}, want: "shop appears twice"},
		{namespaces: []string{"shop"}, replay: "pods.json", want: "--namespaces and --replay cannot be combined"},
	} {
		o := DefaultOptions()
		o.Namespaces, o.Replay = test.namespaces, test.replay
		err := o.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("--namespaces %q: %v, want %q", test.namespaces, err, test.want)
		}
	}
}

func TestLeaseOfAnAgentOfSomeNamespaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "namespace")
	if err := os.WriteFile(file, []byte("team-a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, args, file, want string
	}{
		{"whole cluster", "", file, "default"},
		{"some namespaces", "--namespaces=team-a,team-b", file, "team-a"},
		{"a namespace that is named", "--namespaces=team-a --lease-namespace=default", file, "default"},
		{"not in a pod", "--namespaces=team-a", file + "-none", "default"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := DefaultOptions()
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			o.AddFlags(flags)
			if err := flags.Parse(strings.Fields(test.args)); err != nil {
				t.Fatal(err)
			}
			if o.ownLeaseNamespace(test.file); o.Election.Namespace != test.want {
				t.Errorf("the Lease is in %q, want %q", o.Election.Namespace, test.want)
			}
		})
	}
}
