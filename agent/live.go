package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"

	"github.com/kube-devops/kube-devops/agent/access"
	"github.com/kube-devops/kube-devops/agent/audit"
	"github.com/kube-devops/kube-devops/agent/election"
	"github.com/kube-devops/kube-devops/agent/kubeconfig"
	"github.com/kube-devops/kube-devops/agent/leaderservice"
	"github.com/kube-devops/kube-devops/agent/podwatch"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// connect makes the parts that need a cluster. It returns how to reach the API server, and who decides about metrics and the
// report; nil for everybody.
func (a *Agent) connect(reg prometheus.Registerer) (*rest.Config, server.AccessFunc, error) {
	cluster, err := kubeconfig.FindCluster(a.options.Kubeconfig, a.options.Context)
	if errors.Is(err, kubeconfig.ErrNoCluster) {
		return nil, nil, fmt.Errorf("%w; name one with --kubeconfig, or serve a recording with --replay FILE", err)
	}
	if err != nil {
		return nil, nil, err
	}
	a.log.Info("cluster", zap.String("server", cluster.Server()), zap.String("context", cluster.Context))
	config := cluster.Config
	config.UserAgent = "kube-devops/" + a.options.Version
	if err := a.watchPods(config, reg); err != nil {
		return nil, nil, err
	}
	if a.options.LeaderElect {
		o := a.options.Election
		o.Log, o.Registerer, o.Lead, o.InSync = a.log, reg, a.lead, a.sync.check
		if a.elector, err = election.New(config, o); err != nil {
			return nil, nil, err
		}
		a.evaluator.Publish = a.elector.Publish
	}
	if !a.options.MetricsAuth {
		return config, nil, nil
	}
	reviews := rest.CopyConfig(config)
	reviews.UserAgent += "/access"
	reviewer, err := access.New(reviews, a.options.MetricsAuthAudiences, a.log)
	if err != nil {
		return nil, nil, err
	}
	return config, reviewer.Allow, nil
}

// newLeaderService makes the part that keeps the leader's Service up to date. The port is that of the listener, which exists already.
func (a *Agent) newLeaderService(config *rest.Config) (*leaderservice.Service, error) {
	namespace, name, err := leaderservice.ParseName(a.options.LeaderService)
	if err != nil {
		return nil, err
	}
	ips, err := leaderservice.ParseIPs(a.options.PodIPs)
	if err != nil {
		return nil, err
	}
	port, err := leaderservice.PortOf(a.Addr())
	if err != nil {
		return nil, err
	}
	return leaderservice.New(config, leaderservice.Options{
		Namespace: namespace, Name: name, IPs: ips, Port: port, Identity: a.options.Election.Identity, Log: a.log,
		Permitted: func(ctx context.Context) error {
			return a.elector.Publish(ctx, func(context.Context) error { return nil })
		},
	})
}

// watchPods makes the watch of the pods, and its audit.
func (a *Agent) watchPods(config *rest.Config, reg prometheus.Registerer) (err error) {
	if a.projection, err = projectionOf(a.evaluator.Table()); err != nil {
		return err
	}
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
		Log: a.log, Registerer: reg, Cache: a.watch,
		Differences: func(ctx context.Context, pause time.Duration) ([]string, error) {
			found, err := a.watch.Differences(ctx, list, pause)
			described := make([]string, len(found))
			for i, d := range found {
				described[i] = d.String()
			}
			return described, err
		},
		Diverging: func(ctx context.Context) map[string]uint64 { return a.evaluator.Diverging(ctx, a.cached()) },
		Recompute: func(ctx context.Context) error { return a.evaluator.Recompute(ctx, a.cached()) },
	})
	return nil
}

// projectionOf is what the cache keeps of each pod: what the table reads, and what says which workload the pod belongs to.
func projectionOf(table *rules.Table) (*rules.Projection, error) {
	return table.ProjectionWith(rules.WorkloadPaths()...)
}

// follow keeps the cache up to date, on a standby too, until ctx is done.
func (a *Agent) follow(ctx context.Context) error {
	if a.watch == nil {
		<-ctx.Done()
		return nil
	}
	lookup := a.lookup // once, because each method value is an allocation
	return a.watch.Run(ctx, func(key podwatch.Key, _ *podwatch.Pod) {
		a.evaluator.Update(ctx, state.Pod{Namespace: key.Namespace, Name: key.Name}, lookup)
	})
}

// lookup returns the form of a pod in the cache, or in the recording.
func (a *Agent) lookup(name state.Pod) (state.Pod, []byte, bool) {
	if a.watch == nil {
		json, ok := a.recorded.Load().form(name)
		return name, json, ok
	}
	pod, ok := a.watch.Get(podwatch.Key{Namespace: name.Namespace, Name: name.Name})
	if !ok {
		return name, nil, false
	}
	return state.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}, pod.JSON, true
}

// lead is the work of one term: it makes the Service lead to this replica, evaluates the whole cache, follows its changes, and drops the state at the end.
func (a *Agent) lead(ctx context.Context) {
	a.leading.Store(true)
	defer a.leading.Store(false)
	if a.leaderService != nil {
		a.leaderService.Lead(ctx)
	}
	select {
	case <-ctx.Done():
		return
	case <-a.watch.Synced():
	}
	h := a.beginHistory()
	defer a.history.Store(nil)
	a.evaluator.Begin(ctx, a.cached())
	defer a.evaluator.End()
	a.recordHistory(ctx, h)
}

// cached yields all pods of the cache.
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
		err := a.readRecording(ctx, table)
		if err == nil {
			a.notePolicy()
		}
		return err
	}
	wanted, err := projectionOf(table)
	if err != nil {
		return err
	}
	if a.projection.Covers(wanted) {
		if err := a.evaluator.SetPolicy(ctx, table, nil, a.cached()); err != nil {
			return err
		}
		a.notePolicy()
		return nil
	}
	a.log.Info("the policy reads fields that are not in the cache; listing all pods anew",
		zap.String("policy", table.Name()), zap.String("hash", table.Hash()))
	var failed error
	err = a.watch.Reproject(ctx, wanted, func(swap func()) {
		failed = a.evaluator.SetPolicy(ctx, table, func() { swap(); a.projection = wanted }, a.cached())
		a.notePolicy()
	})
	return errors.Join(err, failed)
}

// scope returns the watched namespaces for the report; nil for the whole cluster.
func (a *Agent) scope() *report.Scope {
	if len(a.options.Namespaces) == 0 {
		return nil
	}
	return &report.Scope{
		Namespaces: slices.Sorted(slices.Values(a.options.Namespaces)),
		Forbidden:  append([]string{}, a.watch.Forbidden()...), // an empty list is not null
	}
}
