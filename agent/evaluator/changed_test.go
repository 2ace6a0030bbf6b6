package evaluator

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/state"
)

// recorded are the calls of Changed, each as a line.
type recorded struct {
	mu    sync.Mutex
	lines []string
}

func record(e *Evaluator) *recorded {
	r := new(recorded)
	e.Changed = func(c Change) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lines = append(r.lines, fmt.Sprintf("%s/%s: %v to %v, with a form: %t, expired: %t, policy %s",
			c.Namespace, c.Name, c.Before, c.After, c.JSON != nil, c.Expired, c.Table.Name()))
	}
	return r
}

func (r *recorded) expect(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.lines); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	r.lines = nil
}

// TestChangedIsCalledOnce follows a pod through terms and policies. Unlike the log, it takes no permission: what is recorded is not
// published yet.
func TestChangedIsCalledOnce(t *testing.T) {
	forbidden := func(context.Context, func(context.Context) error) error { return fmt.Errorf("no permission") }
	e := newTestEvaluator(t, zap.NewNop(), forbidden)
	changes := record(e)
	pod := state.Pod{Namespace: "a", Name: "one", UID: "one"}

	e.apply(pod, podJSON(latest))
	e.Begin(t.Context(), observations(observed("a", "one", clean)))
	changes.expect(t)

	e.apply(pod, podJSON(latest))
	e.apply(pod, podJSON(latest))
	e.apply(pod, []byte(`{"kind":`)) // cannot be evaluated: what it violates now is unknown
	changes.expect(t, "a/one: [] to [0], with a form: true, expired: false, policy default")

	e.apply(pod, podJSON(latest))
	e.remove(pod)
	e.remove(pod)
	changes.expect(t,
		"a/one: [] to [0], with a form: true, expired: false, policy default",
		"a/one: [0] to [], with a form: false, expired: false, policy default")

	waived := loadTable(t, tableText("waived", 5, "waivers: [{id: soon, container: c, reason: a test, expires: 2100-01-01}]"))
	if err := e.SetPolicy(t.Context(), waived, nil, observations(observed("a", "one", latest))); err != nil {
		t.Fatal(err)
	}
	changes.expect(t)
	e.expire(t.Context(), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	changes.expect(t, "a/one: [] to [0], with a form: false, expired: true, policy waived")

	e.End()
	e.apply(pod, podJSON(clean))
	e.remove(pod)
	changes.expect(t)
}

// TestChangedDuringABuild: a pod that changes while all pods are evaluated is recorded once, whether the present state goes on taking
// changes or not.
func TestChangedDuringABuild(t *testing.T) {
	for _, swap := range []func(){nil, func() {}} {
		e := newTestEvaluator(t, zap.NewNop(), nil)
		changes := record(e)
		e.Begin(t.Context(), observations(observed("a", "one", clean)))
		err := e.SetPolicy(t.Context(), loadTable(t, tableText("two", 7)), swap, func(yield func(state.Observation) bool) {
			yield(observed("a", "one", clean))
			e.apply(state.Pod{Namespace: "a", Name: "one", UID: "one"}, podJSON(latest))
		})
		if err != nil {
			t.Fatal(err)
		}
		policy := "default"
		if swap != nil {
			policy = "two"
		}
		changes.expect(t, "a/one: [] to [0], with a form: true, expired: false, policy "+policy)
	}
}
