package rules

import (
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
)

// walk calls yield for each value that the steps select, without absent values and nulls, until yield returns false. It returns
// false when yield did.
func (e *evaluation) walk(steps []fieldpath.Step, from gjson.Result, yield func(gjson.Result) bool) bool {
	for i := range steps {
		s := &steps[i]
		if s.Kind == fieldpath.Keys {
			if from = e.lookup(from, s); !present(from) {
				return true
			}
			continue
		}
		if !from.IsArray() {
			return true
		}
		rest := steps[i+1:]
		if s.Kind == fieldpath.Length {
			return yield(lengthOf(from))
		}
		more := true
		from.ForEach(func(_, element gjson.Result) bool {
			if s.Kind != fieldpath.Each && !selects(s, element) {
				return true
			}
			more = e.walk(rest, element, yield)
			return more && s.Kind != fieldpath.First
		})
		return more
	}
	return yield(from)
}

// selects reports whether an element has the literal of a query.
func selects(query *fieldpath.Step, element gjson.Result) bool {
	if !element.IsObject() {
		return false
	}
	value := element.Get(query.Key)
	return value.Type == gjson.String && value.Str == query.Literal
}

// present reports whether there is a value: JSON null counts as absent.
func present(v gjson.Result) bool { return v.Type != gjson.Null }

func lengthOf(array gjson.Result) gjson.Result {
	n := 0
	array.ForEach(func(_, _ gjson.Result) bool { n++; return true })
	return gjson.Result{Type: gjson.Number, Num: float64(n), Raw: strconv.Itoa(n)}
}
