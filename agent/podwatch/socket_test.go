package podwatch

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// Over real sockets with TLS, as in a cluster: sync, a change, a restart of the server on the same
// port, and the end.
func TestRealSockets(t *testing.T) {
	api := fakeapi.NewPods(many(5)...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := serveTLS(api, listener)
	config := &rest.Config{
		Host: server.URL,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		},
	}
	w, err := New(config, Options{Log: zap.NewNop(), Registerer: prometheus.NewRegistry(), Workers: 2, Projection: all{}})
	if err != nil {
		t.Fatal(err)
	}
	b := &harness{t: t, api: api, Watch: w, handled: newRecord()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, b.handled.handle) }()
	agree := func() {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !reflect.DeepEqual(b.want(), b.view()); {
			if time.Now().After(deadline) {
				t.Fatalf("no agreement with the API server after 10 s; requests: %s", b.kinds())
			}
			<-time.After(5 * time.Millisecond)
		}
	}

	select {
	case <-w.Synced():
	case <-time.After(10 * time.Second):
		t.Fatal("not in sync after 10 s")
	}
	agree()
	api.Put(pod("team-0", "pod-0", "uid-0", "nginx:2"))
	api.Remove(fakeapi.Key{Namespace: "team-1", Name: "pod-1"})
	agree()

	stopTLS(server)
	api.Put(pod("team-2", "late", "uid-late", "nginx:1"))
	api.Remove(fakeapi.Key{Namespace: "team-2", Name: "pod-2"})
	if listener, err = net.Listen("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	server = serveTLS(api, listener)
	agree()

	before := time.Now()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	if took := time.Since(before); took > 10*time.Second {
		t.Errorf("Run took %s to return", took)
	}
	stopTLS(server)
}

func serveTLS(handler http.Handler, listener net.Listener) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close()
	server.Listener, server.EnableHTTP2 = listener, true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	return server
}

// stopTLS ends a server and all its connections. The client may connect again while they are closed, so that no new
// connection is accepted first.
func stopTLS(server *httptest.Server) {
	_ = server.Listener.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Close()
	}()
	for {
		server.CloseClientConnections()
		select {
		case <-ended:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
