package rules_test

import (
	"maps"
	"slices"
)

// some and every, read a second time: every is true where there is not some for which the predicate is false.

type naiveQuantified struct {
	In string
	Is naivePredicate

	tokens []naiveToken
	// counted stands for the elements in the counts of costs.
	counted *naivePredicate
}

func (q *naiveQuantified) prepare(lists map[string]any) {
	q.tokens, q.counted = naiveTokens(q.In), new(naivePredicate)
	q.Is.prepare(lists)
}

func (t *naiveTable) every(q *naiveQuantified, pod, subject any) answer {
	exception := *q
	exception.Is = naivePredicate{Not: &q.Is}
	if t.fault == "every is some" {
		return t.some(q, pod, subject)
	}
	return yes - t.some(&exception, pod, subject)
}

func (t *naiveTable) some(q *naiveQuantified, pod, subject any) answer {
	tokens := q.tokens
	fromRoot := len(tokens) > 0 && tokens[0].kind == "root"
	if fromRoot {
		if known, asked := t.ofRoot[&tokens[0]]; asked {
			return known.answer
		}
		tokens, subject = tokens[1:], pod
	}
	found := no
	tooMany := false
	for _, element := range t.elements(tokens, subject) {
		is := perhaps
		if tooMany = element != notElements && t.cost[q.counted] == 20_000; element != notElements && !tooMany {
			t.cost[q.counted]++
			is = t.holds(&q.Is, pod, element)
		}
		if found = max(found, is); found == yes || tooMany {
			break
		}
	}
	if fromRoot {
		t.ofRoot[&q.tokens[0]] = naiveAnswer{found, true}
	}
	return found
}

// notElements stands for the elements of what has none.
var notElements any = new(int)

func (t *naiveTable) elements(path []naiveToken, from any) (elements []any) {
	for i, value := range t.values(path, from) {
		if i > 0 && t.fault == "only the first list counts" {
			break
		}
		switch value := value.(type) {
		case []any:
			for _, element := range value {
				if element != nil || t.fault == "null is an element" {
					elements = append(elements, element)
				}
			}
		case map[string]any:
			if t.fault == "maps have no entries" {
				continue
			}
			for _, key := range slices.Sorted(maps.Keys(value)) {
				if value[key] != nil || t.fault == "null is an entry" {
					elements = append(elements, map[string]any{"key": key, "value": value[key]})
				}
			}
		default:
			if t.fault != "scalars have no elements" {
				elements = append(elements, notElements)
			}
		}
	}
	return elements
}
