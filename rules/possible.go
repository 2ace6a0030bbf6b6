package rules

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"
)

// Whether a condition can be true at all is found out by trying what the values that it looks at may be. Of each path
// there are worlds: that nothing is there, and for what may be there one world for each combination of answers that
// the leaves on that path can give. Where it is not known exactly which combinations there are, more are taken: so a
// condition may be called possible that is not, and never the other way round.

// The bounds of trying.
const (
	maxOpaque = 8       // leaves on one path whose answers are tried in all combinations
	maxTries  = 100_000 // assignments of worlds to paths, for one condition
	maxEffort = 5_000_000
)

// A world is what the leaves on one path answer together: bit i is the answer of leaf i.
type world struct {
	answers uint64
	there   bool // the path leads to something
}

// A variable is a path and the leaves that look there.
type variable struct {
	path   string
	value  expected
	leaves []*leaf
	worlds []world
	above  []int // variables whose path is the beginning of this one: what is there stands in what is there
}

// A trial assigns worlds to variables until a condition has the answer that is asked for.
type trial struct {
	variables []*variable
	at        map[*leaf][2]int // of each leaf: its variable, and its bit there
	assigned  []int            // of each variable: its world, or -1
	tries     int
}

// doubtConstant tells of the parts of a condition that have one answer whatever the pod, the innermost ones alone; never
// and always are said of the condition as a whole.
func (d *doubter) doubtConstant(c *condition, never, always string) bool {
	told := false
	for _, part := range c.of {
		told = d.doubtConstant(part, "this part can never be true", "this part is always true") || told
	}
	switch {
	case told:
	case !d.possible(c, true):
		d.wrong(c.node, "%s", never)
		told = true
	case !d.possible(c, false):
		d.wrong(c.node, "%s", always)
		told = true
	}
	return told
}

// possible tells whether a condition can have an answer; it is true where that is not known.
func (d *doubter) possible(c *condition, answer bool) bool {
	t := &trial{at: make(map[*leaf][2]int)}
	if d.effort > maxEffort || !t.collect(c) {
		return true
	}
	defer func() { d.effort += t.tries }()
	return !d.prepare(t) || t.try(c, answer, 0)
}

// prepare lists the worlds of all variables; it is false where there are too many.
func (d *doubter) prepare(t *trial) bool {
	for _, v := range t.variables {
		var ok bool
		v.worlds, ok = v.allWorlds()
		if d.effort += len(v.worlds); !ok {
			return false
		}
		for i, other := range t.variables {
			if strings.HasPrefix(v.path, other.path+".") {
				v.above = append(v.above, i)
			}
		}
		t.assigned = append(t.assigned, -1)
	}
	return true
}

// collect finds the variables of a condition; it is false where there are too many leaves on one.
func (t *trial) collect(c *condition) bool {
	for _, part := range c.of {
		if !t.collect(part) {
			return false
		}
	}
	if c.kind != isLeaf {
		return true
	}
	i := slices.IndexFunc(t.variables, func(v *variable) bool { return v.path == c.path })
	if i < 0 {
		i = len(t.variables)
		t.variables = append(t.variables, &variable{path: c.path, value: c.value})
	}
	v := t.variables[i]
	t.at[c.leaf] = [2]int{i, len(v.leaves)}
	v.leaves = append(v.leaves, c.leaf)
	return len(v.leaves) <= 64
}

// try assigns worlds to the variables from the given one on.
func (t *trial) try(c *condition, answer bool, variable int) bool {
	if t.tries++; t.tries > maxTries {
		return true
	}
	switch known := t.answer(c); {
	case known != unknown:
		return (known == isTrue) == answer
	case variable == len(t.variables):
		return true
	}
	for w := range t.variables[variable].worlds {
		t.assigned[variable] = w
		if t.consistent() && t.try(c, answer, variable+1) {
			return true
		}
	}
	t.assigned[variable] = -1
	return false
}

// consistent tells whether nothing stands in what is not there.
func (t *trial) consistent() bool {
	for i, v := range t.variables {
		if t.assigned[i] < 0 || !v.worlds[t.assigned[i]].there {
			continue
		}
		for _, above := range v.above {
			if w := t.assigned[above]; w >= 0 && !t.variables[above].worlds[w].there {
				return false
			}
		}
	}
	return true
}

