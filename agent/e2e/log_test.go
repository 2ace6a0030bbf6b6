package e2e_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// TestLogNobodyReads stops reading the log of a leader until it has far more lines than a pipe can buffer. The leader continues to score
// and keeps its Lease. When the log is read again, no line is missing. An unread log does not delay the exit.
func TestLogNobodyReads(t *testing.T) {
	const leaseDuration = 6 * time.Second // of quickLease
	namespace := newNamespace(t, "e2e-log")
	options := options(t, "held", liveArgs(quickLease...))
	options.Pipe = true
	agent := startWith(t, options)
	namespaces := []string{namespace}
	waitScores(t, "before any pod", agent, leadTimeout, namespaces, listed(t))
	epoch := func() float64 {
		metrics, err := agent.Metrics()
		if err != nil {
			t.Fatal(err)
		}
		n, _ := metrics.Value("kube_devops_lease_epoch")
		return n
	}
	before := epoch()

	release := agent.Hold()
	defer release()
	held := time.Now()
	var pods []*corev1.Pod
	// A pod logs at most 6 events a minute, so that it takes many pods to fill a pipe: 5 of each now, and one more below.
	for i := range 450 {
		pods = append(pods, cluster.NewPod(namespace, fmt.Sprintf("web-%d", i), cluster.Bad))
	}
	if err := env.CreatePods(t.Context(), pods...); err != nil {
		t.Fatal(err)
	}
	// Each change is a line of some 180 bytes, unless the next one overtakes it.
	flip := func() {
		for range 2 {
			for _, image := range []string{"nginx:1.29", "nginx:latest"} {
				for _, pod := range pods {
					if err := env.SetImage(t.Context(), namespace, pod.Name, image); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	flip()
	waitScores(t, "while the log is not read", agent, seeTimeout, namespaces, listed(t))
	waitFor(t, "a renewal a whole lease later", 2*leaseDuration, func() error {
		lease, err := env.Admin.CoordinationV1().Leases(metav1.NamespaceDefault).Get(t.Context(), env.installation.LeaseName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if renewed := lease.Spec.RenewTime.Sub(held); renewed < leaseDuration {
			return fmt.Errorf("last renewed %s after the log was held", renewed)
		}
		return nil
	})
	if now := epoch(); now != before {
		t.Errorf("epoch %v of the Lease before, and %v after the log was held", before, now)
	}
	waitScores(t, "a lease later", agent, seeTimeout, namespaces, listed(t))
	said := len(agent.Stderr())
	release()
	for _, pod := range pods {
		waitFor(t, "log of "+pod.Name, seeTimeout, func() error {
			events, err := agent.Events(namespace, pod.Name)
			if err != nil {
				return err
			}
			all := violation("latest_tag", "missing_liveness", "missing_readiness")
			if len(events) == 0 || !cmp.Equal(all, events[0]) || !cmp.Equal(all, events[len(events)-1]) {
				return fmt.Errorf("%d events, not from %v to %v: %v", len(events), all, all, events)
			}
			for i := range events[1:] {
				if cmp.Equal(events[i], events[i+1]) {
					return fmt.Errorf("logged twice: %v", events[i])
				}
			}
			return nil
		})
	}
	const pipe = 64 << 10
	if more := len(agent.Stderr()) - said; more < 2*pipe {
		t.Errorf("%d bytes were held: a pipe takes them, so that nothing is shown", more)
	}

	defer agent.Hold()()
	flip()
	waitScores(t, "while the log is not read again", agent, seeTimeout, namespaces, listed(t))
	stopAgent(t, agent, syscall.SIGTERM, 0)
}
