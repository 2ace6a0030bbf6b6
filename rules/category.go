package rules

import "slices"

// Category says what a check protects. Reports and lists group checks by it.
type Category string

// The categories, in the order in which reports print them.
const (
	Security    Category = "security"
	Reliability Category = "reliability"
	Efficiency  Category = "efficiency"
	Hygiene     Category = "hygiene"
)

var categories = [...]Category{Security, Reliability, Efficiency, Hygiene}

// Categories returns all categories in the order in which reports print them.
func Categories() []Category { return slices.Clone(categories[:]) }

// Rank is the index of c in Categories; a check without a category ranks behind all others.
func (c Category) Rank() int {
	if i := slices.Index(categories[:], c); i >= 0 {
		return i
	}
	return len(categories)
}
