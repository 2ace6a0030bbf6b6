package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/go-logr/zapr"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"

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
			options.Log = newLogger(cmd.ErrOrStderr(), level)
			options.Stdin = cmd.InOrStdin()
			bridgeLogs(options.Log)
			staySmall()
			hangUps := make(chan os.Signal, 1)
			signal.Notify(hangUps, syscall.SIGHUP)
			defer signal.Stop(hangUps)
			options.Reload = hangUps
			a, err := agent.New(options)
			if err != nil {
				return err
			}
			return a.Run(cmd.Context())
		},
	}
	options.AddFlags(command.Flags())
	command.Flags().Var(levelFlag{&level}, "log-level", "least level to log: debug, info, warn or error")
	return command
}

// newLogger makes the one logger: JSON, a line for each entry.
func newLogger(w io.Writer, level zapcore.Level) *zap.Logger {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.EncodeDuration = zapcore.SecondsDurationEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(config), zapcore.Lock(zapcore.AddSync(w)), level))
}

var bridged sync.Once

// bridgeLogs makes client-go log as the agent does. Its log is global to the process, and may not be changed once it is
// in use: so the first agent of a process has it.
func bridgeLogs(log *zap.Logger) {
	bridged.Do(func() {
		klog.SetLoggerWithOptions(zapr.NewLogger(log.Named("client-go")), klog.ContextualLogger(true))
	})
}

// staySmall fits the runtime to a process that follows one stream of events, where the environment does not say
// otherwise.
//
// The garbage collector runs when the heap has grown by a quarter, and not when it has doubled. An event leaves a kilobyte
// of garbage: with a cache of 100,000 pods the collector still rests for 20,000 events.
//
// One thread runs Go code at a time. An event passes through seven goroutines of client-go, one after the other; where
// there are idle threads each step wakes one that looks for work and finds none, for a third of all CPU. One core follows
// some 20,000 events a second.
func staySmall() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(25)
	}
	if _, set := os.LookupEnv("GOMAXPROCS"); !set {
		runtime.GOMAXPROCS(1)
	}
}

// levelFlag makes a level of zap a flag.
type levelFlag struct{ *zapcore.Level }

func (f levelFlag) Type() string { return "level" }

func (f levelFlag) Set(text string) error {
	if err := f.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("%q is not one of debug, info, warn, error", text)
	}
	return nil
}
