package rules_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// A naiveTable is a second reading of a policy table: it decodes the table into structs and pods into maps, and
// shares no code with the engine. It is slow, and trusts the table to be one that loads.
type naiveTable struct {
	Namespaces struct{ Include, Exclude *[]string }
	Pods       struct{ Skip []naiveSkip }
	Lists      map[string]any
	Checks     []naiveCheck
	Waivers    []naiveWaiver

	AnnotationWaivers *naiveAnnotationWaivers `yaml:"annotationWaivers"`

	// fault plants a fault, so that a test can prove that it would be found.
	fault string

	// Of the pod at hand: what each expression has cost, and the answers of predicates on the root.
	cost   map[*naivePredicate]int
	ofRoot map[*naiveToken]naiveAnswer
}

// An answer is one of: no, perhaps, yes.
type answer int

const (
	no answer = iota
	perhaps
	yes
)

func answerOf(holds bool) answer {
	if holds {
		return yes
	}
	return no
}

type naiveCheck struct {
	ID        string
	ForEach   naiveStrings `yaml:"forEach"`
	When      *naivePredicate
	Violation naivePredicate

	forEach []naiveSubjects
}

type naiveSkip struct {
	Reason string
	When   naivePredicate
}

// naiveStrings are a string, or a list of them.
type naiveStrings []string

func (p *naiveStrings) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*p = naiveStrings{node.Value}
		return nil
	}
	return node.Decode((*[]string)(p))
}

type naivePredicate struct {
	All, Any    []naivePredicate
	Not         *naivePredicate
	Some, Every *naiveQuantified
	Path        naiveStrings
	Operator    string
	Operand     yaml.Node `yaml:"value"`
	ValueFrom   string    `yaml:"valueFrom"`
	Times       yaml.Node

	value   any
	paths   [][]naiveToken
	from    []naiveToken
	pattern *regexp.Regexp
	program int // the instructions of the pattern
}

// A naiveVerdict is a verdict with the ids of checks, as tests compare it.
type naiveVerdict struct {
	Violations []string // "check path container", the subject, " unknown", and " waived by waiver"
	Subjects   map[string]int
	Skip       string
	Mistakes   int // in the annotation of the pod
}

func parseNaive(text []byte) (*naiveTable, error) {
	t := new(naiveTable)
	if err := yaml.Unmarshal(text, t); err != nil {
		return nil, err
	}
	for i := range t.Pods.Skip {
		t.Pods.Skip[i].When.prepare(t.Lists)
	}
	for i := range t.Checks {
		c := &t.Checks[i]
		c.Violation.prepare(t.Lists)
		if c.When != nil {
			c.When.prepare(t.Lists)
		}
		for _, path := range c.ForEach {
			c.forEach = append(c.forEach, naiveSubjectsOf(path)...)
		}
	}
	return t, nil
}

func (p *naivePredicate) prepare(lists map[string]any) {
	for i := range p.All {
		p.All[i].prepare(lists)
	}
	for i := range p.Any {
		p.Any[i].prepare(lists)
	}
	if p.Not != nil {
		p.Not.prepare(lists)
	}
	for _, q := range []*naiveQuantified{p.Some, p.Every} {
		if q != nil {
			q.prepare(lists)
		}
	}
	for _, path := range p.Path {
		p.paths = append(p.paths, naiveTokens(path))
	}
	if p.Operator != "" && len(p.Path) == 0 {
		p.paths = [][]naiveToken{nil} // the subject itself
	}
	p.from = naiveTokens(p.ValueFrom)
	if err := p.Operand.Decode(&p.value); p.Operand.Kind != 0 && err != nil {
		panic(err)
	}
	if named, isMap := p.value.(map[string]any); isMap && named["list"] != nil {
		p.value = lists[named["list"].(string)]
	}
	if p.Operator == "matches" {
		p.pattern = regexp.MustCompile(p.value.(string))
		parsed, err := syntax.Parse(p.value.(string), syntax.Perl)
		if err != nil {
			panic(err)
		}
		program, err := syntax.Compile(parsed.Simplify())
		if err != nil {
			panic(err)
		}
		p.program = len(program.Inst)
	}
}

// -- paths

type naiveToken struct {
	kind               string // root, key, each, length, first, all
	raw, key           string
	queryKey, queryVal string
}

var naiveTokenForm = regexp.MustCompile(`^(?:(\$)|#\(([A-Za-z0-9_/-]+)=="([^"\\]*)"\)(#?)|(#)|((?:[A-Za-z0-9_/-]|\\\.)+))(?:\.|$)`)

