package state

import (
	"math/big"

	"github.com/kube-devops/kube-devops/rules"
)

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
	raw, kept, possible := m.points(table)
	// One rounding of a quotient of whole numbers: 80 of 100 points give 80 and nothing beside it.
	s := Scores{Score: float64(raw) / float64(m.TotalPods), Compliance: float64(kept) / float64(possible)}
	s.Grade = table.Grade(s.Compliance)
	return s, true
}

// points are the numbers that the scores are quotients of: raw / total pods is the score, kept / possible the compliance
// in percent. Where nothing could be lost, everything was kept.
func (m LiveMetrics) points(table *rules.Table) (raw, kept, possible int) {
	for i, check := range table.Checks() {
		raw += m.Violations[i] * check.Weight
		possible += m.Subjects[i] * check.Weight
	}
	if possible == 0 {
		return raw, 100, 1
	}
	return raw, 100 * (possible - raw), possible
}

// Cluster computes the scores of the cluster: the plain mean over the namespaces that have pods. It is false where no
// namespace has any. Each mean is rounded once, at its end: namespaces of 80 percent have a mean of 80, and are as
// healthy together as each is alone.
func (s *Snapshot) Cluster() (Scores, bool) {
	var score, compliance mean
	for _, ns := range s.Namespaces {
		if ns.TotalPods == 0 {
			continue
		}
		raw, kept, possible := ns.points(s.Table)
		score.add(raw, ns.TotalPods)
		compliance.add(kept, possible)
	}
	if score.n == 0 {
		return Scores{}, false
	}
	cluster := Scores{Score: score.value(), Compliance: compliance.value()}
	cluster.Grade = s.Table.Grade(cluster.Compliance)
	return cluster, true
}

// A mean is that of quotients of whole numbers. Its sum is so precise that rounding it to a float64 is the one rounding
// that shows: an exact sum would be a fraction whose terms grow with each namespace.
type mean struct {
	sum big.Float
	n   int64
}

// meanPrecision is in bits. A float64 has 53: what the sum of a million quotients loses stays far below its last one.
const meanPrecision = 192

func (m *mean) add(numerator, denominator int) {
	var quotient, by big.Float
	quotient.SetPrec(meanPrecision).SetInt64(int64(numerator))
	by.SetInt64(int64(denominator))
	m.sum.SetPrec(meanPrecision).Add(&m.sum, quotient.Quo(&quotient, &by))
	m.n++
}

func (m *mean) value() float64 {
	var by big.Float
	value, _ := m.sum.Quo(&m.sum, by.SetInt64(m.n)).Float64()
	return value
}
