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

// dropFlows makes the kernel drop each packet of the connections that there are between a replica and its proxy, in both
// directions, until the returned func is called. Neither end is told; new connections are good.
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
			f.skip("no packet can be dropped: %v", err)
		}
	}
	return restore
}

// slowDialer makes connections with small segments and a small window, so that little of an answer fits between the two
// ends: some 50 KB, where the defaults of Linux take 4 MB before a writer waits for a reader.
var slowDialer = net.Dialer{Timeout: 5 * time.Second, Control: func(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = errors.Join(syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536),
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048))
	})
	return errors.Join(err, failed)
}}

// betweenEnds is more than fits there.
const betweenEnds = 128 << 10

const getMetrics = "GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"

// A stuckReader has asked for a page, and has read no more than the beginning of the answer.
type stuckReader struct {
	net.Conn
	*bufio.Reader
}

// stuckReaders makes some, each of which the agent has begun to answer.
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

// rest reads what can still be read, and returns an error where that is not the whole page.
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

// slowClients opens connections to an agent, half of which send a byte a second and half of which read one, until the
// returned func is called. Some come again when they are sent away.
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

// slowClient reads a byte of the answer each second, or sends a byte of the question, until it is sent away.
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
		case err != nil: // it comes again a second later
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

// silence lets a replica begin a watch of the pods that brings nothing any more as soon as the returned func is called, and
// stays open: as a proxy leaves it that has lost its other side.
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
	f.rewatch(r)
	f.Cleanup(remove)
	return sync.OnceFunc(func() { close(silent) })
}
