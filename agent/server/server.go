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

// A Check is a named condition of readiness. Ready returns nil if it is met, or the reason why not.
type Check struct {
	Name  string
	Ready func() error
}

// A PublishFunc grants permission to publish: it calls publish at most once, with a context that ends with the permission, or
// returns why there is no permission.
type PublishFunc func(ctx context.Context, publish func(ctx context.Context) error) error

// Options of a Server.
type Options struct {
	// Listen is the address to listen on, as in net.Listen: ":8080".
	Listen string
	// HealthListen is a second address, without TLS, that serves only /healthz and /readyz; empty for none.
	HealthListen string
	Log          *zap.Logger
	// Ready are the conditions of /readyz.
	Ready []Check
	// Process gathers the metrics that are always exported, Leader those that are added with the permission to publish, and
	// Standby those that are added without it.
	Process, Leader, Standby prometheus.Gatherer
	// Report writes the report as JSON. It is served only with the permission to publish.
	Report func(w io.Writer) error
	// Pages are the pages for people; nil for none.
	Pages *Pages
	// Publish asks for the permission; nil if it is not needed, because there is no other replica.
	Publish PublishFunc
	// Certificate is for TLS; empty for none.
	Certificate Certificate
	// Access decides on every request for metrics, the report or a page; nil allows all.
	Access AccessFunc
}

// A Server answers HTTP on one address, and only health checks on an optional second one.
type Server struct {
	pages  *endpoint
	health *endpoint // nil without a second address
}

// New binds the addresses, so that Addr is known and errors show early. Requests wait until Run.
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

// Addr is the bound address with its port.
func (s *Server) Addr() string { return s.pages.listener.Addr().String() }

// HealthAddr is the bound address of the health checks; empty if there is none.
func (s *Server) HealthAddr() string {
	if s.health == nil {
		return ""
	}
	return s.health.listener.Addr().String()
}

// ServeHTTP answers one request without a socket.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.pages.http.Handler.ServeHTTP(w, r)
}

// Run answers requests until ctx is done, and then waits up to drainTimeout for open ones.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.pages.run(ctx) })
	if s.health != nil {
		group.Go(func() error { return s.health.run(ctx) })
	}
	return group.Wait()
}

// Close releases the addresses of a server that was not run.
func (s *Server) Close() error {
	err := s.pages.listener.Close()
	if s.health != nil {
		err = errors.Join(err, s.health.listener.Close())
	}
	return err
}

// Handler answers the requests of a server with these options.
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
		full = &textPage{o.Process, written, full}
	}
	handle := func(pattern string, page http.Handler, refused func(http.ResponseWriter, *http.Request, error)) {
		mux.Handle(pattern, guard(o.Access, leaderGate{o.Publish, page, refused, &writeLimit{max: maxWriters}}))
	}
	handle("GET /metrics", limitConcurrency(maxScrapes, full), func(w http.ResponseWriter, r *http.Request, _ error) {
		standby.ServeHTTP(w, r)
	})
	if o.Pages != nil {
		pages := guard(o.Access, leaderGate{
			publish: o.Publish, writers: &writeLimit{max: maxWriters},
			page:    limitConcurrency(maxPages, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { o.Pages.Leader(r).serve(w, r) })),
			refused: func(w http.ResponseWriter, r *http.Request, err error) { o.Pages.Standby(r, err).serve(w, r) },
		})
		for _, pattern := range pagePatterns {
			mux.Handle(pattern, pages)
		}
	}
	handle("GET /api/v1/report", limitConcurrency(maxReports, reportPage(o.Report)),
		func(w http.ResponseWriter, _ *http.Request, err error) {
			answer(w, http.StatusServiceUnavailable, err.Error()+"\n")
		})
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

// reportPage writes the report as JSON, compressed if the client accepts gzip.
func reportPage(report func(io.Writer) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store") // access and leader may change
		if err := writeCompressed(w, r, "application/json", report); err != nil {
			w.Header().Del("Content-Encoding")
			answer(w, http.StatusServiceUnavailable, err.Error()+"\n")
		}
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A write fails only when the client is gone.
	_, _ = io.WriteString(w, text)
}
