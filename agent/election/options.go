package election

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/tools/leaderelection"
)

// Options of an Elector.
type Options struct {
	// Namespace and Name are those of the Lease, the same on all replicas.
	Namespace, Name string
	// Identity is the holder that this process writes into the Lease. It must be unique; see NewIdentity.
	Identity string

	// LeaseDuration is how long the Lease is valid after a write: whole seconds, the same on all replicas. A replica that
	// reads a longer duration in the Lease honours at most twice its own, so a rolling update that shortens it by more than
	// half needs an intermediate value.
	LeaseDuration time.Duration
	// RenewDeadline is how long one campaign tries to renew the Lease before the next one begins.
	RenewDeadline time.Duration
	// RetryPeriod is the time between two tries. Those of a standby are up to 2.2 times as far apart.
	RetryPeriod time.Duration
	// Margin is how long before the end of the Lease the leader stops publishing. It covers clocks that run at different
	// rates and the last bytes of a publication. Zero means the lesser of 2 s and a sixth of LeaseDuration.
	Margin time.Duration

	// InSync returns why this replica must not lead; nil if it may. It is called several times a second. While it returns an
	// error, this replica only reads the Lease; a leader releases it, so that a replica that has something to publish can take
	// it. answering is for how long the API server has answered all calls for the Lease: if it answers none, holding the Lease
	// harms no other replica. The text of the error must not change from call to call. nil means always in sync.
	InSync func(answering time.Duration) error

	// Log receives the transitions: acquired, opened, closed, lost, released, another leader seen.
	Log *zap.Logger
	// Registerer receives the metrics of the elector.
	Registerer prometheus.Registerer

	// Lead is the guarded work of one term. It is called when the term may publish for the first time. Its context ends with
	// the term, and then Lead must return at once: the Lease is not released before, and if Lead still runs when another
	// replica could lead, Run returns an error. Lead may return earlier; the term goes on. Calls do not overlap.
	Lead func(ctx context.Context)
}

// NewIdentity makes the identity of one process: the name of its host or pod, for display, and 128 random bits. Two processes of
// one identity would both take the Lease for theirs, and a restarted one would take over what its predecessor still holds.
func NewIdentity(hostname string) string {
	return hostname + "_" + strings.ToLower(rand.Text())
}

// DefaultOptions returns the durations of kube-controller-manager and the Lease default/kube-devops-leader. Identity, Log,
// Registerer and Lead are left to the caller.
func DefaultOptions() Options {
	return Options{
		Namespace:     "default",
		Name:          "kube-devops-leader",
		LeaseDuration: 15 * time.Second,
		RenewDeadline: 10 * time.Second,
		RetryPeriod:   2 * time.Second,
	}
}

// Validate returns all errors in the Lease's name, the identity and the durations, joined, one on each line. client-go checks only
// some of them, with a panic or during a run.
func (o Options) Validate() error {
	var mistakes []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			mistakes = append(mistakes, fmt.Errorf(format, args...))
		}
	}
	wrong(o.Namespace == "", "--lease-namespace: must not be empty")
	wrong(o.Name == "", "--lease-name: must not be empty")
	wrong(o.Identity == "", "identity: must not be empty")

	wrong(o.LeaseDuration < time.Second || o.LeaseDuration%time.Second != 0,
		"--lease-duration %s: must be whole seconds, at least 1s, because a Lease stores whole seconds", o.LeaseDuration)
	wrong(o.RetryPeriod <= 0, "--retry-period %s: must be greater than 0s", o.RetryPeriod)
	wrong(float64(o.RenewDeadline) <= leaderelection.JitterFactor*float64(o.RetryPeriod),
		"--renew-deadline %s: must be greater than %g times --retry-period %s", o.RenewDeadline, leaderelection.JitterFactor, o.RetryPeriod)
	// The elector gives up one retry period after the renew deadline; client-go compares only the deadline.
	wrong(o.RetryPeriod+o.RenewDeadline >= o.LeaseDuration,
		"--lease-duration %s: must be greater than --retry-period %s + --renew-deadline %s", o.LeaseDuration, o.RetryPeriod, o.RenewDeadline)
	wrong(o.Margin < 0, "margin %s: must not be negative", o.Margin)
	// Otherwise one slow renewal would stop a healthy leader.
	wrong(o.margin()+o.RetryPeriod+o.callTimeout() >= o.LeaseDuration,
		"--lease-duration %s: must be greater than margin %s + --retry-period %s + the %s that one request may take",
		o.LeaseDuration, o.margin(), o.RetryPeriod, o.callTimeout())
	return errors.Join(mistakes...)
}

// margin returns Margin, or its default for this LeaseDuration.
func (o Options) margin() time.Duration {
	if o.Margin != 0 {
		return o.Margin
	}
	return min(2*time.Second, o.LeaseDuration/6)
}

// callTimeout limits one call to the API server, so that a renewal that hangs is tried again several times before the renew
// deadline.
func (o Options) callTimeout() time.Duration {
	return min(3*time.Second, max(time.Second, o.RenewDeadline/2))
}
