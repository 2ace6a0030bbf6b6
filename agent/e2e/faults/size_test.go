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

// scattered makes n pods, each in a namespace of its own.
func (f *fixture) scattered(n int) []*corev1.Pod {
	pods := make([]*corev1.Pod, n)
	for i := range pods {
		pods[i] = cluster.NewPod(fmt.Sprintf("%s-n%04d", f.account.Name, i), "pod", cluster.Bad)
		pods[i].UID = types.UID(fmt.Sprintf("0d3a8f0e-6a7e-4c5c-9f53-%012d", i))
		pods[i].CreationTimestamp = metav1.Now()
	}
	return pods
}

// fill writes n such pods straight into etcd. They go with the row.
func (f *fixture) fill(s *seed.Seeder, n int) []*corev1.Pod {
	f.Helper()
	pods := f.scattered(n)
	f.Cleanup(func() { _ = s.DeleteEach(context.WithoutCancel(f.Context()), pods...) })
	if err := s.PutEach(f.Context(), pods...); err != nil {
		f.Fatal(err)
	}
	return pods
}

// largePage waits until the page of a replica is more than fits between it and a slow reader.
func (f *fixture) largePage(r *replica) {
	f.Helper()
	f.wait("a large page", 10*time.Second, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.lastBody) < betweenEnds {
			return fmt.Errorf("it is of %d bytes", len(r.lastBody))
		}
		return nil
	})
}

// stuckPublisher cuts off a leader while it writes pages to readers that have stopped to read.
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
			f.Error("a page that was stuck when the gate closed came whole")
		}
	}
	leader.proxy.Heal()
	f.rejoins(leader, 60*time.Second)
}

// churnNamespaces lets namespaces come and go, and checks what is left of them.
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
	// A map keeps the room that it once had: what is compared is after a first round.
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
	// What was freed a moment ago is not given back yet; what is kept is kept for good.
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

// namespacesBeyondLimit makes more namespaces than have series of their own.
func (f *fixture) namespacesBeyondLimit() {
	f.Helper()
	const most, more = 5000, 200
	leader := f.leader()
	s := f.seeder()
	pods := f.fill(s, most+more)
	f.wait("the cap of namespaces", 20*time.Second, func() error {
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

// tenThousandPods starts two agents before 10,000 pods, each with 256 MiB of memory, and makes them list those anew.
func (f *fixture) tenThousandPods() {
	const pods, limit, bound = 10_000, 256 * mebibyte, 30 * time.Second
	s := f.seeder()
	if err := s.Pods(f.Context(), pods); err != nil {
		f.Fatal(err)
	}
	// A list waits until the API server's cache has them, be it a list of one.
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
		f.Errorf("%d bytes are kept for each pod", heap/pods)
	}
	// While nobody can tell them, some pods change, and history ends behind them: so all are listed anew.
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
		f.wait(r.Name()+" lists all anew", healed, func() error {
			if f.lists(slot) == lists[slot] {
				return errors.New("it has not")
			}
			return ready(r)
		})
	}
	f.recompute(settleTimeout)
	again, _ := f.memory()
	if most := max(peak, again); most > limit {
		f.Errorf("%d MiB at the most", most/mebibyte)
	}
	if again > 2*max(peak, resident) {
		f.Errorf("%d MiB in the second list, %d MiB in the first", again/mebibyte, peak/mebibyte)
	}
	f.notef("peak %d MiB, in the second list %d MiB; %d bytes kept for each pod", peak/mebibyte, again/mebibyte, heap/pods)
}

// memory is the peak and the resident memory of the larger replica.
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

// lists is how often a replica has asked for all pods.
func (f *fixture) lists(slot int) (n int) {
	for _, request := range f.proxies[slot].Requests() {
		if request.Resource == "pods" && (request.Initial || request.Verb == "list" && !request.Peek) {
			n++
		}
	}
	return n
}

// watchErrors is how many watches of the pods have failed, by slot.
func (f *fixture) watchErrors() (n [2]float64) {
	f.Helper()
	for slot, r := range f.slots {
		n[slot] = f.watchErrorsOf(r)
	}
	return n
}

// expired checks that both replicas were told that their version is too old (410), once.
func (f *fixture) expired(before [2]float64) {
	f.Helper()
	now := f.watchErrors()
	for slot, r := range f.slots {
		told := 0
		lines, err := r.Log()
		if err != nil {
			f.Fatal(err)
		}
		for _, line := range lines {
			if failure := fmt.Sprint(line["error"]); isFailedRequest(line) && strings.Contains(failure, "too old resource version") {
				told++
			}
		}
		if told != 1 || now[slot] == before[slot] {
			f.Errorf("%s was told %d times that its version is too old, and counts %v failed watches, before %v", r.Name(), told, now[slot], before[slot])
		}
	}
}

func isFailedRequest(line blackbox.Line) bool {
	return strings.HasPrefix(fmt.Sprint(line["msg"]), "request for pods failed")
}

// group makes a control group with bounds. confine puts a process into it, release takes all out again.
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
