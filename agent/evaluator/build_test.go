package evaluator

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/logtest"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// costlyTable has many expressions that read a long annotation, so that one pod takes some milliseconds.
func costlyTable(t testing.TB, name string) *rules.Table {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: %s}\nchecks:\n", name)
	for i := range 50 {
		fmt.Fprintf(&text, "- {id: c%d, weight: 1, violation: {path: metadata.annotations.note, operator: matches, value: '(a|b|ab)*c%d[0-9]{1,20}x$'}}\n", i, i)
	}
	table, err := rules.Load(name+".yaml", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestEndOfATermInterruptsEvaluation: the end of a term must not wait for an evaluation of all pods, or the Lease is not
// released and the process exits with an error.
func TestEndOfATermInterruptsEvaluation(t *testing.T) {
	const pods = 20_000
	json := []byte(`{"metadata":{"annotations":{"note":"` + strings.Repeat("ab", 500) + `"}},"spec":{"containers":[]}}`)
	all := func(yield func(state.Observation) bool) {
		for i := range pods {
			if !yield(state.Observation{Pod: state.Pod{Namespace: "a", Name: fmt.Sprint(i)}, JSON: json}) {
				return
			}
		}
	}
	started := time.Now()
	probe := state.New(costlyTable(t, "probe"))
	for i := range 20 {
		if _, err := probe.Observe(state.Pod{Namespace: "a", Name: fmt.Sprint(i)}, json); err != nil {
			t.Fatal(err)
		}
	}
	whole := time.Since(started) / 20 * pods
	if whole < 5*time.Second {
		t.Fatalf("the evaluation of all pods takes %s: it is too short to be interrupted", whole)
	}
	for _, test := range []struct {
		name  string
		begin bool // the term has a state before the evaluation
		run   func(ctx context.Context, e *Evaluator) error
	}{
		{"the begin of the term", false, func(ctx context.Context, e *Evaluator) error {
			e.Begin(ctx, all)
			return nil
		}},
		{"another policy", true, func(ctx context.Context, e *Evaluator) error {
			return e.SetPolicy(context.WithoutCancel(ctx), costlyTable(t, "two"), nil, all)
		}},
		{"another policy and other fields", true, func(ctx context.Context, e *Evaluator) error {
			return e.SetPolicy(context.WithoutCancel(ctx), costlyTable(t, "two"), func() {}, all)
		}},
		{"the recompute of an audit", true, func(ctx context.Context, e *Evaluator) error { return e.Recompute(context.WithoutCancel(ctx), all) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := New(costlyTable(t, "one"), zap.NewNop(), prometheus.NewRegistry())
			ctx, lose := context.WithCancel(t.Context())
			defer lose()
			if test.begin {
				e.Begin(ctx, observations())
			}
			ended := make(chan error, 1)
			go func() { ended <- test.run(ctx, e) }()
			for e.settled() != nil || !test.begin && !building(e) { // until it has begun
				<-time.After(time.Millisecond)
			}
			lost := time.Now()
			lose()
			e.End()
			if err := <-ended; err != nil {
				t.Errorf("the policy is not in force: %v", err)
			}
			if took := time.Since(lost); took > time.Second {
				t.Errorf("the end of the term took %s, want at most 1s (a whole evaluation takes %s)", took, whole)
			}
			if e.Current() != nil {
				t.Error("there is a state after the term")
			}
		})
	}
	t.Run("the comparison of an audit", func(t *testing.T) {
		e := newTestEvaluator(t, zap.NewNop(), nil)
		e.policy.Store(costlyTable(t, "one"))
		e.Begin(t.Context(), observations())
		ctx, stop := context.WithCancel(t.Context())
		begun := make(chan struct{})
		ended := make(chan map[string]uint64, 1)
		go func() {
			ended <- e.Diverging(ctx, func(yield func(state.Observation) bool) {
				close(begun)
				all(yield)
			})
		}()
		<-begun
		stopped := time.Now()
		stop()
		if differ := <-ended; differ != nil || time.Since(stopped) > time.Second {
			t.Errorf("an audit that is stopped ended after %s and found %v", time.Since(stopped), differ)
		}
	})
}

func building(e *Evaluator) bool {
	e.term.RLock()
	defer e.term.RUnlock()
	return e.build != nil
}

// A clusterModel is the pods as they are, and two forms of them: a cache keeps the fields that a policy reads.
type clusterModel struct {
	mu   sync.Mutex
	pods map[state.Pod]string // containers
	wide bool                 // the cache has the fields that the second policy reads
}

func (m *clusterModel) form(containers string) []byte {
	if m.wide {
		return []byte(`{"metadata":{"labels":{"wide":"yes"}},"spec":{"containers":[` + containers + `]}}`)
	}
	return podJSON(containers)
}

func (m *clusterModel) lookup(name state.Pod) (state.Pod, []byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	containers, ok := m.pods[name]
	return name, m.form(containers), ok
}

func (m *clusterModel) all() []state.Observation {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []state.Observation
	for _, name := range slices.SortedFunc(maps.Keys(m.pods), func(a, b state.Pod) int { return strings.Compare(a.Name, b.Name) }) {
		all = append(all, state.Observation{Pod: name, JSON: m.form(m.pods[name])})
	}
	return all
}

// TestChangesDuringABuildAreNotLost changes pods while all pods are evaluated, after each of them was read, and compares
// the state with one from scratch.
func TestChangesDuringABuildAreNotLost(t *testing.T) {
	wideText := tableText("wide", 7, "  - {id: wide, weight: 1, violation: {path: metadata.labels.wide, operator: absent}}")
	seed := rand.Uint64()
	if given := os.Getenv("SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	forms := []string{clean, latest, noProbes, noProbes + "," + latest}
	for round := range 60 {
		m := &clusterModel{pods: map[state.Pod]string{}}
		e := newTestEvaluator(t, zap.NewNop(), nil)
		name := func() state.Pod { return state.Pod{Namespace: "a", Name: fmt.Sprint(random.IntN(200))} }
		change := func() {
			pod := name()
			m.mu.Lock()
			if random.IntN(4) == 0 {
				delete(m.pods, pod)
			} else {
				m.pods[pod] = forms[random.IntN(len(forms))]
			}
			m.mu.Unlock()
			e.Update(t.Context(), pod, m.lookup)
		}
		for range 200 {
			change()
		}
		// The pods are read first, so that each change that follows is one that the list does not have.
		during := func(yield func(state.Observation) bool) {
			for _, pod := range m.all() {
				if random.IntN([]int{2, 20, 100}[round/3%3]) == 0 { // of a few nothing is left for a second round
					change()
				}
				if !yield(pod) {
					return
				}
			}
		}
		e.Begin(t.Context(), during)
		var err error
		switch round % 3 {
		case 0:
			err = e.Recompute(t.Context(), during)
		case 1:
			err = e.SetPolicy(t.Context(), loadTable(t, tableText("two", 7)), nil, during)
		case 2:
			err = e.SetPolicy(t.Context(), loadTable(t, wideText), func() { m.wide = true }, during)
		}
		if err != nil {
			t.Fatal(err)
		}
		change()
		scratch := state.New(e.Table())
		for _, o := range m.all() {
			if _, err := scratch.Observe(o.Pod, o.JSON); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(scratch.Snapshot().Namespaces, e.Current().Snapshot().Namespaces); diff != "" {
			t.Fatalf("round %d, seed %d: namespaces (-scratch +live):\n%s", round, seed, diff)
		}
	}
}

// TestAuditLeavesABuildAlone: while another policy's state is made, the present one is not compared with pods in the form of
// the other.
func TestAuditLeavesABuildAlone(t *testing.T) {
	e := newTestEvaluator(t, zap.NewNop(), nil)
	e.Begin(t.Context(), observations(observed("a", "one", latest)))
	looked := false
	err := e.SetPolicy(t.Context(), loadTable(t, tableText("two", 7)), func() {}, func(yield func(state.Observation) bool) {
		looked = true
		if differ := e.Diverging(t.Context(), observations(observed("b", "other", latest))); differ != nil {
			t.Errorf("an audit compared the state during a build: %v", differ)
		}
		yield(observed("a", "one", clean))
	})
	if err != nil || !looked {
		t.Errorf("looked: %t, %v", looked, err)
	}
	if differ := e.Diverging(t.Context(), observations(observed("b", "other", latest))); len(differ) != 2 {
		t.Errorf("after the build an audit finds %v, want both namespaces", differ)
	}
}

// TestViolationsDuringABuildAreLogged: a pod that goes bad while all pods are evaluated for another policy, after it was
// read, is in the log.
func TestViolationsDuringABuildAreLogged(t *testing.T) {
	for _, swap := range []func(){nil, func() {}} {
		log := new(logtest.Buffer)
		e := newTestEvaluator(t, logtest.Logger(log), nil)
		e.Begin(t.Context(), observations(observed("a", "one", clean)))
		err := e.SetPolicy(t.Context(), loadTable(t, tableText("two", 7)), swap, func(yield func(state.Observation) bool) {
			yield(observed("a", "one", clean))
			e.apply(state.Pod{Namespace: "a", Name: "one", UID: "one"}, podJSON(latest))
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []map[string]any{{"event": "policy_violation", "namespace": "a", "pod": "one", "violations": []any{"latest_tag"}}}
		if diff := cmp.Diff(want, log.Events(t)); diff != "" {
			t.Errorf("other fields: %t: events (-want +got):\n%s", swap != nil, diff)
		}
	}
}
