package state_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func defaultTable(t testing.TB) *rules.Table {
	t.Helper()
	table, err := policies.Open(policies.Default)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// -- pods

// A container is what the default table looks at.
type container struct{ latest, noLiveness, noReadiness bool }

// podJSON is a pod of the containers; they are named c0, c1 and so on.
func podJSON(containers ...container) []byte {
	var parts []string
	for i, c := range containers {
		part := fmt.Sprintf(`{"name":"c%d","image":"nginx:%s"`, i, map[bool]string{true: "latest", false: "1.27"}[c.latest])
		if !c.noLiveness {
			part += `,"livenessProbe":{}`
		}
		if !c.noReadiness {
			part += `,"readinessProbe":{}`
		}
		parts = append(parts, part+"}")
	}
	return []byte(`{"spec":{"containers":[` + strings.Join(parts, ",") + `]}}`)
}

// truncated is the JSON of a pod that has no verdict.
var truncated = []byte(`{"spec":{"containers":[{"image":"nginx:latest"}`)

const truncatedError = "unexpected end of JSON at byte 47"

// -- the model

// A model is a second, slow opinion about the state: it keeps nothing but the pods, and computes all from scratch.
type model map[podKey]modelPod

type podKey struct{ namespace, name string }

type modelPod struct {
	uid  string
	json string
}

var weights = []int{5, 3, 2}

// violations decodes a pod and applies the three checks of the default table, as DESIGN has them. It is false for a pod
// that cannot be decoded.
func (p modelPod) violations() (violations []rules.Violation, containers int, ok bool) {
	var pod struct {
		Spec struct {
			Containers []struct {
				Name, Image                   string
				LivenessProbe, ReadinessProbe any
			}
		}
	}
	if json.Unmarshal([]byte(p.json), &pod) != nil {
		return nil, 0, false
	}
	for check := range weights {
		for i, c := range pod.Spec.Containers {
			fails := []bool{strings.HasSuffix(c.Image, ":latest"), c.LivenessProbe == nil, c.ReadinessProbe == nil}[check]
			if fails {
				violations = append(violations, rules.Violation{Check: check, Path: fmt.Sprintf("spec.containers.%d", i), Name: c.Name})
			}
		}
	}
	return violations, len(pod.Spec.Containers), true
}

// failed lists the checks that a pod fails.
func (p modelPod) failed() []int {
	violations, _, _ := p.violations()
	var checks []int
	for _, v := range violations {
		if !slices.Contains(checks, v.Check) {
			checks = append(checks, v.Check)
		}
	}
	return checks
}

// keys are those of the pods, sorted.
func (m model) keys() []podKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b podKey) int {
		return slices.Compare([]string{a.namespace, a.name}, []string{b.namespace, b.name})
	})
}

// snapshot computes the state from scratch.
func (m model) snapshot(table *rules.Table) *state.Snapshot {
	snap := &state.Snapshot{Table: table, Namespaces: []state.NamespaceSnapshot{}, Violations: []state.PodViolation{}}
	for _, key := range m.keys() {
		if n := len(snap.Namespaces); n == 0 || snap.Namespaces[n-1].Name != key.namespace {
			snap.Namespaces = append(snap.Namespaces, state.NamespaceSnapshot{Name: key.namespace, LiveMetrics: state.LiveMetrics{Violations: make([]int, 3), Subjects: make([]int, 3)}})
		}
		ns := &snap.Namespaces[len(snap.Namespaces)-1]
		violations, containers, ok := m[key].violations()
		if !ok {
			ns.Unevaluated++
			continue
		}
		ns.TotalPods++
		for check := range weights {
			ns.Subjects[check] += containers
		}
		for _, v := range violations {
			ns.Violations[v.Check]++
			snap.Violations = append(snap.Violations, state.PodViolation{Pod: state.Pod{Namespace: key.namespace, Name: key.name, UID: m[key].uid}, Violation: v})
		}
	}
	return snap
}

// scores computes the score and the compliance of a namespace as fractions; nil where there is no data.
func scores(metrics state.LiveMetrics) (score, compliance *big.Rat) {
	if metrics.TotalPods == 0 {
		return nil, nil
	}
	raw, possible := int64(0), int64(0)
	for check, weight := range weights {
		raw += int64(metrics.Violations[check] * weight)
		possible += int64(metrics.Subjects[check] * weight)
	}
	compliance = big.NewRat(100, 1)
	if possible > 0 {
		compliance.Sub(compliance, new(big.Rat).Mul(compliance, big.NewRat(raw, possible)))
	}
	return big.NewRat(raw, int64(metrics.TotalPods)), compliance
}

// mean is the mean of the fractions; nil where there are none.
func mean(of []*big.Rat) *big.Rat {
	if len(of) == 0 {
		return nil
	}
	sum := new(big.Rat)
	for _, r := range of {
		sum.Add(sum, r)
	}
	return sum.Quo(sum, big.NewRat(int64(len(of)), 1))
}
