package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"runtime"
	"time"

	"go.uber.org/zap"
)

// The time limits for clients, which may be slow or hostile.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	// drainTimeout is how long open requests may go on when the server is told to stop.
	drainTimeout   = 5 * time.Second
	maxHeaderBytes = 16 << 10
)

// An endpoint answers HTTP on one address.
type endpoint struct {
	listener net.Listener // with TLS, where there is a certificate
	http     *http.Server
	log      *zap.Logger
}

func newEndpoint(listener net.Listener, handler http.Handler, connections int, log *zap.Logger) *endpoint {
	crowd := newCrowd(connections)
	return &endpoint{listener: listener, log: log, http: &http.Server{
		Handler:           crowd.attend(handler),
		ConnState:         crowd.observe,
		ConnContext:       crowd.remember,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          errorLog(log),
	}}
}

func errorLog(l *zap.Logger) *log.Logger { return log.New(newComplaints(l), "", 0) }

// run answers requests until ctx is done, then lets the open ones finish, for a time.
func (e *endpoint) run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- e.http.Serve(fairListener{e.listener}) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := e.http.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		e.log.Warn("open requests did not finish in time; closing them")
		err = e.http.Close()
	}
	if serving := <-ended; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	if err != nil {
		return fmt.Errorf("stop HTTP: %w", err)
	}
	return nil
}

// A fairListener takes a connection when the goroutines that are ready have had their turn. Without it a burst of
// connections is taken faster than TLS handshakes can be made: the handshakes fill the scheduler's queue, and the
// connection limit closes connections, probes among them, before they are read. With it the burst waits in the kernel's
// queue of this one address, in its order, and other addresses are not held up.
type fairListener struct{ net.Listener }

func (l fairListener) Accept() (net.Conn, error) {
	runtime.Gosched()
	return l.Listener.Accept()
}
