package faults_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

var soakFlag = flag.Duration("soak", 0, "how long TestSoak runs; 0 for not at all")

// The actions of a soak of four hours and their intervals. A shorter soak has shorter intervals, down to the minimum.
var soakSteps = []struct {
	name         string
	every, least time.Duration
}{
	{"recompute and policy edit", 5 * time.Minute, 30 * time.Second},
	{"kill", 10 * time.Minute, time.Minute},
	{"restart", 30 * time.Minute, 150 * time.Second},
}

// soakRow runs separately: make soak.
var soakRow = row{number: 41, name: "soak: 50 changes/s, policy edits, kills, API server restarts",
	demand: "no double publish; recomputes equal under the policy of both replicas; audits find no difference; heap ≤ 1 MiB/h; files and goroutines constant",
	// Within hours a machine has gaps of seconds. The longest gap is printed.
	expectGaps:      true,
	ownControlPlane: true, noProxy: true, args: []string{"--policy=mount/table.yaml", "--audit-interval=1m", "--profile-listen=127.0.0.1:0"}}

// TestSoak runs two replicas for a long time with 50 changes per second, policy edits, killed leaders, and restarts of the API server.
func TestSoak(t *testing.T) {
	if *soakFlag == 0 {
		t.Skip("only with make soak")
	}
	e, err := newEnvironment(t.Context(), "soak")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	o := &outcome{}
	r := &soakRow
	t.Cleanup(func() {
		o.failed = t.Failed()
		results.Lock()
		results.of[r.key()] = o
		results.Unlock()
		t.Logf("the line of the table:\n%s%s", tableHead, r.line(o))
		if *writeFlag {
			if err := writePage(); err != nil {
				t.Error(err)
			}
		}
	})
	f := newFixture(t, e, r, o)
	good := f.defaultPolicy()
	f.mountPolicy(good)
	f.pair()

	figures := &figures{of: map[*replica][]figure{}}
	stopFigures := figures.follow(f)
	defer stopFigures()
	began, kills, restarts, edits := time.Now(), 0, 0, 0
	diverged := 0.0                                            // of all processes
	inForce := func() int { return edits%(generations+1) - 1 } // the default policy, then each generation
	recompute := func(within time.Duration) {
		o.recomputed++
		f.hasGeneration(inForce(), within)
	}
	due := make([]time.Time, len(soakSteps))
	every := func(i int) time.Duration {
		return max(soakSteps[i].least, time.Duration(float64(soakSteps[i].every)*soakFlag.Hours()/4))
	}
	for i := range due {
		due[i] = began.Add(every(i))
	}
	stop := f.churn(50)
	defer func() { stop() }()
	for time.Since(began) < *soakFlag && !t.Failed() {
		f.pause(time.Second)
		for i := range due {
			if time.Now().Before(due[i]) {
				continue
			}
			due[i] = time.Now().Add(every(i))
			switch i {
			case 0:
				stop()
				recompute(settleTimeout)
				edits++
				f.mountPolicy(policyOf(good, inForce()))
				recompute(settleTimeout)
				stop = f.churn(50)
			case 1:
				kills++
				leader, standby := f.leader(), f.standby()
				diverged += f.diverged(leader)
				f.kill(leader)
				f.publishes(time.Now(), f.lease.takeover(), standby)
				f.pair()
			case 2:
				restarts++
				f.Own.StopAPIServer([]syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[rand.IntN(2)])
				f.pause(2 * time.Second)
				if err := f.Own.StartAPIServer(context.WithoutCancel(f.Context())); err != nil {
					t.Fatal(err)
				}
				f.pair()
				// Both replicas have received events again, after the backoff of client-go, before the next action compares scores.
				stop()
				recompute(healed)
				stop = f.churn(50)
			}
		}
	}
	stop()
	recompute(settleTimeout)
	stopFigures()
	if err := f.checkInvariants(); err != nil {
		t.Error(err) // it is blind
	}
	for _, r := range f.slots {
		diverged += f.diverged(r)
	}
	if diverged > 0 {
		t.Errorf("audits found %v differences", diverged)
	}
	slope, files, routines := figures.slope(), figures.growth(func(g figure) float64 { return g.files }), figures.growth(func(g figure) float64 { return g.goroutines })
	o.trials = 1
	f.notef("%s: %d recomputes equal, %d kills, %d restarts of the API server, %d edits of the policy, %.0f differences found by audits; heap %+.2f MiB/h, open files %+.0f, goroutines %+.0f over the life of a process",
		time.Since(began).Round(time.Second), o.recomputed, kills, restarts, edits, diverged, slope, files, routines)
	// In a shorter run the noise of the garbage collector exceeds the limit.
	if *soakFlag >= time.Hour && slope > 1 {
		t.Errorf("the heap grows by %.2f MiB/h", slope)
	}
	if files > 10 || routines > 10 {
		t.Errorf("open files %+.0f, goroutines %+.0f: not constant", files, routines)
	}
}

