package election

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
)

// The Lease client uses HTTP/1.1 over a connection of its own, even if the server prefers HTTP/2.
func TestClient(t *testing.T) {
	type request struct{ proto, connection, path, agent string }
	var mu sync.Mutex
	var requests []request
	hang := make(chan struct{}) // requests over the connection that hangs wait for it
	hanging := ""               // the connection that hangs, by its remote address
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, request{r.Proto, r.RemoteAddr, r.URL.String(), r.UserAgent()})
		stuck := r.RemoteAddr == hanging
		mu.Unlock()
		if stuck {
			<-hang
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(&coordinationv1.Lease{
			TypeMeta:   metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
			ObjectMeta: metav1.ObjectMeta{Name: "kube-devops-leader"},
		})
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	// Deferred in reverse order: close the connections of the client and the server, then look for leaked goroutines.
	before := goleak.IgnoreCurrent()
	defer func() {
		for deadline := time.Now().Add(10 * time.Second); ; {
			err := goleak.Find(before)
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}()
	defer server.Close()
	defer close(hang)

	cfg := &rest.Config{Host: server.URL, UserAgent: "kube-devops", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	other, err := v1.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ours, disconnect, err := newClient(cfg, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer disconnect()
	get := func(client v1.LeasesGetter) error {
		_, err := client.Leases("default").Get(context.Background(), "kube-devops-leader", metav1.GetOptions{})
		return err
	}
	cfg1 := rest.CopyConfig(cfg)
	cfg1.NextProtos = []string{"http/1.1"}
	other1, err := v1.NewForConfig(cfg1)
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []v1.LeasesGetter{other, ours, ours, other1} {
		if err := get(client); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	if requests[0].proto != "HTTP/2.0" || requests[1].proto != "HTTP/1.1" {
		t.Errorf("the others speak %s and we speak %s, want HTTP/2.0 and HTTP/1.1", requests[0].proto, requests[1].proto)
	}
	if requests[0].connection == requests[1].connection || requests[1].connection != requests[2].connection || requests[3].connection == requests[1].connection {
		t.Errorf("connections %v, want one of our own and only one", requests)
	}
	if got, want := requests[1].path, "/apis/coordination.k8s.io/v1/namespaces/default/leases/kube-devops-leader?timeout=1s"; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
	if got := requests[1].agent; !strings.HasPrefix(got, "kube-devops/leader-election") {
		t.Errorf("user agent %s", got)
	}
	hanging = requests[1].connection
	mu.Unlock()

	// A dead connection costs one call.
	if err := get(ours); err == nil {
		t.Fatal("a request over a dead connection was answered")
	}
	if err := get(ours); err != nil {
		t.Errorf("the try after a dead connection: %v", err)
	}
	if cfg.Timeout != 0 || cfg.NextProtos != nil || cfg.Dial != nil || cfg.UserAgent != "kube-devops" {
		t.Error("the caller's configuration has changed")
	}
}

func TestNewErrors(t *testing.T) {
	o := testOptions("a")
	if _, err := New(&rest.Config{Host: "http://[::1"}, o); err == nil || !strings.HasPrefix(err.Error(), "create lease client: ") {
		t.Errorf("New returns %v", err)
	}
	o.Identity = ""
	if _, err := New(&rest.Config{}, o); err == nil || err.Error() != "identity: must not be empty" {
		t.Errorf("New returns %v", err)
	}
}

// A Lease with a time that the API server accepts but whose JSON cannot be parsed is read, because the
// client requests protobuf. Otherwise one edit would keep all replicas from reading the Lease.
func TestClientReadsAnyTime(t *testing.T) {
	at, err := time.Parse(metav1.RFC3339Micro, "9999-12-31T23:59:59.000000-14:00")
	if err != nil {
		t.Fatal(err)
	}
	lease := &coordinationv1.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{Name: "kube-devops-leader"},
		Spec:       coordinationv1.LeaseSpec{AcquireTime: &metav1.MicroTime{Time: at}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for accepted := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
			info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), accepted)
			if !ok {
				continue
			}
			w.Header().Set("Content-Type", accepted)
			if err := info.Serializer.Encode(lease, w); err != nil {
				t.Error(err)
			}
			return
		}
		w.WriteHeader(http.StatusNotAcceptable)
	}))
	defer server.Close()
	client, disconnect, err := newClient(&rest.Config{Host: server.URL}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer disconnect()
	got, err := client.Leases("default").Get(t.Context(), "kube-devops-leader", metav1.GetOptions{})
	if err != nil || !got.Spec.AcquireTime.Time.Equal(at) {
		t.Errorf("read %v: %v", got, err)
	}
}
