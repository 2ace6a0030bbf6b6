package blackbox

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

// The families that only the leader exports.
var published = []string{"cluster_health_score", "namespace_health_score", "kube_devops_violations", "kube_devops_pods"}

// Metrics is one scrape, by the name of the family.
type Metrics map[string]*dto.MetricFamily

// ParseMetrics reads the text of one scrape.
func ParseMetrics(text string) (Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	return families, nil
}

// Published returns the names of the families in it that only a leader may export.
func (m Metrics) Published() []string {
	var names []string
	for _, name := range published {
		if m[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// Value returns a series' value. labels are pairs of name and value, all of the series' labels.
func (m Metrics) Value(name string, labels ...string) (float64, bool) {
	want := map[string]string{}
	for pair := range slices.Chunk(labels, 2) {
		want[pair[0]] = pair[1]
	}
	for _, metric := range m[name].GetMetric() {
		if maps.Equal(labelsOf(metric), want) {
			return value(metric), true
		}
	}
	return 0, false
}

// Scores returns what the scrape says of the cluster and each namespace. A namespace is there if any series names it.
func (m Metrics) Scores() oracle.Scores {
	scores := oracle.Scores{Namespaces: map[string]oracle.Namespace{}}
	m.each("kube_devops_pods", func(n *oracle.Namespace, _ string, v float64) { n.Pods = int(v) }, scores)
	m.each("namespace_health_score", func(n *oracle.Namespace, _ string, v float64) { n.Score = v }, scores)
	m.each("kube_devops_namespace_compliance_ratio", func(n *oracle.Namespace, _ string, v float64) { n.Compliance = v }, scores)
	m.each("kube_devops_violations", func(n *oracle.Namespace, check string, v float64) {
		if n.Violations == nil {
			n.Violations = map[string]int{}
		}
		n.Violations[check] = int(v)
	}, scores)
	if v, ok := m.Value("cluster_health_score"); ok {
		scores.Score = &v
	}
	if v, ok := m.Value("kube_devops_cluster_compliance_ratio"); ok {
		scores.Compliance = &v
	}
	return scores
}

// each calls set with the namespace, the check label and the value of every series of a family.
func (m Metrics) each(name string, set func(*oracle.Namespace, string, float64), scores oracle.Scores) {
	for _, metric := range m[name].GetMetric() {
		labels := labelsOf(metric)
		namespace := scores.Namespaces[labels["namespace"]]
		set(&namespace, labels["check"], value(metric))
		scores.Namespaces[labels["namespace"]] = namespace
	}
}

func labelsOf(metric *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, pair := range metric.GetLabel() {
		labels[pair.GetName()] = pair.GetValue()
	}
	return labels
}

func value(metric *dto.Metric) float64 {
	switch {
	case metric.Gauge != nil:
		return metric.Gauge.GetValue()
	case metric.Counter != nil:
		return metric.Counter.GetValue()
	default:
		return metric.Untyped.GetValue()
	}
}
