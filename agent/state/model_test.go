package state_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

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

// base is a time that lies between the expiries of the waivers of acceptingTable.
var base = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// acceptingTable has the checks of the default table, excludes pods and waives violations. acceptedBy has its waivers for the
// model.
func acceptingTable(t testing.TB) *rules.Table {
	t.Helper()
	table, err := rules.Load("accepting.yaml", []byte(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: accepting}
pods:
  skip:
    - {reason: finished, when: {path: status.phase, operator: in, value: [Succeeded, Failed]}}
    - {reason: terminating, when: {path: metadata.deletionTimestamp, operator: exists}}
checks:
  - {id: latest_tag, weight: 5, severity: critical, forEach: spec.containers, violation: {path: image, operator: hasSuffix, value: ":latest"}}
  - {id: missing_liveness, weight: 3, severity: high, forEach: spec.containers, violation: {path: livenessProbe, operator: absent}}
  - {id: missing_readiness, weight: 2, forEach: spec.containers, violation: {path: readinessProbe, operator: absent}}
grades:
  - {name: Healthy, min: 60, maxSeverity: medium}
  - {name: Stable, min: 50, maxSeverity: high}
  - {name: Degraded, min: 40}
  - {name: Critical, min: 0}
waivers:
  - {id: shops, reason: r, expires: 2030-01-01T00:10:00Z, namespace: "sh*", check: latest_tag}
  - {id: first-container, reason: r, expires: 2030-01-01T00:20:00Z, container: c0, check: [missing_liveness, latest_tag]}
  - {id: team, reason: r, expires: 2030-01-01T00:20:00Z, labels: {team: a}}
  - {id: pod-b, reason: r, expires: 2030-01-01T00:30:00Z, pod: b}
  - {id: long-ago, reason: r, expires: 2029-01-01, pod: c}
`))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// acceptingGrade is the grade of acceptingTable for the model.
func acceptingGrade(compliance float64, violations []int) string {
	switch {
	case compliance >= 60 && violations[0] == 0 && violations[1] == 0:
		return "Healthy"
	case compliance >= 50 && violations[0] == 0:
		return "Stable"
	case compliance >= 40:
		return "Degraded"
	}
	return "Critical"
}

// defaultGrade is that of the default table, which allows violations of every severity.
func defaultGrade(compliance float64, _ []int) string {
	switch {
	case compliance >= 80:
		return "Healthy"
	case compliance >= 60:
		return "Stable"
	case compliance >= 40:
		return "Degraded"
	}
	return "Critical"
}

// A modelWaiver is a waiver of the model.
type modelWaiver struct {
	id      string
	expires time.Time
	matches func(pod decodedPod, check int, container string) bool
}

var acceptedBy = []modelWaiver{
	{"shops", base.Add(10 * time.Minute), func(p decodedPod, check int, _ string) bool {
		return strings.HasPrefix(p.Metadata.Namespace, "sh") && check == 0
	}},
	{"first-container", base.Add(20 * time.Minute), func(_ decodedPod, check int, container string) bool {
		return container == "c0" && check < 2
	}},
	{"team", base.Add(20 * time.Minute), func(p decodedPod, _ int, _ string) bool { return p.Metadata.Labels["team"] == "a" }},
	{"pod-b", base.Add(30 * time.Minute), func(p decodedPod, _ int, _ string) bool { return p.Metadata.Name == "b" }},
	{"long-ago", base.AddDate(-1, 0, 0), func(p decodedPod, _ int, _ string) bool { return p.Metadata.Name == "c" }},
}

// A container has the fields that the default table checks.
type container struct{ latest, noLiveness, noReadiness bool }

// podJSON is a pod with containers named c0, c1 and so on.
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

// truncated is the JSON of a pod that cannot be evaluated.
var truncated = []byte(`{"spec":{"containers":[{"image":"nginx:latest"}`)

// none are the waived violations of three checks.
var none = []int{0, 0, 0}

const truncatedError = "unexpected end of JSON at byte 47"

// replaceAll is Replace without a context.
func replaceAll(t rapid.TB, s *state.ClusterState, workers int, pods iter.Seq[state.Observation]) []state.Failure {
	t.Helper()
	failures, err := s.Replace(context.Background(), workers, pods)
	if err != nil {
		t.Fatal(err)
	}
	return failures
}

// A model is a slow second implementation of the state: it keeps only the pods, and computes everything from scratch.
type model map[podKey]modelPod

type podKey struct{ namespace, name string }

type modelPod struct {
	uid  string
	json string
}

// A decodedPod has the fields that checks, exclusions and waivers use.
type decodedPod struct {
	Metadata struct {
		Namespace, Name   string
		Labels            map[string]string
		DeletionTimestamp *string
	}
	Spec struct {
		Containers []struct {
			Name, Image                   string
			LivenessProbe, ReadinessProbe any
		}
	}
	Status struct{ Phase string }
}

var weights = []int{5, 3, 2}

// An outcome is the result of a pod under a policy at a time.
type outcome struct {
	unevaluated        bool
	skipped            string
	containers         int
	violations, waived []rules.Violation
}

// A policy is a table for the model: the three checks of the default table, and optional exclusions and waivers.
type policy struct {
	table   *rules.Table
	skips   bool
	waivers []modelWaiver
	grade   func(compliance float64, violations []int) string
}

// of decodes a pod and applies the policy.
func (p policy) of(pod modelPod, now time.Time) outcome {
	var decoded decodedPod
	if json.Unmarshal([]byte(pod.json), &decoded) != nil {
		return outcome{unevaluated: true}
	}
	if p.skips {
		switch {
		case decoded.Status.Phase == "Succeeded" || decoded.Status.Phase == "Failed":
			return outcome{skipped: "finished"}
		case decoded.Metadata.DeletionTimestamp != nil:
			return outcome{skipped: "terminating"}
		}
	}
	o := outcome{containers: len(decoded.Spec.Containers)}
	for check := range weights {
		for i, c := range decoded.Spec.Containers {
			fails := []bool{strings.HasSuffix(c.Image, ":latest"), c.LivenessProbe == nil, c.ReadinessProbe == nil}[check]
			if !fails {
				continue
			}
			v := rules.Violation{Check: check, Path: fmt.Sprintf("spec.containers.%d", i), Container: c.Name}
			var accepted bool
			if v.Waiver, accepted = p.waiver(decoded, v, now); accepted {
				o.waived = append(o.waived, v)
			} else {
				o.violations = append(o.violations, v)
			}
		}
	}
	return o
}

// waiver finds the waiver of a violation that expires last, and returns whether it is active.
func (p policy) waiver(pod decodedPod, v rules.Violation, now time.Time) (last *rules.Waiver, accepted bool) {
	var expires time.Time
	for _, w := range p.waivers {
		if !w.matches(pod, v.Check, v.Container) || last != nil && !w.expires.After(expires) {
			continue
		}
		expires, accepted = w.expires, now.Before(w.expires)
		for _, of := range p.table.Waivers() {
			if of.ID == w.id {
				last = of
			}
		}
	}
	return last, accepted
}

// failed lists the checks that a pod fails.
func (p policy) failed(pod modelPod, now time.Time) []int {
	var checks []int
	for _, v := range p.of(pod, now).violations {
		if !slices.Contains(checks, v.Check) {
			checks = append(checks, v.Check)
		}
	}
	return checks
}

// keys returns the sorted keys of the pods.
func (m model) keys() []podKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b podKey) int {
		return slices.Compare([]string{a.namespace, a.name}, []string{b.namespace, b.name})
	})
}

// pod names the pod without its UID, as snapshots do.
func (k podKey) pod() state.Pod { return state.Pod{Namespace: k.namespace, Name: k.name} }

func (m model) pod(key podKey) state.Pod {
	return state.Pod{Namespace: key.namespace, Name: key.name, UID: m[key].uid}
}

// snapshot computes the state from scratch, under a table without exclusions and waivers.
func (m model) snapshot(table *rules.Table) *view {
	return m.snapshotAt(policy{table: table}, time.Time{})
}

// A view is the comparable content of a snapshot.
type view struct {
	Table              *rules.Table
	Namespaces         []state.NamespaceSnapshot
	Skipped            map[string]int
	Violations, Waived []state.PodViolation
}

func viewOf(s *state.Snapshot) *view {
	return &view{s.Table, s.Namespaces, s.Skipped, slices.Collect(s.Violations()), slices.Collect(s.Waived())}
}

// snapshotAt computes the state from scratch, under a policy at a time.
func (m model) snapshotAt(p policy, now time.Time) *view {
	snap := &view{Table: p.table, Skipped: make(map[string]int)}
	for _, key := range m.keys() {
		o := p.of(m[key], now)
		if o.skipped != "" {
			snap.Skipped[o.skipped]++
			continue
		}
		if n := len(snap.Namespaces); n == 0 || snap.Namespaces[n-1].Name != key.namespace {
			snap.Namespaces = append(snap.Namespaces, state.NamespaceSnapshot{
				Name: key.namespace, LiveMetrics: state.LiveMetrics{Violations: make([]int, 3), Subjects: make([]int, 3), Waived: make([]int, 3)},
			})
		}
		ns := &snap.Namespaces[len(snap.Namespaces)-1]
		if o.unevaluated {
			ns.Unevaluated++
			continue
		}
		ns.TotalPods++
		for check := range weights {
			ns.Subjects[check] += o.containers
		}
		for _, v := range o.violations {
			ns.Violations[v.Check]++
			snap.Violations = append(snap.Violations, state.PodViolation{Pod: key.pod(), Violation: &v})
		}
		for _, v := range o.waived {
			ns.Waived[v.Check]++
			ns.Subjects[v.Check]--
			snap.Waived = append(snap.Waived, state.PodViolation{Pod: key.pod(), Violation: &v})
		}
	}
	return snap
}

// scores computes the score and the compliance of a namespace as fractions; nil for no data.
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

// mean is the mean of fractions; nil for none.
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
