// Package server answers HTTP: health checks, metrics and the report. It knows nothing of Kubernetes and of rules.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// The patience with clients, which may be slow or hostile.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	// drainTimeout is how long open requests may go on when the server is told to stop.
	drainTimeout   = 5 * time.Second
	maxHeaderBytes = 16 << 10
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
	Log    *zap.Logger
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
	// Access is asked about every request for metrics or the report; nil lets everybody in.
	Access AccessFunc
}

// A Server answers HTTP on one address.
type Server struct {
	options  Options
	listener net.Listener // with TLS, where there is a certificate
	http     *http.Server
}

// New binds the address, so that Addr is true and a mistake shows at once. Requests wait until Run.
func New(o Options) (*Server, error) {
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", o.Listen, err)
	}
	secured, err := o.Certificate.listen(listener, o.Log)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	crowd := newCrowd(maxConnections)
	return &Server{
		options:  o,
		listener: secured,
		http: &http.Server{
			Handler:           crowd.attend(Handler(o)),
			ConnState:         crowd.observe,
			ConnContext:       crowd.remember,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          log.New(newComplaints(o.Log), "", 0),
		},
	}, nil
}

// Addr is the address that the server is bound to, with its port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// ServeHTTP answers one request without the socket.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.http.Handler.ServeHTTP(w, r) }

// Run answers requests until ctx is done, then lets the open ones finish, for a time.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := s.http.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		s.options.Log.Warn("open requests did not finish in time; closing them")
		err = s.http.Close()
	}
	if serving := <-ended; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	if err != nil {
		return fmt.Errorf("stop HTTP: %w", err)
	}
	return nil
}

// Close gives the address back without Run.
func (s *Server) Close() error { return s.listener.Close() }

// Handler answers the requests of a server with the options, without a socket.
func Handler(o Options) http.Handler {
	if o.Publish == nil {
		o.Publish = func(ctx context.Context, publish func(context.Context) error) error { return publish(ctx) }
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "OK") })
	mux.HandleFunc("GET /readyz", readyz(o.Ready))
	scrape := promhttp.HandlerOpts{}
	standby := inTurn(maxScrapes, promhttp.HandlerFor(prometheus.Gatherers{o.Process, o.Standby}, scrape))
	full := promhttp.HandlerFor(prometheus.Gatherers{o.Process, o.Leader}, scrape)
	if written, ok := o.Leader.(TextAppender); ok {
		full = newTextPage(o.Process, written, full)
	}
	mux.Handle("GET /metrics", guard(o.Access, published{
		publish: o.Publish,
		page:    inTurn(maxScrapes, full),
		refused: func(w http.ResponseWriter, r *http.Request, _ error) { standby.ServeHTTP(w, r) },
		writers: &lane{max: maxWriters},
	}))
	mux.Handle("GET /api/v1/report", guard(o.Access, published{
		publish: o.Publish,
		page:    inTurn(maxReports, reportPage(o.Report)),
		refused: func(w http.ResponseWriter, _ *http.Request, err error) {
			answer(w, http.StatusServiceUnavailable, err.Error()+"\n")
		},
		writers: &lane{max: maxWriters},
	}))
	return mux
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

func reportPage(report func(io.Writer) error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := report(w); err != nil {
			w.Header().Del("Content-Type")
			answer(w, http.StatusServiceUnavailable, err.Error()+"\n")
		}
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// The client may have gone; there is nobody to tell.
	_, _ = io.WriteString(w, text)
}
