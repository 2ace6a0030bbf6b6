package election

import (
	"encoding/json"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// A observedLease is the Lease as this process last read or wrote it, and what that means for a write on top of it.
type observedLease struct {
	lease     *coordinationv1.Lease // nil: there is no such Lease
	raw       string                // equal for two sightings of which nobody wrote the spec in between
	own       bool                  // this process wrote it
	startRule startRule
}

// A startRule says when the term may publish that begins with a write on top of a observedLease.
type startRule struct {
	// notBefore is that time on the monotonic clock, where the observedLease tells it.
	notBefore time.Duration
	// waitFullLease: the observedLease tells nothing of an earlier leader, who may have written just before. The term waits for
	// a whole lease after the answer to its own first write.
	waitFullLease bool
}

// start returns when the term may publish, from when its first write was answered.
func (b startRule) start(answered, lease time.Duration) time.Duration {
	if b.waitFullLease {
		return answered + lease
	}
	return b.notBefore
}

// raw is the Lease in the form in which two sightings are compared: the whole spec, with its times to the
// microsecond (a client-go record has whole seconds, and misses a second renewal in one), and the uid, which tells a
// Lease from its successor. The resource version is not part of it: a label on the Lease changes nothing.
func raw(lease *coordinationv1.Lease) string {
	if lease == nil {
		return ""
	}
	return string(lease.UID) + rawSpec(&lease.Spec)
}

func rawSpec(spec *coordinationv1.LeaseSpec) string {
	data, err := json.Marshal(spec)
	if err != nil {
		panic(err) // A LeaseSpec is strings, numbers and times; the API server sent them as JSON.
	}
	return string(data)
}

func holder(lease *coordinationv1.Lease) string {
	if lease == nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

func epoch(lease *coordinationv1.Lease) int64 {
	if lease == nil || lease.Spec.LeaseTransitions == nil {
		return 0
	}
	return int64(max(0, *lease.Spec.LeaseTransitions))
}

func leaseDuration(lease *coordinationv1.Lease) time.Duration {
	if lease == nil || lease.Spec.LeaseDurationSeconds == nil {
		return 0
	}
	return time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
}

// released tells whether a leader gave up this Lease after it had stopped: no holder, one second, both times the same, and
// the mark of this package. A hand that edits the spec, all of it even, leaves the mark out, and the next term waits a
// whole lease. A hand that forges all of it, mark included, is believed: the two replicas then both publish until the
// leader's next renewal fails. To wait that out after every release would make every graceful handover slower by a retry
// period and a call.
func released(lease *coordinationv1.Lease) bool {
	spec := &lease.Spec
	return holder(lease) == "" && leaseDuration(lease) == time.Second &&
		spec.AcquireTime != nil && spec.RenewTime != nil && spec.AcquireTime.Equal(spec.RenewTime) &&
		strings.HasSuffix(lease.Annotations[writerAnnotation], releasedMark)
}
