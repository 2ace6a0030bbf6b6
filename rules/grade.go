package rules

import "slices"

// Grade is a name for a range of compliance: from Min percent up to the next grade above.
type Grade struct {
	Name string
	Min  float64
	// MaxSeverity is the worst severity of a violation that the grade allows; empty: any.
	MaxSeverity Severity
}

// Allows reports whether the grade allows violations of a severity. The empty severity stands for no violations.
func (g Grade) Allows(worst Severity) bool {
	return g.MaxSeverity == "" || worst == "" || worst.Rank() >= g.MaxSeverity.Rank()
}

// Grade returns the name of the grade of a compliance in percent, 0 to 100, and of the worst severity of the violations: the first grade
// that allows both. The empty severity stands for no violations.
func (t *Table) Grade(compliance float64, worst Severity) string {
	for _, g := range t.grades {
		if compliance >= g.Min && g.Allows(worst) {
			return g.Name
		}
	}
	// Rounding may leave a compliance slightly below the last bound, which is 0.
	return t.grades[len(t.grades)-1].Name
}

// WorstSeverity is the worst severity of the checks with violations, given the violations of each check; empty without violations.
func (t *Table) WorstSeverity(violations []int) Severity {
	worst := Severity("")
	for i, n := range violations {
		if n > 0 {
			worst = WorseOf(worst, t.checks[i].Severity)
		}
	}
	return worst
}

// WorseOf returns the worse of two severities. The empty one stands for no violations.
func WorseOf(a, b Severity) Severity {
	if b == "" || a != "" && a.Rank() < b.Rank() {
		return a
	}
	return b
}

// GradeIndex is the index of a grade, 0 for the best; -1 when the table has no such grade.
func (t *Table) GradeIndex(name string) int {
	return slices.IndexFunc(t.grades, func(g Grade) bool { return g.Name == name })
}

func defaultGrades() []Grade {
	return []Grade{{Name: "Healthy", Min: 80}, {Name: "Stable", Min: 60}, {Name: "Degraded", Min: 40}, {Name: "Critical", Min: 0}}
}
