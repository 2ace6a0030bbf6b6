package proxy

import (
	"net"
	"sync"
)

// connections are the connections from the agent to the proxy. They are below TLS: faults apply to bytes.
type connections struct {
	net.Listener

	mu    sync.Mutex
	all   map[*connection]struct{}
	dark  bool // new connections are accepted, but pass no bytes
	reset bool // new connections are reset
}

func newConnections(listener net.Listener) *connections {
	return &connections{Listener: listener, all: make(map[*connection]struct{})}
}

// Accept returns the next connection that is not reset.
func (cs *connections) Accept() (net.Conn, error) {
	for {
		conn, err := cs.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := cs.admit(conn); c != nil {
			return c, nil
		}
		reset(conn)
	}
}

func (cs *connections) admit(conn net.Conn) *connection {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.reset {
		return nil
	}
	c := &connection{Conn: conn, of: cs, closed: make(chan struct{})}
	if cs.dark {
		c.dark = make(chan struct{})
	}
	cs.all[c] = struct{}{}
	return c
}

// set changes the faults of new connections, and calls a function for each open one.
func (cs *connections) set(dark, reset bool, each func(*connection)) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.dark, cs.reset = dark, reset
	for c := range cs.all {
		each(c)
	}
}

// each calls a function for each open connection.
func (cs *connections) each(do func(*connection)) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.all {
		do(c)
	}
}

// A connection forwards bytes, or holds them while it is dark. When it is lit again the held bytes arrive, as after a
// retransmission.
type connection struct {
	net.Conn
	of *connections

	mu     sync.Mutex
	dark   chan struct{} // closed when it is lit again; nil while it is lit
	once   sync.Once
	closed chan struct{}
}

func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wait()
	return n, err
}

func (c *connection) Write(b []byte) (int, error) {
	c.wait()
	return c.Conn.Write(b)
}

func (c *connection) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.of.mu.Lock()
		delete(c.of.all, c)
		c.of.mu.Unlock()
	})
	return c.Conn.Close()
}

// wait returns when bytes may pass, or when the connection is closed.
func (c *connection) wait() {
	c.mu.Lock()
	dark := c.dark
	c.mu.Unlock()
	if dark == nil {
		return
	}
	select {
	case <-dark:
	case <-c.closed:
	}
}

func (c *connection) darken() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dark == nil {
		c.dark = make(chan struct{})
	}
}

func (c *connection) light() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dark != nil {
		close(c.dark)
		c.dark = nil
	}
}

// reset closes a connection with RST, so that the other side receives an error instead of EOF.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
