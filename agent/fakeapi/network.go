package fakeapi

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"

	"k8s.io/apimachinery/pkg/util/sets"
)

// A Wire carries HTTP in memory, so that a server and its client can live in a bubble of testing/synctest.
type Wire struct {
	accepted chan net.Conn
	closed   chan struct{}

	mu    sync.Mutex
	down  bool
	conns sets.Set[net.Conn]
}

// NewWire makes a wire that is up.
func NewWire() *Wire {
	return &Wire{accepted: make(chan net.Conn), closed: make(chan struct{}), conns: sets.New[net.Conn]()}
}

// ErrRefused is what a dialer gets of a server that does not run.
var ErrRefused = &net.OpError{Op: "dial", Net: "pipe", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// Dial is for http.Transport.
func (l *Wire) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, ErrRefused
	}
	client, server := net.Pipe()
	select {
	case l.accepted <- server:
		l.conns.Insert(server)
		return client, nil
	case <-l.closed:
		return nil, ErrRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Drop cuts all connections.
func (l *Wire) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close()
	}
	l.conns.Clear()
}

// Stop cuts all connections and refuses further ones, until start.
func (l *Wire) Stop() {
	l.mu.Lock()
	l.down = true
	l.mu.Unlock()
	l.Drop()
}

// Start accepts connections again.
func (l *Wire) Start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// Accept implements net.Listener.
func (l *Wire) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *Wire) Close() error {
	close(l.closed)
	return nil
}

// Addr implements net.Listener.
func (l *Wire) Addr() net.Addr { return &net.UnixAddr{Name: "wire", Net: "pipe"} }