func naiveTokens(path string) []naiveToken {
	var tokens []naiveToken
	for path != "" {
		m := naiveTokenForm.FindStringSubmatch(path)
		if m == nil {
			panic("not a path: " + path)
		}
		path = path[len(m[0]):]
		switch {
		case m[1] != "":
			tokens = append(tokens, naiveToken{kind: "root"})
		case m[2] != "" && m[4] != "":
			tokens = append(tokens, naiveToken{kind: "all", queryKey: m[2], queryVal: m[3]})
		case m[2] != "":
			tokens = append(tokens, naiveToken{kind: "first", queryKey: m[2], queryVal: m[3]})
		case m[5] != "" && path == "":
			tokens = append(tokens, naiveToken{kind: "length"})
		case m[5] != "":
			tokens = append(tokens, naiveToken{kind: "each"})
		default:
			tokens = append(tokens, naiveToken{kind: "key", raw: m[6], key: strings.ReplaceAll(m[6], `\.`, ".")})
		}
	}
	return tokens
}

// A found value, and the path that leads to it.
type naiveFound struct {
	value any
	path  []string
}

func (t *naiveTable) follow(from naiveFound, token naiveToken) []naiveFound {
	deeper := func(value any, name string) naiveFound {
		return naiveFound{value, append(append([]string{}, from.path...), name)}
	}
	array, isArray := from.value.([]any)
	object, isObject := from.value.(map[string]any)
	switch {
	case token.kind == "key" && isObject:
		key := token.key
		if t.fault == "backslashes are letters" {
			key = token.raw
		}
		if value, ok := object[key]; ok {
			return []naiveFound{deeper(value, token.raw)}
		}
	case token.kind == "key" && isArray:
		for i, value := range array {
			if strconv.Itoa(i) == token.raw {
				return []naiveFound{deeper(value, token.raw)}
			}
		}
	case token.kind == "length" && isArray:
		n := len(array)
		if t.fault == "the length leaves null out" {
			n = 0
			for _, value := range array {
				if value != nil {
					n++
				}
			}
		}
		return []naiveFound{deeper(json.Number(strconv.Itoa(n)), "#")}
	case isArray && token.kind != "length":
		var found []naiveFound
		for i, value := range array {
			if token.kind != "each" && !t.selected(value, token) {
				continue
			}
			if t.fault == "indexes begin at 1" {
				found = append(found, deeper(value, strconv.Itoa(i+1)))
			} else {
				found = append(found, deeper(value, strconv.Itoa(i)))
			}
			if token.kind == "first" && t.fault != "first means all" || token.kind == "all" && t.fault == "all means first" {
				break
			}
		}
		return found
	}
	return nil
}

func (t *naiveTable) selected(element any, token naiveToken) bool {
	object, _ := element.(map[string]any)
	value := object[token.queryKey]
	if t.fault == "queries compare the text of numbers" && value != nil {
		return fmt.Sprint(value) == token.queryVal
	}
	return value == token.queryVal
}

func (t *naiveTable) find(path []naiveToken, from any) []naiveFound {
	found := []naiveFound{{value: from}}
	for _, token := range path {
		var next []naiveFound
		for _, f := range found {
			next = append(next, t.follow(f, token)...)
		}
		found = next
	}
	return found
}

func (t *naiveTable) values(path []naiveToken, from any) []any {
	var values []any
	for _, f := range t.find(path, from) {
		if f.value != nil || t.fault == "null is there" {
			values = append(values, f.value)
		}
	}
	return values
}

// -- predicates

func (t *naiveTable) holds(p *naivePredicate, pod, subject any) answer {
	undecided := false
	switch {
	case p.All != nil:
		for i := range p.All {
			switch t.holds(&p.All[i], pod, subject) {
			case no:
				return no
			case perhaps:
				if undecided = true; t.fault == "an unknown part decides all" {
					return perhaps
				}
			}
		}
		if undecided {
			return perhaps
		}
		return yes
	case p.Any != nil:
		for i := range p.Any {
			switch t.holds(&p.Any[i], pod, subject) {
			case yes:
				return yes
			case perhaps:
				if undecided = true; t.fault == "an unknown part decides any" {
					return perhaps
				}
			}
		}
		if undecided {
			return perhaps
		}
		return answerOf(t.fault == "any holds when none holds")
	case p.Not != nil:
		switch t.holds(p.Not, pod, subject) {
		case yes:
			return no
		case perhaps:
			if t.fault == "not of unknown is true" {
				return yes
			}
			return perhaps
		}
		return yes
	}
	if p.Some != nil {
		return t.some(p.Some, pod, subject)
	}
	if p.Every != nil {
		return t.every(p.Every, pod, subject)
	}
	if p.ValueFrom != "" {
		return t.fromPod(p, pod, subject)
	}
	for i, path := range p.paths {
		if i > 0 && t.fault == "only the first path counts" || i < len(p.paths)-1 && t.fault == "the last path counts" {
			continue
		}
		if a := t.at(p, path, pod, subject); a.there {
			return a.answer
		}
	}
	switch p.Operator {
	case "notEquals":
		return answerOf(t.fault != "nothing is not unequal")
	case "notIn":
		return answerOf(t.fault != "nothing is not outside a list")
	}
	return answerOf(p.Operator == "absent")
}

