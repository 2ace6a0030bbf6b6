// Package server answers HTTP: health checks, metrics and the report. It knows nothing of Kubernetes and of rules.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// A Check is a named condition of readiness: nil when it is fulfilled, else the reason why not.
type Check struct {
	Name  string
	Ready func() error
}

// PublishFunc gives permission to publish: it calls publish at most once, with a context that ends when the permission
// does, or returns an error that says why there is no permission.
type PublishFunc func(ctx context.Context, publish func(ctx context.Context) error) error

// Options of a Server.
type Options struct {
	// Listen is the address to listen on, as in net.Listen: ":8080".
	Listen string
	// HealthListen is a second address, without TLS, that serves /healthz and /readyz alone; empty for none.
	HealthListen string
	Log          *zap.Logger
	// Ready are the conditions of /readyz.
	Ready []Check
	// Process gathers the metrics that are always exported, Leader those that are exported besides with permission,
	// and Standby those that are exported besides without.
	Process, Leader, Standby prometheus.Gatherer
	// Report writes the report as JSON; by permission alone.
	Report func(w io.Writer) error
	// Publish asks for the permission; nil where nobody else could publish.
	Publish PublishFunc
	// Certificate is for TLS; empty for none.
	Certificate Certificate
	// Access is asked about every request for metrics or the report; nil lets every client in.
	Access AccessFunc
}

// A Server answers HTTP on one address, and health checks alone on a second one where that was asked for.
type Server struct {
	pages  *endpoint
	health *endpoint // nil where there is no second address
}

// New binds the addresses, so that Addr is true and a mistake shows at once. Requests wait until Run.
func New(o Options) (*Server, error) {
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", o.Listen, err)
	}
	secured, err := o.Certificate.listen(listener, o.Log)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s := &Server{pages: newEndpoint(secured, Handler(o), maxConnections, o.Log)}
	if o.HealthListen == "" {
		return s, nil
	}
	checks, err := net.Listen("tcp", o.HealthListen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %q for health checks: %w", o.HealthListen, err), s.Close())
	}
	mux := http.NewServeMux()
	handleHealth(mux, o)
	s.health = newEndpoint(checks, mux, maxHealthConnections, o.Log)
	return s, nil
}

// Addr is the address that the server is bound to, with its port.
func (s *Server) Addr() string { return s.pages.listener.Addr().String() }

// HealthAddr is the address of the health checks alone; empty where there is none.
func (s *Server) HealthAddr() string {
	if s.health == nil {
		return ""
	}
	return s.health.listener.Addr().String()
}

// ServeHTTP answers one request without the socket.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.pages.http.Handler.ServeHTTP(w, r)
}

// Run answers requests until ctx is done, then lets the open ones finish, for a time.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.pages.run(ctx) })
	if s.health != nil {
		group.Go(func() error { return s.health.run(ctx) })
	}
	return group.Wait()
}

// Close gives the addresses back without Run.
func (s *Server) Close() error {
	err := s.pages.listener.Close()
	if s.health != nil {
		err = errors.Join(err, s.health.listener.Close())
	}
	return err
}

// Handler answers the requests of a server with the options, without a socket.
func Handler(o Options) http.Handler {
	if o.Publish == nil {
		o.Publish = func(ctx context.Context, publish func(context.Context) error) error { return publish(ctx) }
	}
	mux := http.NewServeMux()
	handleHealth(mux, o)
	scrape := promhttp.HandlerOpts{}
	standby := limitConcurrency(maxScrapes, promhttp.HandlerFor(prometheus.Gatherers{o.Process, o.Standby}, scrape))
	full := promhttp.HandlerFor(prometheus.Gatherers{o.Process, o.Leader}, scrape)
	if written, ok := o.Leader.(TextAppender); ok {
		full = newTextPage(o.Process, written, full)
	}
	mux.Handle("GET /metrics", guard(o.Access, leaderGate{
		publish: o.Publish,
		page:    limitConcurrency(maxScrapes, full),
		refused: func(w http.ResponseWriter, r *http.Request, _ error) { standby.ServeHTTP(w, r) },
		writers: &writeLimit{max: maxWriters},
	}))
	mux.Handle("GET /api/v1/report", guard(o.Access, leaderGate{
		publish: o.Publish,
		page:    limitConcurrency(maxReports, reportPage(o.Report)),
		refused: func(w http.ResponseWriter, _ *http.Request, err error) {
			answer(w, http.StatusServiceUnavailable, err.Error()+"\n")
		},
		writers: &writeLimit{max: maxWriters},
	}))
	return mux
}

func handleHealth(mux *http.ServeMux, o Options) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "OK") })
	mux.HandleFunc("GET /readyz", readyz(o.Ready))
}

func readyz(checks []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		status, word, details := http.StatusOK, "READY", ""
		for _, check := range checks {
			if err := check.Ready(); err != nil {
				status, word = http.StatusServiceUnavailable, "NOT READY"
				details += fmt.Sprintf("\n[-] %s: %v", check.Name, err)
			} else {
				details += fmt.Sprintf("\n[+] %s", check.Name)
			}
		}
		if r.URL.Query().Has("verbose") {
			word += details + "\n"
		}
		answer(w, status, word)
	}
}

// reportPage writes the report as JSON, compressed where the client takes gzip.
func reportPage(report func(io.Writer) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Vary", "Accept-Encoding")
		write := report
		if takesGzip(r) {
			h.Set("Content-Encoding", "gzip")
			write = func(w io.Writer) error { return writeGzip(w, report) }
		}
		if err := write(w); err != nil {
			h.Del("Content-Type")
			h.Del("Content-Encoding")
			answer(w, http.StatusServiceUnavailable, err.Error()+"\n")
		}
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A write fails when the client has gone, and then there is no one to answer.
	_, _ = io.WriteString(w, text)
}
