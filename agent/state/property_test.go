package state_test

import (
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// sameTable compares tables by identity. It ignores the index of a violation, which the model does not have.
var sameTable = cmp.Options{
	cmp.Comparer(func(a, b *rules.Table) bool { return a == b }),
	cmpopts.IgnoreFields(state.PodViolation{}, "Verdict", "Index"),
}

// sameWaiver compares waivers by identity.
var sameWaiver = cmp.Comparer(func(a, b *rules.Waiver) bool { return a == b })

// TestStateEqualsScratch tests the invariant of the package: after any sequence of events, the state equals the state computed
// from scratch from the remaining pods at the time of the state, and each event returns what it changed. The passing of time is
// an event too: waivers expire between other events, and in the middle of a list.
func TestStateEqualsScratch(t *testing.T) {
	policies := map[string]policy{
		"default":   {table: defaultTable(t), grade: defaultGrade},
		"accepting": {table: acceptingTable(t), skips: true, waivers: acceptedBy, grade: acceptingGrade},
	}
	for name, p := range policies {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := machine{policy: p, live: state.New(p.table), model: make(model)}
				t.Repeat(map[string]func(*rapid.T){
					"":            m.check,
					"observe":     m.observe,
					"duplicate":   m.duplicate,
					"put":         m.put,
					"recreate":    m.recreate,
					"delete":      m.delete,
					"deleteLate":  m.deleteLate,
					"excluded":    m.excluded,
					"relist":      m.relist,
					"advance":     m.advance,
					"relistSlow":  m.relistWhileTimePasses,
					"advanceMore": m.advance,
				})
			})
		})
	}
}

// A machine applies each event to the live state and to the model.
type machine struct {
	policy policy
	live   *state.ClusterState
	model  model
	now    time.Time
	ready  bool
}

var (
	namespaceGen = rapid.SampledFrom([]string{"", "default", "shop", "zoo"})
	nameGen      = rapid.SampledFrom([]string{"a", "b", "c"})
	uidGen       = rapid.SampledFrom([]string{"", "1", "2", "3"})
	containerGen = rapid.Custom(func(t *rapid.T) container {
		return container{rapid.Bool().Draw(t, "latest"), rapid.Bool().Draw(t, "noLiveness"), rapid.Bool().Draw(t, "noReadiness")}
	})
	podGen = rapid.Custom(func(t *rapid.T) state.Pod {
		return state.Pod{Namespace: namespaceGen.Draw(t, "namespace"), Name: nameGen.Draw(t, "name"), UID: uidGen.Draw(t, "uid")}
	})
	// momentGen draws the times at which waivers expire, and those just before.
	momentGen = rapid.Custom(func(t *rapid.T) time.Time {
		minutes := rapid.SampledFrom([]int{-60 * 24 * 365, -1, 0, 5, 10, 20, 25, 30, 60}).Draw(t, "minutes")
		return base.Add(time.Duration(minutes)*time.Minute + rapid.SampledFrom([]time.Duration{0, 0, -1, 1}).Draw(t, "nanoseconds"))
	})
)

// drawEvaluable draws the JSON of a pod that can be evaluated.
func drawEvaluable(t *rapid.T, pod state.Pod) []byte {
	metadata := fmt.Sprintf(`"namespace":%q,"name":%q`, pod.Namespace, pod.Name)
	switch rapid.IntRange(0, 8).Draw(t, "kind") {
	case 0:
		return []byte(`{"spec":{}}`)
	case 1:
		metadata += `,"deletionTimestamp":"2030-01-01T00:00:00Z"`
	case 2, 3:
		metadata += `,"labels":{"team":` + rapid.SampledFrom([]string{`"a"`, `"b"`}).Draw(t, "team") + `}`
	}
	phase := rapid.SampledFrom([]string{"Running", "Running", "Running", "Running", "Succeeded"}).Draw(t, "phase")
	spec := podJSON(rapid.SliceOfN(containerGen, 0, 3).Draw(t, "containers")...)
	return []byte(`{"metadata":{` + metadata + `},"status":{"phase":"` + phase + `"},` + string(spec[1:]))
}

