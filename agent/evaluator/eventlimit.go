package evaluator

import (
	"errors"
	"maps"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
)

const (
	// maxPodEvents is how many events of one pod are logged in any period. A pod that flaps between two sets of violations
	// would fill the log. A token bucket does not serve for that: it allows twice as many in some periods.
	maxPodEvents   = 6
	podEventPeriod = time.Minute
	// maxLimitedPods bounds the memory of the limit to some 3 MB. The events of further pods are not limited.
	maxLimitedPods = 10_000
)

// errManyEvents means that an event of a pod is logged later, together with those that follow it.
var errManyEvents = errors.New("the pod has logged as many events as it may in a minute")

// An eventLimit bounds how many events of one pod are logged in any period, and counts the changes that got no event of
// their own. It is not safe for concurrent use.
type eventLimit struct {
	now    func() time.Time
	pods   map[state.Pod]*podEvents
	purged time.Time
}

// podEvents are the last events of one pod.
type podEvents struct {
	logged  []time.Time // at most maxPodEvents, the oldest first
	changes int         // since the last event
	at      time.Time   // of the last change
}

func newEventLimit(now func() time.Time) *eventLimit {
	return &eventLimit{now: now, pods: make(map[state.Pod]*podEvents)}
}

// changed counts a change of a pod, for which events are to be logged.
func (l *eventLimit) changed(pod state.Pod) {
	now, p := l.now(), l.pods[pod]
	if p == nil {
		if !l.hasRoom(now) {
			return
		}
		p = new(podEvents)
		l.pods[pod] = p
	}
	p.changes++
	p.at = now
}

// uncount takes back the last change of a pod, which is pending for another reason.
func (l *eventLimit) uncount(pod state.Pod) {
	if p := l.pods[pod]; p != nil {
		p.changes--
	}
}

// hasRoom reports whether one more pod can be limited. At most once a second, it drops pods that had no change for a period.
func (l *eventLimit) hasRoom(now time.Time) bool {
	if len(l.pods) >= maxLimitedPods && now.Sub(l.purged) >= time.Second {
		l.purged = now
		maps.DeleteFunc(l.pods, func(_ state.Pod, p *podEvents) bool { return now.Sub(p.at) >= podEventPeriod })
	}
	return len(l.pods) < maxLimitedPods
}

// allows reports whether so many events of a pod may be logged now.
func (l *eventLimit) allows(pod state.Pod, events int) bool {
	p := l.pods[pod]
	if p == nil {
		return true
	}
	recent := len(p.logged) + events - maxPodEvents // events that must be older than a period
	return recent <= 0 || l.now().Sub(p.logged[recent-1]) >= podEventPeriod
}

// logged counts events that are logged, and returns how many earlier changes got no event.
func (l *eventLimit) logged(pod state.Pod, events int) (suppressed int) {
	p := l.pods[pod]
	if p == nil {
		return 0
	}
	for range events {
		p.logged = append(p.logged, l.now())
	}
	p.logged = p.logged[max(0, len(p.logged)-maxPodEvents):]
	suppressed = max(0, p.changes-1)
	p.changes = 0
	return suppressed
}
