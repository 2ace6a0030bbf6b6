package state_test

import (
	"math"
	"math/big"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// sameTable compares tables by identity.
var sameTable = cmp.Comparer(func(a, b *rules.Table) bool { return a == b })

// TestStateEqualsScratch is the project's first invariant: after any sequence of events, the state is that of the pods
// that remain, computed from scratch; and each event tells truly what it changed.
func TestStateEqualsScratch(t *testing.T) {
	table := defaultTable(t)
	rapid.Check(t, func(t *rapid.T) {
		m := machine{table: table, live: state.New(table), model: make(model)}
		t.Repeat(map[string]func(*rapid.T){
			"":           m.check,
			"observe":    m.observe,
			"duplicate":  m.duplicate,
			"apply":      m.apply,
			"recreate":   m.recreate,
			"delete":     m.delete,
			"deleteLate": m.deleteLate,
			"leftOut":    m.leftOut,
			"relist":     m.relist,
		})
	})
}

// A machine does to the live state and to the model what happens to a cluster.
type machine struct {
	table *rules.Table
	live  *state.ClusterState
	model model
	ready bool
}

var (
	namespaceGen = rapid.SampledFrom([]string{"", "default", "shop", "zoo"})
	nameGen      = rapid.SampledFrom([]string{"a", "b", "c"})
	uidGen       = rapid.SampledFrom([]string{"", "1", "2", "3"})
	containerGen = rapid.Custom(func(t *rapid.T) container {
		return container{rapid.Bool().Draw(t, "latest"), rapid.Bool().Draw(t, "noLiveness"), rapid.Bool().Draw(t, "noReadiness")}
	})
	jsonGen = rapid.Custom(func(t *rapid.T) []byte {
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0:
			return truncated
		case 1:
			return []byte(`{"spec":{}}`)
		}
		return podJSON(rapid.SliceOfN(containerGen, 0, 3).Draw(t, "containers")...)
	})
	podGen = rapid.Custom(func(t *rapid.T) state.Pod {
		return state.Pod{Namespace: namespaceGen.Draw(t, "namespace"), Name: nameGen.Draw(t, "name"), UID: uidGen.Draw(t, "uid")}
	})
)

// see is what the model does when a pod is seen.
func (m *machine) see(pod state.Pod, json []byte) (want state.Transition, ok bool) {
	key := podKey{pod.Namespace, pod.Name}
	before, existed := m.model[key]
	after := modelPod{pod.UID, string(json)}
	m.model[key] = after
	_, _, ok = after.violations()
	return state.Transition{
		Before:    before.failed(),
		After:     after.failed(),
		Recreated: existed && before.uid != "" && after.uid != "" && before.uid != after.uid,
	}, ok
}

func (m *machine) observePod(t *rapid.T, pod state.Pod, json []byte) {
	want, ok := m.see(pod, json)
	got, err := m.live.Observe(pod, json)
	if (err == nil) != ok {
		t.Fatalf("error %v, want one: %v", err, !ok)
	}
	sameTransition(t, want, got)
}

func (m *machine) observe(t *rapid.T) {
	m.observePod(t, podGen.Draw(t, "pod"), jsonGen.Draw(t, "json"))
}

// some draws a pod that is there; it is false where there is none.
func (m *machine) some(t *rapid.T) (state.Pod, bool) {
	keys := m.model.keys()
	if len(keys) == 0 {
		return state.Pod{}, false
	}
	key := rapid.SampledFrom(keys).Draw(t, "key")
	return state.Pod{Namespace: key.namespace, Name: key.name, UID: m.model[key].uid}, true
}

// duplicate is the same event once more.
func (m *machine) duplicate(t *rapid.T) {
	if pod, ok := m.some(t); ok {
		m.observePod(t, pod, []byte(m.model[podKey{pod.Namespace, pod.Name}].json))
	}
}

// recreate is a pod that was deleted and created again between two events.
func (m *machine) recreate(t *rapid.T) {
	if pod, ok := m.some(t); ok {
		pod.UID = uidGen.Draw(t, "uid")
		m.observePod(t, pod, jsonGen.Draw(t, "json"))
	}
}

// apply takes a verdict that somebody else has made.
func (m *machine) apply(t *rapid.T) {
	pod, json := podGen.Draw(t, "pod"), podJSON(rapid.SliceOfN(containerGen, 0, 3).Draw(t, "containers")...)
	verdict, err := m.table.Evaluate(json)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := m.see(pod, json)
	sameTransition(t, want, m.live.Apply(pod, verdict))
}

// delete takes a pod away that may be there or not, by its uid or without.
func (m *machine) delete(t *rapid.T) {
	pod := podGen.Draw(t, "pod")
	key := podKey{pod.Namespace, pod.Name}
	before, existed := m.model[key]
	want := state.Transition{}
	if existed && (pod.UID == "" || before.uid == "" || pod.UID == before.uid) {
		want.Before = before.failed()
		delete(m.model, key)
	}
	sameTransition(t, want, m.live.Delete(pod))
}

// deleteLate is the delete of a pod whose name another one has by now.
func (m *machine) deleteLate(t *rapid.T) {
	if pod, ok := m.some(t); ok && pod.UID != "" {
		pod.UID = "an older one"
		sameTransition(t, state.Transition{}, m.live.Delete(pod))
	}
}

