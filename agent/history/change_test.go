package history

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
)

var opened = state.Transition{After: []int{0}}

func TestChanges(t *testing.T) {
	pod := state.Pod{Namespace: "shop", Name: "web-1", UID: "1"}
	tests := []struct {
		name       string
		transition state.Transition
		want       []string // the newest first
	}{
		{name: "opened", transition: state.Transition{After: []int{0, 1}}, want: []string{"+second", "+first"}},
		{name: "resolved", transition: state.Transition{Before: []int{0, 1}}, want: []string{"-second", "-first"}},
		{name: "another check", transition: state.Transition{Before: []int{0}, After: []int{1}}, want: []string{"+second", "-first"}},
		{name: "recreated", transition: state.Transition{Before: []int{0}, After: []int{0}, Recreated: true}, want: []string{"+first", "-first"}},
		{name: "the same", transition: state.Transition{Before: []int{0}, After: []int{0}}},
		{name: "clean and recreated", transition: state.Transition{Recreated: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			policy, h := table(t), New(start)
			h.Observe(start, policy, state.Change{Pod: pod, Transition: test.transition}, "Deployment/web", PodChanged)
			last, earlier := h.Changes()
			var got []string
			for _, change := range last {
				sign := "-"
				if change.Opened {
					sign = "+"
				}
				got = append(got, sign+change.Check)
				if change.Namespace != "shop" || change.Pod != "web-1" || change.Workload != "Deployment/web" || !change.Time.Equal(start) {
					t.Errorf("%+v", change)
				}
			}
			if !slices.Equal(got, test.want) || earlier != 0 {
				t.Errorf("%v and %d earlier ones, want %v", got, earlier, test.want)
			}
		})
	}
}

// TestChangesAreTheLast checks that the ring keeps the last changes in order, and counts the others.
func TestChangesAreTheLast(t *testing.T) {
	policy, h := table(t), New(start)
	const all = 2*MaxChanges + 17
	for i := range all {
		h.Observe(start.Add(time.Duration(i)*time.Second), policy, state.Change{
			Pod: state.Pod{Namespace: "shop", Name: fmt.Sprint(i)}, Transition: opened,
		}, "", PodChanged)
		last, earlier := h.Changes()
		if len(last) != min(i+1, MaxChanges) || earlier != i+1-len(last) {
			t.Fatalf("after %d changes there are %d and %d earlier ones", i+1, len(last), earlier)
		}
		for k, change := range last {
			if change.Pod != fmt.Sprint(i-k) {
				t.Fatalf("after %d changes, the pod of number %d is %s", i+1, k, change.Pod)
			}
		}
	}
}

// TestWorkloadOfDeletedPod checks that a deleted pod has the workload of its last change.
func TestWorkloadOfDeletedPod(t *testing.T) {
	policy, h := table(t), New(start)
	pod := state.Pod{Namespace: "shop", Name: "web-1"}
	h.Observe(start, policy, state.Change{Pod: pod, Transition: opened}, "Deployment/web", PodChanged)
	h.Observe(start, policy, state.Change{Pod: state.Pod{Namespace: "other", Name: "web-1"}, Transition: opened}, "Deployment/other", PodChanged)
	h.Observe(start, policy, state.Change{Pod: pod, Transition: state.Transition{Before: []int{0}}}, "", PodGone)
	if last, _ := h.Changes(); last[0].Workload != "Deployment/web" || last[0].Cause != PodGone {
		t.Errorf("the change of the deleted pod is %+v", last[0])
	}
}
