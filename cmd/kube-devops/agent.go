package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"

	"github.com/kube-devops/kube-devops/agent"
)

func newAgentCommand() *cobra.Command {
	options := agent.DefaultOptions()
	options.Version = version
	level := &choice{"info", []string{"debug", "info", "warn", "error"}}
	command := &cobra.Command{
		Use:   "agent",
		Short: "Watch the pods of a cluster and serve live scores",
		Long: `Watch the pods of a cluster and serve live scores:

  /metrics         metrics for Prometheus
  /healthz         200 while the process is alive
  /readyz          200 once all pods are evaluated
  /api/v1/report   scores and violations as JSON

With --replay, the agent serves a recording made by
"kubectl get pods -A -o json" and needs no cluster.`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			minLevel, err := zapcore.ParseLevel(level.value)
			if err != nil {
				return err
			}
			log, endLog := newLogger(cmd.ErrOrStderr(), minLevel)
			defer endLog()
			options.Log = log
			options.Stdin = cmd.InOrStdin()
			bridgeLogs(log)
			if cmd.ErrOrStderr() == os.Stderr {
				restore, err := captureStderr(log)
				if err != nil {
					return err
				}
				defer restore()
			}
			tuneRuntime()
			hangUps := make(chan os.Signal, 1)
			signal.Notify(hangUps, syscall.SIGHUP)
			defer signal.Stop(hangUps)
			options.Reload = hangUps
			a, err := agent.New(cmd.Context(), options)
			if err != nil {
				return withListenFlag(err, options)
			}
			return a.Run(cmd.Context())
		},
	}
	options.AddFlags(command.Flags())
	command.Flags().Var(level, "log-level", "minimum `level` to log: "+strings.Join(level.words, ", "))
	validateTogether(command, options.Validate)
	complete(command, "log-level", fixed(level.words...))
	complete(command, "policy", completePolicies)
	complete(command, "context", completeContexts)
	return command
}

// withListenFlag names the flag of an address on which the agent cannot listen.
func withListenFlag(err error, o agent.Options) error {
	listen, ok := errors.AsType[*net.OpError](err)
	if !ok || listen.Op != "listen" {
		return err
	}
	cause := listen.Err
	if system, ok := errors.AsType[*os.SyscallError](cause); ok {
		cause = system.Err
	}
	for _, flag := range []struct{ name, address string }{{"--profile-listen", o.ProfileListen}, {"--health-listen", o.HealthListen}, {"--listen", o.Listen}} {
		if flag.address != "" && strings.Contains(err.Error(), flag.address) {
			return fmt.Errorf("%s %s: %w: choose another address", flag.name, flag.address, cause)
		}
	}
	return err
}

// tuneRuntime adapts the runtime to a process that handles one stream of events, unless the environment sets it.
//
// The garbage collector runs when the heap has grown by 20 % instead of 100 %. An event allocates about 1 kB, so with 100,000
// cached pods it still runs only once in 15,000 events.
//
// One thread runs Go code. An event passes through seven goroutines of client-go in sequence; with idle threads, each step
// wakes up one that finds no work, which costs a third of all CPU time. One core handles about 20,000 events per second.
func tuneRuntime() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(20)
	}
	if _, set := os.LookupEnv("GOMAXPROCS"); !set {
		runtime.GOMAXPROCS(1)
	}
}
