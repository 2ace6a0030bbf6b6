// Package agent is the whole of kube-devops in a cluster: it composes the watch, the policy engine, the state, the
// election and the HTTP endpoints, and is the only package that knows them all.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/kube-devops/kube-devops/agent/access"
	"github.com/kube-devops/kube-devops/agent/audit"
	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/election"
	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/exposition"
	"github.com/kube-devops/kube-devops/agent/kubeconfig"
	"github.com/kube-devops/kube-devops/agent/podwatch"
	"github.com/kube-devops/kube-devops/agent/policysource"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// An Agent serves the scores of one cluster, or of one recording.
type Agent struct {
	options   Options
	log       *zap.Logger
	evaluator *evaluator.Evaluator
	server    *server.Server
	profiler  *profiler // nil where it was not asked for

	policy *policysource.Source

	// Of a live agent alone.
	watch   *podwatch.Watch
	sync    *syncCheck
	elector *election.Elector // nil where there is no election
	auditor *audit.Auditor
	// projection is what the cache keeps of each pod. Only setPolicy uses it once Run is called.
	projection *rules.Projection

	recording sync.Mutex // held while the recording is read

	leading atomic.Bool // the guarded work of a term runs
	ready   atomic.Bool // readiness was reached once: from then on it is kept, since the state outlives all troubles
}

var errNotEvaluated = errors.New("the pods are not evaluated yet")

