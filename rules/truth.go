package rules

// A truth is the answer of a predicate in Kleene's three-valued logic: all is the least of its answers, any the greatest.
type truth uint8

const (
	unasked truth = iota
	isFalse
	unknown
	isTrue
	// noValue is only an answer within a leaf: the path leads to no value.
	noValue
)

func truthOf(is bool) truth {
	if is {
		return isTrue
	}
	return isFalse
}

func (t truth) not() truth { return isFalse + isTrue - t }
