package rules

import (
	"slices"
	"sync"
	"unsafe"

	"github.com/tidwall/gjson"
)

// MaxSubjects is the maximum number of subjects of a check in a pod. Real pods have fewer than a hundred containers; a hostile one may
// have a hundred thousand environment variables.
const MaxSubjects = 10_000

// The bounds of the cost of an expensive test, in instructions of a regular expression times bytes of a value: for one value, and for
// all values of one leaf in a pod. Each leaf has its own budget, so no answer depends on the other checks of the table.
const (
	maxValueCost = 5_000_000
	maxLeafCost  = 50_000_000
)

// A Verdict is the result of evaluating one pod.
type Verdict struct {
	// Violations are in the order of the table's checks, those of one check in the order of the pod.
	Violations []Violation
	// Subjects holds, for each check of the table, how many subjects it looked at.
	Subjects []int
	// SkipReason says why the table skips the pod; empty for a pod that is evaluated. A skipped pod has neither violations nor subjects.
	SkipReason string
	// Mistakes describe the lines of the pod's annotation that accept nothing, if the table reads annotations. They are few.
	Mistakes []string
}

// A Violation is one check that one subject fails.
type Violation struct {
	// Check is the index of the check in the table.
	Check int
	// Path is the path of the subject, such as "spec.containers.0"; empty when the subject is the pod itself.
	Path string
	// Container is the name of the container that the subject is, or is part of; empty when there is none.
	Container string
	// Subject is the name of the subject within its container or pod; empty when the subject is the container or the pod itself.
	Subject string
	// Unknown: the check could not be evaluated for the subject, which counts as a violation.
	Unknown bool
	// Waiver is the waiver that accepts the violation until it expires: of several, the one that expires last; nil when there is none.
	// The caller, who has a clock, must check whether it has expired.
	Waiver *Waiver
}

// A group is the checks with the same subjects, which are walked once for all of them.
type group struct {
	forEach []subjectPath // none: the pod itself is the one subject
	checks  []int
}

// An evaluation is the memory used to evaluate one pod.
type evaluation struct {
	checker   checker
	pod       gjson.Result
	indexed   bool          // the pod is indexed for this table
	objects   []objectIndex // the pod first, then some of its fields
	constant  []truth
	spent     []int // the costs of the expensive tests so far
	found     []foundValues
	indexes   []int        // the position of the walk over subjects in each array, outermost first
	container gjson.Result // the last container on the walk over subjects
	waivers   []truth      // for each waiver: whether it is about this pod; empty until the first violation
	identity  identity
	annotated []annotationLine // what the pod's annotation accepts
	// byAnnotation has the waiver of the annotation for each check; empty until the first violation.
	byAnnotation []*Waiver
	subjects     Locator // finds the subjects of violations for their details
	// shown has, for each slot of constant, what a some below the pod's root shows; empty until the first one.
	shown  []*shown
	ranOut bool // a some or every has looked at as many elements as it may
}

var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

// affords charges the budget of a leaf for the test of a value, and reports whether it sufficed.
func (e *evaluation) affords(l *leaf, value gjson.Result) bool {
	if value.Type != gjson.String {
		return true
	}
	cost := l.test.perByte * len(value.Str)
	if cost > maxValueCost || cost > maxLeafCost-e.spent[l.budget] {
		return false
	}
	e.spent[l.budget] += cost
	return true
}

// Evaluate evaluates one pod, given as the JSON of a Pod object. A pod that lacks what a check looks at (a spec, its containers, a
// status) has no subject of that check, and so no violation.
//
// A check that cannot be evaluated for a subject, because it would cost more than any real pod does, is a violation that is Unknown.
// Of a check with more than MaxSubjects subjects, the rest counts as one such subject.
//
// On an error there is no verdict: the text is not a complete JSON object (*SyntaxError). The pod must then be counted as not
// evaluated, never as one without violations.
func (t *Table) Evaluate(pod []byte) (Verdict, error) {
	var v Verdict
	err := t.EvaluateInto(&v, pod)
	return v, err
}

