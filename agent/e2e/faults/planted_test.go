package faults_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

// TestPlantedFault runs rows of the matrix against a binary whose gate believes client-go's elector, and demands that the
// oracle of double publishing finds it. A check that cannot fail is no check.
func TestPlantedFault(t *testing.T) {
	planted, err := binaries.UngatedAgent(t.Context(), workDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"4", "5", "6a"} {
		t.Run("row "+key, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(matrix, func(r row) bool { return r.key() == key })
			lenient := &forgiving{TB: t}
			f := newFixture(t, shared, &matrix[i], &outcome{})
			f.TB, f.binary = lenient, planted
			// Whether an edit of the Lease is seen by the standby first is a matter of chance.
			const tries = 6
			for try := range tries {
				lenient.run(f.try)
				if double := f.double(); double > 0 {
					t.Logf("trial %d: both published for %s", try+1, double)
					return
				}
			}
			t.Errorf("no double publish was found in %d trials; what else was found: %v", tries, lenient.faults)
		})
	}
}

// forgiving is a test that notes failures and does not fail.
type forgiving struct {
	testing.TB

	mu     sync.Mutex
	faults []string
}

// run runs a part of the test, which may end early.
func (f *forgiving) run(part func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		part()
	}()
	<-done
}

func (f *forgiving) note(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, text)
}

func (f *forgiving) Error(args ...any)                 { f.note(fmt.Sprint(args...)) }
func (f *forgiving) Errorf(format string, args ...any) { f.note(fmt.Sprintf(format, args...)) }
func (f *forgiving) Fatal(args ...any)                 { f.note(fmt.Sprint(args...)); runtime.Goexit() }
func (f *forgiving) Fatalf(format string, args ...any) {
	f.note(fmt.Sprintf(format, args...))
	runtime.Goexit()
}