// leftOut is an event of a namespace that the table leaves out.
func (m *machine) leftOut(t *rapid.T) {
	pod := podGen.Draw(t, "pod")
	pod.Namespace = rapid.SampledFrom([]string{"kube-system", "cattle-system", "monitoring"}).Draw(t, "namespace")
	got, err := m.live.Observe(pod, jsonGen.Draw(t, "json"))
	if err != nil {
		t.Fatalf("error %v of a pod that is left out", err)
	}
	sameTransition(t, state.Transition{}, got)
	sameTransition(t, state.Transition{}, m.live.Delete(pod))
}

// relist replaces everything: by pods that stay, change, come, and come twice; some are left out, some have no verdict.
func (m *machine) relist(t *rapid.T) {
	var list []state.Observation
	for range rapid.IntRange(0, 12).Draw(t, "pods") {
		pod := podGen.Draw(t, "pod")
		if rapid.IntRange(0, 9).Draw(t, "left out") == 0 {
			pod.Namespace = "kube-system"
		}
		list = append(list, state.Observation{Pod: pod, JSON: jsonGen.Draw(t, "json")})
	}
	m.model = make(model)
	for _, o := range list {
		if o.Namespace != "kube-system" {
			m.see(o.Pod, o.JSON)
		}
	}
	var want []state.Pod
	for _, key := range m.model.keys() {
		if _, _, ok := m.model[key].violations(); !ok {
			want = append(want, state.Pod{Namespace: key.namespace, Name: key.name, UID: m.model[key].uid})
		}
	}
	var got []state.Pod
	for _, f := range m.live.Replace(rapid.IntRange(1, 3).Draw(t, "workers"), slices.Values(list)) {
		if f.Err == nil {
			t.Fatalf("failure of %v without an error", f.Pod)
		}
		got = append(got, f.Pod)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("failures (-want +got):\n%s", diff)
	}
	m.ready = true
}

// check compares the live state with the model after each event.
func (m *machine) check(t *rapid.T) {
	want := m.model.snapshot(m.table)
	// cmp is for the message alone: it is slow, and this is done some thousand times.
	if all := m.live.SnapshotWithViolations(); !reflect.DeepEqual(want, all) {
		t.Fatalf("state (-scratch +live):\n%s", cmp.Diff(want, all, sameTable))
	}
	got := m.live.Snapshot()
	if got.Violations != nil {
		t.Fatalf("violations that nobody asked for: %v", got.Violations)
	}
	if !reflect.DeepEqual(want.Namespaces, got.Namespaces) {
		t.Fatalf("counts (-scratch +live):\n%s", cmp.Diff(want.Namespaces, got.Namespaces))
	}
	if m.live.Ready() != m.ready {
		t.Fatalf("ready is %v, want %v", m.live.Ready(), m.ready)
	}
	total := state.LiveMetrics{Violations: make([]int, 3), Subjects: make([]int, 3)}
	var clusterScores, clusterCompliances []*big.Rat
	for i, ns := range want.Namespaces {
		total.TotalPods += ns.TotalPods
		total.Unevaluated += ns.Unevaluated
		for check := range weights {
			total.Violations[check] += ns.Violations[check]
			total.Subjects[check] += ns.Subjects[check]
		}
		score, compliance := scores(ns.LiveMetrics)
		if score != nil {
			clusterScores, clusterCompliances = append(clusterScores, score), append(clusterCompliances, compliance)
		}
		gotScores, ok := got.Namespaces[i].Scores(m.table)
		m.sameScores(t, score, compliance, gotScores, ok)
	}
	if diff := cmp.Diff(total, got.Totals()); diff != "" {
		t.Fatalf("totals (-scratch +live):\n%s", diff)
	}
	gotScores, ok := got.Cluster()
	m.sameScores(t, mean(clusterScores), mean(clusterCompliances), gotScores, ok)
}

// sameScores compares scores with exact fractions; nil means no data.
func (m *machine) sameScores(t *rapid.T, score, compliance *big.Rat, got state.Scores, ok bool) {
	if score == nil || !ok {
		if score != nil || ok || got != (state.Scores{}) {
			t.Fatalf("scores %v, %v, want %v and %v", got, ok, score, compliance)
		}
		return
	}
	wantScore, _ := score.Float64()
	wantCompliance, _ := compliance.Float64()
	if math.Abs(wantScore-got.Score) > 1e-9 || math.Abs(wantCompliance-got.Compliance) > 1e-9 {
		t.Fatalf("scores %v, want %v and %v", got, wantScore, wantCompliance)
	}
	grade := "Critical"
	for _, g := range []struct {
		name string
		min  float64
	}{{"Degraded", 40}, {"Stable", 60}, {"Healthy", 80}} {
		if math.Abs(wantCompliance-g.min) < 1e-9 && wantCompliance != g.min {
			return // a mean so near to a bound may be rounded to either side
		}
		if wantCompliance >= g.min {
			grade = g.name
		}
	}
	if got.Grade != grade {
		t.Fatalf("grade %s of a compliance of %v, want %s", got.Grade, wantCompliance, grade)
	}
}

func sameTransition(t *rapid.T, want, got state.Transition) {
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("transition (-want +got):\n%s", diff)
	}
}
