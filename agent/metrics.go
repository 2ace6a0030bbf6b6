package agent

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/exposition"
)

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

// registerPage adds the address of the status page, by which a dashboard of many clusters links to that of each; nothing without one.
func registerPage(reg prometheus.Registerer, url string) {
	if url == "" {
		return
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "kube_devops_page_info",
		Help:        "Always 1; the label is the address of the status page. Only with `--external-url`.",
		ConstLabels: prometheus.Labels{"url": url},
	})
	info.Set(1)
	reg.MustRegister(info)
}

// registerSoleLeader says of a replica without election what the elector says of others.
func registerSoleLeader(reg prometheus.Registerer) {
	leader := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kube_devops_leader",
		Help: "1 while this replica may publish, else 0.",
	})
	leader.Set(1)
	reg.MustRegister(leader)
}

// exposedBy returns what an evaluator shows to scrapes: on a leader its scores, and under which policy they are, on any other
// replica the policy alone.
func exposedBy(e *evaluator.Evaluator) func() exposition.View {
	return func() exposition.View {
		if st := e.Current(); st != nil {
			snap := st.Snapshot()
			return exposition.View{Table: snap.Table, Snapshot: snap, MaxNamespaces: exposition.MaxNamespaces}
		}
		return exposition.View{Table: e.Table()}
	}
}

// policyOf is the policy alone, for a replica that publishes no scores.
func policyOf(e *evaluator.Evaluator) func() exposition.View {
	return func() exposition.View { return exposition.View{Table: e.Table()} }
}

// scrape gathers the scores; or writes them, which takes a tenth of the time where there are many namespaces.
type scrape struct {
	prometheus.Gatherer
	*exposition.Scores
}

func newScrape(of *exposition.Scores) scrape {
	registry := prometheus.NewRegistry()
	registry.MustRegister(of)
	return scrape{registry, of}
}
