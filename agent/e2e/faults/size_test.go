package faults_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
	"github.com/kube-devops/kube-devops/agent/e2e/seed"
)

const mebibyte = 1 << 20

func (f *fixture) seeder() *seed.Seeder { return seed.NewSeeder(f.Own.EtcdURL()) }

// scattered returns n pods, each in its own namespace.
func (f *fixture) scattered(n int) []*corev1.Pod {
	pods := make([]*corev1.Pod, n)
	for i := range pods {
		pods[i] = cluster.NewPod(fmt.Sprintf("%s-n%04d", f.account.Name, i), "pod", cluster.Bad)
		pods[i].UID = types.UID(fmt.Sprintf("0d3a8f0e-6a7e-4c5c-9f53-%012d", i))
		pods[i].CreationTimestamp = metav1.Now()
	}
	return pods
}

// fill writes n such pods to etcd, and deletes them at the end of the row.
func (f *fixture) fill(s *seed.Seeder, n int) []*corev1.Pod {
	f.Helper()
	pods := f.scattered(n)
	f.Cleanup(func() { _ = s.DeleteEach(context.WithoutCancel(f.Context()), pods...) })
	if err := s.PutEach(f.Context(), pods...); err != nil {
		f.Fatal(err)
	}
	return pods
}

// largePage waits until a response of a replica exceeds the buffers between it and a slow reader.
func (f *fixture) largePage(r *replica) {
	f.Helper()
	f.wait("a large page", 10*time.Second, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.lastBody) < betweenEnds {
			return fmt.Errorf("it has %d bytes", len(r.lastBody))
		}
		return nil
	})
}

// stuckPublisher disconnects a leader while it writes responses to clients that do not read.
func (f *fixture) stuckPublisher() {
	leader, standby := f.leader(), f.standby()
	f.fill(f.seeder(), 400)
	f.largePage(leader)
	readers := f.stuckReaders(leader, 8)
	cut := time.Now()
	leader.proxy.Blackhole()
	f.publishes(cut, f.lease.takeover(), standby)
	f.publishesNothing(leader, cut.Add(f.lease.closes()))
	for _, reader := range readers {
		if reader.rest() == nil {
			f.Error("a response that was blocked when the gate closed completed")
		}
	}
	leader.proxy.Heal()
	f.rejoins(leader, 60*time.Second)
}

// churnNamespaces creates and deletes namespaces, and checks that series and heap do not grow.
func (f *fixture) churnNamespaces(namespaces, rounds int) {
	f.Helper()
	leader, s := f.leader(), f.seeder()
	measure := func() (series, heap int) {
		_, page, err := leader.Get("/metrics")
		if err == nil {
			heap, err = leader.Heap()
		}
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(page) {
			if !strings.HasPrefix(line, "#") {
				series++
			}
		}
		return series, heap
	}
	round := func() {
		pods := f.fill(s, namespaces)
		if err := s.DeleteEach(f.Context(), pods...); err != nil {
			f.Fatal(err)
		}
	}
	events, err := leader.value("pod_events_total")
	if err != nil {
		f.Fatal(err)
	}
	seen := func(rounds int) {
		want := events + float64(2*namespaces*rounds)
		f.wait("all events are seen", 10*time.Second, func() error {
			metrics, err := leader.Metrics()
			if err != nil {
				return err
			}
			seen, _ := metrics.Value("pod_events_total")
			if queued, _ := metrics.Value("kube_devops_queue_length"); seen < want || queued > 0 {
				return fmt.Errorf("%v of %v events, %v queued", seen-events, want-events, queued)
			}
			return nil
		})
	}
	// Maps do not shrink: compare with the state after a first round.
	round()
	seen(1)
	measure()
	series, heap := measure()
	began := time.Now()
	for range rounds {
		round()
	}
	last := time.Now()
	seen(1 + rounds)
	f.recovered(time.Since(last), settleTimeout)
	metrics, err := leader.Metrics() // the first after the last event
	if err != nil {
		f.Fatal(err)
	}
	for name := range metrics.Scores().Namespaces {
		if strings.HasPrefix(name, f.account.Name+"-n") {
			f.Errorf("%s has scores without pods", name)
		}
	}
	// Memory is freed with a delay.
	var seriesNow, heapNow int
	f.wait("series and heap are as before", 20*time.Second, func() error {
		seriesNow, heapNow = measure()
		if float64(seriesNow) > 1.05*float64(series) || float64(heapNow) > 1.05*float64(heap) {
			return fmt.Errorf("%d series and a heap of %d KiB, before %d and %d", seriesNow, heapNow>>10, series, heap>>10)
		}
		return nil
	})
	f.notef("%.0f events/s; series %d → %d, heap %d → %d KiB", float64(2*namespaces*rounds)/last.Sub(began).Seconds(), series, seriesNow, heap>>10, heapNow>>10)
}

// namespacesBeyondLimit creates more namespaces than have their own series.
func (f *fixture) namespacesBeyondLimit() {
	f.Helper()
	const most, more = 5000, 200
	leader := f.leader()
	s := f.seeder()
	pods := f.fill(s, most+more)
	f.wait("the limit of namespaces", 20*time.Second, func() error {
		metrics, err := leader.Metrics()
		if err != nil {
			return err
		}
		scores, sum := metrics.Scores().Namespaces, 0
		for _, n := range scores {
			sum += n.Pods
		}
		overflowed, _ := metrics.Value("kube_devops_namespaces_overflowed")
		if _, other := scores["_other"]; len(scores) != most+1 || !other || overflowed < more || sum < most+more {
			return fmt.Errorf("%d namespaces with %d pods, %v overflowed", len(scores), sum, overflowed)
		}
		return nil
	})
	f.notef("%d namespaces in %d series of each family", most+more, most+1)
	// The rest of the row compares each namespace.
	if err := s.DeleteEach(f.Context(), pods...); err != nil {
		f.Fatal(err)
	}
}