// A naiveAnswer is that of one path, if it leads to a value.
type naiveAnswer struct {
	answer
	there bool
}

func (t *naiveTable) at(p *naivePredicate, path []naiveToken, pod, subject any) naiveAnswer {
	if len(path) == 0 || path[0].kind != "root" {
		return t.ask(p, t.values(path, subject))
	}
	if t.fault == "the root is the subject" {
		return t.ask(p, t.values(path[1:], subject))
	}
	// The answer is kept, because to ask again would cost again.
	if _, known := t.ofRoot[&path[0]]; !known {
		t.ofRoot[&path[0]] = t.ask(p, t.values(path[1:], pod))
	}
	return t.ofRoot[&path[0]]
}

func (t *naiveTable) ask(p *naivePredicate, values []any) naiveAnswer {
	if len(values) == 0 {
		return naiveAnswer{}
	}
	return naiveAnswer{t.any(p, values), true}
}

// any is the answer for several values.
func (t *naiveTable) any(p *naivePredicate, values []any) answer {
	all, some, undecided := true, false, false
	for _, value := range values {
		if some {
			break // nor is the cost of the others paid
		}
		switch {
		case t.unknown(p, value):
			undecided, all = true, false
		case t.compare(p, value):
			some = true
		default:
			all = false
		}
		if t.fault == "several values must all fulfil it" && some {
			some = false
		}
	}
	switch {
	case t.fault == "several values must all fulfil it":
		return answerOf(all)
	case some:
		return yes
	case undecided && t.fault != "unknown is false":
		return perhaps
	}
	return no
}

// unknown reports whether a value costs too much to be compared.
func (t *naiveTable) unknown(p *naivePredicate, value any) bool {
	text, isText := value.(string)
	switch p.Operator {
	case "matches":
		if !isText || t.fault == "no text is too long" {
			return false
		}
		cost := p.program * len(text)
		if cost > 5_000_000 || t.cost[p]+cost > 50_000_000 {
			return true
		}
		t.cost[p] += cost
	case "quantityGreaterThan", "quantityLessThan", "quantityEquals":
		number, isNumber := value.(json.Number)
		return (isText || isNumber) && naiveQuantity.MatchString(text+number.String()) && parseNaiveQuantity(text+number.String(), t.fault) == nil
	}
	return false
}

func (t *naiveTable) compare(p *naivePredicate, value any) bool {
	text, isText := value.(string)
	want, wantText := p.value.(string)
	switch p.Operator {
	case "exists":
		return t.fault != "false does not exist" || value != false
	case "absent":
		return false
	case "equals":
		return t.equal(value, p.value)
	case "notEquals":
		return !t.equal(value, p.value)
	case "in":
		return t.in(value, p.value.([]any))
	case "notIn":
		return !t.in(value, p.value.([]any))
	case "hasPrefix":
		return isText && strings.HasPrefix(text, want)
	case "hasSuffix":
		return isText && strings.HasSuffix(text, want)
	case "contains":
		if array, isArray := value.([]any); isArray {
			for _, element := range array {
				if t.equal(element, p.value) {
					return t.fault != "lists contain nothing"
				}
			}
			return false
		}
		return isText && wantText && strings.Contains(text, want)
	case "matches":
		if t.fault == "expressions match the whole text" {
			return isText && p.pattern.FindString(text) == text
		}
		return isText && p.pattern.MatchString(text)
	case "greaterThan":
		order, ok := t.order(value, p.value)
		return ok && (order > 0 || order == 0 && t.fault == "greaterThan or equal")
	case "lessThan":
		order, ok := t.order(value, p.value)
		return ok && order < 0
	case "oneOf":
		if array, isArray := value.([]any); isArray && t.fault != "oneOf does not look into lists" {
			for _, element := range array {
				if t.in(element, p.value.([]any)) {
					return true
				}
			}
			return false
		}
		return t.in(value, p.value.([]any))
	case "quantityGreaterThan", "quantityLessThan", "quantityEquals":
		return t.quantity(p, value)
	case "length":
		return t.length(p, value)
	case "imageTag":
		tag, ok := t.imageTag(value)
		return ok && tag == want
	case "imageFrom":
		return t.imageFrom(p, value)
	}
	panic("unknown operator " + p.Operator)
}

