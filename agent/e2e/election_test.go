package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// TestOnePublisher runs two agents, stops the leader, replaces it, and kills the next leader. Both are scraped all the time, and never
// publish at the same time.
func TestOnePublisher(t *testing.T) {
	namespace := newNamespace(t, "e2e-election")
	if err := env.CreatePods(t.Context(), cluster.NewPod(namespace, "web", cluster.Bad)); err != nil {
		t.Fatal(err)
	}
	quick := liveArgs(quickLease...)
	watch := newPublisherWatch(t)

	first := startAgent(t, "first", quick...)
	watch.add(first)
	watch.waitPublishes(t, "first", leadTimeout)
	second := startAgent(t, "second", quick...)
	watch.add(second)
	waitReady(t, second, leadTimeout)
	standsBy(t, second)

	stopped := time.Now()
	stopAgent(t, first, syscall.SIGTERM, 0)
	took := watch.waitPublishes(t, "second", 5*time.Second).Sub(stopped)
	t.Logf("SIGTERM: the other published after %s", round(took))

	third := startAgent(t, "third", quick...)
	watch.add(third)
	waitReady(t, third, leadTimeout)
	standsBy(t, third)

	// A standby looks at the Lease every 1 to 2.2 retry periods, and waits one lease duration from its last change.
	const bound = 6*time.Second + 2*2200*time.Millisecond
	killed := time.Now()
	second.Kill()
	took = watch.waitPublishes(t, "third", bound).Sub(killed)
	t.Logf("SIGKILL: the other published after %s, at most %s", round(took), bound)

	if diff := cmp.Diff([]string{"first", "second", "third"}, watch.stop(t)); diff != "" {
		t.Errorf("who published, in order (-want +got):\n%s", diff)
	}
}

// standsBy checks the responses of a ready standby.
func standsBy(t *testing.T, agent *blackbox.Agent) {
	t.Helper()
	metrics, err := agent.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	if leads, ok := metrics.Value("kube_devops_leader"); !ok || leads != 0 {
		t.Errorf("%s: kube_devops_leader is %v (there: %v), want 0", agent.Name(), leads, ok)
	}
	// It learns who leads when it first reads the Lease, which may be after it is ready.
	waitFor(t, agent.Name()+" names the leader", seeTimeout, func() error {
		status, body, err := agent.Get("/api/v1/report")
		if err != nil {
			return err
		}
		if status != http.StatusServiceUnavailable {
			t.Fatalf("%s: GET /api/v1/report: %d %q, want 503", agent.Name(), status, body)
		}
		if holder := leaseHolder(t); holder == "" || !strings.Contains(body, holder) {
			return fmt.Errorf("GET /api/v1/report: %q does not say that %q leads", body, holder)
		}
		return nil
	})
}

// A publisherWatch scrapes agents in turn, without a pause, and notes who publishes. Because it asks one after the other,
// two that publish at the same time show as a back and forth in the order of publishers.
type publisherWatch struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	agents []*blackbox.Agent
	order  []publication
	faults []string
}

// A publication is the first of a row of scrapes in which one agent published.
type publication struct {
	agent string
	at    time.Time
}

func newPublisherWatch(t *testing.T) *publisherWatch {
	ctx, cancel := context.WithCancel(t.Context())
	w := &publisherWatch{cancel: cancel, done: make(chan struct{})}
	go w.run(ctx)
	t.Cleanup(func() { cancel(); <-w.done })
	return w
}

func (w *publisherWatch) run(ctx context.Context) {
	defer close(w.done)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		w.mu.Lock()
		agents := w.agents
		w.mu.Unlock()
		for _, agent := range agents {
			w.scrape(agent)
		}
	}
}

// scrape also checks that who publishes says that it leads, and publishes everything. One that cannot be scraped publishes
// nothing. A leader that publishes nothing is at the start of its term, when it evaluates its cache.
func (w *publisherWatch) scrape(agent *blackbox.Agent) {
	metrics, err := agent.Metrics()
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	published := metrics.Published()
	leads, _ := metrics.Value("kube_devops_leader")
	if len(published) > 0 && (leads != 1 || len(published) < 4) {
		w.faults = append(w.faults, fmt.Sprintf("%s: kube_devops_leader is %v, and it publishes %v", agent.Name(), leads, published))
	}
	if len(published) > 0 && (len(w.order) == 0 || w.order[len(w.order)-1].agent != agent.Name()) {
		w.order = append(w.order, publication{agent.Name(), time.Now()})
	}
}

func (w *publisherWatch) add(agent *blackbox.Agent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.agents = append(w.agents[:len(w.agents):len(w.agents)], agent) // run reads the old slice
}

// waitPublishes waits until the agent was the last to publish, and returns when it began.
func (w *publisherWatch) waitPublishes(t *testing.T, agent string, timeout time.Duration) time.Time {
	t.Helper()
	var at time.Time
	waitFor(t, agent+" publishes", timeout, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.order) == 0 || w.order[len(w.order)-1].agent != agent {
			return fmt.Errorf("published until now: %v", w.order)
		}
		at = w.order[len(w.order)-1].at
		return nil
	})
	return at
}

// stop ends the scraping and returns who published, in order.
func (w *publisherWatch) stop(t *testing.T) []string {
	t.Helper()
	w.cancel()
	<-w.done
	for _, fault := range w.faults {
		t.Error(fault)
	}
	var names []string
	for _, p := range w.order {
		names = append(names, p.agent)
	}
	return names
}