// New prepares an agent: it loads the policy, finds the cluster, and binds the address. It asks nothing of the API
// server.
func New(ctx context.Context, o Options) (*Agent, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.ownLeaseNamespace(namespaceFile)
	if err := dump.CheckPath(o.Replay); err != nil {
		return nil, err
	}
	process, standing := prometheus.NewRegistry(), prometheus.NewRegistry()
	registerProcess(process, o.Version)
	source, table, err := policysource.New(ctx, policysource.Options{
		Policy: o.Policy, Waivers: o.Waivers, Reload: o.Reload, Log: o.Log, Registerer: process,
	})
	if err != nil {
		return nil, err
	}
	a := &Agent{options: o, log: o.Log, policy: source, evaluator: evaluator.New(table, o.Log, process)}
	standing.MustRegister(exposition.New(policyOf(a.evaluator), o.Namespaces...))
	var mayRead server.AccessFunc
	if o.Replay == "" {
		if err := a.connect(process); err != nil {
			return nil, err
		}
		if mayRead, err = o.access(); err != nil {
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
		Standby:      standing,
		Report:       a.report,
		Publish:      server.PublishFunc(a.evaluator.Publish),

		Certificate: o.Certificate,
		Access:      mayRead,
	})
	if err != nil {
		return nil, err
	}
	if o.ProfileListen != "" {
		if a.profiler, err = newProfiler(o.ProfileListen, o.Log); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// connect makes the parts that need a cluster.
func (a *Agent) connect(reg prometheus.Registerer) error {
	cluster, err := a.options.findCluster()
	if err != nil {
		return err
	}
	a.log.Info("cluster", zap.String("server", cluster.Server()), zap.String("context", cluster.Context))
	config := cluster.Config
	config.UserAgent = "kube-devops/" + a.options.Version
	a.projection = a.evaluator.Table().Projection()
	a.watch, err = podwatch.New(config, podwatch.Options{
		Log: a.log, Registerer: reg, Workers: runtime.GOMAXPROCS(0), Projection: a.projection,
		Namespaces: a.options.Namespaces,
	})
	if err != nil {
		return err
	}
	a.sync = &syncCheck{cache: a.watch}
	list, err := podwatch.NewLister(config, a.options.Namespaces...)
	if err != nil {
		return err
	}
	a.auditor = audit.New(audit.Options{
		Log: a.log, Registerer: reg, Cache: a.watch, State: auditedState{a},
		Differences: func(ctx context.Context, pause time.Duration) ([]string, error) {
			return differences(ctx, a.watch, list, pause)
		},
	})
	if !a.options.LeaderElect {
		return nil
	}
	return a.joinElection(config, reg)
}

// findCluster finds the cluster of an agent.
func (o *Options) findCluster() (*kubeconfig.Cluster, error) {
	found, err := kubeconfig.FindCluster(o.Kubeconfig, o.Context)
	if errors.Is(err, kubeconfig.ErrNoCluster) {
		return nil, fmt.Errorf("%w; name one with --kubeconfig, or serve a recording with --replay FILE", err)
	}
	return found, err
}

// access returns who decides about metrics and the report; nil where everybody may read them.
func (o *Options) access() (server.AccessFunc, error) {
	if !o.MetricsAuth {
		return nil, nil
	}
	cluster, err := o.findCluster()
	if err != nil {
		return nil, err
	}
	config := cluster.Config
	config.UserAgent = "kube-devops/" + o.Version + "/access"
	r, err := access.New(config, o.MetricsAuthAudiences, o.Log)
	if err != nil {
		return nil, err
	}
	return r.Allow, nil
}

// differences describes the pods of the cache that differ from a list of them.
func differences(ctx context.Context, watch *podwatch.Watch, list podwatch.Lister, pause time.Duration) ([]string, error) {
	found, err := watch.Differences(ctx, list, pause)
	described := make([]string, len(found))
	for i, d := range found {
		described[i] = d.String()
	}
	return described, err
}

// An auditedState is the state of an agent, and the cache that it is computed from.
type auditedState struct{ *Agent }

func (s auditedState) Diverging(ctx context.Context) map[string]uint64 {
	return s.evaluator.Diverging(ctx, s.cached())
}

func (s auditedState) Recompute(ctx context.Context) error {
	return s.evaluator.Recompute(ctx, s.cached())
}

func (a *Agent) joinElection(config *rest.Config, reg prometheus.Registerer) error {
	o := a.options.Election
	o.Log, o.Registerer, o.Lead, o.InSync = a.log, reg, a.lead, a.sync.check
	elector, err := election.New(config, o)
	if err != nil {
		return err
	}
	a.elector, a.evaluator.Publish = elector, elector.Publish
	return nil
}

// Addr is the address that the endpoints are bound to.
func (a *Agent) Addr() string { return a.server.Addr() }

const (
	// leaveAfter is how long a part may go on after it was told to stop: client-go cannot interrupt a credential plugin, so
	// a request that waits for one ends when the plugin does.
	leaveAfter = 2 * time.Second
	// stopWithin bounds the whole stop. The elector ends within 8 s of it.
	stopWithin = 9 * time.Second
)

// Run serves until ctx is done, and then stops in this order: publishing, the Lease, the watch, open requests. It
// returns nil when it was told to stop, and an error when a part of it failed, within 10 s. A request to the API server
// that does not end by then is left behind, and ends with the process.
func (a *Agent) Run(ctx context.Context) error {
	told := ctx
	a.log.Info("listening", zap.String("addr", a.Addr()), zap.String("health_addr", a.server.HealthAddr()), zap.String("policy", a.evaluator.Table().Name()),
		zap.String("hash", a.evaluator.Table().Hash()), zap.String("version", a.options.Version))
	defer context.AfterFunc(ctx, func() { a.log.Info("stopping") })()
	group, ctx := errgroup.WithContext(ctx)
	// Each part outlives the one that it serves, and is stopped when that one has ended.
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
		// Who may not publish and cannot stop must not wait for anything: the process is to exit at once.
		return err
	case <-late:
		a.log.Warn("not all parts have stopped in time; stopping without them", zap.Duration("waited", stopWithin))
		if told.Err() != nil {
			return nil
		}
		return context.Cause(ctx)
	}
}

// leave runs a part of the agent until ctx is done, and then waits for its end for a time.
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

// publish makes what is published, until ctx is done.
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

// follow keeps the cache in step with the cluster, whoever leads, until ctx is done.
func (a *Agent) follow(ctx context.Context) error {
	if a.watch == nil {
		<-ctx.Done()
		return nil
	}
	lookup := a.lookup
	return a.watch.Run(ctx, func(key podwatch.Key, _ *podwatch.Pod) {
		a.evaluator.Update(ctx, state.Pod{Namespace: key.Namespace, Name: key.Name}, lookup)
	})
}

// lookup returns the form of a pod in the cache.
func (a *Agent) lookup(name state.Pod) (state.Pod, []byte, bool) {
	pod, ok := a.watch.Get(podwatch.Key{Namespace: name.Namespace, Name: name.Name})
	if !ok {
		return name, nil, false
	}
	return state.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}, pod.JSON, true
}

