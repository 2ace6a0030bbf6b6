package agent

import (
	"context"
	"time"

	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/history"
	"github.com/kube-devops/kube-devops/rules"
)

// recordEvery is the time between two snapshots for the history. It is less than the period of the history, so that a point is
// close to the beginning of its period, and a new namespace has its first one soon.
const recordEvery = time.Minute

// beginHistory makes the history of a term, which is empty.
func (a *Agent) beginHistory() *history.History {
	h := history.New(time.Now())
	a.history.Store(h)
	return h
}

// recordHistory adds the scores to the history until ctx is done.
func (a *Agent) recordHistory(ctx context.Context, h *history.History) {
	ticker := time.NewTicker(recordEvery)
	defer ticker.Stop()
	for {
		if st := a.evaluator.Current(); st != nil {
			h.Record(time.Now(), st.Snapshot())
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// noteChange adds a change of a pod to the history. The evaluator calls it within a term.
func (a *Agent) noteChange(c evaluator.Change) {
	h := a.history.Load()
	if h == nil {
		return
	}
	cause, workload := history.PodChanged, ""
	form := c.JSON
	switch {
	case c.Expired:
		cause = history.WaiverExpired
		if a.watch != nil {
			_, form, _ = a.lookup(c.Pod)
		}
	case form == nil:
		cause = history.PodGone
	}
	if form != nil {
		workload = workloadOf(form, c.Name)
	}
	h.Observe(time.Now(), c.Table, c.Change, workload, cause)
}

// workloadOf is the workload of a pod, which is the pod itself if no object has created it.
func workloadOf(json []byte, pod string) string {
	of := rules.WorkloadOf(json)
	if of == (rules.Workload{}) {
		of = rules.Workload{Kind: "Pod", Name: pod}
	}
	return of.Kind + "/" + of.Name
}

// notePolicy notes in the history that the policy has changed.
func (a *Agent) notePolicy() {
	if h := a.history.Load(); h != nil {
		h.ReplacePolicy(time.Now())
	}
}
