//go:build !race

package state_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// TestPodsAreSmall measures the memory that the state takes per pod, also after all pods were recreated several times.
func TestPodsAreSmall(t *testing.T) {
	const pods = 50_000
	s := newState(t)
	verdict := rules.Verdict{Subjects: []int{1, 1, 1}, Violations: []rules.Violation{{Check: 0, Path: "spec.containers.0", Container: "web"}}}
	before := heap()
	for round := range 3 {
		for i := range pods {
			name := fmt.Sprintf("payments-worker-5d8f9c7b4-%05d", i) // 31 bytes
			s.Put(state.Pod{Namespace: fmt.Sprint("team-", i%20), Name: name, UID: fmt.Sprintf("6f9619ff-8b86-d011-b42d-%06x%06x", round, i)}, verdict, nil)
		}
		each := float64(heap()-before) / pods
		const most = 120. // a name of 32, a slot of 33 in a map that may be half full, and the rounding of the allocator
		if each > most {
			t.Fatalf("round %d: %.1f bytes per pod, want at most %.0f", round, each, most)
		}
		if round == 0 {
			t.Logf("%.1f bytes per pod", each)
		}
	}
	runtime.KeepAlive(s)
}

// TestNamesAreCopied: the state does not keep the buffers that the names of pods are parts of.
func TestNamesAreCopied(t *testing.T) {
	const pods, bufferSize = 500, 64 << 10
	s := newState(t)
	before := heap()
	for i := range pods {
		buffer := fmt.Sprintf("pod-%d%s", i, strings.Repeat(" ", bufferSize))
		pod := state.Pod{Namespace: "shop", Name: strings.Fields(buffer)[0], UID: fmt.Sprint(i)}
		for check := range 2 {
			s.Put(pod, rules.Verdict{Subjects: []int{1, 1, 1}, Violations: []rules.Violation{{Check: check}}}, nil)
		}
	}
	if each := float64(heap()-before) / pods; each > bufferSize/10 {
		t.Errorf("%.0f bytes per pod: the state keeps the buffers", each)
	}
	runtime.KeepAlive(s)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
