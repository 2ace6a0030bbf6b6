package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// An Admission is a scan by what the API server would judge, for one action.
type Admission struct {
	Action rules.Enforce
	Scan   *Scan
}

// When says when the API server judges a violation that an object has now. An update of the object does not count: it is refused only for
// violations that the object did not have before.
type When string

// The moments, the earliest first.
const (
	// AtRestart: when the next pod is created. Something creates the pods that is not a controller of Kubernetes, such as an operator: the
	// API server does not know the templates of other kinds.
	AtRestart When = "restart"
	// AtRollOut: when the next ReplicaSet is created. Something creates it that is not a Deployment, such as a controller of canary releases.
	AtRollOut When = "rollout"
	// AtCreate: when the object is created again, as after a deletion, or in another cluster. Its pods may restart.
	AtCreate When = "create"
)

var moments = []When{AtRestart, AtRollOut, AtCreate}

// builtIn are the kinds whose pods the controllers of Kubernetes create, which admission does not refuse: their template was judged.
var builtIn = []string{"CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"}

// IsExempt reports whether a pod of a workload of this kind is created by a controller of Kubernetes.
func IsExempt(kind string) bool { return slices.Contains(builtIn, kind) }

// A Refusal is a finding about which the API server would do something.
type Refusal struct {
	Finding
	Action rules.Enforce
	When   When
}

// Refusals lists what the API server would refuse, warn about and audit, in this order; those that come first in each. It leaves out
// what is in the baseline, unless that is nil: it is there already, so that an update is not refused.
func (s *Scan) Refusals(b *Baseline) []Refusal {
	var refusals []Refusal
	for _, a := range s.Admission {
		var known *BaselineDiff
		if b != nil {
			known = b.Compare(a.Scan)
		}
		for _, found := range a.Scan.findings(known) {
			for i := range found {
				f := &found[i]
				if f.Waiver == nil && (b == nil || f.New) && f.isJudgedAgain() {
					f.Enforce = a.Action
					refusals = append(refusals, Refusal{*f, a.Action, f.when()})
				}
			}
		}
	}
	slices.SortStableFunc(refusals, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(slices.Index(rules.Enforcements(), a.Action), slices.Index(rules.Enforcements(), b.Action)),
			cmp.Compare(slices.Index(moments, a.When), slices.Index(moments, b.When)))
	})
	return refusals
}

// isJudgedAgain reports whether the subject is in the object that is created next. Ephemeral containers are not, and static pods run
// whatever the API server says of their mirror pods.
func (f *Finding) isJudgedAgain() bool {
	return f.isApplied() || f.Workload.Kind != "Node" && !strings.HasPrefix(f.Path, "spec.ephemeralContainers.")
}

// isApplied reports whether the finding is in a manifest, and not in an object that was read from a cluster.
func (f *Finding) isApplied() bool { return f.isManifest() && !f.stored }

func (f *Finding) when() When {
	switch kind := f.Workload.Kind; {
	case f.isApplied() && (!f.template || IsExempt(kind)), kind == "Pod", IsExempt(kind) && kind != "ReplicaSet":
		return AtCreate
	case kind == "ReplicaSet", kind == "Rollout": // a Rollout of Argo creates ReplicaSets
		return AtRollOut
	}
	return AtRestart
}

// Refused counts the workloads that the API server would refuse.
func Refused(refusals []Refusal) (workloads int) {
	return workloadsIn(slices.DeleteFunc(slices.Clone(refusals), func(r Refusal) bool { return r.Action != rules.Deny }))
}

func workloadsIn(refusals []Refusal) int {
	type key struct {
		namespace string
		workloadKey
	}
	workloads := make(map[key]bool)
	for i := range refusals {
		workloads[key{refusals[i].Namespace, refusals[i].workloadKey()}] = true
	}
	return len(workloads)
}

// A RefusedWorkload is a workload, and the checks by which it is refused.
type RefusedWorkload struct {
	Name   string // with its namespace, and where it is
	Checks []string
}

// RefusedWorkloads lists the workloads that the API server would refuse, in the order of the refusals.
func RefusedWorkloads(refusals []Refusal) []RefusedWorkload {
	type key struct {
		namespace string
		workloadKey
	}
	at := make(map[key]int)
	var workloads []RefusedWorkload
	for i := range refusals {
		r := &refusals[i]
		if r.Action != rules.Deny {
			continue
		}
		k := key{r.Namespace, r.workloadKey()}
		w, known := at[k]
		if !known {
			w = len(workloads)
			at[k] = w
			text := r.Namespace + "/" + r.Workload.String()
			if r.File != "" {
				text += " in " + r.File
			}
			workloads = append(workloads, RefusedWorkload{Name: text})
		}
		if of := &workloads[w]; !slices.Contains(of.Checks, r.Check.ID) {
			of.Checks = append(of.Checks, r.Check.ID)
		}
	}
	return workloads
}

type refusalJSON struct {
	Action      rules.Enforce  `json:"action"`
	When        When           `json:"when"`
	Namespace   string         `json:"namespace"`
	Workload    string         `json:"workload"`
	Check       string         `json:"check"`
	Severity    rules.Severity `json:"severity"`
	Container   string         `json:"container,omitempty"`
	Subject     string         `json:"subject,omitempty"`
	Path        string         `json:"path,omitempty"`
	Message     string         `json:"message"`
	Remediation string         `json:"remediation,omitempty"`
	Violations  int            `json:"violations"`
	Unknown     bool           `json:"unknown,omitempty"`
	File        string         `json:"file,omitempty"`
	Line        int            `json:"line,omitempty"`
}

func (r *Refusal) json() refusalJSON {
	return refusalJSON{
		r.Action, r.When, r.Namespace, r.Workload.String(), r.Check.ID, r.Check.Severity, r.Container, r.Subject, r.Path, r.message(),
		r.Check.Remediation, r.Violations, r.Unknown, r.File, r.Line,
	}
}

// StaticPods counts the static pods about which the API server would do something. The kubelet runs them nevertheless.
func (s *Scan) StaticPods() int {
	pods := make(map[state.Pod]bool)
	for _, a := range s.Admission {
		for v := range a.Scan.Snapshot.Violations() {
			if origin := originOf(v); origin.Workload.Kind == "Node" && (origin.Stored || origin.File == "" && origin.Document == 0) {
				pods[v.Pod] = true
			}
		}
	}
	return len(pods)
}