// EvaluateInto is Evaluate into a Verdict whose memory it reuses. It does not allocate for a pod without violations. The verdict does not
// refer to the text of the pod.
func (t *Table) EvaluateInto(v *Verdict, pod []byte) error {
	v.Violations, v.Subjects, v.Mistakes = v.Violations[:0], v.Subjects[:0], v.Mistakes[:0]
	e := evaluations.Get().(*evaluation)
	defer evaluations.Put(e)
	if err := e.checker.check(pod); err != nil {
		return err
	}
	e.begin(t, pod)
	v.Subjects = append(v.Subjects, make([]int, len(t.checks))...)
	if v.SkipReason = t.skipReason(e); v.SkipReason == "" {
		t.readAnnotation(e, v)
		for i := range t.groups {
			t.evaluateGroup(e, v, &t.groups[i])
		}
	}
	e.end()
	slices.SortStableFunc(v.Violations, func(a, b Violation) int { return a.Check - b.Check })
	return nil
}

// begin prepares for a pod whose JSON has been validated.
func (e *evaluation) begin(t *Table, pod []byte) {
	e.pod, e.indexed = parsed(pod), t.lookups >= minIndexedLookups
	e.constant = append(e.constant[:0], make([]truth, t.constants)...)
	e.spent = append(e.spent[:0], make([]int, t.budgets)...)
	e.beginFound(t.found)
	e.waivers, e.annotated, e.byAnnotation = e.waivers[:0], e.annotated[:0], e.byAnnotation[:0]
	e.shown, e.ranOut = e.shown[:0], false
}

// end drops all references to the pod.
func (e *evaluation) end() {
	e.pod, e.container, e.identity = gjson.Result{}, gjson.Result{}, identity{}
	clear(e.annotated)
	clear(e.byAnnotation)
	clear(e.shown)
	e.clearIndexes()
	e.endFound()
}

// parsed does not copy the pod: the result, and everything taken from it, is valid as long as the text is.
func parsed(pod []byte) gjson.Result {
	return gjson.Parse(unsafe.String(unsafe.SliceData(pod), len(pod)))
}

// skipReason returns the reason of the first skip whose condition is true; "" when there is none.
func (t *Table) skipReason(e *evaluation) string {
	for _, s := range t.skips {
		if s.when.of(e, e.pod) == isTrue {
			return s.reason
		}
	}
	return ""
}

func (t *Table) evaluateGroup(e *evaluation, v *Verdict, g *group) {
	if len(g.forEach) == 0 {
		t.evaluateSubject(e, v, g, e.pod, nil)
		return
	}
	count := 0
	for i := range g.forEach {
		where := &g.forEach[i]
		if !where.applies(e) {
			continue
		}
		e.indexes = e.indexes[:0]
		more := where.walk(e, where.Steps, e.pod, func(subject gjson.Result) bool {
			if count++; count > MaxSubjects {
				t.evaluateRest(e, v, g, subject, where)
				return false
			}
			t.evaluateSubject(e, v, g, subject, where)
			return true
		})
		if !more {
			return
		}
	}
}

// evaluateRest counts the subjects beyond MaxSubjects as one unknown subject.
func (t *Table) evaluateRest(e *evaluation, v *Verdict, g *group, first gjson.Result, where *subjectPath) {
	for _, c := range g.checks {
		t.violate(e, v, c, unknown, first, where)
		v.Subjects[c]++
	}
}

func (t *Table) evaluateSubject(e *evaluation, v *Verdict, g *group, subject gjson.Result, where *subjectPath) {
	for _, c := range g.checks {
		check := &t.checks[c]
		when := isTrue
		if check.when != nil {
			when = check.when.of(e, subject)
		}
		if when == isFalse {
			continue
		}
		v.Subjects[c]++
		if when == unknown {
			t.violate(e, v, c, unknown, subject, where)
		} else if answer := check.violation.of(e, subject); answer != isFalse {
			t.violate(e, v, c, answer, subject, where)
		}
	}
}

// violate adds a violation that is true or unknown.
func (t *Table) violate(e *evaluation, v *Verdict, check int, answer truth, subject gjson.Result, where *subjectPath) {
	violation := Violation{Check: check, Unknown: answer == unknown}
	if where != nil {
		violation.Path = where.path(e.indexes)
		violation.Container, violation.Subject = where.names(e, subject, violation.Path)
	}
	violation.Waiver = t.waiver(e, violation)
	if w := t.annotationWaiver(e, check); w != nil && (violation.Waiver == nil || w.Expires.After(violation.Waiver.Expires)) {
		violation.Waiver = w
	}
	v.Violations = append(v.Violations, violation)
}
