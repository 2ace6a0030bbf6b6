package agent

import (
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// evaluationMetrics measure the evaluator.
type evaluationMetrics struct {
	each     prometheus.Histogram
	whole    prometheus.Gauge
	failures prometheus.Counter
}

func newEvaluationMetrics(reg prometheus.Registerer) *evaluationMetrics {
	m := &evaluationMetrics{
		each: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kube_devops_evaluation_duration_seconds",
			Help:    "How long it took to bring one changed pod into the state.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 4, 10), // 1 µs to 0.26 s
		}),
		whole: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_devops_full_evaluation_duration_seconds",
			Help: "How long the last evaluation of all pods took; 0 on a replica that never led.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kube_devops_evaluation_errors_total",
			Help: "Evaluations that ended without a verdict; the log names the pod.",
		}),
	}
	reg.MustRegister(m.each, m.whole, m.failures)
	return m
}

// registerProcess adds what every replica exports about itself.
func registerProcess(reg prometheus.Registerer, version string) {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "kube_devops_build_info",
		Help:        "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	info.Set(1)
	reg.MustRegister(info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// policyMetrics tell how the loading of the policy goes.
type policyMetrics struct{ successful, time prometheus.Gauge }

// newPolicyMetrics is called when a policy has been loaded.
func newPolicyMetrics(reg prometheus.Registerer) *policyMetrics {
	m := &policyMetrics{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_devops_policy_last_reload_successful",
			Help: "Whether the last attempt to load the policy table succeeded (1) or not (0).",
		}),
		time: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_devops_policy_last_reload_success_timestamp_seconds",
			Help: "When the policy table was last loaded with success, in seconds since 1970.",
		}),
	}
	reg.MustRegister(m.successful, m.time)
	m.loaded(time.Now())
	return m
}

func (m *policyMetrics) loaded(at time.Time) {
	m.successful.Set(1)
	m.time.Set(float64(at.UnixMilli()) / 1e3)
}

func (m *policyMetrics) failed() { m.successful.Set(0) }

// registerSoleLeader says of a replica without election what the elector says of others.
func registerSoleLeader(reg prometheus.Registerer) {
	leader := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kube_devops_leader",
		Help: "1 while this replica is permitted to publish, 0 otherwise.",
	})
	leader.Set(1)
	reg.MustRegister(leader)
}

// policyInfo exports which policy is in force on a replica that publishes no scores.
type policyInfo struct{ *evaluator }

// Describe tells the metrics.
func (p policyInfo) Describe(descs chan<- *prometheus.Desc) { descs <- policyDesc }

// Collect reads the policy.
func (p policyInfo) Collect(metrics chan<- prometheus.Metric) { metrics <- policyMetric(p.table()) }

func policyMetric(table *rules.Table) prometheus.Metric {
	return prometheus.MustNewConstMetric(policyDesc, prometheus.GaugeValue, 1, table.Name(), table.Hash())
}

// scores exports the state and the policy that it is kept under: what they say at one moment, and no scores where there
// is no state. No series outlives what it tells of.
type scores struct{ *evaluator }

