package server

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestConnLimit opens many more connections than the limit, and probes as a kubelet does.
func TestConnLimit(t *testing.T) {
	metrics := strings.Replace(get, "healthz", "metrics", 1)
	for name, text := range map[string]string{
		"silent clients":                               "",
		"clients that send half a header":              get[:len(get)-2],
		"clients that send one request":                get,
		"clients that never read the metrics":          metrics,
		"clients that send two requests, read nothing": metrics + metrics,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options()
				o.Publish = granted
				p, _ := startInMemory(t, o)
				var gone atomic.Int64
				for range 4 * maxConnections {
					conn, err := p.dial(t.Context(), "", "")
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { conn.Close() })
					go func() {
						if _, err := io.WriteString(conn, text); err != nil {
							gone.Add(1)
							return
						}
						if text == "" {
							untilClosed(t, conn)
							gone.Add(1)
						}
					}()
					synctest.Wait()
				}
				before := time.Now()
				for _, path := range []string{"/healthz", "/readyz"} {
					if got, err := p.fetch(path); err != nil || got.Status != http.StatusOK {
						t.Errorf("%s: %v, %v, want an answer", path, got, err)
					}
				}
				if took := time.Since(before); took > 0 {
					t.Errorf("two answers took %s, want 0 s", took)
				}
				if text == "" && gone.Load() < 3*maxConnections {
					t.Errorf("%d of %d connections were closed, want all but %d", gone.Load(), 4*maxConnections, maxConnections)
				}
			})
		})
	}
}

// TestConnLimitKeepsActiveConnections: a connection whose request is being answered stays open, however many others there are.
func TestConnLimitKeepsActiveConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		held := make(chan struct{})
		o.Report = func(w io.Writer) error {
			<-held
			_, err := io.WriteString(w, reportText)
			return err
		}
		p, _ := startInMemory(t, o)
		answers := make(chan answered, 1)
		go func() {
			got, _ := p.fetch("/api/v1/report")
			answers <- got
		}()
		synctest.Wait()
		for range 2 * maxConnections {
			conn, err := p.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			synctest.Wait()
		}
		close(held)
		if got := <-answers; got.Status != http.StatusOK || got.Body != reportText {
			t.Errorf("%v, want the report", got)
		}
	})
}

// TestConnLimitEvictionOrder: the connection that has waited longest is closed, and never one whose request is being answered.
func TestConnLimitEvictionOrder(t *testing.T) {
	c := newConnLimit(3)
	names, conns := map[net.Conn]string{}, map[string]net.Conn{}
	for _, name := range strings.Split("abcdefgh", "") {
		conn, other := net.Pipe()
		t.Cleanup(func() { conn.Close(); other.Close() })
		conns[name], names[conn] = conn, name
	}
	opens := func(name, closed string) {
		t.Helper()
		if got := names[c.push(conns[name], 0)]; got != closed {
			t.Errorf("%s opens, and %q is closed, want %q", name, got, closed)
		}
	}
	request := func(name string) { c.remove(conns[name], +1) }
	answered := func(name string) {
		t.Helper()
		if got := c.push(conns[name], -1); got != nil {
			t.Errorf("the answer of %s closed %q", name, names[got])
		}
	}
	opens("a", "")
	opens("b", "")
	opens("c", "")
	request("a")
	answered("a")
	opens("d", "b") // a has waited less since its answer
	request("c")
	opens("e", "a")
	request("d")
	request("e")
	opens("f", "f") // the requests of all others are being answered
	answered("c")
	answered("e")
	opens("g", "c")
	c.remove(conns["e"], 0) // the client closes it
	opens("h", "")
	c.remove(conns["b"], 0) // it was closed long ago
	if c.waiting.Len() != 2 || len(c.element) != 2 || c.active != 1 {
		t.Errorf("%d connections in the list, %d in the map and %d active, want 2, 2 and 1", c.waiting.Len(), len(c.element), c.active)
	}
}
