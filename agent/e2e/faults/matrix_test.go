package faults_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A row is one fault of the matrix.
type row struct {
	number  int
	variant string // "a", "b", ... if several rows have the same number
	name    string
	demand  string // the requirement, for the table
	quick   int    // trials on every merge; 0: only in a full run
	trials  int    // trials in a full run
	args    []string
	median  time.Duration // bound of the median time to recover, with a Lease of 15 s; 0: none

	ownControlPlane bool          // it has its own control plane, which it may stop
	noProxy         bool          // the agents connect to the API server without a proxy
	ownAgents       bool          // each trial starts its own agents
	exclusive       bool          // it needs the whole machine, so that no other row runs at the same time
	noChurn         bool          // only the row itself changes pods
	expectGaps      bool          // it keeps a replica from answering, so that the oracle has gaps
	standalone      bool          // it does not use the two replicas, and starts its own processes
	allowedDouble   time.Duration // documented double publish

	trial  func(f *fixture) // nil: it runs separately, or not at all
	cannot string           // the reason if it cannot run
}

func (r *row) key() string { return fmt.Sprintf("%d%s", r.number, r.variant) }

// wanted reports whether the flags select the row, and the number of trials.
func (r *row) wanted() (int, bool) {
	if r.trial == nil {
		return 0, false
	}
	switch *rowsFlag {
	case "quick":
		return r.quick, r.quick > 0
	case "all":
	default:
		names := strings.Split(*rowsFlag, ",")
		if !slices.Contains(names, fmt.Sprint(r.number)) && !slices.Contains(names, r.key()) {
			return 0, false
		}
	}
	if *leaseFlag == "quick" && r.quick > 0 {
		return r.quick, true
	}
	return max(1, r.trials), true
}

// TestFaults runs the matrix and prints it.
func TestFaults(t *testing.T) {
	t.Cleanup(func() {
		t.Logf("the fault matrix, with a Lease of %s:\n%s", leases[*leaseFlag].duration, table(""))
		if *writeFlag {
			if err := writePage(); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range matrix {
		r := &matrix[i]
		if trials, wanted := r.wanted(); wanted {
			t.Run(strings.ReplaceAll(r.key()+" "+r.name, "/", " or "), func(t *testing.T) {
				if !r.exclusive {
					t.Parallel()
				}
				r.run(t, trials)
			})
		}
	}
}

func (r *row) run(t *testing.T, trials int) {
	o := &outcome{}
	t.Cleanup(func() {
		o.failed = t.Failed()
		if t.Skipped() && o.skipped == "" {
			o.skipped = "skipped"
		}
		results.Lock()
		results.of[r.key()] = o
		results.Unlock()
		t.Log(r.line(o))
	})
	e := shared
	if r.ownControlPlane {
		var err error
		if e, err = newEnvironment(t.Context(), "row-"+r.key()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
	}
	const attempts = 3
	var f *fixture
	for attempt := 1; ; attempt++ {
		f = newFixture(t, e, r, o)
		for range trials {
			f.try()
			if t.Failed() {
				break
			}
		}
		inconclusive := f.checkInvariants()
		if inconclusive == nil {
			break
		}
		if t.Failed() || attempt == attempts {
			t.Error(inconclusive)
			break
		}
		t.Logf("repeating the row: %v", inconclusive)
		f.close()
		o = &outcome{}
	}
	// The median of a few trials is not meaningful.
	if median := o.median(); r.median > 0 && o.trials >= 5 && median > f.lease.of(r.median) {
		t.Errorf("recovered in %s in the median, bound %s", median, f.lease.of(r.median))
	}
}

// try runs one trial while pods change, then stops the changes and compares the scores with a recompute.
func (f *fixture) try() {
	if f.row.standalone {
		f.row.trial(f)
		f.outcome.trials++
		return
	}
	if !f.row.ownAgents {
		f.pair()
	}
	stop := func() {}
	if !f.row.noChurn {
		stop = f.churn(2)
		defer stop()
	}
	f.row.trial(f)
	stop()
	settled := time.Now()
	f.outcome.trials++
	f.pair()
	f.outcome.recomputed++
	// The time limit of a new leader starts with its term.
	if term := f.leader().term(); term.After(settled) {
		settled = term
	}
	f.settledSince(settled, settleTimeout)
}
