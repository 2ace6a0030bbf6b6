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

// generations is the number of policies in addition to the default one.
const generations = 8

// weightsOf returns the weights of a generation.
func weightsOf(n int) oracle.Weights {
	return oracle.Weights{"latest_tag": 6 + n, "missing_liveness": 4 + 2*n, "missing_readiness": 3 + 3*n}
}

// generation returns a variant of the default policy with another name, and other check names and weights.
func generation(policy string, n int) string {
	of, replaced := weightsOf(n), []string{"name: default", fmt.Sprint("name: generation-", n)}
	for check, weight := range oracle.Default {
		replaced = append(replaced, "id: "+check, fmt.Sprint("id: ", check, n), fmt.Sprint("weight: ", weight), fmt.Sprint("weight: ", of[check]))
	}
	return strings.NewReplacer(replaced...).Replace(policy)
}

// policyOf returns a generation, or the default policy for -1.
func policyOf(policy string, n int) string {
	if n < 0 {
		return policy
	}
	return generation(policy, n)
}

// hasGeneration waits until both replicas export a generation, and the leader the scores of the pods under it. Pods must not change.
func (f *fixture) hasGeneration(want int, within time.Duration) {
	f.Helper()
	f.wait(fmt.Sprintf("both replicas export generation %d, and its scores", want), within, func() error {
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
				err = fmt.Errorf("%s exports generation %d", r.Name(), got)
			}
			if err != nil {
				return err
			}
		}
		if !slices.ContainsFunc(f.slots[:], (*replica).leads) {
			return errors.New("no replica publishes")
		}
		return nil
	})
}

// generationOf returns the generation of a scrape, -1 for the default policy, and checks that checks and scores match it. A standby
// has no scores.
func (f *fixture) generationOf(metrics blackbox.Metrics, list []byte) (int, error) {
	n := -1
	infos := metrics["kube_devops_policy_info"].GetMetric()
	if len(infos) != 1 {
		return n, fmt.Errorf("%d policies are exported", len(infos))
	}
	for _, label := range infos[0].GetLabel() {
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
		return n, fmt.Errorf("generation %d is exported, but the scores differ (-want +got):\n%s", n, diff)
	}
	return n, nil
}

// swapAtHandover ends a leader and changes the policy shortly before or after. In no scrape may the scores differ from the exported
// policy.
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

// oneGeneration scrapes the leader, and returns the generation of all its series.
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
