package faults_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/faults/proxy"
)

// dropFlows makes the kernel drop all packets of the current connections between a replica and its proxy, in both directions, until
// the returned function is called. New connections work.
func (f *fixture) dropFlows(r *replica) (restore func()) {
	f.Helper()
	var rules [][]string
	for _, port := range r.proxy.Ports() {
		for _, ends := range [][2]int{{port, r.proxy.Port()}, {r.proxy.Port(), port}} {
			rules = append(rules, []string{"INPUT", "-i", "lo", "-p", "tcp", "--sport", strconv.Itoa(ends[0]), "--dport", strconv.Itoa(ends[1]), "-j", "DROP"})
		}
	}
	if len(rules) == 0 {
		f.Fatal("the replica has no connection to its proxy")
	}
	firewall := func(action string, rule []string) error {
		out, err := exec.Command("iptables", append([]string{"-w", action}, rule...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("iptables: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}
	restore = sync.OnceFunc(func() {
		for _, rule := range rules {
			_ = firewall("-D", rule)
		}
	})
	f.Cleanup(restore)
	for _, rule := range rules {
		if err := firewall("-I", rule); err != nil {
			f.skip("cannot drop packets: %v", err)
		}
	}
	return restore
}

// slowDialer uses small segments and a small window, so that about 50 KB of a response fit into the buffers of a connection. With the
// defaults of Linux a writer does not block before 4 MB.
var slowDialer = net.Dialer{Timeout: 5 * time.Second, Control: func(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = errors.Join(syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536),
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048))
	})
	return errors.Join(err, failed)
}}

// betweenEnds is more than fits into these buffers.
const betweenEnds = 128 << 10

const getMetrics = "GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"

// A stuckReader has read only the beginning of a response.
type stuckReader struct {
	net.Conn
	*bufio.Reader
}

// stuckReaders opens connections on which the agent has started to respond.
func (f *fixture) stuckReaders(r *replica, n int) []stuckReader {
	f.Helper()
	var readers []stuckReader
	for range n {
		conn, err := slowDialer.DialContext(f.Context(), "tcp", r.Addr)
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { _ = conn.Close() })
		if _, err := conn.Write([]byte(getMetrics)); err != nil {
			f.Fatal(err)
		}
		reader := stuckReader{conn, bufio.NewReaderSize(conn, 512)}
		if _, err := reader.Peek(1); err != nil {
			f.Fatal(err)
		}
		readers = append(readers, reader)
	}
	return readers
}

// rest reads the rest of the response, and returns an error if it is incomplete.
func (s stuckReader) rest() error {
	_ = s.Conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	res, err := http.ReadResponse(s.Reader, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// slowClients opens connections to an agent until the returned function is called. Half of them send, and half of them read, one byte
// per second. With again they reconnect when they are disconnected.
func (f *fixture) slowClients(r *replica, n int, again bool) (stop func()) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			for once := true; once || again && ctx.Err() == nil; once = false {
				slowClient(ctx, r.Addr, i%2 == 0)
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); running.Wait() })
}

// slowClient reads one byte of the response, or sends one byte of the request, per second, until it is disconnected.
func slowClient(ctx context.Context, addr string, reads bool) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	conn, err := slowDialer.DialContext(ctx, "tcp", addr)
	defer context.AfterFunc(ctx, func() {
		if err == nil {
			_ = conn.Close()
		}
	})()
	request := []byte(getMetrics[:len(getMetrics)-2] + "X-Slow: " + strings.Repeat("x", 1000) + "\r\n\r\n")
	if err == nil {
		defer func() { _ = conn.Close() }()
		if reads {
			_, err = conn.Write(request)
		}
	}
	for sent := 0; ; sent++ {
		switch {
		case err != nil: // it reconnects one second later
		case reads:
			_, err = conn.Read(make([]byte, 1))
		default:
			_, err = conn.Write(request[sent%len(request) : sent%len(request)+1])
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// silence restarts the pod watch of a replica. When the returned function is called, that watch receives no more events but stays open,
// as behind a load balancer that has lost its backend.
func (f *fixture) silence(r *replica) (begin func()) {
	f.Helper()
	silent := make(chan struct{})
	remove := r.proxy.Add(proxy.Rule{Verb: "watch", Resource: "pods", Times: 1, Watch: func(*proxy.Event) proxy.Fate {
		select {
		case <-silent:
			return proxy.Swallow
		default:
			return proxy.Pass
		}
	}})
	f.restartWatch(r)
	f.Cleanup(remove)
	return sync.OnceFunc(func() { close(silent) })
}
