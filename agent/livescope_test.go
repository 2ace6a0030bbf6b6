package agent

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
	"github.com/kube-devops/kube-devops/agent/report"
)

// forbidding permits to read the pods of single namespaces but these, and not those of the whole cluster.
func forbidding(namespaces ...string) func(*http.Request) http.HandlerFunc {
	return func(r *http.Request) http.HandlerFunc {
		rest, ofNamespace := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/")
		namespace, _ := strings.CutSuffix(rest, "/pods")
		if r.URL.Path == "/api/v1/pods" || ofNamespace && slices.Contains(namespaces, namespace) {
			return fakeapi.Status(http.StatusForbidden, "Forbidden")
		}
		return nil
	}
}

func (l *liveAgent) isReady() bool {
	status, _ := l.get("/readyz")
	return status == http.StatusOK
}

// ofScope are the keys of the report that say which cluster it is of.
type ofScope struct {
	Scope      *report.Scope
	Namespaces []struct{ Namespace string }
}

func (l *liveAgent) reported() (out ofScope) {
	l.t.Helper()
	status, body := l.get("/api/v1/report")
	if err := json.Unmarshal([]byte(body), &out); err != nil || status != http.StatusOK {
		l.t.Fatalf("report: %d %s: %v", status, body, err)
	}
	return out
}

// TestAgentOfSomeNamespaces serves the scores of the namespaces that it may read, while it may not read another one of
// its namespaces, and reports that. Other namespaces are not read.
func TestAgentOfSomeNamespaces(t *testing.T) {
	t.Parallel()
	api := fakeapi.New(livePod("one", "nginx:latest"), livePodIn("bank", "one", "nginx:latest"), livePodIn("other", "one", "nginx:latest"))
	api.Fault(forbidding("bank"))
	a := startLive(t, api, func(o *Options) { o.Namespaces = []string{"shop", "bank"} })
	eventually(t, "it publishes the namespace that is permitted", a.counts(1))
	eventually(t, "it is ready", a.isReady)
	api.Pods.Put(livePodIn("other", "two", "nginx:latest"))
	api.Pods.Put(livePod("two", "nginx:latest"))
	eventually(t, "it follows the namespace that is permitted", a.counts(2))
	if !a.leads() {
		t.Error("it does not lead")
	}
	_, metrics := a.get("/metrics")
	for series := range strings.Lines(metrics) {
		if strings.Contains(series, `namespace="other"`) || strings.Contains(series, `namespace="bank"`) && !strings.HasPrefix(series, "kube_devops_watched_namespace_permitted{") {
			t.Errorf("a series of a namespace that is not read: %s", series)
		}
	}
	if permitted, ok := a.value(`kube_devops_watched_namespace_permitted{namespace="bank"}`); !ok || permitted != 0 {
		t.Errorf("bank is exported as permitted: %v, there: %t", permitted, ok)
	}
	info := `kube_devops_policy_info{hash="` + a.evaluator.Table().Hash() + `",name="default",namespaces="bank,shop"}`
	if _, ok := a.value(info); !ok {
		t.Errorf("no series %s in:\n%s", info, metrics)
	}
	want := ofScope{
		Scope:      &report.Scope{Namespaces: []string{"bank", "shop"}, Forbidden: []string{"bank"}},
		Namespaces: []struct{ Namespace string }{{"shop"}},
	}
	if diff := cmp.Diff(want, a.reported()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}

	api.Fault(forbidding())
	eventually(t, "the namespace is in the scores once it is permitted", func() bool {
		count, ok := a.value(`kube_devops_violations{check="latest_tag",namespace="bank"}`)
		return ok && count == 1
	})
	want.Scope.Forbidden = []string{}
	want.Namespaces = []struct{ Namespace string }{{"bank"}, {"shop"}}
	if diff := cmp.Diff(want, a.reported()); diff != "" {
		t.Errorf("report when both are permitted (-want +got):\n%s", diff)
	}
	if err := a.end(); err != nil {
		t.Error(err)
	}
}

// TestAgentOfNoPermittedNamespace: a replica that may read none of its namespaces is not ready and leaves the Lease to one
// that may read one of them, which is enough to lead.
func TestAgentOfNoPermittedNamespace(t *testing.T) {
	t.Parallel()
	api := fakeapi.New(livePod("one", "nginx:latest"), livePodIn("bank", "one", "nginx:latest"))
	api.Fault(forbidding("bank"))
	blind := fakeapi.New()
	blind.Leases = api.Leases
	blind.Fault(forbidding("shop", "bank"))
	both := func(identity string) func(o *Options) {
		return func(o *Options) { o.Namespaces, o.Election.Identity = []string{"shop", "bank"}, identity }
	}
	a := startLive(t, blind, both("a"))
	eventually(t, "a says why it is not ready", func() bool {
		status, body := a.get("/readyz?verbose")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "initial list of pods") && strings.Contains(body, "the test answers 403")
	})
	eventually(t, "a leaves the Lease alone", func() bool { return strings.Contains(a.log.String(), `"msg":"not running for the lease"`) })
	if lease, err := api.Leases.Get(); err == nil {
		t.Errorf("a has written the Lease: %v", lease.Spec)
	}
	b := startLive(t, api, both("b"))
	eventually(t, "b publishes", b.counts(1))
	info := `kube_devops_policy_info{hash="` + a.evaluator.Table().Hash() + `",name="default",namespaces="bank,shop"}`
	if _, ok := a.value(info); !ok {
		t.Errorf("no series %s on a replica that does not lead", info)
	}
	if status, _ := a.get("/readyz"); status != http.StatusServiceUnavailable || a.leads() {
		t.Errorf("readiness of a: %d, it leads: %t", status, a.leads())
	}
	for _, l := range []*liveAgent{a, b} {
		if err := l.end(); err != nil {
			t.Error(err)
		}
	}
}
