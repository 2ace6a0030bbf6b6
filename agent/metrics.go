package agent

import (
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/state"
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

// registerSoleLeader says of a replica without election what the elector says of others.
func registerSoleLeader(reg prometheus.Registerer) {
	leader := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kube_devops_leader",
		Help: "1 while this replica is permitted to publish, 0 otherwise.",
	})
	leader.Set(1)
	reg.MustRegister(leader)
}

// A family is the metrics of one name.
type family struct {
	name, help string
	labels     []string  // at most two, sorted as Prometheus does
	constant   [2]string // name and value of a label that follows them and is the same in all series; empty for none
	desc       *prometheus.Desc
}

func newFamily(name, help string, labels ...string) *family {
	return &family{name: name, help: help, labels: labels, desc: prometheus.NewDesc(name, help, labels, nil)}
}

// newPolicyFamily is of the policy in force. Where the agent watches some namespaces alone, a label names them, since
// they are all that the scores call the cluster. Elsewhere there is no such label, not even an empty one.
func newPolicyFamily(namespaces []string) *family {
	f := newFamily("kube_devops_policy_info",
		"Always 1; the labels say which policy table is in force, on the leader the one of the scores.", "hash", "name")
	if len(namespaces) > 0 {
		f.constant = [2]string{"namespaces", strings.Join(slices.Sorted(slices.Values(namespaces)), ",")}
		f.desc = prometheus.NewDesc(f.name, f.help, f.labels, prometheus.Labels{f.constant[0]: f.constant[1]})
	}
	return f
}

// policyInfo exports which policy is in force on a replica that publishes no scores.
type policyInfo struct {
	*evaluator.Evaluator
	info *family
}

// newPolicyInfo is for an agent that watches these namespaces alone; none for the whole cluster.
func newPolicyInfo(e *evaluator.Evaluator, namespaces ...string) policyInfo {
	return policyInfo{e, newPolicyFamily(namespaces)}
}

// Describe tells the metrics.
func (p policyInfo) Describe(descs chan<- *prometheus.Desc) { descs <- p.info.desc }

// Collect reads the policy.
func (p policyInfo) Collect(metrics chan<- prometheus.Metric) {
	table := p.Table()
	metrics <- prometheus.MustNewConstMetric(p.info.desc, prometheus.GaugeValue, 1, table.Hash(), table.Name())
}

// scores exports the state and the policy that it is kept under: what they say at one moment, and no scores where there
// is no state. No series outlives what it tells of.
type scores struct {
	*evaluator.Evaluator
	info *family
}

// newScores is for an agent that watches these namespaces alone; none for the whole cluster.
func newScores(e *evaluator.Evaluator, namespaces ...string) scores {
	return scores{e, newPolicyFamily(namespaces)}
}

var (
	skipped = newFamily("kube_devops_pods_skipped",
		"Pods that the policy table leaves out of all counts.", "reason")
	waived = newFamily("kube_devops_waived_violations",
		"Violations of each check that a waiver accepts; they are in no score. Absent where the policy has no waivers.", "check", "namespace")
	waiverExpiry = newFamily("kube_devops_waiver_expiry_timestamp_seconds",
		"When each waiver expires, or did, in seconds since 1970.", "waiver")
	clusterScore = newFamily("cluster_health_score",
		"Penalty points of a pod: the mean over the namespaces that have pods. Lower is healthier.")
	clusterCompliance = newFamily("kube_devops_cluster_compliance_ratio",
		"Share of the weight that could be lost and was not, 0 to 1: the mean over the namespaces that have pods.")
	namespaceScore = newFamily("namespace_health_score",
		"Penalty points of a pod, on average over the namespace. Lower is healthier.", "namespace")
	namespaceCompliance = newFamily("kube_devops_namespace_compliance_ratio",
		"Share of the weight that could be lost and was not, 0 to 1.", "namespace")
	clusterGrade = newFamily("kube_devops_cluster_grade",
		"Grade of the cluster, as its index in the grades of the policy table; 0 is the best.")
	namespaceGrade = newFamily("kube_devops_namespace_grade",
		"Grade of the namespace, as its index in the grades of the policy table; 0 is the best.", "namespace")
	pods = newFamily("kube_devops_pods",
		"Pods that were evaluated.", "namespace")
	unevaluated = newFamily("kube_devops_pods_unevaluated",
		"Pods that could not be evaluated and are excluded from all scores.", "namespace")
	overflowed = newFamily("kube_devops_namespaces_overflowed",
		"Namespaces that have no series of their own, because there are more than 5000; the series of namespace _other are of them together.")
	violations = newFamily("kube_devops_violations",
		"Violations of each check: one for each subject that fails it.", "check", "namespace")
	unknownViolations = newFamily("kube_devops_unknown_violations",
		"Violations of each check that count because the check could not be answered, for example because a value is too long to compare. Only checks and namespaces that have any have a series.", "check", "namespace")
)

// Describe tells the metrics.
func (s scores) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range []*family{
		s.info, clusterScore, clusterCompliance, clusterGrade, namespaceScore, namespaceCompliance, namespaceGrade,
		pods, skipped, unevaluated, violations, unknownViolations, waived, waiverExpiry, overflowed,
	} {
		descs <- f.desc
	}
}

