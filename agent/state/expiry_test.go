package state_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// TestWaiverExpires: violations count again from exactly the time at which their waiver expires.
func TestWaiverExpires(t *testing.T) {
	table, err := rules.Load("table", []byte(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: t}
checks:
  - {id: latest_tag, weight: 5, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
  - {id: missing_liveness, weight: 3, forEach: spec.containers, violation: {path: livenessProbe, operator: absent}}
waivers:
  - {id: day, reason: r, expires: 2030-01-01, check: latest_tag}
  - {id: later, reason: r, expires: 2030-02-01T12:00:00+02:00, container: c1}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := state.New(table)
	for _, name := range []string{"b", "a"} {
		observe(t, s, state.Pod{Namespace: "shop", Name: name, UID: "1"}, podJSON(container{latest: true}, container{latest: true, noLiveness: true}))
	}
	observe(t, s, state.Pod{Namespace: "shop", Name: "clean", UID: "1"}, podJSON(container{}, container{}))
	day, later := base, time.Date(2030, 2, 1, 10, 0, 0, 0, time.UTC)
	change := func(name string, before, after []int) state.Change {
		return state.Change{Pod: state.Pod{Namespace: "shop", Name: name}, Transition: state.Transition{Before: before, After: after}}
	}
	waived := state.LiveMetrics{TotalPods: 3, Violations: []int{0, 0}, Subjects: []int{2, 4}, Waived: []int{4, 2}}
	halfWaived := state.LiveMetrics{TotalPods: 3, Violations: []int{2, 0}, Subjects: []int{4, 4}, Waived: []int{2, 2}}
	counted := state.LiveMetrics{TotalPods: 3, Violations: []int{4, 2}, Subjects: []int{6, 6}, Waived: []int{0, 0}}
	steps := []struct {
		name    string
		now     time.Time
		changes []state.Change
		counts  state.LiveMetrics
		next    time.Time
		scores  state.Scores
	}{
		// The violation of latest_tag in c1 has both waivers; the one that expires last counts.
		{"the zero time", time.Time{}, nil, state.LiveMetrics{TotalPods: 3, Violations: []int{0, 0}, Subjects: []int{2, 4}, Waived: []int{4, 2}}, day, state.Scores{Score: 0, Compliance: 100, Grade: "Healthy"}},
		{"a nanosecond before", day.Add(-1), nil, waived, day, state.Scores{Score: 0, Compliance: 100, Grade: "Healthy"}},
		{"on the day", day, []state.Change{change("a", nil, []int{0}), change("b", nil, []int{0})}, halfWaived, later, state.Scores{Score: 10.0 / 3, Compliance: 68.75, Grade: "Stable"}},
		{"back before the day", day.Add(-1), nil, halfWaived, later, state.Scores{Score: 10.0 / 3, Compliance: 68.75, Grade: "Stable"}},
		{"the same moment again", day, nil, halfWaived, later, state.Scores{Score: 10.0 / 3, Compliance: 68.75, Grade: "Stable"}},
		{"a nanosecond before the other", later.Add(-1), nil, halfWaived, later, state.Scores{Score: 10.0 / 3, Compliance: 68.75, Grade: "Stable"}},
		{"at the other, in another zone", later.In(time.FixedZone("", 7200)), []state.Change{change("a", []int{0}, []int{0, 1}), change("b", []int{0}, []int{0, 1})}, counted, time.Time{}, state.Scores{Score: 26.0 / 3, Compliance: 100 * 22.0 / 48, Grade: "Degraded"}},
		{"a year after", later.AddDate(1, 0, 0), nil, counted, time.Time{}, state.Scores{Score: 26.0 / 3, Compliance: 100 * 22.0 / 48, Grade: "Degraded"}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			if diff := cmp.Diff(step.changes, s.ExpireWaivers(step.now)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			snap := s.SnapshotWithViolations()
			if diff := cmp.Diff([]state.NamespaceSnapshot{{Name: "shop", LiveMetrics: step.counts}}, snap.Namespaces); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if got, ok := s.NextExpiry(); !got.Equal(step.next) || ok == step.next.IsZero() {
				t.Errorf("the next waiver expires at %v, %t; want %v", got, ok, step.next)
			}
			if got, ok := snap.Cluster(); !ok || got != step.scores {
				t.Errorf("scores %v, %t; want %v", got, ok, step.scores)
			}
			sum := func(of []int) int { return of[0] + of[1] }
			if listed := viewOf(snap); len(listed.Violations) != sum(step.counts.Violations) || len(listed.Waived) != sum(step.counts.Waived) {
				t.Errorf("%d violations and %d waived ones are listed", len(listed.Violations), len(listed.Waived))
			}
		})
	}
}

// TestSkippedPods follows pods that become excluded and included.
func TestSkippedPods(t *testing.T) {
	s := state.New(acceptingTable(t))
	pod := func(name string) state.Pod { return state.Pod{Namespace: "zoo", Name: name, UID: "1"} }
	json := func(more string) []byte {
		return []byte(`{` + more + string(podJSON(container{noLiveness: true, latest: true})[1:]))
	}
	finished, terminating := json(`"status":{"phase":"Failed"},`), json(`"metadata":{"deletionTimestamp":"2030-01-01T00:00:00Z"},`)
	s.ExpireWaivers(base.Add(time.Hour))
	steps := []struct {
		name       string
		do         func() state.Transition
		want       state.Transition
		skipped    map[string]int
		namespaces int
	}{
		{"an excluded pod", func() state.Transition { return observe(t, s, pod("a"), finished) }, state.Transition{}, map[string]int{"finished": 1}, 0},
		{"an included pod", func() state.Transition { return observe(t, s, pod("b"), json("")) }, state.Transition{After: []int{0, 1}}, map[string]int{"finished": 1}, 1},
		{"it terminates", func() state.Transition { return observe(t, s, pod("b"), terminating) }, state.Transition{Before: []int{0, 1}}, map[string]int{"finished": 1, "terminating": 1}, 0},
		{"another reason", func() state.Transition { return observe(t, s, pod("a"), terminating) }, state.Transition{}, map[string]int{"terminating": 2}, 0},
		{"it cannot be evaluated", func() state.Transition {
			transition, err := s.Observe(pod("a"), truncated)
			if err == nil {
				t.Error("a truncated pod was evaluated")
			}
			return transition
		}, state.Transition{}, map[string]int{"terminating": 1}, 1},
		{"it is included", func() state.Transition { return observe(t, s, pod("a"), json("")) }, state.Transition{After: []int{0, 1}}, map[string]int{"terminating": 1}, 1},
		{"the other is deleted", func() state.Transition { return s.Delete(pod("b")) }, state.Transition{}, map[string]int{}, 1},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, step.do()); diff != "" {
			t.Errorf("%s: transition (-want +got):\n%s", step.name, diff)
		}
		snap := s.Snapshot()
		if diff := cmp.Diff(step.skipped, snap.Skipped); diff != "" || len(snap.Namespaces) != step.namespaces {
			t.Errorf("%s: %d namespaces, skipped (-want +got):\n%s", step.name, len(snap.Namespaces), diff)
		}
	}
}

// TestConcurrentExpiry has goroutines that change pods and replace all of them while waivers expire. The state at the end is
// that of the remaining pods at the last time.
func TestConcurrentExpiry(t *testing.T) {
	p := policy{table: acceptingTable(t), skips: true, waivers: acceptedBy}
	s := state.New(p.table)
	json := func(name string, i int) []byte {
		phase := []string{"Running", "Running", "Failed"}[i%3]
		return []byte(fmt.Sprintf(`{"metadata":{"namespace":"shop","name":%q,"labels":{"team":"a"}},"status":{"phase":%q},%s`,
			name, phase, podJSON(container{i%2 == 0, true, i%5 == 0}, container{latest: true})[1:]))
	}
	name := func(w, i int) string { return fmt.Sprintf("w%d-%d", w, i%4) }
	var working, passing sync.WaitGroup
	for w := range 4 {
		working.Go(func() {
			for i := range 40 {
				pod := state.Pod{Namespace: "shop", Name: name(w, i)}
				if i%7 == 3 {
					s.Delete(pod)
				} else if _, err := s.Observe(pod, json(pod.Name, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	last := base.Add(25 * time.Minute)
	for range 2 {
		passing.Go(func() {
			for now := base.Add(-time.Minute); !now.After(last); now = now.Add(time.Minute) {
				s.ExpireWaivers(now)
				snap := s.SnapshotWithViolations()
				totals, listed, waived := snap.Totals(), make([]int, 3), make([]int, 3)
				for v := range snap.Violations() {
					listed[v.Check]++
				}
				for v := range snap.Waived() {
					waived[v.Check]++
				}
				if !slices.Equal(totals.Violations, listed) || !slices.Equal(totals.Waived, waived) {
					t.Errorf("%v violations are counted and %v listed, %v and %v waived", totals.Violations, listed, totals.Waived, waived)
				}
			}
		})
	}
	working.Wait()
	// This list of the same pods is evaluated while waivers still expire.
	scratch := make(model)
	var list []state.Observation
	for w := range 4 {
		for i := range 4 {
			pod := state.Pod{Namespace: "shop", Name: name(w, i)}
			list = append(list, state.Observation{Pod: pod, JSON: json(pod.Name, i)})
			scratch[podKey{pod.Namespace, pod.Name}] = modelPod{json: string(json(pod.Name, i))}
		}
	}
	replaceAll(t, s, 2, slices.Values(list))
	passing.Wait()
	if diff := cmp.Diff(scratch.snapshotAt(p, last), viewOf(s.SnapshotWithViolations()), sameTable, sameWaiver); diff != "" {
		t.Errorf("state (-scratch +live):\n%s", diff)
	}
}

// later returns a time with a later monotonic reading but the same date, as after the wall clock was set back.
func later(t time.Time, by time.Duration) time.Time {
	parts := (*struct {
		wall, monotonic uint64
		zone            *time.Location
	})(unsafe.Pointer(&t))
	parts.monotonic += uint64(by)
	return t
}

// TestClockSetBack: an expired waiver stays expired when the wall clock is set back, also for pods observed afterwards.
func TestClockSetBack(t *testing.T) {
	now := time.Now()
	if back := later(now, time.Hour); back.Sub(now) != time.Hour || !back.Round(0).Equal(now.Round(0)) {
		t.Fatalf("time.Time no longer has the fields that this test relies on: %v and %v", now, back)
	}
	table, err := rules.Load("table", fmt.Appendf(nil, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: t}
checks:
  - {id: latest_tag, weight: 5, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
waivers:
  - {id: hour, reason: r, expires: %s, check: latest_tag}
`, now.Add(time.Hour).UTC().Format(time.RFC3339)))
	if err != nil {
		t.Fatal(err)
	}
	s := state.New(table)
	s.ExpireWaivers(now)
	observe(t, s, state.Pod{Namespace: "shop", Name: "a"}, podJSON(container{latest: true}))
	s.ExpireWaivers(now.Add(2 * time.Hour))
	s.ExpireWaivers(later(now, 3*time.Hour))
	observe(t, s, state.Pod{Namespace: "shop", Name: "b"}, podJSON(container{latest: true}))
	want := state.LiveMetrics{TotalPods: 2, Violations: []int{2}, Subjects: []int{2}, Waived: []int{0}}
	if diff := cmp.Diff([]state.NamespaceSnapshot{{Name: "shop", LiveMetrics: want}}, s.Snapshot().Namespaces); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
