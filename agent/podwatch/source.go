package podwatch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

const (
	verbList  = "list"
	verbWatch = "watch"
)

// Limits on the API server, or a proxy before it.
const (
	// client-go restarts a watch that ends at once without delay, thousands of times a second. So the starts of watches are
	// limited: startBurst at once, then one each startEvery.
	startEvery = time.Second
	startBurst = 3
	// watchTimeout is for the start of a watch, listTimeout for a whole list.
	watchTimeout = 60 * time.Second
	listTimeout  = 120 * time.Second
	// initialTimeout is for each initialProgress pods of the initial events. If the bookmark that ends them was lost, new pods
	// may come forever in a busy cluster, so a single pod is not progress.
	initialTimeout  = 120 * time.Second
	initialProgress = 1000
	// initialAttempts is how many initial events may be cut off before client-go is made to list the pods instead.
	initialAttempts = 2
	// silenceTimeout is how long a watch may bring nothing. An API server sends a bookmark each minute; a proxy may keep a
	// connection open on which nothing arrives any more.
	silenceTimeout = 150 * time.Second
	// versionEvery is the least interval between two checks of the current resourceVersion; versionTimeout is for one.
	versionEvery   = 10 * time.Second
	versionTimeout = 5 * time.Second
)

var (
	errNoAnswer      = errors.New("the API server did not answer in time")
	errCutOff        = errors.New("the initial events of pods were cut off before their end")
	errInitialSilent = fmt.Errorf("the initial events of pods brought fewer than %d pods in %s and did not end", initialProgress, initialTimeout)
	errNoInitial     = errors.New("the API server does not end the initial events of pods")
	errWatchSilent   = fmt.Errorf("the watch of pods brought neither a change nor a bookmark in %s", silenceTimeout)
)

// A source lists and watches pods for the informer. It stands between client-go and the API server to record contact, to log
// each failed request once, and to intervene where client-go would wait for a bookmark that never comes or repeat requests
// without a pause.
type source struct {
	pods       dynamic.ResourceInterface
	client     dynamic.Interface
	log        *zap.Logger
	metrics    *metrics
	starts     *rate.Limiter
	versions   *rate.Limiter // of checks of the current resourceVersion
	incomplete atomic.Int32  // initial events in a row that did not come to their end
	listing    listing
	scope      *scope
	contact    *contact    // shared by the Watch
	resuming   atomic.Bool // the next watch continues a previous one and does not follow a list
}

func newSource(client dynamic.Interface, scope *scope, log *zap.Logger, m *metrics) *source {
	return &source{
		pods:     client.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(scope.namespace),
		client:   client,
		log:      log,
		metrics:  m,
		starts:   rate.NewLimiter(rate.Every(startEvery), startBurst),
		versions: rate.NewLimiter(rate.Every(versionEvery), 1),
		scope:    scope,
		contact:  new(contact),
	}
}

func (s *source) listerWatcher() cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc:  s.list,
		WatchFuncWithContext: s.watch,
	}, s.client)
}

// watchEnded is called by the reflector when a list and watch has ended. Failed requests were logged when they failed.
func (s *source) watchEnded(_ context.Context, _ *cache.Reflector, err error) {
	s.log.Debug("list and watch of pods ended", zap.Error(err))
}

func (s *source) failed(verb string, err error) {
	s.metrics.errors.WithLabelValues(verb).Inc()
	if apierrors.IsForbidden(err) {
		s.scope.refused()
	}
	s.contact.failed(err)
	s.log.Warn("request for pods failed; will try again", zap.String("verb", verb), zap.Error(err))
}

