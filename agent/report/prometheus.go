package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/kube-devops/kube-devops/rules"
)

// Prometheus writes the scores as a file for the textfile collector of the node exporter: the series that the agent
// exports about the same pods, and how much could not be read.
func Prometheus(to io.Writer, scan *Scan, _ Options) error {
	w := &prometheusWriter{to: bufio.NewWriter(to)}
	snap := scan.Snapshot
	checks, waivers := snap.Table.Checks(), snap.Table.Waivers()
	w.gauge("kube_devops_policy_info", "Always 1; the labels say which policy table is in force, on the leader the one of the scores.",
		func(set set) { set(1, "name", snap.Table.Name(), "hash", snap.Table.Hash()) })
	w.gauge("cluster_health_score", "Penalty points of a pod: the mean over the namespaces that have pods. Lower is healthier.",
		func(set set) {
			if cluster, ok := snap.Cluster(); ok {
				set(cluster.Score)
			}
		})
	w.gauge("kube_devops_cluster_compliance_ratio", "Share of the weight that could be lost and was not, 0 to 1: the mean over the namespaces that have pods.",
		func(set set) {
			if cluster, ok := snap.Cluster(); ok {
				set(cluster.Compliance / 100)
			}
		})
	w.gauge("kube_devops_cluster_grade", "Grade of the cluster, as its index in the grades of the policy table; 0 is the best.",
		func(set set) {
			if cluster, ok := snap.Cluster(); ok {
				set(float64(snap.Table.GradeIndex(cluster.Grade)))
			}
		})
	w.gauge("kube_devops_namespace_grade", "Grade of the namespace, as its index in the grades of the policy table; 0 is the best.",
		func(set set) {
			for _, ns := range snap.Namespaces {
				if scores, ok := ns.Scores(snap.Table); ok {
					set(float64(snap.Table.GradeIndex(scores.Grade)), "namespace", ns.Name)
				}
			}
		})
	w.gauge("namespace_health_score", "Penalty points of a pod, on average over the namespace. Lower is healthier.",
		func(set set) {
			for _, ns := range snap.Namespaces {
				if scores, ok := ns.Scores(snap.Table); ok {
					set(scores.Score, "namespace", ns.Name)
				}
			}
		})
	w.gauge("kube_devops_namespace_compliance_ratio", "Share of the weight that could be lost and was not, 0 to 1.",
		func(set set) {
			for _, ns := range snap.Namespaces {
				if scores, ok := ns.Scores(snap.Table); ok {
					set(scores.Compliance/100, "namespace", ns.Name)
				}
			}
		})
	w.gauge("kube_devops_pods", "Pods that were evaluated.", func(set set) {
		for _, ns := range snap.Namespaces {
			set(float64(ns.TotalPods), "namespace", ns.Name)
		}
	})
	w.gauge("kube_devops_pods_unevaluated", "Pods that could not be evaluated and are excluded from all scores.", func(set set) {
		for _, ns := range snap.Namespaces {
			set(float64(ns.Unevaluated), "namespace", ns.Name)
		}
	})
	w.gauge("kube_devops_pods_skipped", "Pods that the policy table leaves out of all counts.", func(set set) {
		for _, reason := range snap.Table.SkipReasons() {
			set(float64(snap.Skipped[reason]), "reason", reason)
		}
	})
	w.gauge("kube_devops_violations", "Violations of each check: one for each subject that fails it.", func(set set) {
		scan.eachCount(checks, func(namespace, check string, i, at int) {
			set(float64(snap.Namespaces[at].Violations[i]), "namespace", namespace, "check", check)
		})
	})
	w.gauge("kube_devops_unknown_violations", "Violations of each check that count because the check could not be answered, for example because a value is too long to compare. Only checks and namespaces that have any have a series.", func(set set) {
		for _, ns := range snap.Namespaces {
			for i, n := range ns.Unknown {
				if n > 0 {
					set(float64(n), "namespace", ns.Name, "check", checks[i].ID)
				}
			}
		}
	})
	w.gauge("kube_devops_waived_violations", "Violations of each check that a waiver accepts; they are in no score. Absent where the policy has no waivers.",
		func(set set) {
			if len(waivers) == 0 {
				return
			}
			scan.eachCount(checks, func(namespace, check string, i, at int) {
				set(float64(snap.Namespaces[at].Waived[i]), "namespace", namespace, "check", check)
			})
		})
	w.gauge("kube_devops_waiver_expiry_timestamp_seconds", "When each waiver expires, or did, in seconds since 1970.", func(set set) {
		for _, waiver := range waivers {
			set(float64(waiver.Expires.Unix()), "waiver", waiver.ID)
		}
	})
	w.gauge("kube_devops_scan_inputs_left_out", "Inputs of the scan that could not be read; where there are any, all scores are incomplete.",
		func(set set) { set(float64(len(scan.Inputs.Unreadable))) })
	if w.err != nil {
		return w.err
	}
	return w.to.Flush()
}

// eachCount goes over the checks of the namespaces that have scores, with the index of each.
func (s *Scan) eachCount(checks []rules.Check, count func(namespace, check string, i, at int)) {
	for at, ns := range s.Snapshot.Namespaces {
		if ns.TotalPods == 0 {
			continue
		}
		for i := range checks {
			count(ns.Name, checks[i].ID, i, at)
		}
	}
}

// A prometheusWriter writes metric families one by one, and keeps the first error.
type prometheusWriter struct {
	to  *bufio.Writer
	err error
}

// A set adds a series: its value, and names and values of its labels in turn.
type set func(value float64, labels ...string)

// gauge writes a gauge, unless it has no series.
func (w *prometheusWriter) gauge(name, help string, series func(set)) {
	kind := dto.MetricType_GAUGE
	family := &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
	series(func(value float64, labels ...string) {
		metric := &dto.Metric{Gauge: &dto.Gauge{Value: &value}}
		for i := 0; i < len(labels); i += 2 {
			text := validLabel(labels[i+1])
			metric.Label = append(metric.Label, &dto.LabelPair{Name: &labels[i], Value: &text})
		}
		family.Metric = append(family.Metric, metric)
	})
	if w.err == nil && len(family.Metric) > 0 {
		_, w.err = expfmt.MetricFamilyToText(w.to, family)
	}
}

// validLabel is a text as a label value: UTF-8, which the format asks for, and without what a terminal may obey. Other bytes,
// control characters and invisible marks become their hexadecimal digits, so that two names stay two series. A line break
// has an escape of the format.
func validLabel(text string) string {
	odd := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, odd) < 0 {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1 || odd(r) && r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case odd(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
