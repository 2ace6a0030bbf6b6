package evaluator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/logtest"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
)

func newTestEvaluator(t *testing.T, log *zap.Logger, publish PublishFunc) *Evaluator {
	t.Helper()
	table, err := policies.Open(policies.Default)
	if err != nil {
		t.Fatal(err)
	}
	e := New(table, log, prometheus.NewRegistry())
	e.Publish = publish
	return e
}

func podJSON(container string) []byte {
	return []byte(`{"kind":"Pod","spec":{"containers":[` + container + `]}}`)
}

const (
	clean    = `{"name":"c","image":"nginx:1.25","livenessProbe":{},"readinessProbe":{}}`
	latest   = `{"name":"c","image":"nginx:latest","livenessProbe":{},"readinessProbe":{}}`
	noProbes = `{"name":"c","image":"nginx:latest"}`
)

func observed(namespace, name, container string) state.Observation {
	return state.Observation{Pod: state.Pod{Namespace: namespace, Name: name, UID: name}, JSON: podJSON(container)}
}

func observations(pods ...state.Observation) func(func(state.Observation) bool) {
	return slices.Values(pods)
}

func TestEventsOfThePolicyLog(t *testing.T) {
	pod := state.Pod{Namespace: "default", Name: "nginx", UID: "1"}
	again := state.Pod{Namespace: "default", Name: "nginx", UID: "2"}
	violation := func(checks ...any) map[string]any {
		return map[string]any{"event": "policy_violation", "namespace": "default", "pod": "nginx", "violations": checks}
	}
	resolved := func(checks ...any) map[string]any {
		return map[string]any{"event": "policy_violation_resolved", "namespace": "default", "pod": "nginx", "violations": checks}
	}
	tests := []struct {
		name  string
		steps func(e *Evaluator)
		want  []map[string]any
	}{
		{"a standby logs nothing", func(e *Evaluator) {
			e.apply(pod, podJSON(noProbes))
			e.remove(pod)
		}, nil},
		{"the initial pods are only in the summary", func(e *Evaluator) {
			e.Begin(t.Context(), observations(state.Observation{Pod: pod, JSON: podJSON(noProbes)}))
			e.apply(pod, podJSON(noProbes))
		}, nil},
		{"a clean pod is never logged", func(e *Evaluator) {
			e.Begin(t.Context(), observations())
			e.apply(pod, podJSON(clean))
			e.apply(pod, podJSON(clean))
			e.remove(pod)
		}, nil},
		{"each change of the set is logged once", func(e *Evaluator) {
			e.Begin(t.Context(), observations())
			e.apply(pod, podJSON(noProbes+","+noProbes))
			e.apply(pod, podJSON(noProbes))
			e.apply(pod, podJSON(latest))
			e.apply(pod, podJSON(clean))
			e.apply(pod, podJSON(clean))
		}, []map[string]any{
			violation("latest_tag", "missing_liveness", "missing_readiness"),
			violation("latest_tag"),
			resolved("latest_tag"),
		}},
		{"a pod that goes resolves what it failed", func(e *Evaluator) {
			e.Begin(t.Context(), observations())
			e.apply(pod, podJSON(latest))
			e.remove(state.Pod{Namespace: "default", Name: "nginx"})
		}, []map[string]any{violation("latest_tag"), resolved("latest_tag")}},
		{"a pod that takes the place of another is another", func(e *Evaluator) {
			e.Begin(t.Context(), observations(state.Observation{Pod: pod, JSON: podJSON(latest)}))
			e.apply(again, podJSON(latest))
		}, []map[string]any{resolved("latest_tag"), violation("latest_tag")}},
		{"excluded namespaces are silent", func(e *Evaluator) {
			e.Begin(t.Context(), observations())
			e.apply(state.Pod{Namespace: "kube-system", Name: "dns"}, podJSON(latest))
		}, nil},
		{"after the term there is silence", func(e *Evaluator) {
			e.Begin(t.Context(), observations())
			e.End()
			e.apply(pod, podJSON(latest))
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log := new(logtest.Buffer)
			test.steps(newTestEvaluator(t, logtest.Logger(log), nil))
			if diff := cmp.Diff(test.want, log.Events(t)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoEventsWithoutPermission(t *testing.T) {
	permitted := true
	publish := func(ctx context.Context, publish func(context.Context) error) error {
		if !permitted {
			return errors.New("another replica leads")
		}
		return publish(ctx)
	}
	log := new(logtest.Buffer)
	e := newTestEvaluator(t, logtest.Logger(log), publish)
	e.Begin(t.Context(), observations())
	e.apply(state.Pod{Namespace: "a", Name: "permitted"}, podJSON(latest))
	permitted = false
	e.apply(state.Pod{Namespace: "a", Name: "denied"}, podJSON(latest))
	events := log.Events(t)
	if len(events) != 1 || events[0]["pod"] != "permitted" {
		t.Errorf("events: %v; want one, of the pod with permission", events)
	}
	if got := e.Current().Snapshot().Totals().TotalPods; got != 2 {
		t.Errorf("%d pods in the state; want both", got)
	}
}

// A term that begins while pods change ends up with the cluster as it is, whatever the order in which the goroutines
// come. The store stands for the cache of the watch: an event says that a pod changed, and the store has its present form.
func TestTermBeginsWhilePodsChange(t *testing.T) {
	const names, changes, terms = 40, 3000, 30
	e := newTestEvaluator(t, zap.NewNop(), nil)
	var mu sync.Mutex
	store := make(map[string][]byte)
	name := func(i int) string { return fmt.Sprintf("pod-%d", i) }
	look := func(i int) {
		mu.Lock()
		json, ok := store[name(i)]
		mu.Unlock()
		pod := state.Pod{Namespace: "a", Name: name(i)}
		if ok {
			e.apply(pod, json)
		} else {
			e.remove(pod)
		}
	}
	begin := func() {
		e.Begin(t.Context(), func(yield func(state.Observation) bool) {
			mu.Lock()
			defer mu.Unlock()
			for name, json := range store {
				if !yield(state.Observation{Pod: state.Pod{Namespace: "a", Name: name}, JSON: json}) {
					return
				}
			}
		})
	}
	var group sync.WaitGroup
	for worker := range 2 { // as in the queue of the watch, no pod has two workers
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range changes {
				i := random.IntN(names/2)*2 + worker
				mu.Lock()
				switch random.IntN(4) {
				case 0:
					delete(store, name(i))
				case 1:
					store[name(i)] = podJSON(clean)
				case 2:
					store[name(i)] = podJSON(latest)
				default:
					store[name(i)] = podJSON(noProbes + "," + latest)
				}
				mu.Unlock()
				look(i)
			}
		})
	}
	group.Go(func() {
		for range terms {
			begin()
			e.End()
		}
		begin()
	})
	group.Wait()

	scratch := state.New(e.Table())
	for name, json := range store {
		if _, err := scratch.Observe(state.Pod{Namespace: "a", Name: name}, json); err != nil {
			t.Fatal(err)
		}
	}
	want, got := scratch.SnapshotWithViolations(), e.Current().SnapshotWithViolations()
	if diff := cmp.Diff(want.Namespaces, got.Namespaces); diff != "" {
		t.Errorf("namespaces (-scratch +live):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Collect(want.Violations()), slices.Collect(got.Violations())); diff != "" {
		t.Errorf("violations (-scratch +live):\n%s", diff)
	}
}

// TestBeginOfATermThatEnds: who loses the lead while it evaluates all pods stops at once, and has no state.
func TestBeginOfATermThatEnds(t *testing.T) {
	e := newTestEvaluator(t, zap.NewNop(), nil)
	ctx, lose := context.WithCancel(t.Context())
	given := 0
	e.Begin(ctx, func(yield func(state.Observation) bool) {
		for i := range 100_000 {
			if given = i + 1; i == 1000 {
				lose()
			}
			if !yield(observed("a", fmt.Sprint(i), clean)) {
				return
			}
		}
	})
	if e.Current() != nil || given > 1001 {
		t.Errorf("%d pods were looked at, and there is a state: %t", given, e.Current() != nil)
	}
}

// TestHostileLogText: what a pod brings stays within its line of the log, and moves no cursor of a terminal.
func TestHostileLogText(t *testing.T) {
	const hostile = "web\n{\"level\":\"info\",\"msg\":\"forged\"}\r\x1b[2J\u2028\x00end"
	log := new(logtest.Buffer)
	e := newTestEvaluator(t, logtest.Logger(log), nil)
	e.Begin(t.Context(), observations(observed("a", hostile, noProbes), observed(hostile, "one", noProbes)))
	st := e.Current()
	e.events.add(t.Context(), e.Publish, st, state.Pod{Namespace: hostile, Name: hostile}, state.Transition{After: []int{0}})
	e.logFailure(state.Pod{Namespace: "a", Name: hostile}, errors.New(hostile))
	text := log.String()
	if strings.ContainsAny(text, "\r\x1b\x00") {
		t.Errorf("the log has control characters: %q", text)
	}
	named := 0
	for line := range strings.Lines(text) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["msg"] == "forged" {
			t.Errorf("%v: %q", err, line)
		}
		if entry["pod"] == hostile {
			named++
		}
	}
	if named != 2 {
		t.Errorf("%d lines name the pod as it is called, want 2\n%s", named, text)
	}
}

// apply brings in a pod of that form.
func (e *Evaluator) apply(pod state.Pod, json []byte) {
	e.Update(context.Background(), pod, func(state.Pod) (state.Pod, []byte, bool) { return pod, json, true })
}

// remove takes a pod out.
func (e *Evaluator) remove(pod state.Pod) {
	e.Update(context.Background(), pod, func(state.Pod) (state.Pod, []byte, bool) { return pod, nil, false })
}
