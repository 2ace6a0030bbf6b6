package history

import (
	"slices"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// MaxChanges is the maximum number of changes that a history keeps.
const MaxChanges = 200

// A Change is a violation of a check by a pod that began or ended.
type Change struct {
	Time           time.Time
	Namespace, Pod string
	// Workload is the object that creates the pod, such as Deployment/web; empty if unknown.
	Workload string
	// Check is the id of the check, and Severity its severity at the time of the change.
	Check    string
	Severity rules.Severity
	// Opened is true if the violation began, and false if it was resolved.
	Opened bool
	Cause  Cause
}

// A Cause is the cause of a change.
type Cause int

const (
	// PodChanged means that the pod is new or was changed.
	PodChanged Cause = iota
	// PodGone means that the pod was deleted.
	PodGone
	// WaiverExpired means that the violations count again.
	WaiverExpired
)

// changes has the last changes, in a ring.
type changes struct {
	ring []Change
	next int // the index of the oldest change, if the ring is full
	all  int // the number of all changes, including those that were dropped
}

func (c *changes) add(change Change) {
	c.all++
	if len(c.ring) < MaxChanges {
		c.ring = append(c.ring, change)
		return
	}
	c.ring[c.next] = change
	c.next = (c.next + 1) % MaxChanges
}

// Observe adds the violations that a change of a pod resolved and opened, both in the order of the table. If workload is empty, as for a deleted
// pod, Observe uses the workload of the pod's last change.
func (h *History) Observe(now time.Time, table *rules.Table, change state.Change, workload string, cause Cause) {
	if !change.Changed() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if workload == "" {
		workload = h.changes.workloadOf(change.Pod)
	}
	add := func(checks, but []int, opened bool) {
		for _, i := range checks {
			if !change.Recreated && slices.Contains(but, i) {
				continue
			}
			check := &table.Checks()[i]
			h.changes.add(Change{now, change.Namespace, change.Name, workload, check.ID, check.Severity, opened, cause})
		}
	}
	add(change.Before, change.After, false)
	add(change.After, change.Before, true)
}

// workloadOf returns the workload of a pod from one of its changes; empty if there is none.
func (c *changes) workloadOf(pod state.Pod) string {
	for i := range c.ring {
		if change := &c.ring[i]; change.Pod == pod.Name && change.Namespace == pod.Namespace && change.Workload != "" {
			return change.Workload
		}
	}
	return ""
}

// Changes returns the last changes, newest first, and the number of earlier changes of the term that were dropped.
func (h *History) Changes() (last []Change, earlier int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.changes
	last = slices.Concat(c.ring[c.next:], c.ring[:c.next])
	slices.Reverse(last)
	return last, c.all - len(last)
}
