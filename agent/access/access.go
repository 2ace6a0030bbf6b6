// Package access asks the API server who may read a page of the agent: a TokenReview, and then a SubjectAccessReview. It
// knows nothing of what the pages show.
package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationv1client "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1client "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/kube-devops/kube-devops/agent/server"
)

const (
	// maxAnswers bounds the memory of cached answers; a flood of invented tokens could fill it with refusals.
	maxAnswers = 1024
	// reviewTimeout bounds one request to the API server.
	reviewTimeout = 5 * time.Second
)

// lifetimes are how long answers of the API server are cached.
type lifetimes struct {
	// allowed is how long a permission is cached, and so how long it may last after it was revoked. A request after renew
	// refreshes it in the background.
	allowed, renew time.Duration
	// refused is shorter, because an administrator may be about to grant access. failed is the time between two attempts
	// while the API server does not answer.
	refused, failed time.Duration
	// known is how long a client that was allowed has precedence over other clients.
	known time.Duration
}

var defaultLifetimes = lifetimes{
	allowed: time.Minute, renew: 30 * time.Second, refused: 10 * time.Second, failed: 5 * time.Second, known: time.Hour,
}

// A Reviewer asks the API server who the bearer of a token is, and whether they may read a path, and caches the answer by
// the hash of the token.
//
// Anyone who reaches the port can invent tokens. So requests with tokens that were never allowed wait in a short queue of
// their own, and are refused when it is full. A client that was allowed never waits behind them.
type Reviewer struct {
	tokens    authenticationv1client.TokenReviewInterface
	rights    authorizationv1client.SubjectAccessReviewInterface
	audiences []string
	log       *zap.Logger
	lifetimes lifetimes

	unknown, known *reviewQueue

	failures, refusals logLimit

	mu      sync.Mutex
	answers map[question]reviewed
	reviews map[question]*review // in progress
}

type question struct {
	token [sha256.Size]byte
	path  string
}

// A reviewed is a cached answer.
type reviewed struct {
	err   error
	until time.Time
	renew time.Time // refresh in the background from then on
	known time.Time // the client has precedence until then
}

// A review is a question to the API server, and all requests that wait for the answer.
type review struct {
	done    chan struct{}
	err     error // once done is closed
	waiting int   // requests; a renewal counts as one, so that it always ends
	cancel  context.CancelFunc
}

// New prepares a reviewer; it makes no request. A token must have one of the audiences, where any are named.
func New(config *rest.Config, audiences []string, log *zap.Logger) (*Reviewer, error) {
	config = rest.CopyConfig(config)
	config.Timeout, config.QPS = reviewTimeout, -1 // the queues limit the rate
	authentication, err := authenticationv1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the client for token reviews: %w", err)
	}
	authorization, err := authorizationv1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the client for access reviews: %w", err)
	}
	return &Reviewer{
		tokens: authentication.TokenReviews(), rights: authorization.SubjectAccessReviews(), audiences: audiences,
		log: log, lifetimes: defaultLifetimes, unknown: unknownQueue(), known: knownQueue(),
		answers: make(map[question]reviewed), reviews: make(map[question]*review),
	}, nil
}

// Allow is a server.AccessFunc.
func (r *Reviewer) Allow(ctx context.Context, b server.Bearer) error {
	asked := question{sha256.Sum256([]byte(b.Token)), b.Path}
	queue, err := r.look(ctx, asked, b.Token)
	if queue == nil {
		return err
	}
	leave, ok := queue.enter(b.From)
	if !ok {
		r.refusals.write(r.log.Warn, "too many requests wait for a review of their token; others are refused")
		return server.ErrBusy
	}
	defer leave()
	return r.ask(ctx, asked, b.Token, queue)
}

// look returns the cached answer, or the queue to wait in. It refreshes an answer that is due.
func (r *Reviewer) look(ctx context.Context, asked question, token string) (*reviewQueue, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer, now := r.answers[asked], time.Now()
	switch {
	case now.Before(answer.until):
		if answer.err == nil && !now.Before(answer.renew) && r.reviews[asked] == nil {
			r.begin(ctx, asked, token, r.known)
		}
		return nil, answer.err
	case now.Before(answer.known):
		return r.known, nil
	}
	return r.unknown, nil
}

// begin starts a review. The lock is held.
func (r *Reviewer) begin(ctx context.Context, asked question, token string, queue *reviewQueue) *review {
	// The review goes on for the other requests when the one that began it ends.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	v := &review{done: make(chan struct{}), cancel: cancel, waiting: 1}
	r.reviews[asked] = v
	go r.run(ctx, v, asked, token, queue)
	return v
}

