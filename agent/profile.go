package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"go.uber.org/zap"
)

// A profiler serves the profiles of the process on a listener of its own. They show the memory of the agent, and cost CPU:
// they are off by default, and only on loopback.
type profiler struct {
	listener net.Listener
	log      *zap.Logger
}

// isLoopback reports whether an address host:port can be reached only from this machine.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func newProfiler(addr string, log *zap.Logger) (*profiler, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for --profile-listen: %w", err)
	}
	return &profiler{listener, log}, nil
}

// run serves until ctx is done, and then cuts off a profile in progress.
func (p *profiler) run(ctx context.Context) error {
	p.log.Info("profiling", zap.String("profile_addr", p.listener.Addr().String()))
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index) // and the profiles by their names
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve profiles: %w", err)
	}
	return nil
}
