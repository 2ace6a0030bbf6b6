package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
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

// How long the API server's answers are used again, which is how long a revoked permission lasts. A refusal is forgotten
// sooner: somebody waits for it to be lifted.
const (
	allowedFor = time.Minute
	refusedFor = 10 * time.Second
	failedFor  = 5 * time.Second
	// maxAnswers bounds the memory that strangers with tokens of their own invention can take.
	maxAnswers = 1024
	// reviewTimeout, reviewQPS and reviewBurst bound what they can make the API server do.
	reviewTimeout = 5 * time.Second
	reviewQPS     = 10
	reviewBurst   = 20
)

// validateAccess names the mistakes in the options of TLS and authorization.
func (o *Options) validateAccess() error {
	var mistakes []error
	if (o.Certificate.CertFile == "") != (o.Certificate.KeyFile == "") {
		mistakes = append(mistakes, errors.New("--tls-cert-file and --tls-private-key-file need each other"))
	}
	if o.MetricsAuth && o.Certificate.CertFile == "" {
		mistakes = append(mistakes, errors.New("--metrics-auth needs --tls-cert-file: tokens must not travel in the clear"))
	}
	if o.MetricsAuth && o.Replay != "" {
		mistakes = append(mistakes, errors.New("--metrics-auth needs a cluster to ask, and --replay has none"))
	}
	return errors.Join(mistakes...)
}

// access returns who decides about metrics and the report; nil where everybody may read them.
func (o *Options) access() (server.AccessFunc, error) {
	if !o.MetricsAuth {
		return nil, nil
	}
	cluster, err := o.cluster()
	if err != nil {
		return nil, err
	}
	config := cluster.Config
	config.UserAgent = "kube-devops/" + o.Version + "/access"
	config.Timeout, config.QPS, config.Burst = reviewTimeout, reviewQPS, reviewBurst
	r, err := newReviewer(config, o.Log)
	if err != nil {
		return nil, err
	}
	return r.allow, nil
}

// A reviewer asks the API server who the bearer of a token is, and whether they may read a path, and remembers it for a
// while. Tokens are remembered by their hash.
type reviewer struct {
	tokens authenticationv1client.TokenReviewInterface
	rights authorizationv1client.SubjectAccessReviewInterface
	log    *zap.Logger
	now    func() time.Time

	mu      sync.Mutex
	answers map[question]reviewed
}

type question struct {
	token [sha256.Size]byte
	path  string
}

// reviewed is an answer, and until when it is used.
type reviewed struct {
	err   error
	until time.Time
}

func newReviewer(config *rest.Config, log *zap.Logger) (*reviewer, error) {
	authentication, err := authenticationv1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the client for token reviews: %w", err)
	}
	authorization, err := authorizationv1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the client for access reviews: %w", err)
	}
	return &reviewer{
		tokens: authentication.TokenReviews(), rights: authorization.SubjectAccessReviews(),
		log: log, now: time.Now, answers: make(map[question]reviewed),
	}, nil
}

// allow is a server.AccessFunc.
func (r *reviewer) allow(ctx context.Context, token, path string) error {
	asked := question{sha256.Sum256([]byte(token)), path}
	r.mu.Lock()
	known, ok := r.answers[asked]
	r.mu.Unlock()
	if ok && r.now().Before(known.until) {
		return known.err
	}
	err := r.review(ctx, token, path)
	lifetime := allowedFor
	switch {
	case ctx.Err() != nil: // whoever asked has gone, which says nothing of the next
		return err
	case errors.Is(err, server.ErrUnknown), errors.Is(err, server.ErrForbidden):
		lifetime = refusedFor
	case err != nil:
		lifetime = failedFor
		r.log.Error("the API server cannot be asked who may read metrics", zap.Error(err))
	}
	r.remember(asked, reviewed{err, r.now().Add(lifetime)})
	return err
}

func (r *reviewer) remember(asked question, answer reviewed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) >= maxAnswers {
		now := r.now()
		maps.DeleteFunc(r.answers, func(_ question, a reviewed) bool { return !now.Before(a.until) })
	}
	if len(r.answers) >= maxAnswers { // a flood: whoever is let in is asked about again
		clear(r.answers)
	}
	r.answers[asked] = answer
}

// review asks the API server.
func (r *reviewer) review(ctx context.Context, token, path string) error {
	tokens, err := r.tokens.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("review a token: %w", err)
	}
	if !tokens.Status.Authenticated {
		return server.ErrUnknown
	}
	user := tokens.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	access, err := r.rights.Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("review the access of %s: %w", user.Username, err)
	}
	if !access.Status.Allowed {
		return fmt.Errorf("%w: %s may not get %s", server.ErrForbidden, user.Username, path)
	}
	return nil
}
