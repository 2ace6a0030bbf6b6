package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/tidwall/gjson"
)

// ErrTooManySubjects is the reason why a pod of absurd size is not evaluated.
var ErrTooManySubjects = errors.New("too many subjects")

// MaxSubjects is how many subjects one forEach may find in a pod. Kubernetes has no pod of a hundred containers; a
// hostile dump may have a million.
const MaxSubjects = 10_000

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

type truth uint8

const (
	unknown truth = iota
	isTrue
	isFalse
)

// An evaluation is the working memory of evaluating one pod.
type evaluation struct {
	checker  checker
	pod      gjson.Result
	apart    bool     // the pod is taken apart for this table
	objects  []fields // taken apart: the pod first, then some of its fields
	constant []truth
	indexes  []int   // where the walk over subjects stands in each array, outermost first
	waivers  []truth // of each waiver: whether it is about this pod; empty until a violation asks
	identity identity
	err      error
}

var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

// fail notes the first reason why the pod cannot be judged.
func (e *evaluation) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// Evaluate judges one pod, given as the JSON of a Pod object. A pod that lacks what a check looks at (a spec, its
// containers, a status) has no subject there, and no violation.
//
// An error means that there is no verdict: the text is not one whole JSON object (*SyntaxError), or looking at it
// would cost more than any real pod does. The pod must then be counted as not evaluated, never as clean.
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
	e.pod, e.apart, e.err = parsed(pod), t.looks > fewLooks, nil
	e.constant = append(e.constant[:0], make([]truth, t.constants)...)
	v.Subjects = append(v.Subjects, make([]int, len(t.checks))...)
	e.waivers = e.waivers[:0]
	if v.SkipReason = t.skipReason(e); v.SkipReason == "" {
		for i := range t.groups {
			t.evaluateGroup(e, v, &t.groups[i])
		}
	}
	e.pod, e.identity = gjson.Result{}, identity{}
	e.forget()
	if e.err != nil {
		v.Violations, v.Subjects, v.SkipReason = v.Violations[:0], v.Subjects[:0], ""
		return e.err
	}
	slices.SortStableFunc(v.Violations, func(a, b Violation) int { return a.Check - b.Check })
	return nil
}

// parsed makes no copy of the pod: the result, and all that is taken from it, live as long as the text does.
func parsed(pod []byte) gjson.Result {
	return gjson.Parse(unsafe.String(unsafe.SliceData(pod), len(pod)))
}

// skipReason is the reason of the first skip that the pod fulfils, empty where there is none.
func (t *Table) skipReason(e *evaluation) string {
	for _, s := range t.skips {
		if s.when.holds(e, e.pod) {
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
		where.walk(e, where.steps, e.pod, func(subject gjson.Result) bool {
			if count++; count > MaxSubjects {
				e.fail(fmt.Errorf("%w: more than %d at %s", ErrTooManySubjects, MaxSubjects, where.source))
				return false
			}
			t.evaluateSubject(e, v, g, subject, where)
			return e.err == nil
		})
	}
}

func (t *Table) evaluateSubject(e *evaluation, v *Verdict, g *group, subject gjson.Result, where *subjectPath) {
	for _, c := range g.checks {
		if when := t.checks[c].when; when != nil && !when.holds(e, subject) {
			continue
		}
		v.Subjects[c]++
		if !t.checks[c].violation.holds(e, subject) || e.err != nil {
			continue
		}
		violation := Violation{Check: c}
		if where != nil {
			violation.Path = where.name(e.indexes)
			if name := subject.Get("name"); name.Type == gjson.String && where.containers {
				violation.Container = strings.Clone(name.Str)
			} else if name.Type == gjson.String {
				violation.Subject = strings.Clone(name.Str)
			}
		}
		violation.Waiver = t.waiver(e, violation)
		v.Violations = append(v.Violations, violation)
	}
}
