package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// start runs a server. It returns its address, and a function that stops it and returns the result of Run.
func start(t *testing.T, o Options) (addr string, stop func() error) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s.Addr(), run(t, s)
}

func run(t *testing.T, s *Server) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// fetch requests a URL on a new connection.
func fetch(method, url string) (answered, error) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		return answered{}, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answered{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	h := response.Header
	return answered{response.StatusCode, h.Get("Content-Type"), h.Get("Allow"), string(body)}, err
}

func TestRealSocket(t *testing.T) {
	o := options()
	o.Publish = granted
	addr, stop := start(t, o)
	other, stopOther := start(t, options()) // two in one process
	for _, test := range []struct {
		method, url string
		want        answered
	}{
		{"GET", "http://" + addr + "/healthz", answered{200, textType, "", "OK"}},
		{"GET", "http://" + addr + "/readyz", answered{200, textType, "", "READY"}},
		{"GET", "http://" + addr + "/metrics", answered{200, metricsType, "", processText + scoresText}},
		{"GET", "http://" + addr + "/api/v1/report", answered{200, jsonType, "", reportText}},
		{"HEAD", "http://" + addr + "/healthz", answered{200, textType, "", ""}},
		{"HEAD", "http://" + addr + "/metrics", answered{200, metricsType, "", ""}},
		{"HEAD", "http://" + addr + "/api/v1/report", answered{200, jsonType, "", ""}},
		{"POST", "http://" + addr + "/metrics", answered{405, textType, "GET, HEAD", "Method Not Allowed\n"}},
		{"GET", "http://" + other + "/healthz", answered{200, textType, "", "OK"}},
	} {
		got, err := fetch(test.method, test.url)
		if err != nil {
			t.Errorf("%s %s: %v", test.method, test.url, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", test.method, test.url, diff)
		}
	}
	for _, stop := range []func() error{stop, stopOther} {
		if err := stop(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("the address still answers after Run")
	}
}

// TestHealthAddress: the second address serves only the health checks, without TLS, and Run closes both addresses.
func TestHealthAddress(t *testing.T) {
	cert, key := newPair(t, 1)
	o := options()
	o.HealthListen = "127.0.0.1:0"
	o.Certificate = pairFiles(t, t.TempDir(), cert, key)
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, s)
	for path, want := range map[string]answered{
		"/healthz":       {200, textType, "", "OK"},
		"/readyz":        {200, textType, "", "READY"},
		"/metrics":       {404, textType, "", "404 page not found\n"},
		"/api/v1/report": {404, textType, "", "404 page not found\n"},
	} {
		got, err := fetch("GET", "http://"+s.HealthAddr()+path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	for _, addr := range []string{s.Addr(), s.HealthAddr()} {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Errorf("%s still answers after Run", addr)
		}
	}
}

// TestHealthAddressInUse: the error says which of the two addresses is in use, and the other one is released.
func TestHealthAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o := options()
	o.HealthListen = taken.Addr().String()
	_, err = New(o)
	if err == nil || !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), fmt.Sprintf("listen on %q for health checks: ", o.HealthListen)) {
		t.Errorf("error %v, want that the address of the health checks is in use", err)
	}
}