func drawJSON(t *rapid.T, pod state.Pod) []byte {
	if rapid.IntRange(0, 7).Draw(t, "truncated") == 0 {
		return truncated
	}
	return drawEvaluable(t, pod)
}

// see applies a pod to the model.
func (m *machine) see(pod state.Pod, json []byte) (want state.Transition, ok bool) {
	key := podKey{pod.Namespace, pod.Name}
	before, existed := m.model[key]
	after := modelPod{pod.UID, string(json)}
	m.model[key] = after
	want = state.Transition{
		After:     m.policy.failed(after, m.now),
		Recreated: existed && before.uid != "" && after.uid != "" && before.uid != after.uid,
	}
	if existed {
		want.Before = m.policy.failed(before, m.now)
	}
	return want, !m.policy.of(after, m.now).unevaluated
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
	pod := podGen.Draw(t, "pod")
	m.observePod(t, pod, drawJSON(t, pod))
}

// advance moves the time forward, or tries to move it backward.
func (m *machine) advance(t *rapid.T) {
	now := momentGen.Draw(t, "moment")
	m.advanced(t, now, m.live.ExpireWaivers(now))
	var next time.Time
	for _, w := range m.policy.waivers {
		if m.now.Before(w.expires) && (next.IsZero() || w.expires.Before(next)) {
			next = w.expires
		}
	}
	if got, ok := m.live.NextExpiry(); ok == next.IsZero() || !got.Equal(next) {
		t.Fatalf("the next waiver expires at %v, %t; want %v", got, ok, next)
	}
}

// advanced moves the time of the model forward, and compares the changes with the checks that each pod fails.
func (m *machine) advanced(t *rapid.T, now time.Time, got []state.Change) {
	var want []state.Change
	if now.After(m.now) {
		for _, key := range m.model.keys() {
			before, after := m.policy.failed(m.model[key], m.now), m.policy.failed(m.model[key], now)
			if !slices.Equal(before, after) {
				want = append(want, state.Change{Pod: key.pod(), Transition: state.Transition{Before: before, After: after}})
			}
		}
		m.now = now
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("changes (-want +got):\n%s", diff)
	}
}

// some draws an existing pod; false if there is none.
func (m *machine) some(t *rapid.T) (state.Pod, bool) {
	keys := m.model.keys()
	if len(keys) == 0 {
		return state.Pod{}, false
	}
	return m.model.pod(rapid.SampledFrom(keys).Draw(t, "key")), true
}

// duplicate repeats an event.
func (m *machine) duplicate(t *rapid.T) {
	if pod, ok := m.some(t); ok {
		m.observePod(t, pod, []byte(m.model[podKey{pod.Namespace, pod.Name}].json))
	}
}

// recreate observes a pod that was deleted and recreated between two events.
func (m *machine) recreate(t *rapid.T) {
	if pod, ok := m.some(t); ok {
		pod.UID = uidGen.Draw(t, "uid")
		m.observePod(t, pod, drawJSON(t, pod))
	}
}

// put applies a verdict, and overwrites it afterwards.
func (m *machine) put(t *rapid.T) {
	pod := podGen.Draw(t, "pod")
	json := drawEvaluable(t, pod)
	verdict, err := m.policy.table.Evaluate(json)
	if err != nil {
		t.Fatal(err)
	}
	_, existed := m.model[podKey{pod.Namespace, pod.Name}]
	m.see(pod, json)
	if replaced := m.live.Put(pod, verdict, nil); replaced != existed {
		t.Fatalf("Put replaced a pod: %t, want %t", replaced, existed)
	}
	clear(verdict.Violations)
	clear(verdict.Subjects)
}

// delete deletes a pod that may not exist, with or without its UID.
func (m *machine) delete(t *rapid.T) {
	pod := podGen.Draw(t, "pod")
	key := podKey{pod.Namespace, pod.Name}
	before, existed := m.model[key]
	want := state.Transition{}
	if existed && (pod.UID == "" || before.uid == "" || pod.UID == before.uid) {
		want.Before = m.policy.failed(before, m.now)
		delete(m.model, key)
	}
	sameTransition(t, want, m.live.Delete(pod))
}

