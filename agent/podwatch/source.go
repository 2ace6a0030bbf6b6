package podwatch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// The patience with an API server, or what stands before it.
const (
	// A watch that ends at once is begun again at once by client-go, thousands of times a second if need be. So the
	// starts of watches are limited: startBurst at once, then one each startEvery.
	startEvery = time.Second
	startBurst = 3
	// watchTimeout is how long a watch may take to begin to answer, listTimeout how long a list may take as a whole.
	watchTimeout = 60 * time.Second
	listTimeout  = 120 * time.Second
	// initialTimeout is how long the initial stream may bring fewer than initialProgress pods before its end is told by
	// a bookmark. One pod is no progress: where that bookmark was lost, new pods come for ever in a cluster that is busy.
	initialTimeout  = 120 * time.Second
	initialProgress = 1000
	// initialAttempts is how many initial streams may be cut off before that bookmark until a list is asked for instead.
	initialAttempts = 2
	// silenceTimeout is how long a watch may bring nothing: an API server sends a bookmark each minute. What stands
	// before it may hold a connection open for ever on which nothing comes any more.
	silenceTimeout = 150 * time.Second
	// versionEvery is the least time between two looks at whether versions have gone back, versionTimeout how long one may
	// hold up the watch that goes on.
	versionEvery   = 10 * time.Second
	versionTimeout = 5 * time.Second
)

var (
	errNoAnswer      = errors.New("the API server did not answer in time")
	errCutOff        = errors.New("the initial stream of pods was cut off before its end")
	errInitialSilent = fmt.Errorf("the initial stream of pods brought fewer than %d pods in %s, and not its end", initialProgress, initialTimeout)
	errNoInitial     = errors.New("the API server does not end its initial stream of pods")
	errWatchSilent   = fmt.Errorf("the watch of pods brought neither a change nor a bookmark in %s", silenceTimeout)
)

// A source lists and watches pods for the informer. It stands between client-go and the API server to know when the
// server was last heard of, to log each failed request once, and to hold up where client-go would go on in vain:
// waiting for an end bookmark that never comes, or asking again without a pause.
type source struct {
	pods    dynamic.ResourceInterface
	client  dynamic.Interface
	log     *zap.Logger
	metrics *metrics
	starts  *rate.Limiter
	// incomplete counts the initial streams in a row that were begun and have not come to their bookmark.
	incomplete atomic.Int32
	listing    listing // that of the informer, which asks for one page after the other
	scope      *scope
	contact    *contact // of the Watch
	// resuming: the next watch goes on where another one has ended, and does not follow on a list.
	resuming atomic.Bool
	versions *rate.Limiter // of looks at whether they have gone back
}

func newSource(client dynamic.Interface, scope *scope, log *zap.Logger, m *metrics) *source {
	return &source{
		client:  client,
		scope:   scope,
		pods:    podsIn(client, scope.namespace),
		log:     log,
		metrics: m,
		contact: new(contact),
		starts:  rate.NewLimiter(rate.Every(startEvery), startBurst),

		versions: rate.NewLimiter(rate.Every(versionEvery), 1),
	}
}

func podsIn(client dynamic.Interface, namespace string) dynamic.ResourceInterface {
	pods := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	if namespace == metav1.NamespaceAll {
		return pods
	}
	return pods.Namespace(namespace)
}

func (s *source) listerWatcher() cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc:  s.list,
		WatchFuncWithContext: s.watch,
	}, s.client)
}

// ended hears from the reflector why a list and watch has ended. Failed requests were logged when they failed.
func (s *source) ended(_ context.Context, _ *cache.Reflector, err error) {
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
	// The watch lives on behind this call, so that its context must not end with it.
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
		s.scope.relists.ask()
	}
	st := newStream(ctx, upstream, func() { cancel(nil) }, s, initial)
	go st.run()
	return st, nil
}

// versionRegressed tells whether the API server is at a version before the one from which a watch is to go on, as where etcd was
// restored from a backup. It would tell that watch of nothing, and of no error either, until it has come to that version
// again. Where the answer cannot be had, a watch that stays silent will ask again.
func (s *source) versionRegressed(ctx context.Context, from string) bool {
	if !s.versions.Allow() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	s.metrics.requests.WithLabelValues(verbList).Inc()
	list, err := s.pods.List(ctx, metav1.ListOptions{Limit: 1}) // of no version: the present one
	if err != nil {
		s.log.Debug("the present version of the pods is not known", zap.Error(err))
		return false
	}
	pods, err := podsOf(list)
	if err != nil {
		return false
	}
	// Versions that are no numbers cannot be compared.
	if order, err := resourceversion.CompareResourceVersion(pods.ResourceVersion, from); err != nil || order >= 0 {
		return false
	}
	s.log.Warn("the versions of the API server have gone back, as when it is restored from a backup; listing all pods anew",
		zap.String("version", pods.ResourceVersion), zap.String("seen", from))
	return true
}

// startTimeout ends a request that takes longer.
func startTimeout(d time.Duration, cancel context.CancelCauseFunc) *time.Timer {
	return time.AfterFunc(d, func() { cancel(fmt.Errorf("%w: waited %s", errNoAnswer, d)) })
}

// retryBusy sends a request again, with growing pauses, while the API server refuses connections or says that it has
// too many requests. client-go does so too, but sleeps through the end of its context there, and longer each time: so
// once ctx is done neither of the two is returned. What failed otherwise is left to client-go.
func (s *source) retryBusy(ctx context.Context, verb string, request func() error) error {
	pause := wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 5, Cap: 8 * time.Second}
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
			return cause // we are told to stop: that is no failure
		}
		if verb == verbWatch && apierrors.IsInvalid(err) {
			// A server that does not know a watch that begins with all pods: client-go goes on with a list.
			s.log.Info("the API server does not stream the initial list of pods; listing them instead", zap.Error(err))
			return err
		}
		s.failed(verb, err)
		if !utilnet.IsConnectionRefused(err) && !apierrors.IsTooManyRequests(err) {
			return err
		}
		delay := pause.Step()
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

// heard notes that the API server has just been heard of, and returns when that was.
func (s *source) recordContact() time.Time {
	now := time.Now()
	s.scope.answered()
	s.metrics.lastEvent.Set(float64(now.UnixNano()) / 1e9)
	s.contact.made(now)
	return now
}
