package election

import (
	"encoding/json"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// An observedLease is the Lease as this process last read or wrote it.
type observedLease struct {
	lease     *coordinationv1.Lease // nil: the Lease does not exist
	raw       string                // differs if the spec was written between two observations
	own       bool                  // this process wrote it
	startRule startRule             // of a term that begins with a write on top of it
}

// A startRule determines when a term may publish.
type startRule struct {
	// notBefore is that time on the monotonic clock, unless waitFullLease is set.
	notBefore time.Duration
	// waitFullLease means that an unknown earlier leader may have written just before. The term waits for a whole lease after
	// the response to its own first write.
	waitFullLease bool
}

// start returns when the term may publish, given when its first write was answered.
func (s startRule) start(answered, lease time.Duration) time.Duration {
	if s.waitFullLease {
		return answered + lease
	}
	return s.notBefore
}

// raw returns the whole spec, with its times to the microsecond (a client-go record has whole seconds and misses a second renewal
// within one), and the UID, which differs between a Lease and its successor. It leaves out the resourceVersion, because a label on
// the Lease changes nothing.
func raw(lease *coordinationv1.Lease) string {
	if lease == nil {
		return ""
	}
	return string(lease.UID) + rawSpec(&lease.Spec)
}

func rawSpec(spec *coordinationv1.LeaseSpec) string {
	data, err := json.Marshal(spec)
	if err != nil {
		panic(err) // strings, numbers and times, which the API server sent as JSON
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

// released reports whether a leader released this Lease after it had stopped: no holder, one second, both times the same, and the
// mark of this package. An edit by hand leaves the mark out, and the next term waits for a whole lease. A release that is forged
// in full, mark included, is accepted: two replicas then publish until the leader's next renewal fails. To wait that out after
// each release would make each graceful handover slower by a retry period and a call.
func released(lease *coordinationv1.Lease) bool {
	spec := &lease.Spec
	return holder(lease) == "" && leaseDuration(lease) == time.Second &&
		spec.AcquireTime != nil && spec.RenewTime != nil && spec.AcquireTime.Equal(spec.RenewTime) &&
		strings.HasSuffix(lease.Annotations[writerAnnotation], releasedMark)
}
