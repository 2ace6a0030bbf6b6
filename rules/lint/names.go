package lint

import (
	"fmt"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// A nameRule says which names objects of a kind may have.
type nameRule struct {
	what    string // "namespace"
	most    int
	allowed func(c byte) bool
	words   string // which characters are allowed
}

func isLowerOrDigit(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

var (
	namespaceNames = &nameRule{"namespace", 63, func(c byte) bool { return isLowerOrDigit(c) || c == '-' }, "lower-case letters, digits and dashes"}
	containerNames = &nameRule{"container", 63, namespaceNames.allowed, namespaceNames.words}
	podNames       = &nameRule{"pod", 253, func(c byte) bool { return isLowerOrDigit(c) || c == '-' || c == '.' }, "lower-case letters, digits, dashes and dots"}
	// Names of objects of some kinds may also have a colon.
	ownerNames = &nameRule{"owner", 253, func(c byte) bool { return podNames.allowed(c) || c == ':' }, podNames.words}
)

// name warns about a glob that no name of its kind matches, and reports whether it did.
func (l *linter) name(glob *yaml.Node, field string, names *nameRule) (warned bool) {
	why := names.never(glob.Value)
	if why != "" {
		l.Errorf(glob, "%s: %.64q can match no %s: %s", field, glob.Value, names.what, why)
	}
	return why != ""
}

// never explains why no name matches a glob; empty when one may.
func (r *nameRule) never(glob string) string {
	tokens := globTokens(glob)
	least, found := 0, false
	for _, t := range tokens {
		if !t.any {
			least++
			found = found || !t.matches(r.allowed)
		}
	}
	at := func(i int) *globToken { return &tokens[i] }
	switch {
	case glob == "":
		return "a name is never empty"
	case found:
		return r.explain(glob)
	case least > r.most:
		return fmt.Sprintf("a name has at most %d characters", r.most)
	case !at(0).any && !at(0).matches(isLowerOrDigit), !at(len(tokens)-1).any && !at(len(tokens)-1).matches(isLowerOrDigit):
		return "a name starts and ends with a letter or a digit"
	}
	return ""
}

// explain guesses what the author of a glob with characters that no name has took it for.
func (r *nameRule) explain(glob string) string {
	lower := strings.ToLower(glob)
	expression := strings.TrimSuffix(strings.TrimPrefix(strings.ReplaceAll(glob, ".*", "*"), "^"), "$")
	switch {
	case len(glob) > 2*r.most:
	case strings.Contains(glob, ","):
		return "a shell glob has no commas and braces; write each name by itself"
	case strings.HasPrefix(glob, "!"):
		return "a ! negates only within brackets, such as [!a-c]"
	case glob != lower && r.never(lower) == "":
		return fmt.Sprintf("names are in lower case; write %q", lower)
	case expression != glob && r.never(expression) == "":
		return fmt.Sprintf("it is a shell glob, not a regular expression; write %q", expression)
	}
	return "a name has only " + r.words
}

// A globToken is one element of a shell glob.
type globToken struct {
	any     bool // *: any text
	negated bool
	ranges  [][2]byte // one character of these; none: any character
}

// matches reports whether the token matches one of the characters that are allowed.
func (t *globToken) matches(allowed func(byte) bool) bool {
	for c := range 128 {
		in := len(t.ranges) == 0
		for _, r := range t.ranges {
			in = in || r[0] <= byte(c) && byte(c) <= r[1]
		}
		if allowed(byte(c)) && in != t.negated {
			return true
		}
	}
	return false
}

// globTokens splits a shell glob that is valid.
func globTokens(glob string) []globToken {
	var tokens []globToken
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			tokens = append(tokens, globToken{any: true})
		case '?':
			tokens = append(tokens, globToken{})
		case '[':
			var t globToken
			t, i = globClass(glob, i+1)
			tokens = append(tokens, t)
		case '\\':
			if i++; i < len(glob) {
				tokens = append(tokens, globToken{ranges: [][2]byte{{glob[i], glob[i]}}})
			}
		default:
			tokens = append(tokens, globToken{ranges: [][2]byte{{c, c}}})
		}
	}
	return tokens
}

// globClass reads the class that starts behind a bracket, and returns the index of its end.
func globClass(glob string, i int) (t globToken, end int) {
	if i < len(glob) && (glob[i] == '^' || glob[i] == '!') {
		t.negated = true
		i++
	}
	character := func() byte {
		if i < len(glob) && glob[i] == '\\' {
			i++
		}
		if i >= len(glob) {
			return 0
		}
		i++
		return glob[i-1]
	}
	for first := true; i < len(glob) && (first || glob[i] != ']'); first = false {
		low := character()
		high := low
		if i < len(glob) && glob[i] == '-' {
			i++
			high = character()
		}
		t.ranges = append(t.ranges, [2]byte{low, high})
	}
	return t, i
}

var labelValue = regexp.MustCompile(`^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$`)

// neverLabel explains why no label has a value; empty when one may.
func neverLabel(value string) string {
	switch {
	case labelValue.MatchString(value):
		return ""
	case strings.ContainsAny(value, "*?["):
		return "labels are compared as they are, not as shell globs"
	case len(value) > 63:
		return "a label's value has at most 63 characters"
	}
	return "a label's value has only letters, digits, dashes, underscores and dots, and starts and ends with a letter or a digit"
}
