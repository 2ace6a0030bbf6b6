package state

import (
	"math/big"

	"github.com/kube-devops/kube-devops/rules"
)

// Scores are computed from counts when they are read, and never accumulated.
type Scores struct {
	// Score is the mean of the penalty points per pod. Lower is healthier.
	Score float64
	// Compliance is the percentage of the weight of all subjects that is not violated, 0 to 100. Higher is healthier.
	Compliance float64
	// Grade is the table's name for the compliance and for the worst severity of the violations.
	Grade string
}

// Scores computes the scores of a namespace under the table of the counts. It returns false if there are no pods, which means
// no data and not a perfect score.
func (m LiveMetrics) Scores(table *rules.Table) (Scores, bool) {
	if m.TotalPods == 0 {
		return Scores{}, false
	}
	raw, kept, possible := m.points(table)
	// A quotient of integers is rounded once, so 80 of 100 points give exactly 80.
	s := Scores{Score: float64(raw) / float64(m.TotalPods), Compliance: float64(kept) / float64(possible)}
	s.Grade = table.Grade(s.Compliance, table.WorstSeverity(m.Violations))
	return s, true
}

// points returns the integers whose quotients are the scores: raw / total pods is the score, kept / possible the compliance in
// percent, which is 100 without subjects.
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

// Cluster computes the scores of the cluster: the mean over the namespaces with evaluated pods, false if there are none. Each
// mean is rounded once, so that namespaces of 80 percent have a mean of exactly 80, and the same grade. A violation in any of them
// limits the grade.
func (s *Snapshot) Cluster() (Scores, bool) {
	var score, compliance mean
	worst := rules.Severity("")
	for _, ns := range s.Namespaces {
		if ns.TotalPods == 0 {
			continue
		}
		raw, kept, possible := ns.points(s.Table)
		score.add(raw, ns.TotalPods)
		compliance.add(kept, possible)
		worst = rules.WorseOf(worst, s.Table.WorstSeverity(ns.Violations))
	}
	if score.n == 0 {
		return Scores{}, false
	}
	cluster := Scores{Score: score.value(), Compliance: compliance.value()}
	cluster.Grade = s.Table.Grade(cluster.Compliance, worst)
	return cluster, true
}

// A mean is the mean of quotients of integers. Its sum is so precise that only the final rounding to a float64 is visible. An
// exact sum, as of big.Rat, would be a fraction that grows with each namespace.
type mean struct {
	sum big.Float
	n   int64
}

// meanPrecision is in bits. A float64 has 53: the error of a sum of a million quotients is far below its last bit.
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
