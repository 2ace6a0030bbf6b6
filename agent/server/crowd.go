package server

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxConnections is how many connections are open at the same time: some 15 MB. With fewer a burst of them would send
	// a probe away before it is heard.
	maxConnections = 1000
	// maxHealthConnections is the same for the address of the health checks alone.
	maxHealthConnections = 256
	// maxWriters is how many answers of one page are being written at the same time; each is in memory as a whole.
	maxWriters = 16
	// maxReports is how many reports are made at the same time, maxScrapes how many times the metrics are gathered: once,
	// as the agent has one processor for it, and a probe in a flood of scrapes waits behind each that is on its way.
	maxReports = 4
	maxScrapes = 1
	// turnPatience is how long a request waits for that, maxWaiting how many wait. One that waits holds its connection, and
	// so they are far fewer than there may be connections.
	turnPatience = 5 * time.Second
	maxWaiting   = 128
)

// A crowd holds the connections of a server, and sends one away when there are too many: the one that is idle for longest
// after an answer, or else the one that waits for longest to be heard. Not the newest: then a crowd that holds all places
// would keep out the probes of the kubelet, and the pod would be restarted. A connection of which a request is answered
// stays.
type crowd struct {
	max int

	mu      sync.Mutex
	present map[net.Conn]*place
	idle    list.List // of net.Conn: those that were answered, the longest idle first
	fresh   list.List // of net.Conn: those that were not, the oldest first
}

// A place is that of a connection in one of the lists; in none while a request of it is answered.
type place struct {
	in *list.List
	at *list.Element
}

func newCrowd(most int) *crowd {
	return &crowd{max: most, present: make(map[net.Conn]*place)}
}

// observe hears of each connection that comes or goes; it is the ConnState of a server.
func (c *crowd) observe(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if away := c.join(conn); away != nil {
			_ = away.Close()
		}
	case http.StateClosed, http.StateHijacked:
		c.leave(conn)
	}
}

// join adds a connection, and returns the one that must go for it, nil for none.
func (c *crowd) join(conn net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.present[conn] = &place{&c.fresh, c.fresh.PushBack(conn)}
	if len(c.present) <= c.max {
		return nil
	}
	from := &c.idle
	if from.Len() == 0 {
		from = &c.fresh // the new one at least is there
	}
	away := from.Remove(from.Front()).(net.Conn)
	delete(c.present, away)
	return away
}

func (c *crowd) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.present[conn]; p != nil && p.in != nil {
		p.in.Remove(p.at)
	}
	delete(c.present, conn)
}

// connKey is that of the connection in the context of a request.
type connKey struct{}

func (c *crowd) remember(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// attend lets a connection keep its place while a request of it is answered.
func (c *crowd) attend(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			c.served(conn, true)
			defer c.served(conn, false)
		}
		next.ServeHTTP(w, r)
	})
}

func (c *crowd) served(conn net.Conn, now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.present[conn]
	switch {
	case p == nil: // it was sent away meanwhile
	case now && p.in != nil:
		p.in.Remove(p.at)
		p.in = nil
	case !now && p.in == nil:
		p.in, p.at = &c.idle, c.idle.PushBack(conn)
	}
}

// A lane bounds how many clients are written to at the same time. One too many cuts off the one that reads for longest:
// who reads at all is done before so many others have come.
type lane struct {
	max int

	mu      sync.Mutex
	writing list.List // of func(), the longest writing first
}

// enter begins to write; cut must make the writing end. The returned func ends it.
func (l *lane) enter(cut func()) (leave func()) {
	if l == nil { // it has no bound
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.writing.PushBack(cut)
	if l.writing.Len() > l.max {
		l.writing.Remove(l.writing.Front()).(func())()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.writing.Remove(own) // of one that was cut off it does nothing
	}
}

// inTurn makes so many pages at the same time; a page that is published gives up its turn when it begins to be written.
// Some others wait for their turn, and those that are too many, or wait for too long, are told to come again: a scraper
// among a hundred others gets its answer, a second later.
func inTurn(most int, next http.Handler) http.Handler {
	places, queue := make(chan struct{}, most), make(chan struct{}, most+maxWaiting)
	busy := func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusServiceUnavailable, "too many requests at the same time\n")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case queue <- struct{}{}:
		default:
			busy(w)
			return
		}
		dequeue := sync.OnceFunc(func() { <-queue })
		defer dequeue()
		patience := time.NewTimer(turnPatience)
		defer patience.Stop()
		select {
		case places <- struct{}{}:
			leave := sync.OnceFunc(func() { <-places; dequeue() })
			defer leave()
			if page, ok := w.(*rendering); ok {
				page.leave = leave
			}
			next.ServeHTTP(w, r)
		case <-patience.C:
			busy(w)
		case <-r.Context().Done():
			// Nobody waits any more; or the permission has ended, which the caller sees.
		}
	})
}