func (s *source) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	if err := s.listing.begin(options.Continue, time.Now()); err != nil {
		s.failed(verbList, err)
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var list *unstructured.UnstructuredList
	err := s.retryBusy(ctx, verbList, func() (err error) {
		defer startTimeout(listTimeout, cancel).Stop()
		list, err = s.pods.List(ctx, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	pods, err := podsOf(list)
	if err != nil {
		return nil, err
	}
	if err := s.listing.end(pods.Continue, len(pods.Items)); err != nil {
		s.failed(verbList, err)
		return nil, err
	}
	if !s.listing.suspect {
		s.recordContact()
	}
	s.resuming.Store(false)
	return pods, nil
}

func (s *source) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	initial := options.SendInitialEvents != nil && *options.SendInitialEvents
	if initial && s.incomplete.Add(1) > initialAttempts {
		s.incomplete.Store(0)
		return nil, errNoInitial
	}
	// The watch outlives this call, so its context must too.
	ctx, cancel := context.WithCancelCause(ctx)
	var upstream watch.Interface
	err := s.retryBusy(ctx, verbWatch, func() (err error) {
		defer startTimeout(watchTimeout, cancel).Stop()
		upstream, err = s.pods.Watch(ctx, options)
		return err
	})
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if resumes := s.resuming.Swap(true) && !initial; resumes && s.versionRegressed(ctx, options.ResourceVersion) {
		s.scope.requestRelist()
	}
	st := newStream(upstream, s, initial)
	go st.run(ctx, func() { cancel(nil) })
	return st, nil
}

// versionRegressed reports whether the API server is at a resourceVersion before the one from which a watch continues, as after
// etcd was restored from a backup. Such a watch brings neither events nor an error until the server reaches that version again.
// If the check fails, the next watch repeats it.
func (s *source) versionRegressed(ctx context.Context, from string) bool {
	if !s.versions.Allow() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	s.metrics.requests.WithLabelValues(verbList).Inc()
	list, err := s.pods.List(ctx, metav1.ListOptions{Limit: 1}) // no resourceVersion: the current one
	if err != nil {
		s.log.Debug("the current version of the pods is not known", zap.Error(err))
		return false
	}
	pods, err := podsOf(list)
	if err != nil {
		return false
	}
	// Versions that are not numbers cannot be compared.
	if order, err := resourceversion.CompareResourceVersion(pods.ResourceVersion, from); err != nil || order >= 0 {
		return false
	}
	s.log.Warn("the versions of the API server have gone back, as when it is restored from a backup; listing all pods anew",
		zap.String("version", pods.ResourceVersion), zap.String("seen", from))
	return true
}

// startTimeout cancels a request that takes longer than d.
func startTimeout(d time.Duration, cancel context.CancelCauseFunc) *time.Timer {
	return time.AfterFunc(d, func() { cancel(fmt.Errorf("%w: waited %s", errNoAnswer, d)) })
}

// retryBusy repeats a request, with growing delays, while the API server refuses connections or has too many requests. client-go
// does so too, but ignores the end of its context while it sleeps; so after the end of ctx retryBusy returns neither of these
// errors. All other errors are left to client-go.
func (s *source) retryBusy(ctx context.Context, verb string, request func() error) error {
	backoff := wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 5, Cap: 8 * time.Second}
	for {
		if verb == verbWatch {
			if err := s.starts.Wait(ctx); err != nil {
				return err
			}
		}
		s.metrics.requests.WithLabelValues(verb).Inc()
		err := request()
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); errors.Is(cause, errNoAnswer) {
			err = cause
		} else if cause != nil {
			return cause // the caller has stopped
		}
		if verb == verbWatch && apierrors.IsInvalid(err) {
			// The server does not support a watch that begins with all pods; client-go continues with a list.
			s.log.Info("the API server does not stream the initial list of pods; listing them instead", zap.Error(err))
			return err
		}
		s.failed(verb, err)
		if !utilnet.IsConnectionRefused(err) && !apierrors.IsTooManyRequests(err) {
			return err
		}
		delay := backoff.Step()
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			delay = max(delay, time.Duration(seconds)*time.Second)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
	}
}

// recordContact records that the API server has answered now, and returns the time.
func (s *source) recordContact() time.Time {
	now := time.Now()
	s.scope.answered()
	s.metrics.lastEvent.Set(float64(now.UnixNano()) / 1e9)
	s.contact.made(now)
	return now
}