// diverged returns the number of differences that the audits of a replica found.
func (f *fixture) diverged(r *replica) (sum float64) {
	f.Helper()
	for _, part := range []string{"cache", "state"} {
		n, err := r.value("kube_devops_state_divergence_total", "part", part)
		if err != nil {
			f.Fatal(err)
		}
		sum += n
	}
	return sum
}

// A figure has the metrics of a process at one time.
type figure struct {
	age                     float64 // hours
	heap, files, goroutines float64 // heap in MiB
}

// figures has the metrics of all processes, each from half a minute after its start.
type figures struct{ of map[*replica][]figure }

func (g *figures) follow(f *fixture) (stop func()) {
	ctx, cancel := context.WithCancel(f.Context())
	done := make(chan struct{})
	born := map[*replica]time.Time{}
	go func() {
		defer close(done)
		ticker := time.NewTicker(2 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			for _, r := range f.live() {
				metrics, err := r.Metrics()
				if err != nil {
					continue
				}
				if born[r].IsZero() {
					born[r] = time.Now()
				}
				age := time.Since(born[r])
				if age < 30*time.Second {
					continue
				}
				heap, err := r.Heap() // without garbage, which can exceed the growth that the test looks for
				if err != nil {
					continue
				}
				files, _ := metrics.Value("process_open_fds")
				routines, _ := metrics.Value("go_goroutines")
				g.of[r] = append(g.of[r], figure{age.Hours(), float64(heap) / (1 << 20), files, routines})
			}
		}
	}()
	return func() { cancel(); <-done }
}

// warm is the age at which the caches of a process are full. Until then its heap grows.
const warm = 2 * time.Minute

// slope returns the growth of the heap in MiB per hour: a least-squares fit over all warm processes with one offset for each.
func (g *figures) slope() float64 {
	var xy, xx float64
	for _, of := range g.of {
		of = slices.DeleteFunc(slices.Clone(of), func(f figure) bool { return f.age < warm.Hours() })
		var x, y float64
		for _, p := range of {
			x, y = x+p.age/float64(len(of)), y+p.heap/float64(len(of))
		}
		for _, p := range of {
			xy, xx = xy+(p.age-x)*(p.heap-y), xx+(p.age-x)*(p.age-x)
		}
	}
	if xx == 0 {
		return 0
	}
	return xy / xx
}

// growth returns the largest growth of a metric over the life of a process, from its first to its last quarter.
func (g *figures) growth(of func(figure) float64) float64 {
	var most float64
	for _, all := range g.of {
		if quarter := len(all) / 4; quarter > 0 {
			var first, last float64
			for i := range quarter {
				first, last = first+of(all[i])/float64(quarter), last+of(all[len(all)-1-i])/float64(quarter)
			}
			most = max(most, last-first)
		}
	}
	return most
}
