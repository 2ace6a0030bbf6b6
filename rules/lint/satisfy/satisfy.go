package satisfy

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// The bounds of the search.
const (
	maxFreeLeaves = 8       // leaves on one path whose answers are tried in all combinations
	maxTries      = 100_000 // assignments of outcomes to paths, for one expression
	maxEffort     = 5_000_000
)

// An Op is what an Expr does with its parts.
type Op uint8

// The operations.
const (
	Leaf Op = iota
	All
	Any
	Not
	Free // it may have any answer: what it depends on is not searched
)

// An Expr is a condition of a policy table.
type Expr struct {
	Op    Op
	Parts []*Expr

	// Of a leaf:
	Path     string // from the pod, "$.spec.hostNetwork", or from the subject, "image"
	Operator string
	Operand  *yaml.Node
	Matcher  rules.Matcher
	Values   Values
}

// Values says which values a path may select.
type Values struct {
	Kinds   schema.Kinds
	Enum    []string // all strings that are possible; none: any string
	Integer bool     // its numbers are integers
	Length  bool     // it is the length of a list
	Always  bool     // there is always a value
	Several bool     // there may be more than one
}

// A Solver answers questions about expressions, and bounds the work on all of them together.
type Solver struct{ effort int }

// An outcome is what the leaves on one path answer together: bit i is the answer of leaf i.
type outcome struct {
	answers uint64
	present bool // the path selects a value
}

// A variable is a path and the leaves on it.
type variable struct {
	path     string
	values   Values
	leaves   []*Expr
	outcomes []outcome
	parents  []int // variables whose path is a prefix of this one
	free     bool  // it has any outcome, and no path
}

// A search assigns outcomes to variables until an expression has the answer that is asked for.
type search struct {
	variables []*variable
	at        map[*Expr][2]int // of each leaf: its variable, and its bit there
	assigned  []int            // of each variable: its outcome, or -1
	tries     int
	solver    *Solver
}

// exhausted counts a try, and reports whether there were too many.
func (t *search) exhausted() bool {
	t.tries++
	t.solver.effort++
	return t.tries > maxTries
}

// CanBe reports whether an expression can have an answer. It returns true when that is not known.
func (s *Solver) CanBe(e *Expr, answer bool) bool {
	t, ok := s.prepare(e)
	return !ok || t.try(e, answer, 0)
}

// prepare lists the variables of an expression and their outcomes. It returns false when there are too many to search.
func (s *Solver) prepare(e *Expr) (*search, bool) {
	t := &search{solver: s, at: make(map[*Expr][2]int)}
	if s.effort > maxEffort || !t.collect(e) {
		return nil, false
	}
	for _, v := range t.variables {
		var ok bool
		v.outcomes, ok = v.allOutcomes()
		if s.effort += len(v.outcomes); !ok {
			return nil, false
		}
		for i, other := range t.variables {
			if !v.free && !other.free && strings.HasPrefix(v.path, other.path+".") {
				v.parents = append(v.parents, i)
			}
		}
		t.assigned = append(t.assigned, -1)
	}
	return t, true
}

// collect adds the variables of an expression. It returns false when there are too many leaves on one.
func (t *search) collect(e *Expr) bool {
	for _, part := range e.Parts {
		if !t.collect(part) {
			return false
		}
	}
	if e.Op != Leaf {
		return t.collectFree(e)
	}
	i := slices.IndexFunc(t.variables, func(v *variable) bool { return v.path == e.Path && !v.free })
	if i < 0 {
		i = len(t.variables)
		t.variables = append(t.variables, &variable{path: e.Path, values: e.Values})
	}
	v := t.variables[i]
	t.at[e] = [2]int{i, len(v.leaves)}
	v.leaves = append(v.leaves, e)
	return len(v.leaves) <= 64
}

// collectFree adds an expression that may have any answer as a variable of its own.
func (t *search) collectFree(e *Expr) bool {
	if e.Op == Free {
		t.at[e] = [2]int{len(t.variables), 0}
		t.variables = append(t.variables, &variable{free: true})
	}
	return true
}

