package state

import "github.com/kube-devops/kube-devops/rules"

// Scores are computed from counts when they are read, and never accumulated.
type Scores struct {
	// Score is the penalty points of a pod on average: raw score / total pods. Lower is healthier.
	Score float64
	// Compliance is the percentage of the weight that could be lost and was not, 0 to 100. Higher is healthier.
	Compliance float64
	// Grade is the table's name for the compliance.
	Grade string
}

// Scores computes the scores of a namespace under the table whose counts these are. It is false where there are no
// pods: that is no data, and not a perfect score.
func (m LiveMetrics) Scores(table *rules.Table) (Scores, bool) {
	if m.TotalPods == 0 {
		return Scores{}, false
	}
	raw, possible := 0, 0
	for i, check := range table.Checks() {
		raw += m.Violations[i] * check.Weight
		possible += m.Subjects[i] * check.Weight
	}
	s := Scores{Score: float64(raw) / float64(m.TotalPods), Compliance: 100}
	if possible > 0 {
		// One rounding of a quotient of whole numbers: 80 of 100 points give 80 and nothing beside it.
		s.Compliance = 100 * float64(possible-raw) / float64(possible)
	}
	s.Grade = table.Grade(s.Compliance)
	return s, true
}

// Cluster computes the scores of the cluster: the plain mean over the namespaces that have pods. It is false where no
// namespace has any.
func (s *Snapshot) Cluster() (Scores, bool) {
	var mean Scores
	namespaces := 0
	for _, ns := range s.Namespaces {
		if scores, ok := ns.Scores(s.Table); ok {
			namespaces++
			mean.Score += scores.Score
			mean.Compliance += scores.Compliance
		}
	}
	if namespaces == 0 {
		return Scores{}, false
	}
	mean.Score /= float64(namespaces)
	mean.Compliance /= float64(namespaces)
	mean.Grade = s.Table.Grade(mean.Compliance)
	return mean, true
}
