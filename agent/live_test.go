package agent

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
	"github.com/kube-devops/kube-devops/agent/logtest"
)

// liveWithin bounds what a live agent takes to do something, on a machine that is busy.
const liveWithin = 30 * time.Second

// A liveAgent is a whole agent in this process, before an API server of the test.
type liveAgent struct {
	*Agent
	t     *testing.T
	log   *logtest.Buffer
	stop  context.CancelFunc
	ended chan error
}

// livePod is a pod of the namespace shop.
func livePod(name, image string) fakeapi.Object { return livePodIn("shop", name, image) }

// livePodIn is a pod with one container, and labels that the default policy does not read.
func livePodIn(namespace, name, image string) fakeapi.Object {
	return fakeapi.Object{
		"kind": "Pod", "apiVersion": "v1",
		"metadata": fakeapi.Object{"namespace": namespace, "name": name, "uid": name, "labels": fakeapi.Object{"team": name}},
		"spec": fakeapi.Object{"containers": []any{fakeapi.Object{
			"name": "c", "image": image, "livenessProbe": fakeapi.Object{}, "readinessProbe": fakeapi.Object{},
		}}},
	}
}

// startLive starts an agent whose Lease lasts 3 s.
func startLive(t *testing.T, api http.Handler, change func(o *Options)) *liveAgent {
	t.Helper()
	server := httptest.NewServer(api)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}],
contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {token: t}}]}`, server.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &liveAgent{t: t, log: new(logtest.Buffer), ended: make(chan error, 1)}
	o := DefaultOptions()
	o.Listen, o.Kubeconfig, o.Log = "127.0.0.1:0", kubeconfig, logtest.Logger(l.log)
	o.Election.LeaseDuration, o.Election.RenewDeadline, o.Election.RetryPeriod = 3*time.Second, 1500*time.Millisecond, 300*time.Millisecond
	if change != nil {
		change(&o)
	}
	var err error
	if l.Agent, err = New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, l.stop = context.WithCancel(context.Background())
	go func() { l.ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		l.stop()
		server.CloseClientConnections()
		server.Close()
		if t.Failed() {
			t.Logf("log of %s:\n%s", l.Addr(), l.log)
		}
	})
	return l
}

// end stops the agent and returns what Run returned.
func (l *liveAgent) end() error {
	l.t.Helper()
	l.stop()
	return l.wait()
}

func (l *liveAgent) wait() error {
	l.t.Helper()
	select {
	case err := <-l.ended:
		return err
	case <-time.After(liveWithin):
		l.t.Fatal("the agent does not end")
		return nil
	}
}

// get asks for a page.
func (l *liveAgent) get(path string) (status int, body string) {
	answer := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, path, nil)
	l.server.ServeHTTP(answer, request)
	return answer.Code, answer.Body.String()
}

// value is that of a series, and whether there is one.
func (l *liveAgent) value(series string) (float64, bool) {
	l.t.Helper()
	_, body := l.get("/metrics")
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), series+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				l.t.Fatal(err)
			}
			return value, true
		}
	}
	return 0, false
}

func (l *liveAgent) leads() bool {
	value, _ := l.value("kube_devops_leader")
	return value == 1
}

const latestPods = `kube_devops_violations{check="latest_tag",namespace="shop"}`

func (l *liveAgent) counts(want float64) func() bool {
	return func() bool {
		got, ok := l.value(latestPods)
		return ok && got == want
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(liveWithin); !holds(); <-time.After(25 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", liveWithin, what)
		}
	}
}

// TestTwoAgents has two replicas of one cluster: one evaluates, publishes and logs, the other stands by with its cache in
// sync; the Lease changes hands by a stop, an edit and the loss of sync.
func TestTwoAgents(t *testing.T) {
	t.Parallel()
	api := fakeapi.New(livePod("one", "nginx:latest"), livePod("two", "nginx:1"))
	a := startLive(t, api, func(o *Options) { o.Election.Identity = "a" })
	eventually(t, "a publishes", a.counts(1))
	b := startLive(t, api, func(o *Options) { o.Election.Identity = "b" })
	eventually(t, "b is ready", func() bool { status, _ := b.get("/readyz"); return status == http.StatusOK })
	if _, ok := b.value(latestPods); ok || b.leads() {
		t.Error("a standby publishes scores")
	}
	if status, body := b.get("/api/v1/report"); status != http.StatusServiceUnavailable || !strings.Contains(body, "the leader is a") {
		t.Errorf("the report of a standby: %d %s", status, body)
	}
	api.Pods.Put(livePod("three", "nginx:latest"))
	eventually(t, "the change is in the scores", a.counts(2))
	eventually(t, "the violation is in the log", func() bool { return strings.Contains(a.log.String(), `"pod":"three"`) })
	// changes reports whether the replica shows changes, and that of the pod.
	changes := func(l *liveAgent, pod string) (shows, has bool) {
		status, body := l.get("/changes")
		return status == http.StatusOK, strings.Contains(body, `<span class="mono">`+pod+"</span>")
	}
	if shows, has := changes(a, "three"); !shows || !has {
		t.Error("the change is not on the page of the leader")
	}
	for _, path := range []string{"/", "/namespaces/shop", "/waivers", "/policy", "/changes"} {
		status, body := b.get(path)
		if status != http.StatusServiceUnavailable || !strings.Contains(body, `<span class="mono" id="leader">a</span>`) || strings.Contains(body, "latest_tag") {
			t.Errorf("%s of a standby: %d %s", path, status, body)
		}
	}

	// A standby does not log violations: it has no permission.
	err := b.evaluator.Publish(t.Context(), func(context.Context) error {
		t.Error("a standby may log violations")
		return nil
	})
	if err == nil {
		t.Error("a standby gets permission to log violations")
	}

	// The Lease is taken away by hand: the term is over, and with it the evaluation.
	api.Leases.Edit(func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = new("b") })
	eventually(t, "b publishes", b.counts(2))
	if a.leads() {
		t.Error("two replicas lead")
	}
	if shows, _ := changes(a, "three"); shows {
		t.Error("a replica shows changes after its term")
	}
	if shows, has := changes(b, "three"); !shows || has {
		t.Errorf("the new leader shows changes: %t; one of the earlier leader's: %t", shows, has)
	}
	evaluated, _ := a.value("kube_devops_evaluation_duration_seconds_count")
	api.Pods.Put(livePod("four", "nginx:latest"))
	eventually(t, "b has the change", b.counts(3))
	eventually(t, "a has it in its cache", func() bool {
		for o := range a.cached() {
			if o.Name == "four" && a.watch.Waiting() == 0 {
				return true
			}
		}
		return false
	})
	if now, _ := a.value("kube_devops_evaluation_duration_seconds_count"); now != evaluated {
		t.Errorf("a standby has evaluated %v pods after its term", now-evaluated)
	}

	if err := b.end(); err != nil {
		t.Errorf("the stop of b: %v", err)
	}
	eventually(t, "a publishes again", a.counts(3))
	if shows, has := changes(a, "three"); !shows || has {
		t.Errorf("a shows changes: %t; one of its first term: %t", shows, has)
	}
	if strings.Contains(a.log.String(), "scores under the new policy") {
		t.Error("a has kept the state of its first term, and compares the new one with it")
	}
	if err := a.end(); err != nil {
		t.Errorf("the stop of a: %v", err)
	}
	if lease, err := api.Leases.Get(); err != nil || *lease.Spec.HolderIdentity != "" {
		t.Errorf("the Lease is not released: %v %v", lease, err)
	}
}

// TestPolicyThatReadsMore changes the policy to one that reads a field which the cache does not keep.
func TestPolicyThatReadsMore(t *testing.T) {
	t.Parallel()
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(tableText("one", 5))
	signals := make(chan os.Signal, 1)
	api := fakeapi.New(livePod("one", "nginx:latest"), livePod("two", "nginx:1"))
	for _, elect := range []bool{true, false} {
		write(tableText("one", 5))
		a := startLive(t, api, func(o *Options) {
			o.Policies, o.Reload, o.LeaderElect, o.Election.Identity = []string{policy}, signals, elect, fmt.Sprint(elect)
		})
		eventually(t, "it publishes", a.counts(1))
		write(tableText("two", 5, "  - {id: team, weight: 1, violation: {path: metadata.labels.team, operator: equals, value: two}}"))
		signals <- os.Interrupt
		eventually(t, "the new check finds its pod", func() bool {
			got, ok := a.value(`kube_devops_violations{check="team",namespace="shop"}`)
			return ok && got == 1
		})
		if err := a.end(); err != nil {
			t.Error(err)
		}
	}
}

// TestSameIdentityEndsAnAgent: what the elector calls fatal ends Run with an error.
func TestSameIdentityEndsAnAgent(t *testing.T) {
	t.Parallel()
	api := fakeapi.New()
	one := startLive(t, api, func(o *Options) { o.Election.Identity = "same" })
	two := startLive(t, api, func(o *Options) { o.Election.Identity = "same" })
	select {
	case err := <-one.ended:
		one.ended <- err
	case err := <-two.ended:
		two.ended, one.ended = one.ended, two.ended
		one.ended <- err
	case <-time.After(liveWithin):
		t.Fatal("both go on")
	}
	if err := <-one.ended; err == nil || !strings.Contains(err.Error(), "each process needs an identity of its own") {
		t.Errorf("Run returned %v", err)
	}
}

// TestAgentWithoutPodsDoesNotLead: a replica that may use the Lease and may not list pods leaves the Lease to another, and
// says why it is not ready.
func TestAgentWithoutPodsDoesNotLead(t *testing.T) {
	t.Parallel()
	api := fakeapi.New(livePod("one", "nginx:latest"))
	blind := fakeapi.New()
	blind.Leases = api.Leases
	blind.Fault(func(r *http.Request) http.HandlerFunc {
		if r.URL.Path == "/api/v1/pods" {
			return fakeapi.Status(http.StatusForbidden, "Forbidden")
		}
		return nil
	})
	a := startLive(t, blind, func(o *Options) { o.Election.Identity = "a" })
	eventually(t, "a says why it is not ready", func() bool {
		status, body := a.get("/readyz?verbose")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "initial list of pods") && strings.Contains(body, "the test answers 403")
	})
	b := startLive(t, api, func(o *Options) { o.Election.Identity = "b" })
	eventually(t, "b publishes", b.counts(1))
	if epoch, ok := a.value("kube_devops_lease_epoch"); !ok || epoch != 0 || a.leads() {
		t.Errorf("epoch %v %t, leads %t", epoch, ok, a.leads())
	}
	if !strings.Contains(a.log.String(), `"msg":"not running for the lease"`) {
		t.Error("the log of a does not say that it leaves the Lease alone")
	}
	for _, l := range []*liveAgent{a, b} {
		if err := l.end(); err != nil {
			t.Error(err)
		}
	}
}

// TestEpochIsAbsentUntilKnown: a zero would count as a change of leader when the Lease is read.
func TestEpochIsAbsentUntilKnown(t *testing.T) {
	t.Parallel()
	api := fakeapi.New()
	api.Fault(func(r *http.Request) http.HandlerFunc {
		if r.URL.Path != "/api/v1/pods" {
			return fakeapi.Status(http.StatusForbidden, "Forbidden")
		}
		return nil
	})
	a := startLive(t, api, nil)
	eventually(t, "a is ready", func() bool { status, _ := a.get("/readyz"); return status == http.StatusOK })
	if epoch, ok := a.value("kube_devops_lease_epoch"); ok {
		t.Errorf("an epoch of %v of a Lease that was never read", epoch)
	}
	api.Fault(nil)
	eventually(t, "the epoch is known", func() bool { _, ok := a.value("kube_devops_lease_epoch"); return ok })
	if err := a.end(); err != nil {
		t.Error(err)
	}
}
