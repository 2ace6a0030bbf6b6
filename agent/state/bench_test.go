package state_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// A benchPods is a cluster of 100,000 pods in 200 namespaces, which have 500 different verdicts. Half of them violate a check.
type benchPods struct {
	pods     []state.Pod
	verdicts []rules.Verdict
}

func newBenchPods() *benchPods {
	const pods, verdicts = 100_000, 500
	b := new(benchPods)
	for i := range pods {
		b.pods = append(b.pods, state.Pod{
			Namespace: fmt.Sprint("team-", i%200), Name: fmt.Sprintf("payments-worker-5d8f9c7b4-%05d", i),
			UID: fmt.Sprintf("6f9619ff-8b86-d011-b42d-%012x", i),
		})
	}
	for i := range verdicts {
		v := rules.Verdict{Subjects: []int{1, 1, 1}}
		if i%2 == 0 {
			v.Violations = []rules.Violation{{Check: i % 3, Path: "spec.containers.0", Container: fmt.Sprint("c", i)}}
		}
		b.verdicts = append(b.verdicts, v)
	}
	return b
}

func (b *benchPods) put(s *state.ClusterState, i, shift int) {
	s.Put(b.pods[i], b.verdicts[(i+shift)%len(b.verdicts)], nil)
}

func (b *benchPods) state(tb testing.TB) *state.ClusterState {
	s := state.New(defaultTable(tb))
	for i := range b.pods {
		b.put(s, i, 0)
	}
	return s
}

func BenchmarkState(b *testing.B) {
	pods := newBenchPods()
	b.Run("fill", func(b *testing.B) { // reports the heap per pod
		var before, after runtime.MemStats
		for b.Loop() {
			runtime.GC()
			runtime.ReadMemStats(&before)
			s := pods.state(b)
			runtime.GC()
			runtime.ReadMemStats(&after)
			runtime.KeepAlive(s)
		}
		b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/float64(len(pods.pods)), "B/pod")
	})
	s := pods.state(b)
	b.Run("same", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			pods.put(s, i%len(pods.pods), 0)
		}
	})
	b.Run("change", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			pods.put(s, i%len(pods.pods), i/len(pods.pods)+1)
		}
	})
	b.Run("delete and create", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.Delete(pods.pods[i%len(pods.pods)])
			pods.put(s, i%len(pods.pods), 0)
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Snapshot()
		}
	})
	b.Run("snapshot with violations", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for range s.SnapshotWithViolations().AllViolations() {
				n++
			}
			if n == 0 {
				b.Fatal("no violations")
			}
		}
	})
	other := pods.state(b)
	for i := range pods.pods {
		pods.put(s, i, 0)
	}
	b.Run("differences", func(b *testing.B) {
		for b.Loop() {
			if d := s.Differences(other); len(d) > 0 {
				b.Fatal(d)
			}
		}
	})
}