func TestAddressInUse(t *testing.T) {
	s, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Listen = s.Addr()
	_, err = New(o)
	if want := fmt.Sprintf("listen on %q: listen tcp %s: bind: address already in use", s.Addr(), s.Addr()); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v does not wrap EADDRINUSE", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := New(o)
	if err != nil {
		t.Fatalf("Close did not release the address: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestInvalidListenAddress(t *testing.T) {
	for listen, want := range map[string]string{
		"nonsense":        `listen on "nonsense": listen tcp: address nonsense: missing port in address`,
		"127.0.0.1:http2": `listen on "127.0.0.1:http2": listen tcp: lookup tcp/http2: unknown port`,
		"127.0.0.1:99999": `listen on "127.0.0.1:99999": listen tcp: address 99999: invalid port`,
	} {
		o := options()
		o.Listen = listen
		if _, err := New(o); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestRunOnClosedListener(t *testing.T) {
	s, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err = s.Run(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "serve HTTP: ") || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run returned %v, want that it cannot serve on a closed listener", err)
	}
}

func TestRunWithCanceledContext(t *testing.T) {
	s, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		conn.Close()
		t.Error("the address still answers after Run")
	}
}

// A client that stops reading is cut off when the permission ends, in the middle of the response.
func TestClientThatStopsToRead(t *testing.T) {
	const much = 32 << 20 // more than the buffers of a socket
	o := options()
	o.Report = func(w io.Writer) error {
		_, err := w.Write(make([]byte, much))
		return err
	}
	permission, takeAway := context.WithCancel(t.Context())
	published := make(chan error, 1)
	o.Publish = func(_ context.Context, publish func(context.Context) error) error {
		err := publish(permission)
		published <- err
		return err
	}
	addr, _ := start(t, o)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /api/v1/report HTTP/1.1\r\nHost: server.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	takeAway()
	if err := <-published; !isTimeout(err) {
		t.Errorf("publishing ended with %v, want a timeout", err)
	}
	// The buffered part still arrives, and then the end of the connection.
	read, err := io.Copy(io.Discard, conn)
	if isTimeout(err) {
		t.Error("the connection was not closed")
	}
	if read >= much {
		t.Errorf("%d bytes arrived, want only what was buffered when the permission ended", read)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A pipes is a listener in memory. With synctest the tests use the timeouts of production.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPipes() *pipes { return &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.accepted <- server:
		return client, nil
	case <-p.closed:
		return nil, syscall.ECONNREFUSED
	}
}

// connect opens a connection until the end of the test, and sends a text.
func (p *pipes) connect(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := p.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// fetch requests a path on a new connection.
func (p *pipes) fetch(path string) (answered, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: p.dial, DisableKeepAlives: true}}
	response, err := client.Get("http://server.test" + path)
	if err != nil {
		return answered{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answered{response.StatusCode, response.Header.Get("Content-Type"), "", string(body)}, err
}

// startInMemory runs a server on a pipes listener.
func startInMemory(t *testing.T, o Options) (p *pipes, stop func() error) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p = newPipes()
	s.pages.listener = p
	return p, run(t, s)
}

const get = "GET /healthz HTTP/1.1\r\nHost: server.test\r\n\r\n"

func TestClientTimeouts(t *testing.T) {
	tests := []struct {
		name string
		act  func(t *testing.T, conn net.Conn) // what the client does, until the connection ends
		send string
		want time.Duration
	}{
		{name: "sends nothing", want: headerTimeout, act: untilClosed},
		{name: "sends half a header", send: get[:len(get)-2], want: headerTimeout, act: untilClosed},
		{
			name: "sends a byte each second", send: "GET /healthz HTTP/1.1\r\nX: ", want: headerTimeout,
			act: func(t *testing.T, conn net.Conn) {
				for {
					if _, err := io.WriteString(conn, "x"); err != nil {
						return
					}
					<-time.After(time.Second)
				}
			},
		},
		{name: "sends one request", send: get, want: idleTimeout, act: untilClosed},
		{
			name: "sends an incomplete body", want: readTimeout, act: untilClosed,
			send: "GET /healthz HTTP/1.1\r\nHost: server.test\r\nContent-Length: 10\r\n\r\nabc",
		},
		{
			name: "reads nothing", send: strings.Replace(get, "healthz", "api/v1/report", 1), want: writeTimeout,
			act: func(t *testing.T, conn net.Conn) {
				<-time.After(writeTimeout)
				synctest.Wait()
				untilClosed(t, conn)
			},
		},
		{
			name: "reads a byte each second", send: strings.Replace(get, "healthz", "api/v1/report", 1), want: writeTimeout,
			act: func(t *testing.T, conn net.Conn) {
				for {
					if _, err := conn.Read(make([]byte, 1)); err != nil {
						return
					}
					<-time.After(time.Second)
				}
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options()
				o.Report = func(w io.Writer) error {
					_, err := io.WriteString(w, strings.Repeat("x", 1<<16))
					return err
				}
				p, _ := startInMemory(t, o)
				before := time.Now()
				conn := p.connect(t, test.send)
				if test.send == get {
					if status := readStatus(t, conn); status != http.StatusOK {
						t.Fatalf("status %d, want 200", status)
					}
				}
				test.act(t, conn)
				// A client that acts each second notices a second later.
				if took := time.Since(before); took < test.want || took > test.want+time.Second {
					t.Errorf("the connection was closed after %s, want %s", took, test.want)
				}
				if got, err := p.fetch("/healthz"); err != nil || got.Status != http.StatusOK {
					t.Errorf("another client got %v, %v", got, err)
				}
			})
		})
	}
}

// readStatus reads one response and returns its status.
func readStatus(t *testing.T, conn net.Conn) int {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

// untilClosed reads until the connection ends.
func untilClosed(_ *testing.T, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// If the permission ends before writeTimeout, it ends the connection of a client that does not read.
func TestPermissionEndsWhileWriting(t *testing.T) {
	const ends = 7 * time.Second
	for name, permission := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"it runs out": func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, ends) },
		"it is taken away": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(ends, cancel)
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options()
				published := make(chan error, 1)
				o.Publish = func(ctx context.Context, publish func(context.Context) error) error {
					ctx, cancel := permission(ctx)
					defer cancel()
					err := publish(ctx)
					published <- err
					return err
				}
				p, _ := startInMemory(t, o)
				before := time.Now()
				conn := p.connect(t, strings.Replace(get, "healthz", "metrics", 1))
				if err := <-published; !isTimeout(err) {
					t.Errorf("publishing ended with %v, want a timeout", err)
				}
				if took := time.Since(before); took != ends {
					t.Errorf("publishing ended after %s, want %s", took, ends)
				}
				if read, _ := io.Copy(io.Discard, conn); read != 0 {
					t.Errorf("%d bytes arrived after the permission had ended", read)
				}
			})
		})
	}
}

