package evaluator

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	each     prometheus.Histogram
	whole    prometheus.Gauge
	failures prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
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