// deleteLate deletes a pod whose name belongs to another one by now.
func (m *machine) deleteLate(t *rapid.T) {
	if pod, ok := m.some(t); ok && pod.UID != "" {
		pod.UID = "an older one"
		sameTransition(t, state.Transition{}, m.live.Delete(pod))
	}
}

// excluded is an event of an excluded namespace.
func (m *machine) excluded(t *rapid.T) {
	pod := podGen.Draw(t, "pod")
	pod.Namespace = rapid.SampledFrom([]string{"kube-system", "cattle-system", "monitoring"}).Draw(t, "namespace")
	got, err := m.live.Observe(pod, drawJSON(t, pod))
	if err != nil {
		t.Fatalf("error %v of an excluded pod", err)
	}
	sameTransition(t, state.Transition{}, got)
	sameTransition(t, state.Transition{}, m.live.Delete(pod))
}

// relist replaces all pods: some stay, change, are new or occur twice; some are excluded, some cannot be evaluated.
func (m *machine) relist(t *rapid.T) { m.replace(t, -1, time.Time{}) }

// relistWhileTimePasses is relist while the time moves in the middle of the list.
func (m *machine) relistWhileTimePasses(t *rapid.T) {
	m.replace(t, rapid.IntRange(0, 12).Draw(t, "after"), momentGen.Draw(t, "moment"))
}

