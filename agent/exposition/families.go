package exposition

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// A family is the series of one name. All of them are gauges.
type family struct {
	name, help string
	labels     []string // at most two, sorted by name as Prometheus sorts them
	// samples yields the series with the values of the labels. It yields none where the family is absent.
	samples func(m *moment, yield func(value float64, labels [2]string))

	constant [2]string // name and value of a label that all series have, and that sorts after the others; empty for none
	desc     *prometheus.Desc
}

// A moment is a view with what several families need.
type moment struct {
	View
	checks     []rules.Check
	namespaces []state.NamespaceSnapshot // that have series
	overflowed int                       // namespaces that share the series of the last one
	scored     []scoredNamespace
}

type scoredNamespace struct {
	*state.NamespaceSnapshot
	scores state.Scores
}

// The families, in the order in which they are written. Only the first exists without a snapshot.
var families = []family{
	{
		name: "kube_devops_policy_info", labels: []string{"hash", "name"},
		help: "Always 1; the labels identify the policy table in force, which on the leader is the one of the scores.",
		samples: func(m *moment, yield func(float64, [2]string)) {
			yield(1, [2]string{m.Table.Hash(), m.Table.Name()})
		},
	},
	{
		name: "kube_devops_pods_skipped", labels: []string{"reason"},
		help: "Pods that the policy table skips: they are in no count and no score.",
		samples: func(m *moment, yield func(float64, [2]string)) {
			for _, reason := range m.Table.SkipReasons() {
				yield(float64(m.Snapshot.Skipped[reason]), [2]string{reason})
			}
		},
	},
	{
		name: "kube_devops_waiver_expiry_timestamp_seconds", labels: []string{"waiver"},
		help: "Unix time at which each waiver expires or expired, in seconds.",
		samples: func(m *moment, yield func(float64, [2]string)) {
			for _, w := range m.Table.Waivers() {
				yield(float64(w.Expires.Unix()), [2]string{w.ID})
			}
		},
	},
	{
		name:    "cluster_health_score",
		help:    "Penalty points per pod: the mean over the namespaces that have pods. Lower is healthier.",
		samples: ofCluster(func(_ *rules.Table, s state.Scores) float64 { return s.Score }),
	},
	{
		name:    "kube_devops_cluster_compliance_ratio",
		help:    "Share of the possible penalty points that were not incurred, 0 to 1: the mean over the namespaces that have pods.",
		samples: ofCluster(func(_ *rules.Table, s state.Scores) float64 { return s.Compliance / 100 }),
	},
	{
		name:    "kube_devops_cluster_grade",
		help:    "Grade of the cluster, as its index in the grades of the policy table; 0 is the best.",
		samples: ofCluster(gradeIndex),
	},
	{
		name: "kube_devops_namespaces_overflowed",
		help: "Namespaces without series of their own, because there are more than 5000; the series of namespace _other cover them together.",
		samples: func(m *moment, yield func(float64, [2]string)) {
			if m.MaxNamespaces > 0 {
				yield(float64(m.overflowed), [2]string{})
			}
		},
	},
	{
		name: "kube_devops_pods", labels: []string{"namespace"},
		help: "Pods that were evaluated.",
		samples: func(m *moment, yield func(float64, [2]string)) {
			for i := range m.namespaces {
				yield(float64(m.namespaces[i].TotalPods), [2]string{m.namespaces[i].Name})
			}
		},
	},
	{
		name: "kube_devops_pods_unevaluated", labels: []string{"namespace"},
		help: "Pods that could not be evaluated and are excluded from all scores.",
		samples: func(m *moment, yield func(float64, [2]string)) {
			for i := range m.namespaces {
				yield(float64(m.namespaces[i].Unevaluated), [2]string{m.namespaces[i].Name})
			}
		},
	},
	{
		name: "namespace_health_score", labels: []string{"namespace"},
		help:    "Penalty points per pod, on average over the namespace. Lower is healthier.",
		samples: ofNamespaces(func(_ *rules.Table, s state.Scores) float64 { return s.Score }),
	},
	{
		name: "kube_devops_namespace_compliance_ratio", labels: []string{"namespace"},
		help:    "Share of the possible penalty points that were not incurred, 0 to 1.",
		samples: ofNamespaces(func(_ *rules.Table, s state.Scores) float64 { return s.Compliance / 100 }),
	},
	{
		name: "kube_devops_namespace_grade", labels: []string{"namespace"},
		help:    "Grade of the namespace, as its index in the grades of the policy table; 0 is the best.",
		samples: ofNamespaces(gradeIndex),
	},
	{
		name: "kube_devops_violations", labels: []string{"check", "namespace"},
		help: "Violations of each check: one for each subject that fails it. A check that has no subjects in a namespace has no series there.",
		samples: func(m *moment, yield func(float64, [2]string)) {
			m.counts(func(ns *state.NamespaceSnapshot) []int { return ns.Violations }, true, yield)
		},
	},
	{
		name: "kube_devops_unknown_violations", labels: []string{"check", "namespace"},
		help: "Violations of each check that count because the check could not be answered, for example because a value is too long to compare. Only checks and namespaces that have any have a series.",
		samples: func(m *moment, yield func(float64, [2]string)) {
			m.counts(func(ns *state.NamespaceSnapshot) []int { return ns.Unknown }, false, yield)
		},
	},
	{
		name: "kube_devops_waived_violations", labels: []string{"check", "namespace"},
		help: "Violations of each check that a waiver accepts and that are excluded from all scores. Absent if the policy has no waivers.",
		samples: func(m *moment, yield func(float64, [2]string)) {
			if len(m.Table.Waivers()) > 0 || m.Table.AnnotationWaivers() != nil {
				m.counts(func(ns *state.NamespaceSnapshot) []int { return ns.Waived }, true, yield)
			}
		},
	},
	{
		name: "kube_devops_scan_inputs_left_out",
		help: "Inputs of the scan that could not be read; where there are any, all scores are incomplete.",
		samples: func(m *moment, yield func(float64, [2]string)) {
			if m.UnreadableInputs != nil {
				yield(float64(*m.UnreadableInputs), [2]string{})
			}
		},
	},
}

func gradeIndex(table *rules.Table, s state.Scores) float64 {
	return float64(table.GradeIndex(s.Grade))
}

func ofCluster(value func(*rules.Table, state.Scores) float64) func(*moment, func(float64, [2]string)) {
	return func(m *moment, yield func(float64, [2]string)) {
		if scores, ok := m.Snapshot.Cluster(); ok {
			yield(value(m.Table, scores), [2]string{})
		}
	}
}

func ofNamespaces(value func(*rules.Table, state.Scores) float64) func(*moment, func(float64, [2]string)) {
	return func(m *moment, yield func(float64, [2]string)) {
		for i := range m.scored {
			yield(value(m.Table, m.scored[i].scores), [2]string{m.scored[i].Name})
		}
	}
}

// counts yields a count of each check in each namespace that has scores. A zero counts where the check has subjects there.
func (m *moment) counts(of func(*state.NamespaceSnapshot) []int, zeros bool, yield func(float64, [2]string)) {
	for _, ns := range m.scored {
		for i, n := range of(ns.NamespaceSnapshot) {
			if n > 0 || zeros && (ns.Subjects[i] > 0 || ns.Waived[i] > 0) {
				yield(float64(n), [2]string{m.checks[i].ID, ns.Name})
			}
		}
	}
}
