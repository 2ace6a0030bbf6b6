package state_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

func annotatedTable(t *testing.T) *rules.Table {
	t.Helper()
	table, err := rules.Load("table", []byte(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: t}
checks: [{id: latest_tag, weight: 5, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}]
annotationWaivers: {checks: [latest_tag], maxDays: 90}
`))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// annotated is the JSON of a pod that was created on 2030-01-01, with a violation of latest_tag.
func annotated(lines string) []byte {
	return fmt.Appendf(nil, `{"metadata":{"creationTimestamp":"2030-01-01T00:00:00Z","annotations":{"kube-devops.io/waive":%q}},"spec":{"containers":[{"name":"c","image":"a"}]}}`, lines)
}

// TestAnnotationWaiverExpires: the state knows when the annotations of its present pods expire, whichever pods come, change and go.
func TestAnnotationWaiverExpires(t *testing.T) {
	s := state.New(annotatedTable(t))
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s.ExpireWaivers(start)
	pod := func(name string) state.Pod { return state.Pod{Namespace: "shop", Name: name} }
	const accepted = "latest_tag expires 2030-01-31: r"
	for name, lines := range map[string]string{
		"a": accepted, "b": accepted, "later": "latest_tag expires 2030-02-10: r", "gone": "latest_tag expires 2030-01-10: r",
		"changed": accepted, "none": "", "far": "latest_tag expires 2031-01-01: r",
	} {
		observe(t, s, pod(name), annotated(lines))
	}
	counts := func() (violations, waived int) {
		m := s.Snapshot().Totals()
		return m.Violations[0], m.Waived[0]
	}
	step := func(what string, violations, waived int, next string) {
		t.Helper()
		if v, w := counts(); v != violations || w != waived {
			t.Errorf("%s: %d violations and %d waived, want %d and %d", what, v, w, violations, waived)
		}
		got := ""
		if at, ok := s.NextExpiry(); ok {
			got = at.Format(time.DateOnly)
		}
		if got != next {
			t.Errorf("%s: the next waiver expires at %q, want %q", what, got, next)
		}
	}
	step("at first", 2, 5, "2030-01-10")
	s.Delete(pod("gone"))
	step("a pod is gone", 2, 4, "2030-01-31")
	// A change of the annotation is a transition, as a change of the image is.
	if tr, err := s.Observe(pod("changed"), annotated("")); err != nil || !tr.Changed() {
		t.Errorf("transition %+v of a pod that lost its annotation: %v", tr, err)
	}
	step("an annotation is gone", 3, 3, "2030-01-31")
	if changes := s.ExpireWaivers(time.Date(2030, 1, 30, 23, 59, 59, 0, time.UTC)); changes != nil {
		t.Errorf("changes %v before the day", changes)
	}
	var changed []string
	for _, c := range s.ExpireWaivers(time.Date(2030, 1, 31, 0, 0, 0, 0, time.UTC)) {
		changed = append(changed, c.Name)
	}
	if diff := cmp.Diff([]string{"a", "b"}, changed); diff != "" {
		t.Errorf("pods that fail again (-want +got):\n%s", diff)
	}
	step("on the day", 5, 1, "2030-02-10")
	if got := texts(s.SnapshotWithViolations()); len(got) != 1 || !strings.Contains(got[0], "shop/far: line 1 of annotation") {
		t.Errorf("mistakes %q", got)
	}
	s.ExpireWaivers(start.AddDate(1, 0, 0))
	step("a year later, the date that was too far away has not become acceptable", 6, 0, "")
	// The same from scratch.
	fresh := state.New(annotatedTable(t))
	fresh.ExpireWaivers(start.AddDate(1, 0, 0))
	if _, err := fresh.Replace(context.Background(), 2, slices.Values([]state.Observation{
		{Pod: pod("a"), JSON: annotated(accepted)}, {Pod: pod("b"), JSON: annotated(accepted)}, {Pod: pod("later"), JSON: annotated("latest_tag expires 2030-02-10: r")},
		{Pod: pod("changed"), JSON: annotated("")}, {Pod: pod("none"), JSON: annotated("")}, {Pod: pod("far"), JSON: annotated("latest_tag expires 2031-01-01: r")},
	})); err != nil {
		t.Fatal(err)
	}
	if differ := s.Differences(fresh); differ != nil {
		t.Errorf("differs from the state computed from scratch in %v", differ)
	}
}

func texts(snap *state.Snapshot) []string {
	var texts []string
	for m := range snap.Mistakes() {
		texts = append(texts, m.Namespace+"/"+m.Name+": "+m.Text)
	}
	return texts
}

// TestAnnotatedPodsShareVerdicts: pods with equal annotations take as little memory as pods with one waiver of the table.
func TestAnnotatedPodsShareVerdicts(t *testing.T) {
	s := state.New(annotatedTable(t))
	for i := range 100 {
		observe(t, s, state.Pod{Namespace: "shop", Name: fmt.Sprint(i)}, annotated("latest_tag expires 2030-01-31: r\nx"))
	}
	first := (*rules.Waiver)(nil)
	for v := range s.SnapshotWithViolations().Waived() {
		if first == nil {
			first = v.Waiver
		}
		if v.Waiver != first {
			t.Fatal("two pods with equal annotations have two waivers in memory")
		}
	}
	if got := texts(s.SnapshotWithViolations()); first == nil || len(got) != 100 {
		t.Errorf("waiver %v, mistakes %q", first, got)
	}
}
