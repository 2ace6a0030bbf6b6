package evaluator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/logtest"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// blocked is a log whose writer waits until it is let go.
type blocked struct{ let chan struct{} }

func (b blocked) Write(p []byte) (int, error) {
	<-b.let
	return len(p), nil
}

func (b blocked) Sync() error { return nil }

// A log that blocks holds up neither the pods nor the end of a term.
func TestBlockedLogHoldsUpNothing(t *testing.T) {
	pod := state.Pod{Namespace: "a", Name: "b"}
	tests := []struct {
		name string
		logs func(e *Evaluator) // which blocks
	}{
		{"the begin of a term", func(e *Evaluator) { e.Begin(context.Background(), observations()) }},
		{"another policy", func(e *Evaluator) {
			_ = e.SetPolicy(context.Background(), loadTable(t, tableText("two", 7)), nil, observations())
		}},
		{"a recording", func(e *Evaluator) { e.Adopt(state.New(e.Table()), 0) }},
		{"a violation", func(e *Evaluator) { e.apply(state.Pod{Namespace: "a", Name: "other"}, podJSON(latest)) }},
		{"a pod that cannot be evaluated", func(e *Evaluator) { e.apply(state.Pod{Namespace: "a", Name: "other"}, nil) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := blocked{make(chan struct{})}
				e := newTestEvaluator(t, logtest.Logger(log), nil)
				e.log, e.events.log = zap.NewNop(), zap.NewNop()
				e.Begin(t.Context(), observations())
				e.log, e.events.log = logtest.Logger(log), logtest.Logger(log)
				ended := make(chan struct{})
				go func() {
					test.logs(e)
					close(ended)
				}()
				synctest.Wait()
				select {
				case <-ended:
					t.Fatal("the log does not block")
				default:
				}
				e.apply(pod, podJSON(clean))
				if got := e.Current().Snapshot().Totals().TotalPods; got == 0 {
					t.Errorf("the pod is not counted while the log blocks")
				}
				e.expire(t.Context(), time.Now())
				e.remove(pod)
				e.End()
				close(log.let)
				<-ended
			})
		})
	}
}

// Changes without permission to log are logged once there is permission, as one change of each pod.
func TestPendingEventsAreLoggedLater(t *testing.T) {
	permitted := false
	publish := func(ctx context.Context, publish func(context.Context) error) error {
		if !permitted {
			return errors.New("the gate is closed")
		}
		return publish(ctx)
	}
	pod := func(name, uid string) state.Pod { return state.Pod{Namespace: "a", Name: name, UID: uid} }
	event := func(kind, name string, checks ...any) map[string]any {
		return map[string]any{"event": kind, "namespace": "a", "pod": name, "violations": checks}
	}
	const violation, resolved = "policy_violation", "policy_violation_resolved"
	tests := []struct {
		name   string
		before []state.Observation
		closed func(e *Evaluator) // without permission
		opened func(e *Evaluator) // with it, before pending events are logged
		want   []map[string]any
	}{
		{"two pods come", nil, func(e *Evaluator) {
			e.apply(pod("y", "1"), podJSON(latest))
			e.apply(pod("x", "1"), podJSON(latest))
		}, nil, []map[string]any{event(violation, "x", "latest_tag"), event(violation, "y", "latest_tag")}},
		{"a pod comes and goes", nil, func(e *Evaluator) {
			e.apply(pod("x", "1"), podJSON(latest))
			e.remove(pod("x", "1"))
		}, nil, nil},
		{"a pod is fixed", []state.Observation{{Pod: pod("x", "1"), JSON: podJSON(noProbes)}}, func(e *Evaluator) {
			e.apply(pod("x", "1"), podJSON(latest))
			e.apply(pod("x", "1"), podJSON(clean))
		}, nil, []map[string]any{event(resolved, "x", "latest_tag", "missing_liveness", "missing_readiness")}},
		{"another takes its place", []state.Observation{{Pod: pod("x", "1"), JSON: podJSON(latest)}}, func(e *Evaluator) {
			e.apply(pod("x", "2"), podJSON(latest))
			e.apply(pod("x", "2"), podJSON(latest))
		}, nil, []map[string]any{event(resolved, "x", "latest_tag"), event(violation, "x", "latest_tag")}},
		{"it changes again with permission", nil, func(e *Evaluator) {
			e.apply(pod("x", "1"), podJSON(latest))
		}, func(e *Evaluator) {
			e.apply(pod("x", "1"), podJSON(noProbes))
		}, []map[string]any{event(violation, "x", "latest_tag", "missing_liveness", "missing_readiness")}},
		{"it changes back with permission", nil, func(e *Evaluator) {
			e.apply(pod("x", "1"), podJSON(latest))
		}, func(e *Evaluator) {
			e.apply(pod("x", "1"), podJSON(clean))
		}, nil},
		{"the term ends", nil, func(e *Evaluator) {
			e.apply(pod("x", "1"), podJSON(latest))
			e.End()
		}, nil, nil},
		{"another policy comes, with a summary", nil, func(e *Evaluator) {
			e.apply(pod("x", "1"), podJSON(latest))
			_ = e.SetPolicy(t.Context(), loadTable(t, tableText("two", 7)), nil, observations(state.Observation{Pod: pod("x", "1"), JSON: podJSON(latest)}))
		}, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log := new(logtest.Buffer)
			e := newTestEvaluator(t, logtest.Logger(log), publish)
			permitted = true
			e.Begin(t.Context(), observations(test.before...))
			permitted = false
			test.closed(e)
			e.events.flush(t.Context(), e.Publish, e.Current())
			if got := log.Events(t); len(got) > 0 {
				t.Errorf("logged without permission: %v", got)
			}
			permitted = true
			if test.opened != nil {
				test.opened(e)
			}
			e.events.flush(t.Context(), e.Publish, e.Current())
			e.events.flush(t.Context(), e.Publish, e.Current())
			if diff := cmp.Diff(test.want, log.Events(t)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if len(e.events.pending) > 0 {
				t.Errorf("still pending: %v", e.events.pending)
			}
		})
	}
}

// tableText is a table whose one check weighs as much as is said, with more lines at its end.
func tableText(name string, weight int, more ...string) string {
	return fmt.Sprintf(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: %s}
checks:
  - id: latest_tag
    weight: %d
    forEach: spec.containers
    violation: {path: image, operator: hasSuffix, value: ":latest"}
%s`, name, weight, strings.Join(more, "\n"))
}

func loadTable(tb testing.TB, text string) *rules.Table {
	tb.Helper()
	table, err := rules.Load("policy.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return table
}
