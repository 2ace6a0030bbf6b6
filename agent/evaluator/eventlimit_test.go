package evaluator

import (
	"fmt"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/logtest"
	"github.com/kube-devops/kube-devops/agent/state"
)

// TestPodThatFlaps changes the violations of one pod each second: in no minute are there more than 6 events of it, the last
// event is the state of the pod, and all events together account for every change. Another pod is not held up.
func TestPodThatFlaps(t *testing.T) {
	log := new(logtest.Buffer)
	e := newTestEvaluator(t, logtest.Logger(log), nil)
	now := time.Unix(1e9, 0)
	e.events.limit = newEventLimit(func() time.Time { return now })
	flapping, other := state.Pod{Namespace: "default", Name: "flapping"}, state.Pod{Namespace: "default", Name: "other"}
	e.Begin(t.Context(), observations())

	var at []time.Time // of the events of the flapping pod
	changes, accounted := 0, 0
	var last map[string]any
	read := 0
	collect := func() {
		events := log.Events(t)
		for _, event := range events[read:] {
			if event["pod"] != "flapping" {
				continue
			}
			at, last = append(at, now), event
			suppressed, _ := event["suppressed"].(float64)
			accounted += 1 + int(suppressed)
		}
		read = len(events)
	}
	for second := range 150 {
		if second < 101 { // an odd number: it ends with a violation
			form := podJSON(latest)
			if second%2 == 1 {
				form = podJSON(clean)
			}
			e.apply(flapping, form)
			changes++
		}
		if second == 30 {
			before := len(log.Events(t))
			e.apply(other, podJSON(latest))
			if got := len(log.Events(t)); got != before+1 {
				t.Errorf("%d events of a pod that changed once, want 1", got-before)
			}
		}
		e.events.flush(t.Context(), e.Publish, e.Current())
		collect()
		now = now.Add(time.Second)
	}
	now = now.Add(time.Minute)
	e.events.flush(t.Context(), e.Publish, e.Current())
	collect()
	for i := maxPodEvents; i < len(at); i++ {
		if between := at[i].Sub(at[i-maxPodEvents]); between < podEventPeriod {
			t.Errorf("events %d and %d are %s apart, want a minute", i-maxPodEvents, i, between)
		}
	}
	if len(at) < maxPodEvents || len(at) > 4*maxPodEvents {
		t.Errorf("%d events", len(at))
	}
	if last["event"] != "policy_violation" {
		t.Errorf("the last event is %v, and the pod has a violation", last)
	}
	if accounted != changes {
		t.Errorf("the events account for %d changes of %d", accounted, changes)
	}
	if len(e.events.pending) != 0 {
		t.Errorf("%d changes still wait", len(e.events.pending))
	}
}

// TestEventLimitIsBounded: pods beyond the bound are not limited and take no memory, and quiet pods make room.
func TestEventLimitIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := newEventLimit(func() time.Time { return now })
	pod := func(i int) state.Pod { return state.Pod{Namespace: "a", Name: fmt.Sprint(i)} }
	for i := range maxLimitedPods + 10 {
		for range maxPodEvents {
			l.changed(pod(i))
			l.logged(pod(i), 1)
		}
	}
	if len(l.pods) != maxLimitedPods {
		t.Errorf("%d pods are kept, want %d", len(l.pods), maxLimitedPods)
	}
	if l.allows(pod(0), 1) || !l.allows(pod(maxLimitedPods), 1) {
		t.Error("the first pod must be limited, and the one beyond the bound must not")
	}
	now = now.Add(podEventPeriod)
	l.changed(pod(maxLimitedPods))
	if len(l.pods) != 1 {
		t.Errorf("%d pods are kept after a quiet minute, want 1", len(l.pods))
	}
}
