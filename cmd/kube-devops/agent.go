package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"

	"github.com/kube-devops/kube-devops/agent"
)

func newAgentCommand() *cobra.Command {
	options := agent.DefaultOptions()
	options.Version = version
	level := zapcore.InfoLevel
	command := &cobra.Command{
		Use:   "agent",
		Short: "Watch the pods of a cluster and serve live scores",
		Long: `Watch the pods of a cluster and serve live scores:

  /metrics         for Prometheus
  /healthz         200 while the process lives
  /readyz          200 once all pods are evaluated
  /api/v1/report   the scores and violations as JSON

With --replay it serves the same from a recording, made with
"kubectl get pods -A -o json", and needs no cluster.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, endLog := newLogger(cmd.ErrOrStderr(), level)
			defer endLog()
			options.Log = log
			options.Stdin = cmd.InOrStdin()
			bridgeLogs(options.Log)
			if cmd.ErrOrStderr() == os.Stderr {
				restore, err := captureStderr(log)
				if err != nil {
					return err
				}
				defer restore()
			}
			staySmall()
			hangUps := make(chan os.Signal, 1)
			signal.Notify(hangUps, syscall.SIGHUP)
			defer signal.Stop(hangUps)
			options.Reload = hangUps
			a, err := agent.New(options)
			if err != nil {
				return namingListen(err, options)
			}
			return a.Run(cmd.Context())
		},
	}
	options.AddFlags(command.Flags())
	command.Flags().Var(levelFlag{&level}, "log-level", "least level to log: debug, info, warn or error")
	checkTogether(command, options.Validate)
	completeAgent(command)
	return command
}

// namingListen names the flag of an address that cannot be listened on.
func namingListen(err error, o agent.Options) error {
	if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
		return err
	}
	for _, flag := range []struct{ name, address string }{{"--profile-listen", o.ProfileListen}, {"--health-listen", o.HealthListen}, {"--listen", o.Listen}} {
		if flag.address != "" && strings.Contains(err.Error(), flag.address) {
			return fmt.Errorf("%s %s: %w: choose another address", flag.name, flag.address, bareListen(err))
		}
	}
	return err
}

// bareListen is the cause of an error of net.Listen, without the address.
func bareListen(err error) error {
	var system *os.SyscallError
	if errors.As(err, &system) {
		return system.Err
	}
	return err
}

// staySmall fits the runtime to a process that follows one stream of events, where the environment does not say
// otherwise.
//
// The garbage collector runs when the heap has grown by a fifth, and not when it has doubled. An event leaves a kilobyte
// of garbage: with a cache of 100,000 pods the collector still rests for 15,000 events.
//
// One thread runs Go code at a time. An event passes through seven goroutines of client-go, one after the other; where
// there are idle threads each step wakes one that looks for work and finds none, for a third of all CPU. One core follows
// some 20,000 events a second.
func staySmall() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(20)
	}
	if _, set := os.LookupEnv("GOMAXPROCS"); !set {
		runtime.GOMAXPROCS(1)
	}
}

// levelFlag makes a level of zap a flag.
type levelFlag struct{ *zapcore.Level }

func (f levelFlag) Type() string { return "level" }

func (f levelFlag) Set(text string) error {
	if !slices.Contains(levels, text) {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(levels, ", "))
	}
	return f.UnmarshalText([]byte(text))
}

var levels = []string{"debug", "info", "warn", "error"}
