package scan

import (
	"slices"
	"strings"
	"time"

	"github.com/kube-devops/kube-devops/agent/defaults"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// asOf returns copies of the selections whose tables evaluate the annotations of manifests as of now.
func asOf(selections []vap.Selection, now time.Time) []vap.Selection {
	selections = slices.Clone(selections)
	for i := range selections {
		s := &selections[i]
		s.Table, s.PodTable = s.Table.AsOf(now), s.PodTable.AsOf(now)
	}
	return selections
}

// isStored reports whether the object was read from a cluster. The scores treat a single object printed by kubectl as a manifest, but it has
// a UID.
func (p *batchedPod) isStored() bool { return p.Recorded || p.UID != "" }

// judge evaluates a pod for each selection, as the API server would. It reports whether there are violations.
func (b *batch) judge(p *batchedPod, text, reduced []byte, projection *rules.Projection) (violates bool) {
	if len(b.admission) > 0 && !p.isStored() {
		if reduced, p.err = projection.AppendTo(nil, withDefaults(p, text)); p.err != nil {
			return false
		}
	}
	if p.admission = p.admission[:min(len(p.admission), len(b.admission))]; len(p.admission) < len(b.admission) {
		p.admission = make([]judged, len(b.admission))
	}
	for i, selection := range b.admission {
		j := &p.admission[i]
		j.details = nil
		// The API server evaluates the templates of built-in workloads, and a stored pod of such a workload stands for its template. Any other
		// pod is evaluated itself, even if its owner references name a workload.
		table := selection.PodTable
		if (p.Template || p.isStored()) && report.IsExempt(rules.WorkloadOf(reduced).Kind) {
			table = selection.Table
		}
		if p.err = table.EvaluateInto(&j.verdict, reduced); p.err != nil {
			return false
		}
		b.describe(p, j, table, text, reduced)
		violates = violates || j.violates()
	}
	return violates
}

// withDefaults returns a manifest with the defaults of the API server. Controllers of custom resources create pods, which get all defaults;
// only those of Rollouts create ReplicaSets, whose templates get fewer.
func withDefaults(p *batchedPod, text []byte) []byte {
	kind, _, _ := strings.Cut(p.Name, "/")
	if p.Template && (report.IsExempt(kind) || kind == "Rollout") {
		return defaults.Template(text)
	}
	return defaults.Pod(text)
}

func (s *scan) putAdmission(p *batchedPod, key state.Pod) {
	for i, judged := range s.admission {
		if p.err != nil {
			judged.PutFailed(key)
		} else {
			judged.Put(key, p.admission[i].verdict, s.origin(p, &p.admission[i], key))
		}
	}
}

func (s *scan) removeAdmission(key state.Pod) {
	for _, judged := range s.admission {
		judged.Remove(key)
	}
}

// finishAdmission adds the scans for admission to the result. If a recording has a workload, the violations of its template count and not
// those of its pods, because pods include what was added after the template was admitted.
func (s *scan) finishAdmission() {
	recorded := make(map[workloadName]bool)
	for _, of := range s.workloads.all {
		if of.uid != "" && !of.left {
			recorded[workloadName{namespace: of.namespace, kind: of.kind, name: of.name}] = true
		}
	}
	for i, judged := range s.admission {
		var pods []state.Pod
		for v := range judged.SnapshotWithViolations().AllViolations() {
			origin, ok := v.Origin.(*report.Origin)
			if ok && (origin.Stored || origin.Document == 0) && !s.isTemplate(v.Pod) &&
				recorded[workloadName{namespace: v.Namespace, kind: origin.Workload.Kind, name: origin.Workload.Name}] {
				pods = append(pods, v.Pod)
			}
		}
		for _, pod := range slices.Compact(pods) {
			judged.Remove(pod)
		}
		s.result.Admission = append(s.result.Admission, report.Admission{Action: s.options.Admission[i].Action, Scan: &report.Scan{
			Snapshot: judged.SnapshotWithViolations(), Inputs: s.result.Inputs, Selects: s.result.Selects,
		}})
	}
}

func (s *scan) isTemplate(pod state.Pod) bool {
	pod.UID = ""
	_, is := s.workloads.at[pod]
	return is
}
