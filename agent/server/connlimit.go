package server

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

const (
	// maxConnections bounds the open connections of the pages, some 15 MB of memory. With fewer of them a burst could close
	// the connection of a probe before it is read.
	maxConnections = 1000
	// maxHealthConnections bounds those of the address that serves the health checks alone.
	maxHealthConnections = 256
)

// A connLimit bounds the open connections. One too many closes the connection that has waited longest for a request; those
// whose request is being answered stay open. Closing the oldest and not refusing the newest keeps the kubelet's probes working
// while hostile clients hold all other connections: netutil.LimitListener would make a probe wait until one of them times out.
type connLimit struct {
	max int

	mu      sync.Mutex
	active  int       // the number of connections whose request is being answered
	waiting list.List // of net.Conn, the longest waiting first
	element map[net.Conn]*list.Element
}

func newConnLimit(limit int) *connLimit {
	return &connLimit{max: limit, element: make(map[net.Conn]*list.Element)}
}

// observe is the ConnState hook of the server.
func (c *connLimit) observe(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.add(conn, 0)
	case http.StateClosed, http.StateHijacked:
		c.remove(conn, 0)
	}
}

// add notes that the connection waits for a request, closes the one that has waited longest if there are too many, and adds
// active to the number of active connections.
func (c *connLimit) add(conn net.Conn, active int) {
	if oldest := c.push(conn, active); oldest != nil {
		_ = oldest.Close()
	}
}

// push returns the connection to close; nil for none.
func (c *connLimit) push(conn net.Conn, active int) (oldest net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active += active
	c.element[conn] = c.waiting.PushBack(conn)
	if c.waiting.Len()+c.active > c.max {
		oldest = c.waiting.Remove(c.waiting.Front()).(net.Conn)
		delete(c.element, oldest)
	}
	return oldest
}

// remove notes that the connection does not wait for a request any more.
func (c *connLimit) remove(conn net.Conn, active int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active += active
	if e, ok := c.element[conn]; ok {
		c.waiting.Remove(e)
		delete(c.element, conn)
	}
}

type connKey struct{}

// connContext is the ConnContext hook of the server.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// exemptActive keeps connections open while a request of theirs is answered. The state StateActive of net/http does not
// serve for that: a client enters it by sending the first byte of a request.
func (c *connLimit) exemptActive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			c.remove(conn, +1)
			defer c.add(conn, -1)
		}
		next.ServeHTTP(w, r)
	})
}
