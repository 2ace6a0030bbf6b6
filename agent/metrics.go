package agent

import (
	"runtime"

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
func registerProcess(reg prometheus.Registerer, version string, table *rules.Table) {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "kube_devops_build_info",
		Help:        "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	policy := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "kube_devops_policy_info",
		Help:        "Always 1; the labels say which policy table is in force.",
		ConstLabels: prometheus.Labels{"name": table.Name(), "hash": table.Hash()},
	})
	reloaded := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kube_devops_policy_last_reload_successful",
		Help: "Whether the last attempt to load the policy table succeeded (1) or not (0).",
	})
	reloadTime := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kube_devops_policy_last_reload_success_timestamp_seconds",
		Help: "When the policy table was last loaded with success, in seconds since 1970.",
	})
	info.Set(1)
	policy.Set(1)
	reloaded.Set(1)
	reloadTime.SetToCurrentTime()
	reg.MustRegister(info, policy, reloaded, reloadTime,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// registerSoleLeader says of a replica without election what the elector says of others.
func registerSoleLeader(reg prometheus.Registerer) {
	leader := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kube_devops_leader",
		Help: "1 while this replica is permitted to publish, 0 otherwise.",
	})
	leader.Set(1)
	reg.MustRegister(leader)
}

// scores exports the state: what it says at one moment, and nothing where there is no state. No series outlives what it
// tells of.
type scores struct{ current func() *state.ClusterState }

var (
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
	violations = prometheus.NewDesc("kube_devops_violations",
		"Violations of each check: one for each subject that fails it.", []string{"namespace", "check"}, nil)
)

// Describe tells the metrics.
func (s scores) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		clusterScore, clusterCompliance, namespaceScore, namespaceCompliance, pods, unevaluated, violations,
	} {
		descs <- desc
	}
}

// Collect computes the metrics from one snapshot.
func (s scores) Collect(metrics chan<- prometheus.Metric) {
	st := s.current()
	if st == nil {
		return
	}
	snap := st.Snapshot()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	if cluster, ok := snap.Cluster(); ok {
		gauge(clusterScore, cluster.Score)
		gauge(clusterCompliance, cluster.Compliance/100)
	}
	for _, ns := range snap.Namespaces {
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
		}
	}
}