// Slow clients do not delay others.
func TestSlowClientsDoNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Publish = granted
		p, _ := startInMemory(t, o)
		for range 50 {
			p.connect(t, strings.Replace(get, "healthz", "metrics", 1)) // reads nothing
			p.connect(t, get[:10])
		}
		synctest.Wait()
		before := time.Now()
		for _, path := range []string{"/metrics", "/healthz", "/readyz", "/api/v1/report"} {
			if got, err := p.fetch(path); err != nil || got.Status != http.StatusOK {
				t.Errorf("%s: %v, %v, want an answer", path, got, err)
			}
		}
		if took := time.Since(before); took > 0 {
			t.Errorf("four responses took %s, want 0 s", took)
		}
	})
}

func TestHeaderTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := startInMemory(t, options())
		conn := p.connect(t, "")
		go func() {
			_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nX: "+strings.Repeat("x", 2*maxHeaderBytes))
		}()
		if status := readStatus(t, conn); status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("status %d, want 431", status)
		}
	})
}

func TestStop(t *testing.T) {
	tests := []struct {
		name  string
		takes time.Duration // the open request
		want  time.Duration // until Run returns
		cut   bool
		log   []string
	}{
		{name: "an open request finishes", takes: 3 * time.Second, want: 3 * time.Second},
		{
			name: "a stuck request is cut off", takes: time.Hour, want: drainTimeout, cut: true,
			log: []string{"open requests did not finish in time; closing them"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.InfoLevel)
				o := options()
				o.Log = zap.New(core)
				whole := o.Report
				o.Report = func(w io.Writer) error {
					<-time.After(test.takes)
					return whole(w)
				}
				p, stop := startInMemory(t, o)
				type result struct {
					answered
					err error
					at  time.Time
				}
				results := make(chan result, 1)
				go func() {
					got, err := p.fetch("/api/v1/report")
					results <- result{got, err, time.Now()}
				}()
				synctest.Wait()
				before := time.Now()
				stopped := make(chan error, 1)
				go func() { stopped <- stop() }()
				synctest.Wait()
				if _, err := p.fetch("/healthz"); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("a connection while stopping: %v, want a refusal", err)
				}
				if err := <-stopped; err != nil {
					t.Errorf("Run returned %v, want nil", err)
				}
				if took := time.Since(before); took.Round(time.Second) != test.want {
					t.Errorf("Run took %s to return, want %s", took, test.want)
				}
				got := <-results
				if (got.err != nil) != test.cut {
					t.Errorf("the open request got %v, %v, want it cut off: %v", got.answered, got.err, test.cut)
				}
				if took := got.at.Sub(before); took.Round(time.Second) != test.want {
					t.Errorf("the open request ended after %s, want %s", took, test.want)
				}
				if want := (answered{200, jsonType, "", reportText}); !test.cut && got.answered != want {
					t.Errorf("the open request got %v, want %v", got.answered, want)
				}
				var lines []string
				for _, entry := range logs.All() {
					lines = append(lines, entry.Message)
				}
				if diff := cmp.Diff(test.log, lines); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
				<-time.After(test.takes) // the handler itself ends too
			})
		})
	}
}

func TestStopWithIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := startInMemory(t, options())
		conn := p.connect(t, get)
		readStatus(t, conn)
		before := time.Now()
		if err := stop(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		if took := time.Since(before); took > time.Second {
			t.Errorf("Run took %s to return with one idle connection, want none", took)
		}
	})
}

// Run waits for a new connection without a request, but only up to drainTimeout.
func TestStopWithNewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := startInMemory(t, options())
		p.connect(t, "")
		synctest.Wait()
		before := time.Now()
		if err := stop(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		if took := time.Since(before); took > drainTimeout {
			t.Errorf("Run took %s to return, want %s at most", took, drainTimeout)
		}
	})
}
