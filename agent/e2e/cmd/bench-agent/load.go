package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
	"github.com/kube-devops/kube-devops/agent/e2e/seed"
)

const (
	statusRate = 2000 // updates a second
	changeRate = 200
	batches    = 100 // writes a second: each is of rate/batches pods
)

// write writes pods at a rate, until done or for a time. pod returns the next pod.
func (b *bench) write(ctx context.Context, rate int, length time.Duration, next func(n int) *corev1.Pod, written func(n int)) (int, error) {
	per := max(1, rate/batches)
	ticker := time.NewTicker(time.Second * time.Duration(per) / time.Duration(rate))
	defer ticker.Stop()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(1) // in order
	started, n := time.Now(), 0
	for time.Since(started) < length && ctx.Err() == nil {
		// Catch up after a slow write: write all pods that are due.
		due := int(time.Since(started).Seconds()*float64(rate)) - n
		for due > 0 {
			var pods []*corev1.Pod
			for range min(due, 100) {
				pods = append(pods, next(n))
				n++
			}
			due -= len(pods)
			upTo := n
			group.Go(func() error {
				if err := b.seed.PutEach(ctx, pods...); err != nil {
					return err
				}
				if written != nil {
					written(upTo)
				}
				return nil
			})
		}
		<-ticker.C
	}
	return n, group.Wait()
}

// touched returns a pod in which only the status has changed, which the policy does not read.
func (b *bench) touched(n int) *corev1.Pod {
	i := n % b.pods
	pod := seed.NewPod(i, i%4 != 0)
	pod.Status.Message = fmt.Sprintf("update %d", n)
	return pod
}