func (t *naiveTable) in(value any, list []any) bool {
	for i, want := range list {
		if t.equal(value, want) {
			return t.fault != "only the first entry of a list counts" || i == 0
		}
	}
	return false
}

func (t *naiveTable) equal(value, want any) bool {
	switch value := value.(type) {
	case string, bool:
		return value == want
	case json.Number:
		if t.fault == "numbers equal their text" && fmt.Sprint(want) == value.String() {
			return true
		}
		order, ok := t.order(value, want)
		return ok && order == 0
	}
	return false
}

// order compares two numbers: two whole ones exactly, others as float64.
func (t *naiveTable) order(value, want any) (int, bool) {
	number, isNumber := value.(json.Number)
	if !isNumber {
		return 0, false
	}
	left, _ := strconv.ParseFloat(number.String(), 64)
	switch want := want.(type) {
	case int:
		if whole, ok := new(big.Int).SetString(number.String(), 10); ok && t.fault != "numbers are floats" {
			return whole.Cmp(big.NewInt(int64(want))), true
		}
		return big.NewFloat(left).Cmp(big.NewFloat(float64(want))), true
	case float64:
		return big.NewFloat(left).Cmp(big.NewFloat(want)), true
	}
	return 0, false
}

// -- pods

func (t *naiveTable) evaluate(pod any) naiveVerdict {
	v := naiveVerdict{Subjects: make(map[string]int)}
	t.cost, t.ofRoot = make(map[*naivePredicate]int), make(map[*naiveToken]naiveAnswer)
	for i := range t.Pods.Skip {
		s := &t.Pods.Skip[i]
		if (v.Skip == "" || t.fault == "the last skip gives the reason") && t.fault != "no pod is skipped" {
			if holds := t.holds(&s.When, pod, pod); holds == yes || holds == perhaps && t.fault == "an unknown skip skips" {
				v.Skip = s.Reason
			}
		}
	}
	if v.Skip == "" {
		_, v.Mistakes = t.annotated(pod)
	}
	for i := range t.Checks {
		c := &t.Checks[i]
		v.Subjects[c.ID] = 0
		if v.Skip != "" {
			continue
		}
		subjects := []naiveFound{{value: pod}}
		if len(c.ForEach) > 0 {
			subjects = nil
			for _, path := range c.forEach {
				if t.fault == "the last forEach counts" {
					subjects = nil
				}
				subjects = append(subjects, t.subjects(path, pod)...)
			}
		}
		for n, s := range subjects {
			applies := yes
			if c.When != nil && t.fault != "when says nothing" {
				applies = t.holds(c.When, pod, s.value)
			}
			if n == 10_000 {
				applies = perhaps // all that is left
			}
			if applies == perhaps && t.fault == "an unknown when leaves out" {
				applies = no
			}
			if applies != no || t.fault == "what when leaves out is a subject" {
				v.Subjects[c.ID]++
			}
			fails := applies
			if applies == yes {
				fails = t.holds(&c.Violation, pod, s.value)
			}
			if fails != no {
				violation := naiveViolation{check: c.ID, element: len(c.ForEach) > 0}
				if violation.element {
					violation.container, violation.subject = t.names(pod, s)
				}
				v.Violations = append(v.Violations, t.words(pod, s, violation, fails))
			}
			if n == 10_000 {
				break
			}
		}
	}
	return v
}

func (t *naiveTable) words(pod any, s naiveFound, v naiveViolation, fails answer) string {
	words := fmt.Sprintf("%s %s %q", v.check, strings.Join(s.path, "."), v.container)
	if v.subject != "" {
		words += fmt.Sprintf(" %q", v.subject)
	}
	if fails == perhaps && t.fault != "unknown is true" {
		words += " unknown"
	}
	if w := t.waiver(pod, v); w != nil {
		words += " waived by " + w.ID
	}
	return words
}

func decodeNaive(pod []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(pod))
	decoder.UseNumber()
	var decoded any
	err := decoder.Decode(&decoded)
	return decoded, err
}
