package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/process"
	"github.com/kube-devops/kube-devops/agent/e2e/seed"
)

// events measures how many events per second the agent processes on one core.
func (b *bench) events() error {
	const pods = 2000
	begin := make(chan struct{})
	fake, err := seed.NewFake(pods, begin)
	if err != nil {
		return err
	}
	kubeconfig := filepath.Join(b.dir, "fake.kubeconfig")
	stop, err := fake.Start(kubeconfig)
	if err != nil {
		return err
	}
	defer stop()
	if b.env != "" {
		b.env += ","
	}
	b.env += "GOMAXPROCS=1"
	agent, _, err := b.startAgent("agent-events", kubeconfig, "--profile-listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer agent.Stop(10 * time.Second)
	close(begin)
	count := func() (float64, process.Usage, error) {
		metrics, err := agent.Metrics()
		if err != nil {
			return 0, process.Usage{}, err
		}
		n, _ := metrics.Value("pod_events_total")
		used, err := process.UsageOf(agent.Pid())
		return n, used, err
	}
	pause := func(d time.Duration) error {
		ctx, cancel := context.WithTimeout(b.ctx, d)
		defer cancel()
		<-ctx.Done()
		return b.ctx.Err()
	}
	if err := pause(time.Second); err != nil { // it warms up
		return err
	}
	before, usedBefore, err := count()
	if err != nil {
		return err
	}
	started := time.Now()
	length := min(b.duration, 20*time.Second)
	if name := os.Getenv("BENCH_EVENTS_PROFILE"); name != "" {
		text, err := agent.Profile("profile?seconds=" + strconv.Itoa(int(length.Seconds())))
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
	} else if err := pause(length); err != nil {
		return err
	}
	after, usedAfter, err := count()
	if err != nil {
		return err
	}
	n, cpu := after-before, usedAfter.CPU-usedBefore.CPU
	fmt.Printf("\nSustained events on one core, pods of %d bytes: %.0f a second (%.0f of a second of CPU, %.0f µs each); peak RSS %s\n",
		fake.UpdateSize(), n/time.Since(started).Seconds(), n/cpu.Seconds(), float64(cpu.Microseconds())/n, megabytes(usedAfter.Peak))
	return nil
}
