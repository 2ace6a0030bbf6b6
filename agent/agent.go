package agent

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/kube-devops/kube-devops/agent/audit"
	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/election"
	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/exposition"
	"github.com/kube-devops/kube-devops/agent/history"
	"github.com/kube-devops/kube-devops/agent/leaderservice"
	"github.com/kube-devops/kube-devops/agent/podwatch"
	"github.com/kube-devops/kube-devops/agent/policysource"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/rules"
)

// An Agent serves the scores of one cluster, or of one recording.
type Agent struct {
	options   Options
	log       *zap.Logger
	evaluator *evaluator.Evaluator
	server    *server.Server
	profiler  *profiler // nil without --profile-listen
	policy    *policysource.Source

	// Of an agent that watches a cluster:
	watch   *podwatch.Watch
	sync    *syncCheck
	elector *election.Elector // nil without election
	auditor *audit.Auditor
	// leaderService is nil without --leader-service.
	leaderService *leaderservice.Service
	// projection is what the cache keeps of each pod. After New, only setPolicy uses it.
	projection *rules.Projection

	recording sync.Mutex // held while the recording is read
	recorded  atomic.Pointer[recordedPods]

	history atomic.Pointer[history.History] // of the term; nil outside of one
	leading atomic.Bool                     // the guarded work of a term runs
	ready   atomic.Bool                     // once ready, the agent stays ready: the state outlives the loss of the API server
}

var errNotEvaluated = errors.New("the pods are not evaluated yet")

// New prepares an agent: it loads the policy, finds the cluster, and binds the address. It makes no request to the API
// server.
func New(ctx context.Context, o Options) (*Agent, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.ownLeaseNamespace(namespaceFile)
	if err := dump.CheckPath(o.Replay); err != nil {
		return nil, err
	}
	process, standby := prometheus.NewRegistry(), prometheus.NewRegistry()
	registerProcess(process, o.Version)
	registerPage(process, o.ExternalURL)
	source, table, err := policysource.New(ctx, policysource.Options{
		Policies: o.Policies, Waivers: o.Waivers, Reload: o.Reload, Log: o.Log, Registerer: process,
	})
	if err != nil {
		return nil, err
	}
	a := &Agent{options: o, log: o.Log, policy: source, evaluator: evaluator.New(table, o.Log, process)}
	a.evaluator.Changed = a.noteChange
	standby.MustRegister(exposition.New(policyOf(a.evaluator), o.Namespaces...))
	var allow server.AccessFunc
	var config *rest.Config
	if o.Replay == "" {
		if config, allow, err = a.connect(process); err != nil {
			return nil, err
		}
	}
	if a.elector == nil {
		registerSoleLeader(process)
	}
	a.server, err = server.New(server.Options{
		Listen:       o.Listen,
		HealthListen: o.HealthListen,
		Log:          o.Log,
		Ready:        []server.Check{{Name: "pods", Ready: a.checkReady}},
		Process:      process,
		Leader:       newScrape(exposition.New(exposedBy(a.evaluator), o.Namespaces...)),
		Standby:      standby,
		Report:       a.report,
		Pages:        a.pages(),
		Publish:      server.PublishFunc(a.evaluator.Publish),
		Certificate:  o.Certificate,
		Access:       allow,
	})
	if err != nil {
		return nil, err
	}
	if o.LeaderService != "" {
		if a.leaderService, err = a.newLeaderService(config); err != nil {
			return nil, err
		}
	}
	if o.ProfileListen != "" {
		if a.profiler, err = newProfiler(o.ProfileListen, o.Log); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Addr is the address that the endpoints are bound to.
func (a *Agent) Addr() string { return a.server.Addr() }

const (
	// leaveAfter is how long a part may take to stop: client-go cannot interrupt a credential plugin, and a request that waits
	// for one ends when the plugin does.
	leaveAfter = 2 * time.Second
	// stopWithin bounds the whole stop. The elector takes up to 8 s of it.
	stopWithin = 9 * time.Second
)

// Run serves until ctx is done or a part fails, and then stops within 10 s, in this order: publishing, the Lease, the watch,
// open requests. It returns nil if ctx is done, and otherwise the error of the part. A request to the API server that does
// not end in time is left behind, and ends with the process.
func (a *Agent) Run(ctx context.Context) error {
	caller := ctx
	table := a.evaluator.Table()
	a.log.Info("listening", zap.String("addr", a.Addr()), zap.String("health_addr", a.server.HealthAddr()),
		zap.String("policy", table.Name()), zap.String("hash", table.Hash()), zap.String("version", a.options.Version))
	defer context.AfterFunc(ctx, func() { a.log.Info("stopping") })()
	group, ctx := errgroup.WithContext(ctx)
	// The watch outlives publishing, and the server outlives the watch.
	watchCtx, stopWatch := context.WithCancel(context.WithoutCancel(ctx))
	serverCtx, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	fatal := make(chan error, 1)
	group.Go(func() error {
		defer stopWatch()
		err := a.publish(ctx)
		if err != nil && a.elector != nil {
			fatal <- err
		}
		return err
	})
	group.Go(func() error {
		defer stopServer()
		return a.leave(watchCtx, "watch", a.follow)
	})
	group.Go(func() error { return a.server.Run(serverCtx) })
	if a.profiler != nil {
		group.Go(func() error { return a.profiler.run(ctx) })
	}
	group.Go(func() error {
		return a.leave(ctx, "policy", func(ctx context.Context) error { return a.policy.Follow(ctx, a.setPolicy) })
	})
	group.Go(func() error { return a.evaluator.Run(ctx) })
	if a.leaderService != nil {
		group.Go(func() error { return a.leave(ctx, "leader service", a.leaderService.Run) })
	}
	if a.auditor != nil {
		group.Go(func() error {
			return a.leave(ctx, "audit", func(ctx context.Context) error { return a.auditor.Run(ctx, a.options.AuditInterval) })
		})
	}
	late := make(chan struct{})
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopWithin, func() { close(late) }) })()
	ended := make(chan error, 1)
	go func() { ended <- group.Wait() }()
	select {
	case err := <-ended:
		a.log.Info("stopped")
		return err
	case err := <-fatal:
		// A replica that lost the Lease and cannot stop publishing must exit at once.
		return err
	case <-late:
		a.log.Warn("not all parts have stopped in time; stopping without them", zap.Duration("waited", stopWithin))
		if caller.Err() != nil {
			return nil
		}
		return context.Cause(ctx)
	}
}

