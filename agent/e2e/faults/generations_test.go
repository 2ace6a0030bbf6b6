package faults_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

// generations is how many policies there are beside the default one.
const generations = 8

// weightsOf are those of a generation.
func weightsOf(n int) oracle.Weights {
	return oracle.Weights{"latest_tag": 6 + n, "missing_liveness": 4 + 2*n, "missing_readiness": 3 + 3*n}
}

// generation is the default policy under another name, with checks of other names and weights.
func generation(policy string, n int) string {
	of, replaced := weightsOf(n), []string{"name: default", fmt.Sprint("name: generation-", n)}
	for check, weight := range oracle.Default {
		replaced = append(replaced, "id: "+check, fmt.Sprint("id: ", check, n), fmt.Sprint("weight: ", weight), fmt.Sprint("weight: ", of[check]))
	}
	return strings.NewReplacer(replaced...).Replace(policy)
}

// policyOf is a generation, or for -1 the default policy.
func policyOf(policy string, n int) string {
	if n < 0 {
		return policy
	}
	return generation(policy, n)
}

// hasGeneration waits until both replicas tell a generation, and the leader its scores of the pods that there are. Nothing must
// change any more.
func (f *fixture) hasGeneration(want int, within time.Duration) {
	f.Helper()
	f.wait(fmt.Sprintf("both tell generation %d, and its scores", want), within, func() error {
		list, err := f.ListPods(f.Context())
		if err != nil {
			return err
		}
		for _, r := range f.slots {
			metrics, err := r.Metrics()
			if err != nil {
				return err
			}
			got, err := f.generationOf(metrics, list)
			if err == nil && got != want {
				err = fmt.Errorf("%s tells generation %d", r.Name(), got)
			}
			if err != nil {
				return err
			}
		}
		if !slices.ContainsFunc(f.slots[:], (*replica).leads) {
			return errors.New("nobody publishes")
		}
		return nil
	})
}

// generationOf returns the generation that a scrape tells of, -1 for the default policy, and checks that its checks and scores
// are of no other. It may have none, on a standby.
func (f *fixture) generationOf(metrics blackbox.Metrics, list []byte) (int, error) {
	n := -1
	told := metrics["kube_devops_policy_info"].GetMetric()
	if len(told) != 1 {
		return n, fmt.Errorf("%d policies are told", len(told))
	}
	for _, label := range told[0].GetLabel() {
		if label.GetName() == "name" {
			_, _ = fmt.Sscanf(label.GetValue(), "generation-%d", &n)
		}
	}
	if len(metrics.Published()) == 0 {
		return n, nil
	}
	weights, suffix := oracle.Default, ""
	if n >= 0 {
		weights, suffix = weightsOf(n), fmt.Sprint(n)
	}
	want, err := weights.FromList(list)
	if err != nil {
		return n, err
	}
	for name, namespace := range want.Namespaces {
		named := map[string]int{}
		for check, count := range namespace.Violations {
			named[check+suffix] = count
		}
		namespace.Violations = named
		want.Namespaces[name] = namespace
	}
	own := func(name string) bool { return slices.Contains(f.namespaces, name) }
	if diff := cmp.Diff(want.Only(own), metrics.Scores().Only(own), cmpopts.EquateApprox(1e-12, 1e-12)); diff != "" {
		return n, fmt.Errorf("generation %d is told, and these are not its scores (-want +got):\n%s", n, diff)
	}
	return n, nil
}

// swapAtHandover ends a leader, and changes the policy a moment before or after. No scrape of either replica may have scores
// of another policy than it tells.
func (f *fixture) swapAtHandover(signal syscall.Signal, within time.Duration) {
	f.Helper()
	good := f.defaultPolicy()
	first := rand.IntN(generations)
	f.mountPolicy(generation(good, first))
	f.pair()
	list, err := f.ListPods(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	inForce := func(r *replica, n int) error {
		metrics, err := r.Metrics()
		if err != nil {
			return err
		}
		got, err := f.generationOf(metrics, list)
		if err == nil && got != n {
			err = fmt.Errorf("%s has generation %d, want %d", r.Name(), got, n)
		}
		return err
	}
	for _, r := range f.slots {
		f.wait("the first generation", 5*time.Second, func() error { return inForce(r, first) })
	}
	leader, standby := f.leader(), f.standby()
	next := (first + 1 + rand.IntN(generations-1)) % generations
	offset := rand.N(6*time.Second) - 3*time.Second
	signalAt := time.Now().Add(3100 * time.Millisecond)
	swapAt, signalled, swapped := signalAt.Add(offset), false, false
	seen := map[int]int{}
	for ends := signalAt.Add(within + 5*time.Second); time.Now().Before(ends); {
		if !swapped && time.Now().After(swapAt) {
			f.mountPolicy(generation(good, next))
			swapped = true
		}
		if !signalled && time.Now().After(signalAt) {
			leader.expected, signalled = true, true
			leader.Signal(signal)
			signalAt = time.Now()
		}
		for _, r := range f.slots {
			metrics, err := r.Metrics()
			if err != nil {
				continue // it has ended
			}
			n, err := f.generationOf(metrics, list)
			if err != nil {
				f.Fatalf("%s, swap %s after the signal: %v", r.Name(), offset, err)
			}
			seen[n]++
		}
		if swapped && signalled && !standby.term().IsZero() && inForce(standby, next) == nil {
			break
		}
		f.pause(10 * time.Millisecond)
	}
	f.publishes(signalAt, within, standby)
	if err := inForce(standby, next); err != nil {
		f.Error(err)
	}
	f.Logf("swap %s after the signal, scrapes by generation %v", offset, seen)
	if signal == syscall.SIGTERM {
		f.exited(leader, 0, stopTimeout)
	}
	f.mountPolicy(good)
	f.wait("the first policy is in force again", 5*time.Second, f.differs)
}

// oneGeneration scrapes who publishes, and returns the generation that all its series are of.
func (f *fixture) oneGeneration(list []byte) int {
	f.Helper()
	metrics, err := f.leader().Metrics()
	if err != nil {
		f.Fatal(err)
	}
	n, err := f.generationOf(metrics, list)
	if err != nil {
		f.Fatal(err)
	}
	return n
}
