package faults_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
	"github.com/kube-devops/kube-devops/agent/e2e/seed"
)

// A load has the maxima of a process.
type load struct {
	resident int
	queued   float64
	lag      time.Duration
}

func (l load) String() string {
	return fmt.Sprintf("resident %d MiB, queue %.0f, lag %.2f s", l.resident/mebibyte, l.queued, l.lag.Seconds())
}

// sample updates the maxima.
func (l *load) sample(agent *blackbox.Agent, metrics blackbox.Metrics) error {
	used, err := process.UsageOf(agent.Pid())
	if err != nil {
		return err
	}
	queued, ok := metrics.Value("kube_devops_queue_length")
	if !ok {
		return errors.New("no kube_devops_queue_length")
	}
	l.resident, l.queued = max(l.resident, used.RSS), max(l.queued, queued)
	return nil
}

// storm changes pods at the maximum rate of the API server, and measures the lag of the leader.
func (f *fixture) storm(length time.Duration) {
	leader := f.leader()
	steady, err := process.UsageOf(leader.Pid())
	if err != nil {
		f.Fatal(err)
	}
	probes, err := f.CreateNamespace(f.Context(), f.account.Name)
	if err != nil {
		f.Fatal(err)
	}
	f.namespaces = append(f.namespaces, probes)
	before, began := f.changed.Load(), time.Now()
	stop := f.churnIn(2000, f.namespaces[:2])
	defer stop()
	var most load
	for n := 1; time.Since(began) < length; n++ {
		if err := f.CreatePods(f.Context(), cluster.NewPod(probes, fmt.Sprint("probe-", n), cluster.Bad)); err != nil {
			f.Fatal(err)
		}
		at := time.Now()
		f.wait("the agent has seen the probe", 10*time.Second, func() error {
			metrics, err := leader.Metrics()
			if err != nil {
				return err
			}
			if err := most.sample(leader.Agent, metrics); err != nil {
				return err
			}
			if seen := metrics.Scores().Namespaces[probes].Pods; seen < n {
				return fmt.Errorf("%d of %d probes", seen, n)
			}
			return nil
		})
		most.lag = max(most.lag, time.Since(at))
		f.pause(200 * time.Millisecond)
	}
	stop()
	rate := float64(f.changed.Load()-before) / time.Since(began).Seconds()
	at := time.Now()
	f.recompute(settleTimeout)
	f.recovered(time.Since(at), settleTimeout)
	f.keptUp(most, steady.RSS)
	f.notef("%.0f changes/s; %s", rate, most)
}

// keptUp checks a load against the bounds of a storm.
func (f *fixture) keptUp(most load, steady int) {
	f.Helper()
	if most.lag > 2*time.Second {
		f.Errorf("an event was processed %s late", most.lag)
	}
	if most.resident > 2*steady {
		f.Errorf("resident memory %d MiB, before %d MiB", most.resident/mebibyte, steady/mebibyte)
	}
}

// burst sends events to one agent from a fake API server, faster than a real one can.
func (f *fixture) burst(rate int, length time.Duration) {
	const pods = 2000
	begin := make(chan struct{})
	fake, err := seed.NewRestlessFake(pods, begin)
	if err != nil {
		f.Fatal(err)
	}
	fake.Rate, fake.Total = rate, rate*int(length/time.Second)
	kubeconfig := filepath.Join(f.dir, "fake.kubeconfig")
	stop, err := fake.Start(kubeconfig)
	if err != nil {
		f.Fatal(err)
	}
	defer stop()
	agent, err := blackbox.StartAgent(f.Context(), blackbox.Options{Name: "burst", Binary: f.binary, Dir: f.dir, Args: []string{
		"agent", "--listen", "127.0.0.1:0", "--leader-elect=false", "--audit-interval=0", "--kubeconfig", kubeconfig,
	}})
	if err != nil {
		f.Fatal(err)
	}
	defer agent.Stop(stopTimeout)
	f.wait("it is ready", 10*time.Second, func() error {
		status, body, err := agent.Get("/readyz")
		if err == nil && status != 200 {
			err = errors.New(body)
		}
		return err
	})
	steady, err := process.UsageOf(agent.Pid())
	if err != nil {
		f.Fatal(err)
	}
	began := time.Now()
	close(begin)
	var most load
	var took time.Duration // until all events were sent
	f.wait("all events are seen", time.Minute, func() error {
		due := min(fake.Total, int(time.Since(began).Seconds()*float64(rate)))
		if took == 0 && fake.Sent() == fake.Total {
			took = time.Since(began)
		}
		metrics, err := agent.Metrics()
		if err != nil {
			return err
		}
		if err := most.sample(agent, metrics); err != nil {
			return err
		}
		events, _ := metrics.Value("pod_events_total")
		seen := int(events) - pods
		// The age of the oldest event that was due but not yet processed.
		if seen < due {
			most.lag = max(most.lag, time.Duration(due-seen)*time.Second/time.Duration(rate))
		}
		if seen < fake.Total {
			return fmt.Errorf("%d of %d", seen, fake.Total)
		}
		return nil
	})
	f.recovered(max(0, time.Since(began)-length), 2*time.Second)
	want, err := oracle.FromList(fake.List())
	if err != nil {
		f.Fatal(err)
	}
	f.wait("the scores are those of the last events", settleTimeout, func() error {
		metrics, err := agent.Metrics()
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, metrics.Scores(), cmpopts.EquateApprox(1e-12, 1e-12)); diff != "" {
			return fmt.Errorf("scores (-want +got):\n%s", diff)
		}
		return nil
	})
	if n := fake.Watches(); n != 1 {
		f.Errorf("the pods were listed %d times", n)
	}
	f.keptUp(most, steady.RSS)
	f.notef("%.0f events/s; %s", float64(fake.Total)/took.Seconds(), most)
}
