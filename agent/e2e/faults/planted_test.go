package faults_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

// TestPlantedFault runs rows of the matrix with a binary whose gate trusts client-go's elector, and requires that the double publish
// oracle detects it.
func TestPlantedFault(t *testing.T) {
	planted, err := binaries.UngatedAgent(t.Context(), workDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"4", "5", "6a"} {
		t.Run("row "+key, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(matrix, func(r row) bool { return r.key() == key })
			lenient := &recordingTB{TB: t}
			f := newFixture(t, shared, &matrix[i], &outcome{})
			f.TB, f.binary = lenient, planted
			// Which replica reads an edited Lease first is random.
			const tries = 6
			for try := range tries {
				lenient.run(f.try)
				if double := f.doublePublish(); double > 0 {
					t.Logf("trial %d: both published for %s", try+1, double)
					return
				}
			}
			t.Errorf("no double publish in %d trials; other failures: %v", tries, lenient.faults)
		})
	}
}

// recordingTB records failures instead of failing the test.
type recordingTB struct {
	testing.TB

	mu     sync.Mutex
	faults []string
}

// run calls a function that may exit its goroutine.
func (f *recordingTB) run(part func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		part()
	}()
	<-done
}

func (f *recordingTB) note(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, text)
}

func (f *recordingTB) Error(args ...any)                 { f.note(fmt.Sprint(args...)) }
func (f *recordingTB) Errorf(format string, args ...any) { f.note(fmt.Sprintf(format, args...)) }
func (f *recordingTB) Fatal(args ...any)                 { f.note(fmt.Sprint(args...)); runtime.Goexit() }
func (f *recordingTB) Fatalf(format string, args ...any) {
	f.note(fmt.Sprintf(format, args...))
	runtime.Goexit()
}