// try assigns outcomes to the variables from the given one on, and reports whether the expression can have the answer.
func (t *search) try(e *Expr, answer bool, variable int) bool {
	if t.exhausted() {
		return true
	}
	switch known := t.answer(e); {
	case known != unknown:
		return (known == yes) == answer
	case variable == len(t.variables):
		return true
	}
	for w := range t.variables[variable].outcomes {
		t.assigned[variable] = w
		if t.consistent() && t.try(e, answer, variable+1) {
			return true
		}
	}
	t.assigned[variable] = -1
	return false
}

// consistent reports whether every value that is present has parents that are present.
func (t *search) consistent() bool {
	for i, v := range t.variables {
		if t.assigned[i] < 0 || !v.outcomes[t.assigned[i]].present {
			continue
		}
		for _, above := range v.parents {
			if w := t.assigned[above]; w >= 0 && !t.variables[above].outcomes[w].present {
				return false
			}
		}
	}
	return true
}

// An answer is that of an expression, as far as the assigned variables determine it.
type answer uint8

const (
	no answer = iota
	unknown
	yes
)

func (t *search) answer(e *Expr) answer {
	switch e.Op {
	case Leaf, Free:
		at := t.at[e]
		w := t.assigned[at[0]]
		switch {
		case w < 0:
			return unknown
		case t.variables[at[0]].outcomes[w].answers&(1<<at[1]) != 0:
			return yes
		}
		return no
	case Not:
		return yes - t.answer(e.Parts[0])
	case Any:
		highest := no
		for i := 0; i < len(e.Parts) && highest != yes; i++ {
			highest = max(highest, t.answer(e.Parts[i]))
		}
		return highest
	}
	lowest := yes
	for i := 0; i < len(e.Parts) && lowest != no; i++ {
		lowest = min(lowest, t.answer(e.Parts[i]))
	}
	return lowest
}

// allOutcomes lists the outcomes of a variable. It returns false when there are too many.
func (v *variable) allOutcomes() ([]outcome, bool) {
	if v.free {
		return []outcome{{0, true}, {1, true}}, true
	}
	values, ok := v.valueAnswers()
	if !ok {
		return nil, false
	}
	if v.values.Several {
		// A leaf is true when it is true of any of several values.
		if values, ok = unions(values); !ok {
			return nil, false
		}
	}
	var outcomes []outcome
	if !v.values.Always {
		absent := outcome{}
		for i, l := range v.leaves {
			if l.Matcher.MatchAbsent() {
				absent.answers |= 1 << i
			}
		}
		outcomes = append(outcomes, absent)
	}
	for answers := range values {
		outcomes = append(outcomes, outcome{answers, true})
	}
	return outcomes, true
}

// unions adds the union of every combination of members to a set. It returns false when there are too many.
func unions(set map[uint64]bool) (map[uint64]bool, bool) {
	const most = 1 << maxFreeLeaves
	members := make([]uint64, 0, len(set))
	for m := range set {
		members = append(members, m)
	}
	for i := 0; i < len(members); i++ {
		for j := range i {
			if both := members[i] | members[j]; !set[both] {
				if len(members) >= most {
					return nil, false
				}
				set[both] = true
				members = append(members, both)
			}
		}
	}
	return set, true
}

// valueAnswers returns the set of answers that the leaves may give for one value.
func (v *variable) valueAnswers() (map[uint64]bool, bool) {
	set := make(map[uint64]bool)
	operands := v.operands()
	for _, example := range v.examples(operands) {
		if example.Type == gjson.Number && v.has(quantityOperators...) {
			// Numbers between the examples may be different quantities.
			if !v.addAll(set, example, quantityOperators...) {
				return nil, false
			}
			continue
		}
		set[v.answers(example)] = true
	}
	ok := true
	if v.values.Kinds&schema.String != 0 && len(v.values.Enum) == 0 {
		ok = v.addAll(set, gjson.Result{Type: gjson.String, Str: v.otherText(operands)},
			append([]string{"hasPrefix", "hasSuffix", "contains", "matches", "imageTag", "imageFrom"}, quantityOperators...)...)
	}
	if v.values.Kinds&schema.Array != 0 {
		ok = v.addAll(set, gjson.Parse("[]"), "contains", "oneOf") && ok
	}
	if v.values.Kinds&schema.Object != 0 {
		ok = v.addAll(set, gjson.Parse("{}")) && ok
	}
	return set, ok
}

