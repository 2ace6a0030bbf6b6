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
	stats, err := dump.ReadPath(ctx, a.options.Replay, a.options.Stdin, func(event dump.Event) error {
		pod := state.Pod{Namespace: event.Namespace, Name: event.Name, UID: event.UID}
		if event.Op == dump.Delete {
			recorded.Delete(pod)
			return nil
		}
		if _, err := recorded.Observe(pod, event.JSON); err != nil {
			return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
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
	a.evaluator.Adopt(recorded, time.Since(started))
	return nil
}
