package rules

import (
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
)

// A Detail is the value that a violation is about.
type Detail struct {
	// Value is a string as it is, or the JSON of any other scalar: at most 200 bytes; a longer one is cut at a character boundary and ends
	// with an ellipsis. Empty when there is no such value.
	Value string
	// Withheld: there may be such a value, but it may be a secret, the check hides it, it is too costly to find, or the pod is gone. Value is
	// then empty.
	Withheld bool
}

// Detail returns the detail of a violation of a pod, given as the JSON that was evaluated: the value of the first true leaf of the
// check, in the order of the table, that is not under a not and has exactly one scalar. It is the same for the pod and for its
// projection. If the pod has changed since the evaluation, the detail is that of the changed pod, or empty.
func (t *Table) Detail(pod []byte, v *Violation) Detail {
	e := evaluations.Get().(*evaluation)
	defer evaluations.Put(e)
	e.begin(t, pod)
	defer e.end()
	subject := e.pod
	if v.Path != "" {
		subject = subject.Get(v.Path)
	}
	return t.detail(e, v, subject)
}

// Details appends the Detail of each violation of a pod. It reads the pod once for all of them.
func (t *Table) Details(to []Detail, pod []byte, violations []Violation) []Detail {
	e := evaluations.Get().(*evaluation)
	defer evaluations.Put(e)
	e.begin(t, pod)
	defer e.end()
	e.subjects.Begin(pod)
	defer e.subjects.End()
	for i := range violations {
		to = append(to, t.detail(e, &violations[i], e.subjects.find(violations[i].Path)))
	}
	return to
}

func (t *Table) detail(e *evaluation, v *Violation, subject gjson.Result) Detail {
	if v.Unknown {
		return Detail{Withheld: true} // the leaf with the value is not known
	}
	if !present(subject) {
		return Detail{} // the pod has changed
	}
	check := &t.checks[v.Check]
	secret := fieldpath.MayBeSecret([]fieldpath.Step{{Keys: v.Path}})
	first := e.firstShown(check.violation, subject, secret)
	switch {
	case !present(first.value):
		return Detail{Withheld: first.costly}
	case check.ShowValue != nil && !*check.ShowValue, first.secret:
		return Detail{Withheld: true}
	case first.value.Type == gjson.String:
		return Detail{Value: clipped(first.value.Str)}
	}
	return Detail{Value: clipped(first.value.Raw)}
}

// A shown value is a scalar that a detail may show, unless it may be a secret. The zero value is none.
type shown struct {
	value  gjson.Result
	secret bool
	costly bool // there may be a value, but the search for it looked at as many elements as it may
}

// firstShown finds the first true leaf of a predicate that is not under a not and has exactly one scalar. Of some it looks at the first
// element for which the predicate is true. The subject may itself be below a field of secrets.
func (e *evaluation) firstShown(p predicate, subject gjson.Result, secret bool) (first shown) {
	var of []predicate
	switch p := p.(type) {
	case allOf:
		of = p
	case anyOf:
		of = p
	case *quantified:
		if p.every {
			return shown{}
		}
		return e.firstShownOf(p, subject, secret)
	case *leaf:
		if p.of(e, subject) != isTrue {
			return shown{}
		}
		at, value := p.scalar(e, subject)
		if at == nil {
			return shown{}
		}
		if p.from != nil && isSecret(p.from.Path, subject, secret) {
			return shown{value: value, secret: true} // it is compared with a secret
		}
		return shown{value: value, secret: isSecret(at.Path, subject, secret)}
	}
	for _, q := range of {
		next := e.firstShown(q, subject, secret)
		if present(next.value) {
			return next
		}
		first.costly = first.costly || next.costly
	}
	return first
}

// firstShownOf searches the elements of a some. Those below the pod's root are the same for all violations, and are searched once: else the
// pod's budget would not suffice for many violations.
func (e *evaluation) firstShownOf(q *quantified, subject gjson.Result, secret bool) (first shown) {
	slot := q.in.slot
	if slot >= 0 {
		if len(e.shown) == 0 {
			e.shown = append(e.shown, make([]*shown, len(e.constant))...)
		}
		if known := e.shown[slot]; known != nil {
			return *known
		}
	}
	secret = isSecret(q.in.Path, subject, secret)
	before := e.ranOut
	e.ranOut = false
	q.each(e, subject, func(element gjson.Result) bool {
		if !present(element) || q.is.of(e, element) != isTrue {
			return true
		}
		first = e.firstShown(q.is, element, secret)
		return false
	})
	first.costly = first.costly || e.ranOut
	e.ranOut = before
	if slot >= 0 {
		e.shown[slot] = &first
	}
	return first
}

// isSecret reports whether what a path selects of a subject may be a secret; subjectIs says that everything below the subject may be one.
func isSecret(p *fieldpath.Path, subject gjson.Result, subjectIs bool) bool {
	switch {
	case fieldpath.MayBeSecret(p.Steps):
		return true
	case p.Root:
		return false
	case subject.Type == entryType && (len(p.Steps) == 0 || p.Steps[0].FirstKey == "value"):
		return subjectIs || fieldpath.IsSecretKey(subject.Str)
	}
	return subjectIs
}

// scalar returns the value of a leaf, and the path that leads to it; nil unless that is exactly one string, number or boolean.
func (l *leaf) scalar(e *evaluation, subject gjson.Result) (at *place, value gjson.Result) {
	for i := range l.paths {
		at = &l.paths[i]
		from := subject
		if at.Root {
			from = e.pod
		}
		n := 0
		e.walk(at.Steps, from, func(found gjson.Result) bool {
			value = found
			n++
			return n == 1
		})
		switch {
		case n == 0:
			continue
		case n > 1 || value.Type >= gjson.JSON || !present(value):
			return nil, gjson.Result{}
		}
		return at, value
	}
	return nil, gjson.Result{}
}

// The bounds of what a report has of a pod: of one value or name, and of a message, which may repeat them.
const (
	maxValueBytes  = 200
	maxFilledBytes = 2000
)

// clipped cuts a text to maxValueBytes at a character boundary, and marks the cut with an ellipsis.
func clipped(text string) string { return clippedTo(text, maxValueBytes) }

func clippedTo(text string, most int) string {
	const ellipsis = "…"
	if len(text) <= most {
		return strings.Clone(text)
	}
	end := most - len(ellipsis)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}

// MessageOf is the text of one violation: the check's message with its placeholders filled, or else its description, with the value if
// there is one.
func (c *Check) MessageOf(container, subject string, d Detail) string {
	if c.message == "" {
		if d.Value == "" || c.Description == "" && strings.HasSuffix(c.Message(), " "+d.Value) {
			return c.Message() // without a value, or a sentence that ends with it
		}
		return strings.TrimSuffix(c.Message(), ".") + ": " + d.Value
	}
	return clippedTo(c.message.fill(func(name string) string {
		text := map[string]string{"value": d.Value, "container": container, "subject": subject}[name]
		switch {
		case text != "":
			return clipped(text)
		case name == "value" && d.Withheld:
			return "(not shown)"
		}
		return "(none)"
	}), maxFilledBytes)
}
