package suggest_test

import (
	"testing"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

func TestDidYouMean(t *testing.T) {
	known := []string{"checks", "grades", "id"}
	for word, want := range map[string]string{
		"chekcs": ` (did you mean "checks"?)`, "Grades": ` (did you mean "grades"?)`, "ie": "", "ix": "", "": "", "something else": "",
	} {
		if got := suggest.DidYouMean(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}} {
		if got := suggest.Distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