func (m *machine) replace(t *rapid.T, after int, moment time.Time) {
	var list []state.Observation
	for range rapid.IntRange(0, 12).Draw(t, "pods") {
		pod := podGen.Draw(t, "pod")
		if rapid.IntRange(0, 9).Draw(t, "excluded") == 0 {
			pod.Namespace = "kube-system"
		}
		list = append(list, state.Observation{Pod: pod, JSON: drawJSON(t, pod)})
	}
	workers := rapid.IntRange(-1, 4).Draw(t, "workers")
	var got []state.Pod
	var changes []state.Change
	failures := replaceAll(t, m.live, workers, func(yield func(state.Observation) bool) {
		for i, o := range list {
			if i == after {
				changes = m.live.ExpireWaivers(moment)
			}
			if !yield(o) {
				return
			}
		}
	})
	if 0 <= after && after < len(list) {
		// The expiry changes the old pods, and the new ones are counted for the later time.
		m.advanced(t, moment, changes)
	}
	for _, f := range failures {
		if f.Err == nil || f.Err.Error() != truncatedError {
			t.Fatalf("failure of %v: %v", f.Pod, f.Err)
		}
		got = append(got, f.Pod)
	}
	m.ready = true
	m.model = make(model)
	var want []state.Pod
	for _, o := range list {
		if o.Namespace != "kube-system" {
			m.see(o.Pod, o.JSON)
		}
	}
	for _, key := range m.model.keys() {
		if m.policy.of(m.model[key], m.now).unevaluated {
			want = append(want, m.model.pod(key))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("failures (-want +got):\n%s", diff)
	}
}

// check compares the live state and its scores with the model.
func (m *machine) check(t *rapid.T) {
	want := m.model.snapshotAt(m.policy, m.now)
	got := m.live.SnapshotWithViolations()
	if diff := cmp.Diff(want, viewOf(got), sameTable, sameWaiver, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("state (-scratch +live):\n%s", diff)
	}
	counts := viewOf(m.live.Snapshot())
	if want.Violations, want.Waived = nil, nil; counts.Violations != nil || counts.Waived != nil {
		t.Fatal("Snapshot returned violations")
	}
	if diff := cmp.Diff(want, counts, sameTable, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("counts (-scratch +live):\n%s", diff)
	}
	if m.live.Ready() != m.ready {
		t.Fatalf("ready is %v, want %v", m.live.Ready(), m.ready)
	}
	total := state.LiveMetrics{Violations: make([]int, 3), Subjects: make([]int, 3), Waived: make([]int, 3)}
	var clusterScores, clusterCompliances []*big.Rat
	for i, ns := range want.Namespaces {
		total.TotalPods += ns.TotalPods
		total.Unevaluated += ns.Unevaluated
		for check := range weights {
			total.Violations[check] += ns.Violations[check]
			total.Subjects[check] += ns.Subjects[check]
			total.Waived[check] += ns.Waived[check]
		}
		score, compliance := scores(ns.LiveMetrics)
		if score != nil {
			clusterScores, clusterCompliances = append(clusterScores, score), append(clusterCompliances, compliance)
		}
		gotScores, ok := got.Namespaces[i].Scores(m.policy.table)
		m.sameScores(t, score, compliance, ns.Violations, gotScores, ok)
	}
	if diff := cmp.Diff(total, got.Totals()); diff != "" {
		t.Fatalf("totals (-scratch +live):\n%s", diff)
	}
	gotScores, ok := got.Cluster()
	m.sameScores(t, mean(clusterScores), mean(clusterCompliances), total.Violations, gotScores, ok)
	m.checkOneNamespace(t)
}

// checkOneNamespace compares the snapshot of one namespace, and which pods exist, with the model of its pods alone.
func (m *machine) checkOneNamespace(t *rapid.T) {
	pod := podGen.Draw(t, "looked up")
	if _, want := m.model[podKey{pod.Namespace, pod.Name}]; m.live.Has(pod) != want {
		t.Fatalf("has %v is %v, want %v", pod, !want, want)
	}
	alone := make(model)
	for key, p := range m.model {
		if key.namespace == pod.Namespace {
			alone[key] = p
		}
	}
	got := m.live.SnapshotOf(pod.Namespace)
	if diff := cmp.Diff(alone.snapshotAt(m.policy, m.now), viewOf(got), sameTable, sameWaiver, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("namespace %q (-scratch +live):\n%s", pod.Namespace, diff)
	}
	if !got.Time().Equal(m.now) {
		t.Fatalf("the snapshot of the namespace is of %v, want %v", got.Time(), m.now)
	}
}

// sameScores compares scores with exact fractions; nil means no data. Scores and means are rounded once, so that
// grades are exact at their bounds. The violations, of one namespace or of all, limit the grade.
func (m *machine) sameScores(t *rapid.T, score, compliance *big.Rat, violations []int, got state.Scores, ok bool) {
	if score == nil || !ok {
		if score != nil || ok || got != (state.Scores{}) {
			t.Fatalf("scores %v, %v, want %v and %v", got, ok, score, compliance)
		}
		return
	}
	wantScore, _ := score.Float64()
	wantCompliance, _ := compliance.Float64()
	if got.Score != wantScore || got.Compliance != wantCompliance {
		t.Fatalf("scores %v, want %v and %v", got, wantScore, wantCompliance)
	}
	if grade := m.policy.grade(wantCompliance, violations); got.Grade != grade {
		t.Fatalf("grade %s of a compliance of %v and violations %v, want %s", got.Grade, wantCompliance, violations, grade)
	}
}

func sameTransition(t *rapid.T, want, got state.Transition) {
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("transition (-want +got):\n%s", diff)
	}
}

