package oracle

import (
	"sync"
	"time"
)

// A HaltWatch detects when the machine was halted: an idle goroutine did not run when it was due. The agents, on the same processors,
// did not run either.
type HaltWatch struct {
	mu   sync.Mutex
	last time.Time
	all  []halt
}

type halt struct{ from, to time.Time }

const (
	haltTick = 20 * time.Millisecond
	// leastHalt is the minimum length of a halt. Shorter delays are normal on two busy processors.
	leastHalt = 200 * time.Millisecond
)

// WatchHalts watches until the process ends.
func WatchHalts() *HaltWatch {
	w := &HaltWatch{last: time.Now()}
	go func() {
		for range time.Tick(haltTick) {
			w.runs(time.Now())
		}
	}()
	return w
}

// runs records that this process is running.
func (w *HaltWatch) runs(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.last) > leastHalt {
		w.all = append(w.all, halt{w.last.Add(haltTick), now})
	}
	w.last = now
}

// Within returns how long the machine was halted between two times in the past.
func (w *HaltWatch) Within(from, to time.Time) time.Duration {
	w.runs(time.Now()) // the caller may be the first goroutine to run again
	return w.within(from, to)
}

func (w *HaltWatch) within(from, to time.Time) (sum time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.all {
		begin, end := h.from, h.to
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		sum += max(0, end.Sub(begin))
	}
	return sum
}