var (
	policyDesc = prometheus.NewDesc("kube_devops_policy_info",
		"Always 1; the labels say which policy table is in force, on the leader the one of the scores.", []string{"name", "hash"}, nil)
	skipped = prometheus.NewDesc("kube_devops_pods_skipped",
		"Pods that the policy table leaves out of all counts.", []string{"reason"}, nil)
	waived = prometheus.NewDesc("kube_devops_waived_violations",
		"Violations of each check that a waiver accepts; they are in no score. Absent where the policy has no waivers.", []string{"namespace", "check"}, nil)
	waiverExpiry = prometheus.NewDesc("kube_devops_waiver_expiry_timestamp_seconds",
		"When each waiver expires, or did, in seconds since 1970.", []string{"waiver"}, nil)
	clusterScore = prometheus.NewDesc("cluster_health_score",
		"Penalty points of a pod: the mean over the namespaces that have pods. Lower is healthier.", nil, nil)
	clusterCompliance = prometheus.NewDesc("kube_devops_cluster_compliance_ratio",
		"Share of the weight that could be lost and was not, 0 to 1: the mean over the namespaces that have pods.", nil, nil)
	namespaceScore = prometheus.NewDesc("namespace_health_score",
		"Penalty points of a pod, on average over the namespace. Lower is healthier.", []string{"namespace"}, nil)
	namespaceCompliance = prometheus.NewDesc("kube_devops_namespace_compliance_ratio",
		"Share of the weight that could be lost and was not, 0 to 1.", []string{"namespace"}, nil)
	pods = prometheus.NewDesc("kube_devops_pods",
		"Pods that were evaluated.", []string{"namespace"}, nil)
	unevaluated = prometheus.NewDesc("kube_devops_pods_unevaluated",
		"Pods of which there is no verdict, and which are in no score.", []string{"namespace"}, nil)
	overflowed = prometheus.NewDesc("kube_devops_namespaces_overflowed",
		"Namespaces that have no series of their own, because there are more than 5000; the series of namespace _other are of them together.", nil, nil)
	violations = prometheus.NewDesc("kube_devops_violations",
		"Violations of each check: one for each subject that fails it.", []string{"namespace", "check"}, nil)
)

// Describe tells the metrics.
func (s scores) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		policyDesc, clusterScore, clusterCompliance, namespaceScore, namespaceCompliance,
		pods, skipped, unevaluated, violations, waived, waiverExpiry, overflowed,
	} {
		descs <- desc
	}
}

// Collect computes the metrics from one snapshot.
func (s scores) Collect(metrics chan<- prometheus.Metric) {
	st := s.current()
	if st == nil {
		metrics <- policyMetric(s.table())
		return
	}
	snap := st.Snapshot()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		for i, label := range labels {
			labels[i] = strings.ToValidUTF8(label, "\uFFFD") // anything else panics
		}
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	metrics <- policyMetric(snap.Table)
	for _, reason := range snap.Table.SkipReasons() {
		gauge(skipped, float64(snap.Skipped[reason]), reason)
	}
	for _, w := range snap.Table.Waivers() {
		gauge(waiverExpiry, float64(w.Expires.Unix()), w.ID)
	}
	if cluster, ok := snap.Cluster(); ok {
		gauge(clusterScore, cluster.Score)
		gauge(clusterCompliance, cluster.Compliance/100)
	}
	namespaces, over := capped(snap)
	gauge(overflowed, float64(over))
	for _, ns := range namespaces {
		gauge(pods, float64(ns.TotalPods), ns.Name)
		gauge(unevaluated, float64(ns.Unevaluated), ns.Name)
		namespace, ok := ns.Scores(snap.Table)
		if !ok {
			continue
		}
		gauge(namespaceScore, namespace.Score, ns.Name)
		gauge(namespaceCompliance, namespace.Compliance/100, ns.Name)
		for i, check := range snap.Table.Checks() {
			gauge(violations, float64(ns.Violations[i]), ns.Name, check.ID)
			if len(snap.Table.Waivers()) > 0 {
				gauge(waived, float64(ns.Waived[i]), ns.Name, check.ID)
			}
		}
	}
}

const (
	// maxNamespaces is how many namespaces have series of their own: who may create namespaces must not be able to fill
	// the memory of a Prometheus.
	maxNamespaces = 5000
	// otherNamespaces stands for the rest. No namespace has an underscore in its name.
	otherNamespaces = "_other"
)

// capped returns the namespaces that are exported, and how many of all are in the last of them together. Those that come
// first by name have series of their own.
func capped(snap *state.Snapshot) (namespaces []state.NamespaceSnapshot, over int) {
	over = len(snap.Namespaces) - maxNamespaces
	if over <= 0 {
		return snap.Namespaces, 0
	}
	rest := state.Snapshot{Table: snap.Table, Namespaces: snap.Namespaces[maxNamespaces:]}
	other := state.NamespaceSnapshot{Name: otherNamespaces, LiveMetrics: rest.Totals()}
	return append(snap.Namespaces[:maxNamespaces:maxNamespaces], other), over
}
