package agent

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestProfilesOnLoopbackAlone(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:6060": true, "127.8.8.8:0": true, "[::1]:6060": true, "localhost:6060": true, "": true,
		":6060": false, "0.0.0.0:6060": false, "[::]:6060": false, "10.0.0.1:6060": false, "localhost.example.com:6060": false, "127.0.0.1": false,
	} {
		o := DefaultOptions()
		o.ProfileListen = addr
		err := o.Validate()
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "--profile-listen") {
			t.Errorf("%q: %v, want it to be taken: %t", addr, err, want)
		}
	}
}

func TestProfiler(t *testing.T) {
	p, err := newProfiler("127.0.0.1:0", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]string{"heap?debug=1": "heap profile", "goroutine?debug=1": "goroutine profile", "": "profile"} {
		res, err := client.Get("http://" + p.listener.Addr().String() + "/debug/pprof/" + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%q: status %d, error %v, no %q in %.100q", path, res.StatusCode, err, want, text)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run returned %v, want nil", err)
	}
	if res, err := client.Get("http://" + p.listener.Addr().String()); err == nil {
		res.Body.Close()
		t.Error("profiles are served after the end")
	}
}