// leave runs a part of the agent, and waits leaveAfter for its end once ctx is done.
func (a *Agent) leave(ctx context.Context, part string, run func(context.Context) error) error {
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	timeout := time.NewTimer(leaveAfter)
	defer timeout.Stop()
	select {
	case err := <-ended:
		return err
	case <-timeout.C:
		a.log.Warn("a part of the agent waits for a call that does not end; stopping without it",
			zap.String("part", part), zap.Duration("waited", leaveAfter))
		return nil
	}
}

// publish keeps the published state up to date until ctx is done.
func (a *Agent) publish(ctx context.Context) error {
	switch {
	case a.watch == nil:
		return a.replay(ctx)
	case a.elector == nil:
		a.lead(ctx)
		return nil
	}
	return a.elector.Run(ctx)
}

// checkReady returns nil if the pods are evaluated, or on a standby if they are in the cache.
func (a *Agent) checkReady() error {
	if a.ready.Load() {
		return nil
	}
	if a.watch != nil {
		select {
		case <-a.watch.Synced():
		default:
			return a.sync.withFailure(errNotSynced)
		}
	}
	if (a.watch == nil || a.leading.Load()) && a.evaluator.Current() == nil {
		return errNotEvaluated
	}
	a.ready.Store(true)
	return nil
}

func (a *Agent) report(w io.Writer) error {
	st := a.evaluator.Current()
	if st == nil {
		return errNotEvaluated
	}
	return report.JSON(w, st.SnapshotWithViolations(), detailsOf(st.Table(), a.lookup), a.scope())
}
