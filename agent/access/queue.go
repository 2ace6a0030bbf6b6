package access

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/kube-devops/kube-devops/agent/server"
)

// turnTimeout is how long a review waits for its turn. A scrape of Prometheus times out after 10 s.
const turnTimeout = 5 * time.Second

// A reviewQueue bounds how many requests wait for a review, and the rate of reviews.
type reviewQueue struct {
	max, maxOfOne int // waiting requests, in total and of one address
	limit         *rate.Limiter
	next          chan struct{} // held by the review that is next, so that one that gives up uses no token of the limiter

	mu      sync.Mutex
	total   int
	waiting map[string]int // by address
}

// The two limits with their bursts allow 6 and 4 reviews, at most 10 in any second. One address may use only some places, so
// that a new client gets one during a flood from elsewhere.
func unknownQueue() *reviewQueue { return newReviewQueue(16, 4, rate.NewLimiter(4, 2)) }

func knownQueue() *reviewQueue { return newReviewQueue(64, 64, rate.NewLimiter(2, 2)) }

func newReviewQueue(most, mostOfOne int, limit *rate.Limiter) *reviewQueue {
	return &reviewQueue{max: most, maxOfOne: mostOfOne, limit: limit, next: make(chan struct{}, 1), waiting: make(map[string]int)}
}

// enter takes a place for a request from an address, if one is free.
func (q *reviewQueue) enter(from string) (leave func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total >= q.max || q.waiting[from] >= q.maxOfOne {
		return nil, false
	}
	q.total++
	q.waiting[from]++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.total--
		if q.waiting[from]--; q.waiting[from] == 0 {
			delete(q.waiting, from)
		}
	}, true
}

// wait returns when the review may begin, or an error after turnTimeout.
func (q *reviewQueue) wait(ctx context.Context) error {
	turn, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	select {
	case q.next <- struct{}{}:
		defer func() { <-q.next }()
		if q.limit.Wait(turn) == nil {
			return nil
		}
	case <-turn.Done():
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return server.ErrBusy
}

// logLimitPeriod is the minimum time between two log lines that a client can cause.
const logLimitPeriod = 5 * time.Second

// A logLimit logs one line per period, and the number of lines that it left out.
type logLimit struct {
	mu      sync.Mutex
	last    time.Time
	leftOut int
}

func (l *logLimit) write(log func(string, ...zap.Field), message string, fields ...zap.Field) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.last.IsZero() && now.Sub(l.last) < logLimitPeriod {
		l.leftOut++
		return
	}
	if l.leftOut > 0 {
		fields = append(fields, zap.Int("left_out", l.leftOut))
	}
	log(message, fields...)
	l.last, l.leftOut = now, 0
}