// Collect computes the metrics from one snapshot.
func (s scores) Collect(metrics chan<- prometheus.Metric) {
	s.samples(func(f *family, value float64, labels [2]string) {
		labels[0], labels[1] = valid(labels[0]), valid(labels[1])
		metrics <- prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, value, labels[:len(f.labels)]...)
	})
}

// samples computes the metrics from one snapshot, and yields those of one family after the other, with the values of its
// labels.
func (s scores) samples(yield func(f *family, value float64, labels [2]string)) {
	st := s.Current()
	if st == nil {
		table := s.Table()
		yield(s.info, 1, [2]string{table.Hash(), table.Name()})
		return
	}
	snap := st.Snapshot()
	namespaces, over := capped(snap)
	yield(s.info, 1, [2]string{snap.Table.Hash(), snap.Table.Name()})
	for _, reason := range snap.Table.SkipReasons() {
		yield(skipped, float64(snap.Skipped[reason]), [2]string{reason})
	}
	for _, w := range snap.Table.Waivers() {
		yield(waiverExpiry, float64(w.Expires.Unix()), [2]string{w.ID})
	}
	if cluster, ok := snap.Cluster(); ok {
		yield(clusterScore, cluster.Score, [2]string{})
		yield(clusterCompliance, cluster.Compliance/100, [2]string{})
		yield(clusterGrade, float64(snap.Table.GradeIndex(cluster.Grade)), [2]string{})
	}
	yield(overflowed, float64(over), [2]string{})
	scored := make([]state.NamespaceSnapshot, 0, len(namespaces))
	ofScored := make([]state.Scores, 0, len(namespaces))
	for _, ns := range namespaces {
		yield(pods, float64(ns.TotalPods), [2]string{ns.Name})
		if of, ok := ns.Scores(snap.Table); ok {
			scored, ofScored = append(scored, ns), append(ofScored, of)
		}
	}
	for _, ns := range namespaces {
		yield(unevaluated, float64(ns.Unevaluated), [2]string{ns.Name})
	}
	for i, ns := range scored {
		yield(namespaceScore, ofScored[i].Score, [2]string{ns.Name})
	}
	for i, ns := range scored {
		yield(namespaceCompliance, ofScored[i].Compliance/100, [2]string{ns.Name})
	}
	for i, ns := range scored {
		yield(namespaceGrade, float64(snap.Table.GradeIndex(ofScored[i].Grade)), [2]string{ns.Name})
	}
	for _, ns := range scored {
		for i := range snap.Table.Checks() {
			yield(violations, float64(ns.Violations[i]), [2]string{snap.Table.Checks()[i].ID, ns.Name})
		}
	}
	for _, ns := range scored {
		for i, n := range ns.Unknown {
			if n > 0 {
				yield(unknownViolations, float64(n), [2]string{snap.Table.Checks()[i].ID, ns.Name})
			}
		}
	}
	if len(snap.Table.Waivers()) == 0 {
		return
	}
	for _, ns := range scored {
		for i := range snap.Table.Checks() {
			yield(waived, float64(ns.Waived[i]), [2]string{snap.Table.Checks()[i].ID, ns.Name})
		}
	}
}

// scrape gathers the scores; or writes them, which takes a tenth of the time where there are many namespaces.
type scrape struct {
	prometheus.Gatherer
	scores
}

func newScrape(of scores) scrape {
	registry := prometheus.NewRegistry()
	registry.MustRegister(of)
	return scrape{registry, of}
}

// AppendText appends the metrics as Prometheus' text has them.
func (s scores) AppendText(to []byte) []byte {
	var last *family
	s.samples(func(f *family, value float64, labels [2]string) {
		if f != last {
			to = append(append(append(append(to, "# HELP "...), f.name...), ' '), f.help...)
			to = append(append(append(to, "\n# TYPE "...), f.name...), " gauge\n"...)
			last = f
		}
		to = append(to, f.name...)
		for i, label := range f.labels {
			to = append(append(append(to, "{,"[min(i, 1)]), label...), `="`...)
			to = append(appendLabel(to, labels[i]), '"')
		}
		if name := f.constant[0]; name != "" {
			to = append(append(append(to, ','), name...), `="`...)
			to = append(appendLabel(to, f.constant[1]), '"')
		}
		if len(f.labels) > 0 {
			to = append(to, '}')
		}
		to = append(to, ' ')
		if whole := int64(value); float64(whole) == value && whole > -1e6 && whole < 1e6 {
			to = strconv.AppendInt(to, whole, 10) // the same text, sooner
		} else {
			to = strconv.AppendFloat(to, value, 'g', -1, 64)
		}
		to = append(to, '\n')
	})
	return to
}

// valid replaces the bytes of a label that are no text; client_golang would panic, and Prometheus refuse the scrape.
func valid(label string) string { return strings.ToValidUTF8(label, "\uFFFD") }

// appendLabel appends a label's value with its quotes, backslashes and line breaks escaped.
func appendLabel(to []byte, value string) []byte {
	value = valid(value)
	for i := range len(value) {
		switch b := value[i]; b {
		case '"', '\\':
			to = append(to, '\\', b)
		case '\n':
			to = append(to, `\n`...)
		default:
			to = append(to, b)
		}
	}
	return to
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