// answer is that of a condition as far as the assigned variables decide it.
func (t *trial) answer(c *condition) truth {
	switch c.kind {
	case isLeaf:
		at := t.at[c.leaf]
		w := t.assigned[at[0]]
		switch {
		case w < 0:
			return unknown
		case t.variables[at[0]].worlds[w].answers&(1<<at[1]) != 0:
			return isTrue
		}
		return isFalse
	case isNot:
		switch t.answer(c.of[0]) {
		case isTrue:
			return isFalse
		case isFalse:
			return isTrue
		}
		return unknown
	}
	decisive, otherwise := isFalse, isTrue
	if c.kind == isAny {
		decisive, otherwise = isTrue, isFalse
	}
	for _, part := range c.of {
		switch t.answer(part) {
		case decisive:
			return decisive
		case unknown:
			otherwise = unknown
		}
	}
	return otherwise
}

// allWorlds lists the worlds of a variable; it is false where there are too many.
func (v *variable) allWorlds() ([]world, bool) {
	values, ok := v.valueAnswers()
	if !ok {
		return nil, false
	}
	if v.value.several {
		// A leaf is true when it is true of any value: the answers for several values are put together.
		if values, ok = closed(values); !ok {
			return nil, false
		}
	}
	var worlds []world
	if !v.value.always {
		nothing := world{}
		for i, l := range v.leaves {
			if l.absent {
				nothing.answers |= 1 << i
			}
		}
		worlds = append(worlds, nothing)
	}
	for answers := range values {
		worlds = append(worlds, world{answers, true})
	}
	return worlds, true
}

