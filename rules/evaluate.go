package rules

import (
	"slices"
	"sync"
	"unsafe"

	"github.com/tidwall/gjson"
)

// MaxSubjects is how many subjects of a check are looked at in a pod. Kubernetes has no pod of a hundred containers; a
// hostile one may have a hundred thousand environment variables.
const MaxSubjects = 10_000

// The bounds of what a test that is not cheap may cost, in instructions of a regular expression times bytes of a value:
// for one value, and for all values that one leaf of the table is asked for in a pod. Since each leaf has a budget of its
// own, no answer depends on the other checks of the table.
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
	// SkipReason says why the table leaves the pod out of all counts; empty for a pod that counts. A pod that is
	// left out has neither violations nor subjects.
	SkipReason string
}

// A Violation is one check failed by one subject.
type Violation struct {
	// Check is the index of the check in the table.
	Check int
	// Path leads to the subject, "spec.containers.0"; empty where the pod itself is the subject.
	Path string
	// Container is the name of the container that the subject is, or is a part of; empty where there is none.
	Container string
	// Subject is the name of the subject within its container or pod; empty where the subject is the container or the pod
	// itself.
	Subject string
	// Unknown says that the check could not be answered for the subject. It counts as a violation.
	Unknown bool
	// Waiver is the waiver that accepts the violation until it expires, of several the one that expires last; nil
	// where there is none. Whether it has expired is for the caller to say, who has a clock.
	Waiver *Waiver
}

// A group is the checks that look at the same subjects: the subjects are walked once for all of them.
type group struct {
	forEach []subjectPath // none: the pod itself is the one subject
	checks  []int
}

// An evaluation is the working memory of evaluating one pod.
type evaluation struct {
	checker   checker
	pod       gjson.Result
	indexed   bool          // the pod is indexed for this table
	objects   []objectIndex // the pod first, then some of its fields
	constant  []truth
	spent     []int        // what the tests that are not cheap have cost so far
	indexes   []int        // where the walk over subjects stands in each array, outermost first
	container gjson.Result // the last container that the walk over subjects came through
	waivers   []truth      // of each waiver: whether it is about this pod; empty until a violation asks
	identity  identity
	subjects  Locator // of the violations whose details are asked for
}

var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

// affords charges a leaf for the test of a value, and tells whether its budget allows it.
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

// Evaluate judges one pod, given as the JSON of a Pod object. A pod that lacks what a check looks at (a spec, its
// containers, a status) has no subject there, and no violation.
//
// A check that cannot be answered for a subject, since looking at it would cost more than any real pod does, is a violation
// that is unknown. Where a check finds more than MaxSubjects subjects, the rest of them counts as one such subject.
//
// An error means that there is no verdict: the text is not one whole JSON object (*SyntaxError). The pod must then be
// counted as not evaluated, never as clean.
func (t *Table) Evaluate(pod []byte) (Verdict, error) {
	var v Verdict
	err := t.EvaluateInto(&v, pod)
	return v, err
}

// EvaluateInto is Evaluate into a Verdict whose memory is used again. A pod without violations costs no allocation.
// Nothing in the verdict refers to the text of the pod.
func (t *Table) EvaluateInto(v *Verdict, pod []byte) error {
	v.Violations, v.Subjects = v.Violations[:0], v.Subjects[:0]
	e := evaluations.Get().(*evaluation)
	defer evaluations.Put(e)
	if err := e.checker.check(pod); err != nil {
		return err
	}
	e.begin(t, pod)
	v.Subjects = append(v.Subjects, make([]int, len(t.checks))...)
	if v.SkipReason = t.skipReason(e); v.SkipReason == "" {
		for i := range t.groups {
			t.evaluateGroup(e, v, &t.groups[i])
		}
	}
	e.end()
	slices.SortStableFunc(v.Violations, func(a, b Violation) int { return a.Check - b.Check })
	return nil
}

// begin prepares the memory for a pod whose JSON has been checked.
func (e *evaluation) begin(t *Table, pod []byte) {
	e.pod, e.indexed = parsed(pod), t.lookups >= minIndexedLookups
	e.constant = append(e.constant[:0], make([]truth, t.constants)...)
	e.spent = append(e.spent[:0], make([]int, t.budgets)...)
	e.waivers = e.waivers[:0]
}

// end lets go of the pod.
func (e *evaluation) end() {
	e.pod, e.container, e.identity = gjson.Result{}, gjson.Result{}, identity{}
	e.clearIndexes()
}

// parsed makes no copy of the pod: the result, and all that is taken from it, live as long as the text does.
func parsed(pod []byte) gjson.Result {
	return gjson.Parse(unsafe.String(unsafe.SliceData(pod), len(pod)))
}

// skipReason is the reason of the first skip that the pod fulfils, empty where there is none.
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

// evaluateRest counts the subjects from the given one on, which are too many, as one of which nothing is known.
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

// violate adds a violation, which is true or unknown.
func (t *Table) violate(e *evaluation, v *Verdict, check int, answer truth, subject gjson.Result, where *subjectPath) {
	violation := Violation{Check: check, Unknown: answer == unknown}
	if where != nil {
		violation.Path = where.path(e.indexes)
		violation.Container, violation.Subject = where.names(e, subject, violation.Path)
	}
	violation.Waiver = t.waiver(e, violation)
	v.Violations = append(v.Violations, violation)
}