// TestWaiverNeverMakesAScoreWorse adds waivers to random tables, one after another: no score of a namespace or of the cluster
// becomes worse at any time, and no namespace appears or disappears.
func TestWaiverNeverMakesAScoreWorse(t *testing.T) {
	better := 0
	rapid.Check(t, func(t *rapid.T) {
		table := drawTable(t)
		var pods []state.Observation
		for i := range rapid.IntRange(1, 12).Draw(t, "pods") {
			pod := podGen.Draw(t, "pod")
			pod.Name += fmt.Sprint(i)
			pods = append(pods, state.Observation{Pod: pod, JSON: drawJSON(t, pod)})
		}
		now := momentGen.Draw(t, "moment")
		snapshotOf := func(table *rules.Table) *state.Snapshot {
			s := state.New(table)
			s.ExpireWaivers(now)
			replaceAll(t, s, 1, slices.Values(pods))
			return s.SnapshotWithViolations()
		}
		before := snapshotOf(table)
		for i := range rapid.IntRange(1, 3).Draw(t, "waivers") {
			text := fmt.Sprintf("apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers:\n  - {id: w%d, reason: r, expires: %s, %s}\n", i,
				momentGen.Draw(t, "expires").Format(time.RFC3339Nano),
				rapid.SampledFrom([]string{"namespace: shop", `namespace: "*"`, `pod: "a*"`, `pod: "b*", check: c0`, "container: c0", "container: c1, check: [c0, c1]", "labels: {team: a}", "check: c1"}).Draw(t, "waiver"))
			with, err := table.WithWaivers("waivers", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			after := snapshotOf(with)
			noWorse(t, table, "cluster", before.Cluster, after.Cluster)
			if len(before.Namespaces) != len(after.Namespaces) {
				t.Fatalf("%d namespaces became %d", len(before.Namespaces), len(after.Namespaces))
			}
			for i := range before.Namespaces {
				was, is := before.Namespaces[i], after.Namespaces[i]
				if was.Name != is.Name || was.TotalPods != is.TotalPods || was.Unevaluated != is.Unevaluated {
					t.Fatalf("namespace %+v became %+v", was, is)
				}
				if noWorse(t, table, was.Name,
					func() (state.Scores, bool) { return was.Scores(table) },
					func() (state.Scores, bool) { return is.Scores(with) }) {
					better++
				}
			}
			if len(viewOf(before).Violations)+len(viewOf(before).Waived) != len(viewOf(after).Violations)+len(viewOf(after).Waived) {
				t.Fatalf("%d violations and %d waived ones became %d and %d", len(viewOf(before).Violations), len(viewOf(before).Waived), len(viewOf(after).Violations), len(viewOf(after).Waived))
			}
			table, before = with, after
		}
	})
	if better == 0 {
		t.Error("no waiver improved a score: the test compares nothing")
	}
}

// noWorse fails if scores became worse, and returns whether they became better.
func noWorse(t *rapid.T, table *rules.Table, of string, before, after func() (state.Scores, bool)) bool {
	was, had := before()
	is, has := after()
	if had != has || is.Score > was.Score || is.Compliance < was.Compliance || table.GradeIndex(is.Grade) > table.GradeIndex(was.Grade) {
		t.Fatalf("%s: scores %v, %t became %v, %t", of, was, had, is, has)
	}
	return is.Score < was.Score
}

// drawTable draws a table of two to four checks of containers or of the pod itself.
func drawTable(t *rapid.T) *rules.Table {
	text := "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: random}\nchecks:\n"
	for i := range rapid.IntRange(2, 4).Draw(t, "checks") {
		text += fmt.Sprintf("  - {id: c%d, weight: %d, severity: %s, %s}\n", i, rapid.IntRange(1, 1000).Draw(t, "weight"),
			rapid.SampledFrom(rules.Severities()).Draw(t, "severity"), rapid.SampledFrom([]string{
				`forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}`,
				`forEach: spec.containers, violation: {path: livenessProbe, operator: absent}`,
				`forEach: spec.containers, when: {path: livenessProbe, operator: exists}, violation: {path: readinessProbe, operator: absent}`,
				`forEach: [spec.containers, 'spec.containers.#(name=="c0")#'], violation: {path: readinessProbe, operator: absent}`,
				`violation: {path: metadata.labels.team, operator: exists}`,
				`when: {path: status.phase, operator: equals, value: Running}, violation: {path: spec.containers.#, operator: greaterThan, value: 1}`,
			}).Draw(t, "check"))
	}
	text += "grades: [{name: A, min: 50, maxSeverity: medium}, {name: B, min: 30, maxSeverity: high}, {name: C, min: 0}]\n"
	table, err := rules.Load("random", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}
