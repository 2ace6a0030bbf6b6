package history

import (
	"slices"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// MaxChanges is how many changes a history keeps.
const MaxChanges = 200

// A Change is one check that a pod began to violate, or violates no more.
type Change struct {
	Time           time.Time
	Namespace, Pod string
	// Workload is the object that creates the pod, as Deployment/web; empty if it is not known.
	Workload string
	// Check is the id of the check, Severity what it had then.
	Check    string
	Severity rules.Severity
	// Opened says that the violation began; else it was resolved.
	Opened bool
	Cause  Cause
}

// A Cause is why violations changed.
type Cause int

const (
	// PodChanged means that the pod is new, or not as before.
	PodChanged Cause = iota
	// PodGone means that the pod was deleted.
	PodGone
	// WaiverExpired means that the violations count again.
	WaiverExpired
)

// changes are the last ones, in a ring.
type changes struct {
	ring []Change
	next int // where the oldest one is, once the ring is full
	all  int // all changes, including those that the ring has no more
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

// Observe adds what a transition of a pod opened and resolved, both in the order of the table. workload may be empty: a pod that has
// gone has the workload of its last change.
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

// workloadOf finds the workload of a pod in its last change.
func (c *changes) workloadOf(pod state.Pod) string {
	for i := range c.ring {
		if change := &c.ring[i]; change.Pod == pod.Name && change.Namespace == pod.Namespace && change.Workload != "" {
			return change.Workload
		}
	}
	return ""
}

// Changes returns the last changes, the newest first, and how many earlier ones of the term are not kept.
func (h *History) Changes() (last []Change, earlier int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.changes
	last = slices.Concat(c.ring[c.next:], c.ring[:c.next])
	slices.Reverse(last)
	return last, c.all - len(last)
}
