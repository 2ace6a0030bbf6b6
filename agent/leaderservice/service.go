package leaderservice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	discoveryv1client "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/rest"
)

const (
	// checkPeriod is the time between two checks of the slices, and so the maximum time until changes of other clients are repaired.
	checkPeriod = 2 * time.Second
	// firstRetry is the pause after the first failure. Each further failure doubles it, up to checkPeriod.
	firstRetry = 50 * time.Millisecond
	// callTimeout is the timeout of one request.
	callTimeout = 3 * time.Second
	// nextFailure is the minimum time between two log lines about different failures, because failures may alternate.
	nextFailure = time.Minute
	// withdrawWithin is the timeout for the removal of the address when the process stops.
	withdrawWithin = time.Second
)

// client has the two verbs for which the account of the agent has permissions.
type client interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*discoveryv1.EndpointSlice, error)
	Update(ctx context.Context, slice *discoveryv1.EndpointSlice, o metav1.UpdateOptions) (*discoveryv1.EndpointSlice, error)
}

// A Service writes the address of this replica into the slices of the leader's Service while this replica leads.
type Service struct {
	options Options
	client  client
	log     *zap.Logger
	wanted  []wanted
	terms   chan context.Context

	written  map[string]bool // the names of slices that this process may have written
	failure  string          // the last logged failure; empty after a success
	failedAt time.Time       // when that failure was logged
}

// New returns a Service. It does not send a request.
func New(cfg *rest.Config, o Options) (*Service, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.Timeout, cfg.QPS = callTimeout, -1
	// HTTP/1.1, as for the Lease: over HTTP/2, all requests would wait for the same dead connection.
	cfg.NextProtos = []string{"http/1.1"}
	cfg.UserAgent += "/leader-service"
	typed, err := discoveryv1client.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make the client for EndpointSlices: %w", err)
	}
	return newWithClient(typed.EndpointSlices(o.Namespace), o), nil
}

func newWithClient(c client, o Options) *Service {
	return &Service{
		options: o, client: c, log: o.Log.With(zap.String("service", o.Namespace+"/"+o.Name)), wanted: wantedSlices(o),
		terms: make(chan context.Context, 1), written: make(map[string]bool),
	}
}

// Lead begins a term, which ends when its context is done. It does not block.
func (s *Service) Lead(term context.Context) {
	select {
	case <-s.terms: // a term that ended before Run received it
	default:
	}
	s.terms <- term
}

// Run writes the slices during the terms that Lead begins, until ctx is done. It then removes the address of this replica.
func (s *Service) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			s.withdraw(context.WithoutCancel(ctx))
			return nil
		case term := <-s.terms:
			s.hold(ctx, term)
		}
	}
}

// hold keeps the slices up to date until the term or ctx is done.
func (s *Service) hold(ctx, term context.Context) {
	term, cancel := context.WithCancel(term)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	current := make(map[string]bool) // the names of slices that were written in this term
	s.failure = ""
	retry := firstRetry
	for {
		err := s.write(term, current)
		if term.Err() != nil {
			return
		}
		pause := checkPeriod
		if err != nil {
			pause, retry = retry, min(2*retry, checkPeriod)
		} else {
			retry = firstRetry
		}
		s.logResult(err)
		select {
		case <-term.Done():
			return
		case <-time.After(pause):
		}
	}
}

// logResult logs a failure once, a different failure after nextFailure at the earliest, and the end of the failures. It ignores conflicts, which
// are normal when the leader changes.
func (s *Service) logResult(err error) {
	switch {
	case err == nil && s.failure != "":
		s.failure = ""
		s.log.Info("the Service of the leader can be kept up to date again")
	case err == nil || apierrors.IsConflict(err) || err.Error() == s.failure:
	case s.failure == "" || time.Since(s.failedAt) >= nextFailure:
		s.failure, s.failedAt = err.Error(), time.Now()
		s.log.Warn("the Service of the leader does not lead to this replica yet; retrying", zap.Error(err))
	}
}

// write reads each slice, and updates the slices that are not up to date.
func (s *Service) write(term context.Context, current map[string]bool) error {
	var failed []error
	for _, w := range s.wanted {
		if err := s.writeSlice(term, w, current); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (s *Service) writeSlice(term context.Context, w wanted, current map[string]bool) error {
	slice, err := s.client.Get(term, w.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && len(w.endpoints) == 0 {
		return nil // the pod has no address of this family, so the slice is not needed
	}
	if err != nil {
		return fmt.Errorf("read EndpointSlice %s: %w", w.name, err)
	}
	if err := w.fits(slice); err != nil || w.holds(slice) {
		return err
	}
	// Check the permission after the read, not before it: see the package comment.
	if err := s.options.Permitted(term); err != nil {
		return fmt.Errorf("write EndpointSlice %s: %w", w.name, err)
	}
	s.written[w.name] = true // before the update, because its response may be lost
	updated, err := s.client.Update(term, w.apply(slice), metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("write EndpointSlice %s: %w", w.name, err)
	}
	if !w.holds(updated) {
		return fmt.Errorf("write EndpointSlice %s: the API server stored another content", w.name)
	}
	fields := []zap.Field{zap.String("slice", w.name), zap.Strings("addresses", w.addresses()), zap.Uint16("port", s.options.Port)}
	if current[w.name] {
		s.log.Warn("another client had changed the EndpointSlice of the leader; repaired it", fields...)
	} else {
		s.log.Info("the Service of the leader leads to this replica", fields...)
	}
	current[w.name] = true
	return nil
}

// withdraw removes the address from the slices that this process was the last to write, because another pod may get the address later. It
// only logs failures, because the next leader overwrites the slices.
func (s *Service) withdraw(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, withdrawWithin)
	defer cancel()
	for _, w := range s.wanted {
		if !s.written[w.name] {
			continue
		}
		if err := s.withdrawSlice(ctx, w); err != nil {
			s.log.Warn("the EndpointSlice of the leader still has the address of this replica", zap.String("slice", w.name), zap.Error(err))
		}
	}
}

func (s *Service) withdrawSlice(ctx context.Context, w wanted) error {
	slice, err := s.client.Get(ctx, w.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if slice.Annotations[Annotation] != s.options.Identity || len(slice.Endpoints) == 0 {
		return nil
	}
	slice.Endpoints = nil
	_, err = s.client.Update(ctx, slice, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // another leader has written the slice, or the slice was deleted
	}
	return err
}

// addresses returns the addresses of the endpoints, for the log.
func (w wanted) addresses() []string {
	all := []string{} // not null
	for _, e := range w.endpoints {
		all = append(all, e.Addresses...)
	}
	return all
}