// quantityOperators compare what a text means, which the examples do not cover.
var quantityOperators = []string{"quantityGreaterThan", "quantityLessThan", "quantityEquals"}

func (v *variable) has(operators ...string) bool {
	return slices.ContainsFunc(v.leaves, func(l *Expr) bool { return slices.Contains(operators, l.Operator) })
}

// answers returns what the leaves answer for a value.
func (v *variable) answers(value gjson.Result) (answers uint64) {
	for i, l := range v.leaves {
		if l.Matcher.Match(value) {
			answers |= 1 << i
		}
	}
	return answers
}

// addAll adds the answers for all values like an example, assuming that the leaves of the opaque operators may answer anything that
// does not contradict each other, and that the value may have any length. It returns false when there are too many.
func (v *variable) addAll(set map[uint64]bool, example gjson.Result, opaque ...string) bool {
	var free []int
	for i, l := range v.leaves {
		if slices.Contains(opaque, l.Operator) {
			free = append(free, i)
		}
	}
	if len(free) > maxFreeLeaves {
		return false
	}
	base := v.answers(example)
	for _, sized := range v.withLengths(base, example.Type == gjson.String || example.IsArray() || example.IsObject()) {
	combinations:
		for combination := range 1 << len(free) {
			answers := sized
			for bit, i := range free {
				answers &^= 1 << i
				if combination&(1<<bit) != 0 {
					answers |= 1 << i
				}
			}
			for _, i := range free {
				for _, j := range free {
					if contradict(v.leaves[i], answers&(1<<i) != 0, v.leaves[j], answers&(1<<j) != 0) {
						continue combinations
					}
				}
			}
			set[answers] = true
		}
	}
	return true
}

// withLengths returns the answers for each length at which an answer of a length leaf changes.
func (v *variable) withLengths(base uint64, hasLength bool) []uint64 {
	lengths := []int{0}
	for _, l := range v.leaves {
		if l.Operator == "length" {
			least, most, _ := rules.ParseLengths(l.Operand)
			lengths = append(lengths, least)
			if most < math.MaxInt {
				lengths = append(lengths, most+1)
			}
		}
	}
	if len(lengths) == 1 || !hasLength {
		return []uint64{base}
	}
	var all []uint64
	for _, n := range lengths {
		answers := base
		for i, l := range v.leaves {
			if l.Operator == "length" {
				least, most, _ := rules.ParseLengths(l.Operand)
				if answers &^= 1 << i; least <= n && n <= most {
					answers |= 1 << i
				}
			}
		}
		all = append(all, answers)
	}
	return all
}

// contradict reports whether no string gives both answers.
func contradict(a *Expr, isA bool, b *Expr, isB bool) bool {
	if a.Operator != b.Operator {
		return false
	}
	x, y := a.Operand.Value, b.Operand.Value
	if x == y && a.Operand.Kind == yaml.ScalarNode && b.Operand.Kind == yaml.ScalarNode && a.Operand.ShortTag() == b.Operand.ShortTag() {
		return isA != isB
	}
	switch a.Operator {
	case "hasPrefix":
		return isA && (isB && !strings.HasPrefix(x, y) && !strings.HasPrefix(y, x) || !isB && strings.HasPrefix(x, y))
	case "hasSuffix":
		return isA && (isB && !strings.HasSuffix(x, y) && !strings.HasSuffix(y, x) || !isB && strings.HasSuffix(x, y))
	case "contains":
		return isA && !isB && a.Operand.ShortTag() == "!!str" && b.Operand.ShortTag() == "!!str" && strings.Contains(x, y)
	case "imageTag":
		return isA && isB
	}
	return false
}

// operands returns the values that the leaves compare with.
func (v *variable) operands() []strictyaml.Scalar {
	var operands []strictyaml.Scalar
	for _, l := range v.leaves {
		for _, node := range strictyaml.Entries(l.Operand) {
			if s, err := strictyaml.ParseScalar(node); err == nil {
				operands = append(operands, s)
			}
		}
	}
	return operands
}

