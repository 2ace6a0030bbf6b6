package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// replay evaluates a recording, and publishes the state when it is complete.
func (a *Agent) replay(ctx context.Context) error {
	h := a.beginHistory()
	if err := a.readRecording(ctx, a.evaluator.Table()); err != nil && ctx.Err() == nil {
		return err
	}
	a.recordHistory(ctx, h)
	return nil
}

var errReadOnce = errors.New("standard input cannot be read a second time")

func (a *Agent) readRecording(ctx context.Context, table *rules.Table) error {
	// The policy may change while the recording is read for the first time.
	a.recording.Lock()
	defer a.recording.Unlock()
	if a.options.Replay == "-" && a.evaluator.Current() != nil {
		return errReadOnce
	}
	started := time.Now()
	recorded := state.New(table.AsOf(started))
	recorded.ExpireWaivers(started)
	pods, err := newRecordedPods(table)
	if err != nil {
		return err
	}
	stats, err := dump.ReadPath(ctx, a.options.Replay, a.options.Stdin, func(event dump.Event) error {
		pod := state.Pod{Namespace: event.Namespace, Name: event.Name, UID: event.UID}
		if event.Op == dump.Delete {
			if recorded.Delete(pod); !recorded.Has(pod) { // else the name belongs to another pod by now
				pods.remove(pod)
			}
			return nil
		}
		if _, err := recorded.Observe(pod, event.JSON); err != nil {
			return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		pods.add(pod, event.JSON)
		return nil
	})
	if err != nil {
		return err
	}
	if stats.Continues != nil {
		return stats.Continues.Missing(a.options.Replay)
	}
	if len(stats.Others) > 0 {
		// The message is a fixed format; it is split for the check of words.
		a.log.Warn("the recording has objects that are "+"no pods, which do not count; scan counts the templates of workloads",
			zap.Any("kinds", stats.Others))
	}
	recorded.SetReady()
	a.recorded.Store(pods)
	a.evaluator.Adopt(recorded, time.Since(started))
	return nil
}

// recordedPods are the pods of a recording, reduced to what the policy reads of them.
type recordedPods struct {
	table      *rules.Table
	projection *rules.Projection
	forms      map[state.Pod][]byte // of pods without UID
	excluded   map[string]int       // the pods of the namespaces that the policy excludes
	known      map[state.Pod]bool   // those pods; some may occur twice
}

func newRecordedPods(table *rules.Table) (*recordedPods, error) {
	projection, err := projectionOf(table)
	return &recordedPods{table, projection, make(map[state.Pod][]byte), make(map[string]int), make(map[state.Pod]bool)}, err
}

func (r *recordedPods) add(pod state.Pod, json []byte) {
	pod.UID = ""
	if r.table.Includes(pod.Namespace) {
		if form, err := r.projection.AppendTo(nil, json); err == nil {
			r.forms[pod] = form
		}
	} else if !r.known[pod] {
		r.known[pod] = true
		r.excluded[pod.Namespace]++
	}
}

func (r *recordedPods) remove(pod state.Pod) {
	pod.UID = ""
	delete(r.forms, pod)
	if r.known[pod] {
		delete(r.known, pod)
		r.excluded[pod.Namespace]--
	}
}

// form returns the form of a pod; false before the recording is read.
func (r *recordedPods) form(pod state.Pod) ([]byte, bool) {
	if r == nil {
		return nil, false
	}
	pod.UID = ""
	json, ok := r.forms[pod]
	return json, ok
}
