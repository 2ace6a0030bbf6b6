package access

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/kube-devops/kube-devops/agent/server"
)

// turnTimeout is how long a review waits for its turn. A scrape of Prometheus waits 10 s.
const turnTimeout = 5 * time.Second

// A reviewQueue is where requests wait for a review. It bounds how many wait, and how many reviews are made in a second.
type reviewQueue struct {
	max, maxOfOne int // that wait, in all and of one address
	limit         *rate.Limiter
	next          chan struct{} // held by the review whose turn is next, so that one that gives up takes no turn

	mu      sync.Mutex
	total   int
	waiting map[string]int // by address
}

// In no second are there more than 10 reviews: the two limits with their bursts, 6 and 4, together. Of one address only
// some may wait, so that a client whose token is new finds a place beside a flood from elsewhere.
func strangersQueue() *reviewQueue { return newReviewQueue(16, 4, rate.NewLimiter(4, 2)) }

func knownQueue() *reviewQueue { return newReviewQueue(64, 64, rate.NewLimiter(2, 2)) }

func newReviewQueue(most, mostOfOne int, limit *rate.Limiter) *reviewQueue {
	return &reviewQueue{max: most, maxOfOne: mostOfOne, limit: limit, next: make(chan struct{}, 1), waiting: make(map[string]int)}
}

// enter takes a place for a request from an address, where there is one.
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

// wait returns when it is the turn of the next review, or an error where that takes too long.
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

// logLimitPeriod is the time between two lines of the log that a client can cause.
const logLimitPeriod = 5 * time.Second

// A logLimit logs one line a period, at the level of a logger's method, and says how many it left out.
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
