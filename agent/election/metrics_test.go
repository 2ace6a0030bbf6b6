package election

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	coordinationv1 "k8s.io/api/coordination/v1"
)

// Each scrape shows the current state of the gate.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		reg := prometheus.NewRegistry()
		scrape := func(when string, leader, valid, epoch string) {
			t.Helper()
			want := "# HELP kube_devops_gate_valid_seconds Seconds for which this replica may publish without another renewal of the Lease; 0 while it may not publish.\n" +
				"# TYPE kube_devops_gate_valid_seconds gauge\nkube_devops_gate_valid_seconds " + valid + "\n" +
				"# HELP kube_devops_leader 1 while this replica may publish, else 0.\n" +
				"# TYPE kube_devops_leader gauge\nkube_devops_leader " + leader + "\n"
			if epoch != "" {
				want += "# HELP kube_devops_lease_epoch Number of times that the Lease has changed hands, as last read. Absent until the Lease was read and while it does not exist.\n" +
					"# TYPE kube_devops_lease_epoch gauge\nkube_devops_lease_epoch " + epoch + "\n"
			}
			if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		a := c.start("a", func(o *Options) { o.Registerer = reg })
		scrape("before the Lease was read", "0", "0", "")
		<-time.After(10 * time.Second)
		scrape("before the term may publish", "0", "0", "0")
		<-time.After(10 * time.Second)
		a.client.set(func(f *faults) { f.refused = true })
		a.sleepAfterRenewal(5 * time.Second)
		scrape("leader, 5 s after the last renewal", "1", "8", "0")
		a.clock.set(func(c *skewedClock) { c.step = time.Minute })
		scrape("at the moment at which the wall clock jumps", "0", "0", "0")
		a.client.heal()
		<-time.After(5 * time.Second)
		c.store.Edit(func(lease *coordinationv1.Lease) { lease.Spec.LeaseTransitions = new(int32(41)) })
		<-time.After(5 * time.Second)
		scrape("after an edit of the epoch", "0", "0", "41")

		problems, err := testutil.GatherAndLint(reg)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}

// A page that began before the stop has scores, so its metrics show that the replica leads.
func TestMetricsWhileStopping(t *testing.T) {
	clock := newHandClock()
	gate := newGate(15*time.Second, 2*time.Second, clock.read)
	reg := prometheus.NewRegistry()
	if err := registerMetrics(reg, gate, new(leaseLock)); err != nil {
		t.Fatal(err)
	}
	leads := func(when, want string) {
		t.Helper()
		text := "# HELP kube_devops_leader 1 while this replica may publish, else 0.\n" +
			"# TYPE kube_devops_leader gauge\nkube_devops_leader " + want + "\n"
		if err := testutil.GatherAndCompare(reg, strings.NewReader(text), "kube_devops_leader"); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	gate.renewed(clock.read(), 0, 1)
	gate.admit(gate.state().term)
	leads("in the term", "1")
	_, done, _ := gate.begin(t.Context())
	gate.stopAdmitting()
	leads("while the last page is written", "1")
	done()
	leads("afterwards", "0")

	_, done, _ = gate.begin(t.Context())
	if done != nil {
		t.Fatal("a gate that is shut lets a page begin")
	}
}