// status measures the cost of updates that do not affect the policy, and the delay of a change among them.
func (b *bench) status() error {
	agent, _, err := b.startAgent("agent-status", b.own.Kubeconfig())
	if err != nil {
		return err
	}
	defer agent.Stop(10 * time.Second)
	metrics, err := agent.Metrics()
	if err != nil {
		return err
	}
	eventsBefore, _ := metrics.Value("pod_events_total")
	before, err := process.UsageOf(agent.Pid())
	if err != nil {
		return err
	}
	lines := len(agent.Stderr())
	sent, err := b.write(b.ctx, statusRate, b.duration, b.touched, nil)
	if err != nil {
		return err
	}
	seen, err := b.settled(agent, eventsBefore+float64(sent))
	if err != nil {
		return err
	}
	seen -= eventsBefore
	after, err := process.UsageOf(agent.Pid())
	if err != nil {
		return err
	}
	fmt.Printf("\nUpdates of the status alone: %d sent in %s, %.0f a second, and %.0f seen; CPU of the agent %s, %.0f µs each; %d bytes logged; peak RSS %s\n",
		sent, b.duration, float64(sent)/b.duration.Seconds(), seen, seconds(after.CPU-before.CPU),
		float64((after.CPU-before.CPU).Microseconds())/seen, len(agent.Stderr())-lines, megabytes(after.Peak))

	// Repeat with an occasional change whose delay is measured.
	ctx, stop := context.WithCancel(b.ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := b.write(ctx, statusRate, b.duration, b.touched, nil)
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
	delays, err := b.probe(agent, b.duration-time.Second)
	stop()
	if waitErr := group.Wait(); err == nil {
		err = waitErr
	}
	if err != nil {
		return err
	}
	fmt.Printf("Delay from a change to /metrics meanwhile: %s\n", distribution(delays.seen))
	fmt.Printf("including the delay until a watch of that namespace receives the change: %s\n", distribution(delays.watched))
	return nil
}

// settled waits until the agent has processed the given number of events, or receives no more, and returns the number. It may be lower:
// if the agent or the API server is far behind, a list skips intermediate events.
func (b *bench) settled(agent *blackbox.Agent, want float64) (float64, error) {
	events, last := -1.0, time.Now()
	for {
		metrics, err := agent.Metrics()
		if err != nil {
			return 0, err
		}
		before := events
		if events, _ = metrics.Value("pod_events_total"); events != before {
			last = time.Now()
		}
		if events >= want || time.Since(last) > 15*time.Second {
			return events, nil
		}
		select {
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// delays are the times from a write to etcd until the metrics show the change, and until a watch of one namespace receives it. The
// agent is responsible only for the difference.
type delays struct{ seen, watched []time.Duration }

// probe changes its own pod repeatedly, and measures the delays of each change.
func (b *bench) probe(agent *blackbox.Agent, length time.Duration) (d delays, err error) {
	ctx, stop := context.WithCancel(b.ctx)
	defer stop()
	watched, err := b.watchProbe(ctx)
	if err != nil {
		return d, err
	}
	for started := time.Now(); time.Since(started) < length; {
		clean := len(d.seen)%2 == 0
		pod := seed.NewPod(0, clean)
		pod.Name, pod.Namespace, pod.UID = "probe", "probe", "probe"
		if err := b.seed.PutEach(b.ctx, pod); err != nil {
			return d, err
		}
		written := time.Now()
		want := 2.0
		if clean {
			want = 0
		}
		err := cluster.Eventually(b.ctx, 20*time.Second, 5*time.Millisecond, func() error {
			metrics, err := agent.Metrics()
			if err != nil {
				return err
			}
			if got, ok := metrics.Value("kube_devops_violations", "namespace", "probe", "check", "latest_tag"); !ok || got != want {
				return fmt.Errorf("the probe has %v violations, want %v", got, want)
			}
			return nil
		})
		if err != nil {
			return d, err
		}
		d.seen = append(d.seen, time.Since(written))
		select {
		case at := <-watched:
			d.watched = append(d.watched, max(0, at.Sub(written)))
		case <-b.ctx.Done():
			return d, b.ctx.Err()
		case <-time.After(20 * time.Second):
			return d, errors.New("the watch did not receive a change")
		}
		select {
		case <-b.ctx.Done():
			return d, b.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return d, nil
}

// watchProbe sends the time at which each change of the probe arrives. Only one change is in progress at a time.
func (b *bench) watchProbe(ctx context.Context) (<-chan time.Time, error) {
	pods := b.own.Admin.CoreV1().Pods("probe")
	now, err := pods.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the probe: %w", err)
	}
	watching, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: now.ResourceVersion})
	if err != nil {
		return nil, fmt.Errorf("watch the probe: %w", err)
	}
	watched := make(chan time.Time, 1)
	go func() {
		for range watching.ResultChan() {
			select {
			case watched <- time.Now():
			case <-ctx.Done():
				return
			}
		}
	}()
	return watched, nil
}

func distribution(delays []time.Duration) string {
	slices.Sort(delays)
	at := func(percent int) time.Duration {
		return delays[(len(delays)*percent+99)/100-1].Round(time.Millisecond / 10)
	}
	return fmt.Sprintf("%d changes, p50 %s, p99 %s, max %s", len(delays), at(50), at(99), at(100))
}

// changes measures the delay from a change to the metrics at a given rate. Each change adds a violation, so that the sum is the number
// of processed changes.
func (b *bench) changes() error {
	if err := b.seed.Pods(b.ctx, b.pods); err != nil {
		return err
	}
	agent, _, err := b.startAgent("agent-changes", b.own.Kubeconfig())
	if err != nil {
		return err
	}
	defer agent.Stop(10 * time.Second)
	base, err := violations(agent)
	if err != nil {
		return err
	}
	// Of every four pods three are clean, and each of them is changed once.
	length := min(b.duration, time.Duration(b.pods*3/4/changeRate)*time.Second)
	var written atomic.Pointer[[]time.Time] // of each change so far
	written.Store(new([]time.Time))
	group, ctx := errgroup.WithContext(b.ctx)
	total := 0
	done := make(chan struct{})
	group.Go(func() (err error) {
		defer close(done)
		total, err = b.write(ctx, changeRate, length, func(n int) *corev1.Pod {
			return seed.NewPod(n/3*4+n%3+1, false)
		}, func(upTo int) {
			times := slices.Clone(*written.Load())
			for now := time.Now(); len(times) < upTo; {
				times = append(times, now)
			}
			written.Store(&times)
		})
		return err
	})
	var delays []time.Duration
	for ended := false; ; {
		select {
		case <-done:
			ended = true
		default:
		}
		now, err := violations(agent)
		if err != nil {
			return err
		}
		at := time.Now()
		seen := (now - base) / 2
		times := *written.Load()
		for len(delays) < min(seen, len(times)) {
			delays = append(delays, at.Sub(times[len(delays)]))
		}
		if ended && len(delays) >= total || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	fmt.Printf("\n%d changes a second with %d pods, delay to /metrics: %s\n", changeRate, b.pods, distribution(delays))
	return b.seed.Pods(b.ctx, b.pods) // as they were
}

// violations returns the number of violations of latest_tag in the cluster.
func violations(agent *blackbox.Agent) (int, error) {
	metrics, err := agent.Metrics()
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, n := range metrics.Scores().Namespaces {
		sum += n.Violations["latest_tag"]
	}
	return sum, nil
}

// deletes measures how long the deletion of all pods takes.
func (b *bench) deletes() error {
	agent, _, err := b.startAgent("agent-deletes", b.own.Kubeconfig())
	if err != nil {
		return err
	}
	defer agent.Stop(10 * time.Second)
	before, err := process.UsageOf(agent.Pid())
	if err != nil {
		return err
	}
	started := time.Now()
	if err := b.seed.DeleteAll(b.ctx, b.pods); err != nil {
		return err
	}
	written := time.Since(started)
	if err := cluster.Eventually(b.ctx, 2*time.Minute, 10*time.Millisecond, func() error {
		metrics, err := agent.Metrics()
		if err != nil {
			return err
		}
		left := 0
		for name, n := range metrics.Scores().Namespaces {
			if name != "probe" {
				left += n.Pods
			}
		}
		if left > 0 {
			return fmt.Errorf("%d pods are left", left)
		}
		return nil
	}); err != nil {
		return err
	}
	took := time.Since(started)
	after, err := process.UsageOf(agent.Pid())
	if err != nil {
		return err
	}
	fmt.Printf("\n%d deletes as fast as etcd takes them: out of the metrics after %s (etcd took %s); CPU of the agent %s, peak RSS %s\n",
		b.pods, seconds(took), seconds(written), seconds(after.CPU-before.CPU), megabytes(after.Peak))
	return nil
}