// tenThousandPods starts two agents with 256 MiB of memory each in a cluster of 10,000 pods, and makes them list the pods again.
func (f *fixture) tenThousandPods() {
	const pods, limit, bound = 10_000, 256 * mebibyte, 30 * time.Second
	s := f.seeder()
	if err := s.Pods(f.Context(), pods); err != nil {
		f.Fatal(err)
	}
	// A list, even with limit 1, waits for the watch cache of the API server.
	if _, err := f.Admin.CoreV1().Pods("").List(f.Context(), metav1.ListOptions{Limit: 1}); err != nil {
		f.Fatal(err)
	}
	confine, release := f.group("memory", map[string]string{"memory.limit_in_bytes": strconv.Itoa(limit)})
	defer release()
	f.env = []string{"GOMEMLIMIT=" + strconv.Itoa(limit*8/10)}
	began := time.Now()
	for slot := range f.slots {
		confine(f.start(slot))
	}
	for _, r := range f.slots {
		f.wait(r.Name()+" is ready", time.Until(began)+bound, func() error { return ready(r) })
		f.recovered(time.Since(began), bound)
	}
	f.pair()
	f.recompute(settleTimeout)
	peak, resident := f.memory()
	heap := 0
	for _, r := range f.slots {
		kept, err := r.Heap()
		if err != nil {
			f.Fatal(err)
		}
		heap = max(heap, kept)
	}
	if heap > pods*8<<10 {
		f.Errorf("%d bytes are retained per pod", heap/pods)
	}
	// Pods change and etcd compacts the history while the agents are disconnected, so that they list all pods again.
	lists := [2]int{f.lists(0), f.lists(1)}
	f.Own.StopAPIServer(syscall.SIGKILL)
	var changed []*corev1.Pod
	for i := range 100 {
		changed = append(changed, seed.NewPod(i, i%4 == 0))
	}
	if err := errors.Join(s.PutEach(f.Context(), changed...), f.Own.CompactEtcd(f.Context()), f.Own.StartAPIServer(f.Context())); err != nil {
		f.Fatal(err)
	}
	f.recompute(healed)
	for slot, r := range f.slots {
		f.wait(r.Name()+" lists all pods again", healed, func() error {
			if f.lists(slot) == lists[slot] {
				return errors.New("it has not")
			}
			return ready(r)
		})
	}
	f.recompute(settleTimeout)
	again, _ := f.memory()
	if most := max(peak, again); most > limit {
		f.Errorf("peak memory is %d MiB", most/mebibyte)
	}
	if again > 2*max(peak, resident) {
		f.Errorf("peak memory is %d MiB in the second list, %d MiB in the first", again/mebibyte, peak/mebibyte)
	}
	f.notef("peak %d MiB, in the second list %d MiB; %d bytes retained per pod", peak/mebibyte, again/mebibyte, heap/pods)
}

// memory returns the peak and the resident memory of the larger replica.
func (f *fixture) memory() (peak, resident int) {
	f.Helper()
	for _, r := range f.slots {
		used, err := process.UsageOf(r.Pid())
		if err != nil {
			f.Fatal(err)
		}
		peak, resident = max(peak, used.Peak), max(resident, used.RSS)
	}
	return peak, resident
}

// lists returns the number of requests of a replica for all pods.
func (f *fixture) lists(slot int) (n int) {
	for _, request := range f.proxies[slot].Requests() {
		if request.Resource == "pods" && (request.Initial || request.Verb == "list" && !request.Peek) {
			n++
		}
	}
	return n
}

// watchErrors returns the number of failed pod watches by slot.
func (f *fixture) watchErrors() (n [2]float64) {
	f.Helper()
	for slot, r := range f.slots {
		n[slot] = f.watchErrorsOf(r)
	}
	return n
}

// expired checks that each replica received 410 Gone once.
func (f *fixture) expired(before [2]float64) {
	f.Helper()
	now := f.watchErrors()
	for slot, r := range f.slots {
		gone := 0
		lines, err := r.Log()
		if err != nil {
			f.Fatal(err)
		}
		for _, line := range lines {
			if failure := fmt.Sprint(line["error"]); isFailedRequest(line) && strings.Contains(failure, "too old resource version") {
				gone++
			}
		}
		if gone != 1 || now[slot] == before[slot] {
			f.Errorf("%s received 410 Gone %d times, and counts %v failed watches, before %v", r.Name(), gone, now[slot], before[slot])
		}
	}
}

func isFailedRequest(line blackbox.Line) bool {
	return strings.HasPrefix(fmt.Sprint(line["msg"]), "request for pods failed")
}

// group creates a control group with limits. confine moves a process into it, release removes all processes.
func (f *fixture) group(controller string, bounds map[string]string) (confine func(*replica), release func()) {
	f.Helper()
	group := filepath.Join("/sys/fs/cgroup", controller, "kube-devops-"+f.account.Name)
	if err := os.Mkdir(group, 0o755); err != nil {
		f.skip("no control group can be made: %v", err)
	}
	write := func(folder, file, text string) {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			f.Error(err)
		}
	}
	for file, bound := range bounds {
		write(group, file, bound)
	}
	var confined []*replica
	release = sync.OnceFunc(func() {
		for _, r := range confined {
			if !r.Ended() {
				write(filepath.Dir(group), "cgroup.procs", strconv.Itoa(r.Pid()))
			}
		}
		_ = os.Remove(group)
	})
	f.Cleanup(release)
	return func(r *replica) {
		confined = append(confined, r)
		write(group, "cgroup.procs", strconv.Itoa(r.Pid()))
	}, release
}
