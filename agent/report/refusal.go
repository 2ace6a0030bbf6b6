package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// An Admission is a scan as the API server would evaluate the input, for one action.
type Admission struct {
	Action rules.Enforce
	Scan   *Scan
}

// When is the event at which the API server evaluates an existing violation of an object. Updates are not among them, because an update is
// refused only for violations that the object did not have before.
type When string

// The values of When, earliest first.
const (
	// AtRestart is the creation of the next pod. It applies to pods that something other than a built-in controller creates, such as an
	// operator, because the API server does not evaluate the templates of custom resources.
	AtRestart When = "restart"
	// AtRollOut is the creation of the next ReplicaSet. It applies to ReplicaSets that something other than a Deployment creates, such as a
	// controller for canary releases.
	AtRollOut When = "rollout"
	// AtCreate is the creation of the object, for example after a deletion or in another cluster. Its pods can restart.
	AtCreate When = "create"
)

var moments = []When{AtRestart, AtRollOut, AtCreate}

// builtIn has the kinds whose pods built-in controllers create. Admission does not refuse these pods, because it evaluates their template.
var builtIn = []string{"CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"}

// IsExempt reports whether a built-in controller creates the pods of workloads of this kind.
func IsExempt(kind string) bool { return slices.Contains(builtIn, kind) }

// A Refusal is a finding for which the API server would take an action.
type Refusal struct {
	Finding
	Action rules.Enforce
	When   When
}

// Refusals returns the findings that the API server would refuse, warn about and audit, in this order, and for each action in the order of
// When. It omits findings of the baseline, because an update of an object that has them is not refused. b may be nil.
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

// isJudgedAgain reports whether the next created object has the subject. It does not have ephemeral containers. Static pods are not evaluated,
// because they run even if the API server refuses their mirror pods.
func (f *Finding) isJudgedAgain() bool {
	return f.isApplied() || f.Workload.Kind != "Node" && !strings.HasPrefix(f.Path, "spec.ephemeralContainers.")
}

// isApplied reports whether the finding is in a manifest, not in an object from a cluster.
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

// A RefusedWorkload is a workload with the checks that refuse it.
type RefusedWorkload struct {
	Name   string // includes the namespace and the file
	Checks []string
}

// RefusedWorkloads returns the workloads that the API server would refuse, in the order of the refusals.
func RefusedWorkloads(refusals []Refusal) []RefusedWorkload {
	return byWorkload(slices.DeleteFunc(slices.Clone(refusals), func(r Refusal) bool { return r.Action != rules.Deny }))
}

func byWorkload(refusals []Refusal) []RefusedWorkload {
	type key struct {
		namespace string
		workloadKey
	}
	at := make(map[key]int)
	var workloads []RefusedWorkload
	for i := range refusals {
		r := &refusals[i]
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

// StaticPods returns the number of static pods for which the API server would take an action. The kubelet runs them nevertheless.
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
