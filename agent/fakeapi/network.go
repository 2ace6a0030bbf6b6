package fakeapi

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"

	"k8s.io/apimachinery/pkg/util/sets"
)

// A Network carries HTTP in memory, so that a server and its client can run in a bubble of testing/synctest.
type Network struct {
	accepted chan net.Conn
	closed   chan struct{}

	mu    sync.Mutex
	down  bool
	conns sets.Set[net.Conn]
}

// NewNetwork makes a network that is up.
func NewNetwork() *Network {
	return &Network{accepted: make(chan net.Conn), closed: make(chan struct{}), conns: sets.New[net.Conn]()}
}

// ErrRefused is the error of Dial while the network is down.
var ErrRefused = &net.OpError{Op: "dial", Net: "pipe", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// Dial is for http.Transport.
func (n *Network) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, ErrRefused
	}
	client, server := net.Pipe()
	select {
	case n.accepted <- server:
		n.conns.Insert(server)
		return client, nil
	case <-n.closed:
		return nil, ErrRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Drop closes all connections.
func (n *Network) Drop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.conns {
		_ = conn.Close()
	}
	n.conns.Clear()
}

// Stop closes all connections and refuses new ones until Start.
func (n *Network) Stop() {
	n.mu.Lock()
	n.down = true
	n.mu.Unlock()
	n.Drop()
}

// Start accepts connections again.
func (n *Network) Start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}

// Accept implements net.Listener.
func (n *Network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.accepted:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *Network) Close() error {
	close(n.closed)
	return nil
}

// Addr implements net.Listener.
func (n *Network) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }
