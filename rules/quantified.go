package rules

import (
	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
)

// maxElements is the maximum number of elements that one some or every looks at in a pod, for all subjects together. Real pods have fewer
// than a thousand; a hostile one may have a hundred thousand environment variables.
const maxElements = 20_000

// A quantified predicate is about the elements of lists, or the entries of maps: it is true when another predicate is true for some of
// them, or for every one.
type quantified struct {
	every  bool
	in     place // the path to the lists and maps; without steps: the subject itself
	is     predicate
	budget int // the index of the number of elements in evaluation.spent
}

func (q *quantified) word() string {
	if q.every {
		return "every"
	}
	return "some"
}

func (q *quantified) of(e *evaluation, subject gjson.Result) truth {
	if q.in.slot < 0 {
		return q.ask(e, subject)
	}
	// What is below the pod's root has the same answer for all subjects: the paths inside begin at an element or at the root.
	if e.constant[q.in.slot] == unasked {
		e.constant[q.in.slot] = q.ask(e, e.pod)
	}
	return e.constant[q.in.slot]
}

func (q *quantified) ask(e *evaluation, subject gjson.Result) truth {
	answer := truthOf(q.every)
	q.each(e, subject, func(element gjson.Result) bool {
		is := unknown
		if present(element) {
			is = q.is.of(e, element)
		}
		if q.every {
			answer = min(answer, is)
			return answer != isFalse
		}
		answer = max(answer, is)
		return answer != isTrue
	})
	return answer
}

// each calls yield for each element and each entry, without nulls, until yield returns false. Where there is a value that is neither a
// list nor a map, and where there are too many elements, it calls yield with a result that does not exist.
func (q *quantified) each(e *evaluation, subject gjson.Result, yield func(element gjson.Result) bool) {
	if q.in.Root {
		subject = e.pod
	}
	visit := func(element gjson.Result) bool {
		if e.spent[q.budget] == maxElements {
			e.ranOut = true
			yield(gjson.Result{})
			return false
		}
		e.spent[q.budget]++
		return yield(element)
	}
	e.walk(q.in.Steps, subject, func(value gjson.Result) bool {
		switch value.Type {
		case gjson.JSON:
		case entryType:
			return visit(entryOfText("key", value.Str)) && visit(entryOf("value", value))
		default:
			return yield(gjson.Result{})
		}
		more, isMap := true, value.IsObject()
		value.ForEach(func(key, element gjson.Result) bool {
			if !present(element) {
				return true
			}
			if isMap {
				element = entryOf(key.Str, element)
			}
			more = visit(element)
			return more
		})
		return more
	})
}

// entryType marks an entry of a map as a subject with the fields key and value, which are not in the JSON of the pod: Str is the key, and
// Raw the JSON of the value, or a text (see plainText).
const entryType = gjson.JSON + 1

// plainText is the Index of an entry whose Raw is a text, not JSON.
const plainText = -1

func entryOf(key string, value gjson.Result) gjson.Result {
	if value.Type == entryType {
		return gjson.Result{Type: entryType, Str: key, Raw: value.Raw, Index: value.Index}
	}
	return gjson.Result{Type: entryType, Str: key, Raw: value.Raw}
}

func entryOfText(key, text string) gjson.Result {
	return gjson.Result{Type: entryType, Str: key, Raw: text, Index: plainText}
}

// entryValue returns the value of an entry.
func entryValue(entry gjson.Result) gjson.Result {
	if entry.Index == plainText {
		return gjson.Result{Type: gjson.String, Str: entry.Raw}
	}
	return gjson.Parse(entry.Raw)
}

// anyEntry is the value that an operator compares where a predicate without a path is about an entry: no operator looks at its fields.
var anyEntry = gjson.Parse(`{"key":"","value":""}`)

// lookup returns what a run of keys selects in a value of any type. gjson alone would look for the keys inside a string.
func (e *evaluation) lookup(from gjson.Result, s *fieldpath.Step) gjson.Result {
	switch {
	case from.Type == gjson.JSON:
		return e.get(from, s)
	case from.Type != entryType:
	case s.FirstKey == "key" && s.AfterFirst == "":
		return gjson.Result{Type: gjson.String, Str: from.Str}
	case s.FirstKey == "value" && s.AfterFirst == "":
		return entryValue(from)
	case s.FirstKey == "value":
		return getFrom(entryValue(from), s.AfterFirst)
	}
	return gjson.Result{}
}