// examples returns booleans, numbers and short strings so that each possible one gives the same answers as one of these.
func (v *variable) examples(operands []strictyaml.Scalar) []gjson.Result {
	var examples []gjson.Result
	if v.values.Kinds&schema.Bool != 0 {
		examples = append(examples, gjson.Parse("true"), gjson.Parse("false"))
	}
	if v.values.Kinds&schema.Number != 0 {
		for _, raw := range v.numbers(operands) {
			examples = append(examples, gjson.Parse(raw))
		}
	}
	if v.values.Kinds&schema.String == 0 {
		return examples
	}
	texts := v.values.Enum
	if len(texts) == 0 {
		texts = []string{""}
		for _, s := range operands {
			if s.Kind == strictyaml.TextScalar {
				texts = append(texts, s.Text)
			}
		}
	}
	for _, text := range texts {
		examples = append(examples, gjson.Result{Type: gjson.String, Str: text})
	}
	return examples
}

// otherText returns a string that differs from all operands.
func (v *variable) otherText(operands []strictyaml.Scalar) string {
	longest := 0
	for _, s := range operands {
		longest = max(longest, len(s.Text))
	}
	return strings.Repeat("\x00", longest+1)
}

// numbers returns, as JSON, the operands, their neighbors, and a number in each gap between them.
func (v *variable) numbers(operands []strictyaml.Scalar) []string {
	raws := []string{"0", "1"}
	float := func(f float64) {
		whole := f == math.Trunc(f)
		if !math.IsInf(f, 0) && (whole || !v.values.Integer) && (f >= 0 || !v.values.Length) {
			raws = append(raws, strconv.FormatFloat(f, 'f', -1, 64))
		}
	}
	for i := range operands {
		s := &operands[i]
		if !s.IsNumber() {
			continue
		}
		for _, f := range []float64{s.Float, math.Nextafter(s.Float, math.Inf(1)), math.Nextafter(s.Float, math.Inf(-1)),
			s.Float - 1, s.Float + 1, math.Floor(s.Float), math.Ceil(s.Float), math.Floor(s.Float) - 1, math.Ceil(s.Float) + 1} {
			float(f)
		}
		if s.Kind != strictyaml.IntScalar || v.values.Length && s.Int < 1 {
			continue
		}
		raws = append(raws, strconv.FormatInt(s.Int, 10))
		if s.Int > math.MinInt64 {
			raws = append(raws, strconv.FormatInt(s.Int-1, 10))
		}
		if s.Int < math.MaxInt64 {
			raws = append(raws, strconv.FormatInt(s.Int+1, 10))
		}
	}
	return raws
}

// DependsOn reports whether the answer of an expression can change with the value of one path while another path has a value. It
// returns false when that is not known.
func (s *Solver) DependsOn(e *Expr, path, given string) bool {
	t, ok := s.prepare(e)
	if !ok || slices.ContainsFunc(t.variables, func(v *variable) bool { return v.free }) {
		return false
	}
	index := func(path string) int {
		return slices.IndexFunc(t.variables, func(v *variable) bool { return v.path == path })
	}
	of, fixed := index(path), index(given)
	return of >= 0 && fixed >= 0 && t.depends(e, of, fixed, 0)
}

// depends assigns outcomes to the variables from the given one on, except the one that the answer may depend on.
func (t *search) depends(e *Expr, of, fixed, variable int) bool {
	if t.exhausted() {
		return false
	}
	t.assigned[of] = -1
	if variable == len(t.variables) {
		answers := make(map[answer]bool)
		for w := range t.variables[of].outcomes {
			if t.assigned[of] = w; t.consistent() {
				answers[t.answer(e)] = true
			}
		}
		t.assigned[of] = -1
		return answers[yes] && answers[no]
	}
	if variable == of {
		return t.depends(e, of, fixed, variable+1)
	}
	if t.answer(e) != unknown {
		return false
	}
	defer func() { t.assigned[variable] = -1 }()
	for w, outcome := range t.variables[variable].outcomes {
		if variable == fixed && !outcome.present {
			continue
		}
		if t.assigned[variable] = w; t.consistent() && t.depends(e, of, fixed, variable+1) {
			return true
		}
	}
	return false
}

// Paths returns the paths of the leaves of an expression, each once.
func (e *Expr) Paths() []string {
	if e.Op == Leaf {
		return []string{e.Path}
	}
	var paths []string
	for _, part := range e.Parts {
		paths = append(paths, part.Paths()...)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
