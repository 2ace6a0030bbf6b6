package agent

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
	"github.com/kube-devops/kube-devops/agent/podwatch"
)

// A heldCache is a cache whose watch is as a test says.
type heldCache struct {
	synced  chan struct{}
	contact time.Time
	open    bool
}

func (c *heldCache) Synced() <-chan struct{} { return c.synced }

func (c *heldCache) Contact() time.Time {
	if c.open {
		return time.Now()
	}
	return c.contact
}

func (c *heldCache) Failure() error { return errors.New("pods is forbidden") }

// TestSyncOfSomeNamespaces withdraws the permissions of one namespace after the other from a replica that watches two: the
// last one that is permitted keeps it in sync.
func TestSyncOfSomeNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, network := fakeapi.New(livePod("one", "nginx:1"), livePodIn("bank", "one", "nginx:1")), fakeapi.NewNetwork()
		api.Fault(forbidding("bank", "shop"))
		server := &http.Server{Handler: api}
		go func() { _ = server.Serve(network) }()
		transport := &http.Transport{DialContext: network.Dial}
		defer func() { _ = server.Close(); transport.CloseIdleConnections() }()
		watch, err := podwatch.New(&rest.Config{Host: "http://pods.test", Transport: transport}, podwatch.Options{
			Log: zap.NewNop(), Registerer: prometheus.NewRegistry(), Projection: loadTable(t, tableText("one", 5)).Projection(),
			Namespaces: []string{"bank", "shop"},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- watch.Run(ctx, func(podwatch.Key, *podwatch.Pod) {}) }()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		s := &syncCheck{cache: watch}
		check := func(when string, want error) {
			t.Helper()
			if got := s.check(time.Hour); !errors.Is(got, want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		permit := func(fault func(*http.Request) http.HandlerFunc) {
			api.Fault(fault)
			network.Drop() // a watch that is open goes on without the permission
		}
		<-time.After(time.Hour)
		check("none was ever permitted", errNotSynced)
		permit(forbidding("bank"))
		<-time.After(2 * time.Minute)
		check("one is permitted", nil)
		permit(forbidding())
		<-time.After(2 * time.Minute)
		permit(forbidding("shop"))
		<-time.After(time.Hour)
		check("the other one alone is permitted", nil)
		permit(forbidding("bank", "shop"))
		<-time.After(lostAfter + time.Second)
		check("none is permitted any more", errSyncLost)
		permit(forbidding("bank"))
		<-time.After(2 * time.Minute)
		check("one is permitted again", nil)
	})
}

// TestSyncIsLost follows one replica: sync is lost when pods fail for 2 minutes while the Lease is answered, and regained by
// the next answer alone.
func TestSyncIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &heldCache{synced: make(chan struct{})}
		s := &syncCheck{cache: cache}
		var answered time.Time // since when the Lease is answered
		check := func(when string, want error) {
			t.Helper()
			if got := s.check(time.Since(answered)); !errors.Is(got, want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		pass := func(d time.Duration) { <-time.After(d) }
		answered = time.Now()
		pass(time.Hour)
		check("before the first list", errNotSynced)
		close(cache.synced)
		cache.contact = time.Now()
		check("in sync", nil)
		cache.open = true
		pass(time.Hour)
		check("a watch that brings nothing", nil)
		cache.open, cache.contact = false, time.Now()
		pass(lostAfter - time.Second)
		check("a second before", nil)
		pass(time.Second)
		check("after 2 minutes of failures", errSyncLost)
		answered = time.Now()
		check("the Lease failed once, too", errSyncLost)
		pass(time.Second)
		cache.contact = time.Now()
		check("the next answer", nil)
		pass(time.Hour)
		answered = time.Now().Add(-time.Minute)
		check("an hour without any answer, and a minute of the Lease's", nil)
		pass(time.Minute)
		check("two minutes of the Lease's", errSyncLost)
		cache.open = true
		check("a watch again", nil)
	})
}
