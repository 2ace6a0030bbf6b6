package evaluator

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/state"
)

// A PublishFunc gives permission to publish: it calls publish at most once, or returns why it did not.
type PublishFunc func(ctx context.Context, publish func(ctx context.Context) error) error

// An eventLog logs what changed in the violations of pods, in the order of the changes of each pod. Changes that cannot be
// logged when they happen stay pending, and are logged later as one change of the pod.
type eventLog struct {
	log *zap.Logger

	// mu is held while events are logged, and may block for as long as the log does. It is never taken with the term held.
	mu      sync.Mutex
	pending map[state.Pod]pendingEvents // of pods without UID
	limit   *eventLimit                 // of pods without UID
}

// pendingEvents is what changed in the violations of a pod since its last event, and the state that the change is of.
type pendingEvents struct {
	state.Transition
	of *state.ClusterState
}

func newEventLog(log *zap.Logger) *eventLog {
	return &eventLog{log: log, pending: make(map[state.Pod]pendingEvents), limit: newEventLimit(time.Now)}
}

// add logs a change of a pod, together with what is pending of it. Without permission the change is pending.
func (l *eventLog) add(ctx context.Context, publish PublishFunc, st *state.ClusterState, pod state.Pod, t state.Transition) {
	if !t.Changed() {
		return // what is pending stays as it is
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	pod.UID = ""
	if waiting, ok := l.pending[pod]; ok && waiting.of == st {
		t.Before, t.Recreated = waiting.Before, waiting.Recreated || t.Recreated
	}
	l.limit.changed(pod)
	err := l.write(ctx, publish, st, pod, t)
	if err == nil {
		delete(l.pending, pod)
		return
	}
	l.pending[pod] = pendingEvents{t, st}
	if !errors.Is(err, errManyEvents) {
		l.limit.uncount(pod) // without permission changes are merged, and none of them is suppressed
	}
}

// flush logs what is pending. Changes of an earlier state are dropped: they are in the summary of the state that took its
// place or, when the term has ended, in that of the next leader.
func (l *eventLog) flush(ctx context.Context, publish PublishFunc, current *state.ClusterState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.pending, func(_ state.Pod, p pendingEvents) bool { return p.of != current })
	byName := func(a, b state.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	}
	for _, pod := range slices.SortedFunc(maps.Keys(l.pending), byName) {
		switch err := l.write(ctx, publish, current, pod, l.pending[pod].Transition); {
		case err == nil:
			delete(l.pending, pod)
		case !errors.Is(err, errManyEvents): // without permission, which no other pod has either
			return
		}
	}
}

// write logs a change of a pod, if permission and the limit allow it. The lock is held, so that events of one pod keep
// their order.
func (l *eventLog) write(ctx context.Context, publish PublishFunc, st *state.ClusterState, pod state.Pod, t state.Transition) error {
	if !t.Changed() {
		return nil
	}
	resolved, violated := len(t.Before) > 0 && (t.Recreated || len(t.After) == 0), len(t.After) > 0
	events := 1
	if resolved && violated {
		events = 2
	}
	if !l.limit.allows(pod, events) {
		return errManyEvents
	}
	write := func(context.Context) error {
		suppressed := l.limit.logged(pod, events)
		if resolved {
			l.event(st, "policy violation resolved", "policy_violation_resolved", pod, t.Before, suppressed)
			suppressed = 0
		}
		if violated {
			l.event(st, "policy violation", "policy_violation", pod, t.After, suppressed)
		}
		return nil
	}
	if publish == nil {
		return write(ctx)
	}
	return publish(ctx, write)
}

// event logs one event. Suppressed is the number of earlier changes of the pod that were not logged.
func (l *eventLog) event(st *state.ClusterState, message, event string, pod state.Pod, checks []int, suppressed int) {
	ids := make([]string, len(checks))
	for i, check := range checks {
		ids[i] = st.Table().Checks()[check].ID
	}
	fields := []zap.Field{zap.String("event", event), zap.String("namespace", pod.Namespace),
		zap.String("pod", pod.Name), zap.Strings("violations", ids)}
	if suppressed > 0 {
		fields = append(fields, zap.Int("suppressed", suppressed))
	}
	l.log.Info(message, fields...)
}