// ask waits for the answer to a question. Requests with the same question share one review.
func (r *Reviewer) ask(ctx context.Context, asked question, token string, queue *reviewQueue) error {
	r.mu.Lock()
	v := r.reviews[asked]
	if v == nil {
		v = r.begin(ctx, asked, token, queue)
	} else {
		v.waiting++
	}
	r.mu.Unlock()
	select {
	case <-v.done:
		return v.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.waiting--; v.waiting == 0 {
		v.cancel()
		r.forget(asked, v)
	}
	return ctx.Err()
}

// forget makes the next request begin a new review. The lock is held.
func (r *Reviewer) forget(asked question, v *review) {
	if r.reviews[asked] == v {
		delete(r.reviews, asked)
	}
}

func (r *Reviewer) run(ctx context.Context, v *review, asked question, token string, queue *reviewQueue) {
	defer v.cancel()
	err := r.review(ctx, token, asked.path, queue)
	r.mu.Lock()
	defer r.mu.Unlock()
	v.err = err
	r.forget(asked, v)
	// A review that was cancelled, or that timed out in the queue, says nothing about the token.
	if ctx.Err() == nil && !errors.Is(err, server.ErrBusy) {
		r.remember(asked, err)
	}
	close(v.done)
}

// remember caches an answer of the API server. The lock is held.
func (r *Reviewer) remember(asked question, err error) {
	now, life := time.Now(), r.lifetimes
	answer := r.answers[asked]
	switch {
	case err == nil:
		answer = reviewed{until: now.Add(life.allowed), renew: now.Add(life.renew), known: now.Add(life.known)}
	case errors.Is(err, server.ErrUnknown), errors.Is(err, server.ErrForbidden):
		answer = reviewed{err: err, until: now.Add(life.refused)}
	default:
		r.failures.write(r.log.Error, "the API server cannot be asked who may read metrics", zap.Error(err))
		if answer.err == nil && now.Before(answer.until) {
			answer.renew = now.Add(life.failed)
		} else {
			answer.err, answer.until = err, now.Add(life.failed)
		}
	}
	r.makeRoom(now)
	r.answers[asked] = answer
}

// makeRoom evicts answers if there are too many: first those that have expired, then refusals, and permissions last. The
// lock is held.
func (r *Reviewer) makeRoom(now time.Time) {
	for _, evict := range []func(reviewed) bool{
		func(a reviewed) bool { return !now.Before(a.until) && !now.Before(a.known) },
		func(a reviewed) bool { return a.err != nil },
		func(reviewed) bool { return true },
	} {
		if len(r.answers) < maxAnswers {
			return
		}
		maps.DeleteFunc(r.answers, func(_ question, a reviewed) bool { return evict(a) })
	}
}

// review asks the API server, at the rate of the queue.
func (r *Reviewer) review(ctx context.Context, token, path string, queue *reviewQueue) error {
	if err := queue.wait(ctx); err != nil {
		return err
	}
	user, err := r.authenticate(ctx, token)
	if err != nil {
		return err
	}
	for _, right := range rights(path) {
		if err := queue.wait(ctx); err != nil {
			return err
		}
		if err := r.authorize(ctx, user, right); err != nil {
			return err
		}
	}
	return nil
}

// rights are the paths that a user must be permitted to get for a page. Below /api, the path alone permits nothing: the ClusterRole
// system:discovery of every cluster permits /api/* to all authenticated users.
func rights(path string) []string {
	if strings.HasPrefix(path, "/api/") {
		return []string{path, "/metrics"}
	}
	return []string{path}
}

func (r *Reviewer) authenticate(ctx context.Context, token string) (authenticationv1.UserInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	// Without audiences, the API server accepts only tokens for itself.
	answer, err := r.tokens.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: r.audiences},
	}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("review a token: %w", err)
	}
	// An authenticator that does not support audiences leaves them out of its answer: the token may be for another audience.
	meant := len(r.audiences) == 0 ||
		slices.ContainsFunc(answer.Status.Audiences, func(a string) bool { return slices.Contains(r.audiences, a) })
	if !answer.Status.Authenticated || !meant {
		return authenticationv1.UserInfo{}, server.ErrUnknown
	}
	return answer.Status.User, nil
}

func (r *Reviewer) authorize(ctx context.Context, user authenticationv1.UserInfo, path string) error {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	answer, err := r.rights.Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("review the access of %s: %w", user.Username, err)
	}
	if !answer.Status.Allowed {
		return fmt.Errorf("%w: %s may not get %s", server.ErrForbidden, user.Username, path)
	}
	return nil
}