// closed adds all that comes of putting members of a set together.
func closed(set map[uint64]bool) (map[uint64]bool, bool) {
	const most = 1 << maxOpaque
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

// valueAnswers is the set of answers that the leaves may give for one value.
func (v *variable) valueAnswers() (map[uint64]bool, bool) {
	set := make(map[uint64]bool)
	operands := v.operands()
	for _, example := range v.examples(operands) {
		if example.Type == gjson.Number && v.has("quantityGreaterThan", "quantityLessThan") {
			// Numbers between the examples may be other quantities.
			if !v.addAll(set, example, "quantityGreaterThan", "quantityLessThan") {
				return nil, false
			}
			continue
		}
		set[v.answers(example)] = true
	}
	ok := true
	if v.value.kinds&aText != 0 && len(v.value.values) == 0 {
		ok = v.addAll(set, gjson.Result{Type: gjson.String, Str: v.otherText(operands)},
			"hasPrefix", "hasSuffix", "contains", "matches", "imageTag", "quantityGreaterThan", "quantityLessThan")
	}
	if v.value.kinds&anArray != 0 {
		ok = v.addAll(set, gjson.Parse("[]"), "contains", "oneOf") && ok
	}
	if v.value.kinds&anObject != 0 {
		ok = v.addAll(set, gjson.Parse("{}")) && ok
	}
	return set, ok
}

func (v *variable) has(operators ...string) bool {
	return slices.ContainsFunc(v.leaves, func(l *leaf) bool { return slices.Contains(operators, l.operator) })
}

// answers are those of the leaves for a value.
func (v *variable) answers(value gjson.Result) (answers uint64) {
	for i, l := range v.leaves {
		if l.compare(value) == isTrue {
			answers |= 1 << i
		}
	}
	return answers
}

// addAll adds the answers for all values that are like an example but for what some operators, and length, look at. It
// is false where there are too many.
func (v *variable) addAll(set map[uint64]bool, example gjson.Result, opaque ...string) bool {
	var free []int
	for i, l := range v.leaves {
		if slices.Contains(opaque, l.operator) {
			free = append(free, i)
		}
	}
	if len(free) > maxOpaque {
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

// withLengths gives answers for each length that makes a difference: those from which an answer changes on.
func (v *variable) withLengths(base uint64, hasLength bool) []uint64 {
	lengths := []int{0}
	for _, l := range v.leaves {
		if l.operator == "length" {
			least, most, _ := parseLengths(l.value)
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
			if l.operator == "length" {
				least, most, _ := parseLengths(l.value)
				if answers &^= 1 << i; least <= n && n <= most {
					answers |= 1 << i
				}
			}
		}
		all = append(all, answers)
	}
	return all
}

// contradict tells whether one text cannot give both answers.
func contradict(a *leaf, isA bool, b *leaf, isB bool) bool {
	if a.operator != b.operator {
		return false
	}
	x, y := a.value.Value, b.value.Value
	if x == y && a.value.Kind == yaml.ScalarNode && b.value.Kind == yaml.ScalarNode && a.value.ShortTag() == b.value.ShortTag() {
		return isA != isB
	}
	switch a.operator {
	case "hasPrefix":
		return isA && (isB && !strings.HasPrefix(x, y) && !strings.HasPrefix(y, x) || !isB && strings.HasPrefix(x, y))
	case "hasSuffix":
		return isA && (isB && !strings.HasSuffix(x, y) && !strings.HasSuffix(y, x) || !isB && strings.HasSuffix(x, y))
	case "contains":
		return isA && !isB && a.value.ShortTag() == "!!str" && b.value.ShortTag() == "!!str" && strings.Contains(x, y)
	case "imageTag":
		return isA && isB
	}
	return false
}

// operands are the values that the leaves compare with.
func (v *variable) operands() []scalar {
	var operands []scalar
	for _, l := range v.leaves {
		for _, node := range entries(l.value) {
			if s, err := parseScalar(node); err == nil {
				operands = append(operands, s)
			}
		}
	}
	return operands
}

// examples are values of which at least one stands for each that a leaf may tell from others: all but long texts, arrays
// and objects.
func (v *variable) examples(operands []scalar) []gjson.Result {
	var examples []gjson.Result
	if v.value.kinds&aTruth != 0 {
		examples = append(examples, gjson.Parse("true"), gjson.Parse("false"))
	}
	if v.value.kinds&aCount != 0 {
		for _, raw := range v.numbers(operands) {
			examples = append(examples, gjson.Parse(raw))
		}
	}
	if v.value.kinds&aText == 0 {
		return examples
	}
	texts := v.value.values
	if len(texts) == 0 {
		texts = []string{""}
		for _, s := range operands {
			if s.kind == textScalar {
				texts = append(texts, s.text)
			}
		}
	}
	for _, text := range texts {
		examples = append(examples, gjson.Result{Type: gjson.String, Str: text})
	}
	return examples
}

// otherText is a text that is no operand.
func (v *variable) otherText(operands []scalar) string {
	longest := 0
	for _, s := range operands {
		longest = max(longest, len(s.text))
	}
	return strings.Repeat("\x00", longest+1)
}

// numbers are the operands, the numbers beside them, and one in each gap between them, as JSON.
func (v *variable) numbers(operands []scalar) []string {
	raws := []string{"0", "1"}
	float := func(f float64) {
		whole := f == math.Trunc(f)
		if !math.IsInf(f, 0) && (whole || !v.value.whole) && (f >= 0 || !v.value.length) {
			raws = append(raws, strconv.FormatFloat(f, 'f', -1, 64))
		}
	}
	for i := range operands {
		s := &operands[i]
		if !s.isNumber() {
			continue
		}
		for _, f := range []float64{s.float, math.Nextafter(s.float, math.Inf(1)), math.Nextafter(s.float, math.Inf(-1)),
			s.float - 1, s.float + 1, math.Floor(s.float), math.Ceil(s.float), math.Floor(s.float) - 1, math.Ceil(s.float) + 1} {
			float(f)
		}
		if s.kind != wholeScalar || v.value.length && s.whole < 1 {
			continue
		}
		raws = append(raws, strconv.FormatInt(s.whole, 10))
		if s.whole > math.MinInt64 {
			raws = append(raws, strconv.FormatInt(s.whole-1, 10))
		}
		if s.whole < math.MaxInt64 {
			raws = append(raws, strconv.FormatInt(s.whole+1, 10))
		}
	}
	return raws
}
