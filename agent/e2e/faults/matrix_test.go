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
	variant string // of several rows of one number: "a", "b"
	name    string
	demand  string // what must come out, for the table
	quick   int    // trials on every merge; 0: the row is for the night
	trials  int    // trials in a full run
	args    []string
	median  time.Duration // bound of the median time to recover, with a Lease of 15 s; 0: none

	alone  bool          // it has a control plane of its own, which it may stop
	direct bool          // no proxy: the agents meet the real end of the API server
	fresh  bool          // each trial starts its own agents
	heavy  bool          // it takes so much of the machine that no other row runs beside it
	still  bool          // no pod changes but those of the row
	blind  bool          // it keeps a replica from answering, so that the oracle cannot look all the time
	bare   bool          // it is no matter of two replicas: it starts what it needs
	stated time.Duration // a double publish that RELIABILITY states, and does not hide

	trial  func(f *fixture) // nil: it has a run of its own, or none
	cannot string           // why it does not run here
}

func (r *row) key() string { return fmt.Sprintf("%d%s", r.number, r.variant) }

// wanted tells whether the flags ask for the row, and how many trials.
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
				if !r.heavy {
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
			o.skipped = "it was skipped"
		}
		results.Lock()
		results.of[r.key()] = o
		results.Unlock()
		t.Log(r.line(o))
	})
	e := shared
	if r.alone {
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
		unshown := f.judge()
		if unshown == nil {
			break
		}
		if t.Failed() || attempt == attempts {
			t.Error(unshown)
			break
		}
		t.Logf("all over again: %v", unshown)
		f.close()
		o = &outcome{}
	}
	// Of a few trials the median is a matter of chance.
	if median := o.median(); r.median > 0 && o.trials >= 5 && median > f.lease.of(r.median) {
		t.Errorf("recovered in %s in the median, bound %s", median, f.lease.of(r.median))
	}
}

// try runs one trial, while pods change, and compares the scores with a recompute once they do not.
func (f *fixture) try() {
	if f.row.bare {
		f.row.trial(f)
		f.outcome.trials++
		return
	}
	if !f.row.fresh {
		f.pair()
	}
	stop := func() {}
	if !f.row.still {
		stop = f.churn(2)
		defer stop()
	}
	f.row.trial(f)
	stop()
	settled := time.Now()
	f.outcome.trials++
	f.pair()
	f.outcome.recomputed++
	// Who has begun to publish since then has had no time before.
	if term := f.leader().term(); term.After(settled) {
		settled = term
	}
	f.settledSince(settled, quiet)
}