// lead is the work of one term: evaluate the whole cache, follow its changes, and forget all at the end.
func (a *Agent) lead(ctx context.Context) {
	a.leading.Store(true)
	defer a.leading.Store(false)
	select {
	case <-ctx.Done():
		return
	case <-a.watch.Synced():
	}
	a.evaluator.Begin(ctx, a.cached())
	defer a.evaluator.End()
	<-ctx.Done()
}

func (a *Agent) cached() iter.Seq[state.Observation] {
	return func(yield func(state.Observation) bool) {
		for pod := range a.watch.All() {
			named := state.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
			if !yield(state.Observation{Pod: named, JSON: pod.JSON}) {
				return
			}
		}
	}
}

// setPolicy puts another policy in force.
func (a *Agent) setPolicy(ctx context.Context, table *rules.Table) error {
	if a.watch == nil {
		return a.readRecording(ctx, table)
	}
	wanted := table.Projection()
	if a.projection.Covers(wanted) {
		return a.evaluator.SetPolicy(ctx, table, nil, a.cached())
	}
	a.log.Info("the policy reads fields that are not in the cache; listing all pods anew",
		zap.String("policy", table.Name()), zap.String("hash", table.Hash()))
	var failed error
	err := a.watch.Reproject(ctx, wanted, func(swap func()) {
		failed = a.evaluator.SetPolicy(ctx, table, func() { swap(); a.projection = wanted }, a.cached())
	})
	return errors.Join(err, failed)
}

// replay brings a recording into the state, which is published when all of it is there.
func (a *Agent) replay(ctx context.Context) error {
	if err := a.readRecording(ctx, a.evaluator.Table()); err != nil && ctx.Err() == nil {
		return err
	}
	<-ctx.Done()
	return nil
}

var errReadOnce = errors.New("standard input cannot be read a second time")

func (a *Agent) readRecording(ctx context.Context, table *rules.Table) error {
	// The policy may change while the recording is read for the first time.
	a.recording.Lock()
	defer a.recording.Unlock()
	if a.options.Replay == "-" && a.evaluator.Current() != nil {
		return errReadOnce
	}
	started := time.Now()
	recorded := state.New(table)
	recorded.ExpireWaivers(started)
	stats, err := dump.ReadPath(ctx, a.options.Replay, a.options.Stdin, func(event dump.Event) error {
		pod := state.Pod{Namespace: event.Namespace, Name: event.Name, UID: event.UID}
		if event.Op == dump.Delete {
			recorded.Delete(pod)
			return nil
		}
		if _, err := recorded.Observe(pod, event.JSON); err != nil {
			return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if stats.Continues != nil {
		return stats.Continues.Missing(a.options.Replay)
	}
	if len(stats.Others) > 0 {
		a.log.Warn("the recording has objects that are no pods, which do not count; scan counts the templates of workloads",
			zap.Any("kinds", stats.Others))
	}
	recorded.SetReady()
	a.evaluator.Adopt(recorded, time.Since(started))
	return nil
}

// checkReady is the condition of readiness: on a leader that the pods are evaluated, on a standby that they are there.
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
	if a.watch == nil {
		return report.JSON(w, st.SnapshotWithViolations(), nil, nil) // no pod of a recording is kept
	}
	return report.JSON(w, st.SnapshotWithViolations(), detailsOf(st.Table(), a.lookup), a.scope())
}
