package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/tools/leaderelection"
)

// Options say which Lease is campaigned for, as whom, how fast, and what the leader does.
type Options struct {
	// Namespace and Name are those of the Lease. All replicas give the same.
	Namespace, Name string
	// Identity is written into the Lease as its holder. No other process may have it: see NewIdentity.
	Identity string

	// LeaseDuration is how long a Lease holds from its last write: whole seconds, and the same on all replicas. A
	// replica that reads a longer duration in the Lease honours up to twice its own, so a rolling update that
	// shortens it by more than half must go through an intermediate value.
	LeaseDuration time.Duration
	// RenewDeadline is how long one campaign goes on trying to renew before the next begins.
	RenewDeadline time.Duration
	// RetryPeriod is the time between two tries; a standby's tries are up to 2.2 times as far apart.
	RetryPeriod time.Duration
	// Margin is how long before the Lease runs out the leader stops to publish. It covers clocks that run at
	// different rates, and the bytes of a publication that was allowed a moment before. Zero means the lesser of 2 s
	// and a sixth of LeaseDuration: 2 s for a Lease of 15 s, 1 s for one of 6 s.
	Margin time.Duration

	// InSync says why this replica must not lead; nil while it may. It is asked several times a second. While it returns an
	// error this replica only reads the Lease; one that holds it gives it back, so that a replica which has something to
	// publish can take it. answering is for how long the API server has answered all calls for the Lease: where it answers
	// none, holding the Lease harms no other replica. The text of the error must not change from call to call. nil: always in sync.
	InSync func(answering time.Duration) error

	// Log gets the transitions: acquired, opened, closed, lost, released, another leader seen.
	Log *zap.Logger
	// Registerer gets the metrics of this elector.
	Registerer prometheus.Registerer

	// Lead is the guarded work of one term. It is called when the term may publish for the first time. Its context
	// ends with the term, and it must then return at once: the Lease is not released before, and where it is still
	// running when another replica could lead, Run returns an error. It may return earlier; the term goes on. It is
	// never called twice at the same time.
	Lead func(ctx context.Context)
}

// DefaultOptions returns the durations of kube-controller-manager and the Lease default/kube-devops-leader. Identity,
// Log, Registerer and Lead are left to the caller.
func DefaultOptions() Options {
	return Options{
		Namespace:     "default",
		Name:          "kube-devops-leader",
		LeaseDuration: 15 * time.Second,
		RenewDeadline: 10 * time.Second,
		RetryPeriod:   2 * time.Second,
	}
}

// Validate returns all mistakes in the Lease's name, the identity and the durations, joined, one on each line.
// client-go checks only some of them, and those with a panic or in the middle of a run.
func (o Options) Validate() error {
	var mistakes []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			mistakes = append(mistakes, fmt.Errorf(format, args...))
		}
	}
	wrong(o.Namespace == "", "lease-namespace: must not be empty")
	wrong(o.Name == "", "lease-name: must not be empty")
	wrong(o.Identity == "", "identity: must not be empty")

	wrong(o.LeaseDuration < time.Second || o.LeaseDuration%time.Second != 0,
		"lease-duration %s: must be whole seconds, at least 1s, as the Lease holds nothing finer", o.LeaseDuration)
	wrong(o.RetryPeriod <= 0, "retry-period %s: must be more than 0s", o.RetryPeriod)
	wrong(float64(o.RenewDeadline) <= leaderelection.JitterFactor*float64(o.RetryPeriod),
		"renew-deadline %s: must be more than %g times the retry-period %s", o.RenewDeadline, leaderelection.JitterFactor, o.RetryPeriod)
	// The elector gives up one retry period after the renew deadline began. client-go compares the deadline alone.
	wrong(o.RetryPeriod+o.RenewDeadline >= o.LeaseDuration,
		"lease-duration %s: must be more than retry-period %s + renew-deadline %s", o.LeaseDuration, o.RetryPeriod, o.RenewDeadline)
	wrong(o.Margin < 0, "margin %s: must not be negative", o.Margin)
	// With less than this, one slow renewal stops a healthy leader.
	if needed := o.margin() + o.RetryPeriod + o.callTimeout(); needed >= o.LeaseDuration {
		wrong(true, "lease-duration %s: must be more than margin %s + retry-period %s + the %s that one call may take",
			o.LeaseDuration, o.margin(), o.RetryPeriod, o.callTimeout())
	}
	return errors.Join(mistakes...)
}

// margin returns Margin, or its default for this LeaseDuration.
func (o Options) margin() time.Duration {
	if o.Margin != 0 {
		return o.Margin
	}
	return min(2*time.Second, o.LeaseDuration/6)
}

// callTimeout bounds one call to the API server: short enough that a renewal which hangs is tried again several
// times before the renew deadline, and 3 s at the most.
func (o Options) callTimeout() time.Duration {
	return min(3*time.Second, max(time.Second, o.RenewDeadline/2))
}
