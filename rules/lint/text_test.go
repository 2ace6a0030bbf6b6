package lint

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// TestSplitAlternatives makes random expressions: the alternatives, each in parentheses, match the same texts.
func TestSplitAlternatives(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	tokens := []string{"a", "b", "|", "|", "^", "$", "(", ")", "[", "]", "[^", `\|`, `\[`, `\(`, "(?:", ".", "*", "a|b", "[a|b]", "[]|]"}
	texts := []string{"", "a", "b", "ab", "ba", "|", "a|b", "(", "[", "]", "aa", "bab"}
	tried, several := 0, 0
	for tried < 3000 {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			b.WriteString(tokens[r.IntN(len(tokens))])
		}
		source := b.String()
		expression, err := regexp.Compile(source)
		if err != nil {
			continue
		}
		tried++
		parts := splitAlternatives(source)
		if len(parts) > 1 {
			several++
		}
		apart, err := regexp.Compile("(?:" + strings.Join(parts, ")|(?:") + ")")
		if err != nil {
			t.Fatalf("%q as %q: %v", source, parts, err)
		}
		for _, text := range texts {
			if expression.MatchString(text) != apart.MatchString(text) {
				t.Fatalf("%q as %q: not the same answer for %q", source, parts, text)
			}
		}
	}
	if several < 500 {
		t.Errorf("%d expressions have several alternatives: the test tries too few", several)
	}
}
