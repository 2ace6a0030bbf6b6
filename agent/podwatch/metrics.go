package podwatch

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	events       prometheus.Counter
	errors       *prometheus.CounterVec
	requests     *prometheus.CounterVec
	lastEvent    prometheus.Gauge
	syncDuration prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, queued func() int) *metrics {
	m := &metrics{
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pod_events_total",
			Help: "Pods that were added, changed or deleted, including those of the initial list.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kube_devops_watch_errors_total",
			Help: "Requests for pods that failed or ended with an error, by verb (list, watch).",
		}, []string{"verb"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kube_devops_watch_requests_total",
			Help: "Requests for pods that were sent to the API server, by verb (list, watch).",
		}, []string{"verb"}),
		lastEvent: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_devops_last_event_timestamp_seconds",
			Help: "Unix time of the last contact with the API server: the last list, event or bookmark (one comes each minute).",
		}),
		syncDuration: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_devops_sync_duration_seconds",
			Help: "Seconds that the initial list of pods took; 0 until it is complete.",
		}),
	}
	for _, verb := range []string{verbList, verbWatch} {
		m.errors.WithLabelValues(verb)
		m.requests.WithLabelValues(verb)
	}
	reg.MustRegister(m.events, m.errors, m.requests, m.lastEvent, m.syncDuration,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kube_devops_queue_length",
			Help: "Changed pods that wait to be evaluated.",
		}, func() float64 { return float64(queued()) }))
	return m
}

// permission makes the gauge of one namespace.
func (m *metrics) permission(reg prometheus.Registerer, namespace string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kube_devops_watched_namespace_permitted",
		Help: "1 if the API server permits the agent to list and watch the pods of this namespace of --namespaces, else 0. " +
			"Pods of a namespace that is not permitted are excluded from all scores.",
		ConstLabels: prometheus.Labels{"namespace": namespace},
	})
	reg.MustRegister(g)
	return g
}
