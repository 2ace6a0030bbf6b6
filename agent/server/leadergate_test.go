package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"go.uber.org/zap"
)

// A large report is written in pieces of a text that gzip cannot compress.
const pieceSize = 4096

var largeText = func() []byte {
	text, random := make([]byte, 4*streamAfter), rand.New(rand.NewPCG(1, 2))
	for i := range text {
		text[i] = byte(random.Uint32())
	}
	return text
}()

func piece(i int) []byte { return largeText[i*pieceSize : (i+1)*pieceSize] }

// TestLargeReport has reports that are streamed. The client can detect an incomplete one.
func TestLargeReport(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testLargeReport(t, false) })
	t.Run("gzip", func(t *testing.T) { testLargeReport(t, true) })
}

func testLargeReport(t *testing.T, compressed bool) {
	const many = 3 * streamAfter / pieceSize
	tests := []struct {
		name  string
		pages int
		fault func(end func()) error // in the middle
		whole bool
	}{
		{name: "complete", pages: many, whole: true},
		{name: "just in memory", pages: streamAfter / pieceSize, whole: true},
		{name: "just streamed", pages: streamAfter/pieceSize + 1, whole: true},
		{name: "the permission ends", pages: many, fault: func(end func()) error { end(); return nil }},
		{name: "the report fails", pages: many, fault: func(func()) error { return errors.New("no more") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := options()
			o.Log = zap.NewNop()
			var end func()
			o.Publish = func(ctx context.Context, publish func(context.Context) error) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				end = cancel
				return publish(ctx)
			}
			received := make(chan struct{}) // a part has arrived
			o.Report = func(w io.Writer) error {
				for i := range test.pages {
					if test.fault != nil && i == test.pages-1 {
						<-received
						if err := test.fault(end); err != nil {
							return err
						}
					}
					if _, err := w.Write(piece(i)); err != nil {
						return err
					}
				}
				return nil
			}
			server := httptest.NewUnstartedServer(Handler(o))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.Start()
			defer server.Close()
			client := &http.Client{Transport: &http.Transport{DisableCompression: !compressed}}
			defer client.CloseIdleConnections()
			res, err := client.Get(server.URL + "/api/v1/report")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			first := make([]byte, pieceSize)
			if _, err := io.ReadFull(res.Body, first); err != nil {
				t.Fatal(err)
			}
			close(received)
			rest, err := io.ReadAll(res.Body)
			if (err == nil) != test.whole {
				t.Errorf("read with error %v, want a complete report: %t", err, test.whole)
			}
			if got, want := slices.Concat(first, rest), largeText[:test.pages*pieceSize]; test.whole && !bytes.Equal(got, want) || len(got) > len(want) {
				t.Errorf("%d bytes received of %d", len(got), len(want))
			}
			if res.Uncompressed != compressed {
				t.Errorf("the answer was compressed: %t, want %t", res.Uncompressed, compressed)
			}
			if res.StatusCode != http.StatusOK {
				t.Errorf("status %d", res.StatusCode)
			}
		})
	}
}

// TestPermissionEndsAtTheEndOfAPage: the permission ends after all bytes of a large report have been sent, but before the end
// mark. The client must not take the report for complete. The writer has no deadlines, which would also cut the connection.
func TestPermissionEndsAtTheEndOfAPage(t *testing.T) {
	const pages = 2 * streamAfter / pieceSize
	for _, test := range []struct {
		name       string
		compressed bool
		afterFlush bool // the permission ends when the last bytes have been flushed, not when they have been written
		never      bool
	}{
		{name: "after the last write"},
		{name: "after the last flush", afterFlush: true},
		{name: "never", never: true},
		{name: "after the last write, gzip", compressed: true},
		{name: "after the last flush, gzip", compressed: true, afterFlush: true},
		{name: "never, gzip", compressed: true, never: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options()
			o.Log = zap.NewNop()
			end, flushed := func() {}, func() {}
			o.Publish = func(ctx context.Context, publish func(context.Context) error) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				switch {
				case test.afterFlush:
					flushed = cancel
				case !test.never:
					end = cancel
				}
				return publish(ctx)
			}
			o.Report = func(w io.Writer) error {
				for i := range pages {
					if _, err := w.Write(piece(i)); err != nil {
						return err
					}
				}
				end()
				return nil
			}
			handler := Handler(o)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				handler.ServeHTTP(withoutDeadlines{w, func() { flushed() }}, r)
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.Start()
			defer server.Close()
			client := &http.Client{Transport: &http.Transport{DisableCompression: !test.compressed}}
			defer client.CloseIdleConnections()
			res, err := client.Get(server.URL + "/api/v1/report")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			got, err := io.ReadAll(res.Body)
			if (err == nil) != test.never {
				t.Errorf("%d bytes of %d read with error %v, want a complete report: %t", len(got), pages*pieceSize, err, test.never)
			}
			if res.Uncompressed != test.compressed {
				t.Errorf("the answer was compressed: %t, want %t", res.Uncompressed, test.compressed)
			}
		})
	}
}

// withoutDeadlines is a ResponseWriter that can only write and flush.
type withoutDeadlines struct {
	http.ResponseWriter
	flushed func()
}

func (w withoutDeadlines) Flush() {
	w.ResponseWriter.(http.Flusher).Flush()
	w.flushed()
}

// The memory of a streamed page is bounded.
func TestLargeReportIsNotBuffered(t *testing.T) {
	page := &gatedResponse{ctx: t.Context(), to: httptest.NewRecorder(), header: make(http.Header), status: http.StatusOK}
	page.control = http.NewResponseController(page.to)
	for i := range len(largeText) / pieceSize {
		if _, err := page.Write(piece(i)); err != nil {
			t.Fatal(err)
		}
		if page.body.Len() > streamAfter {
			t.Fatalf("%d bytes are buffered", page.body.Len())
		}
	}
	page.release()
}
