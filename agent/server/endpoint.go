package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// The limits for clients, which may be slow or hostile.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	// drainTimeout is how long Run waits for open requests after its context is done.
	drainTimeout   = 5 * time.Second
	maxHeaderBytes = 16 << 10
)

// An endpoint answers HTTP on one address.
type endpoint struct {
	listener net.Listener // with TLS if there is a certificate
	http     *http.Server
	log      *zap.Logger
}

func newEndpoint(listener net.Listener, handler http.Handler, connections int, log *zap.Logger) *endpoint {
	limit := newConnLimit(connections)
	return &endpoint{listener: listener, log: log, http: &http.Server{
		Handler:           limit.exemptActive(handler),
		ConnState:         limit.observe,
		ConnContext:       connContext,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          newErrorLog(log),
	}}
}

// run answers requests until ctx is done, and then waits up to drainTimeout for open ones.
func (e *endpoint) run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- e.http.Serve(e.listener) }()
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
