package lint

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

func TestNeverNames(t *testing.T) {
	for _, tt := range []struct {
		rule *nameRule
		glob string
		want string
	}{
		{namespaceNames, "{prod,test}", "write each name by itself"},
		{namespaceNames, "prod,test", "write each name by itself"},
		{namespaceNames, "PROD", `write "prod"`},
		{namespaceNames, "Team-*", `write "team-*"`},
		{namespaceNames, "openshift-.*", `write "openshift-*"`},
		{namespaceNames, "^kube-.*$", `write "kube-*"`},
		{namespaceNames, "!prod", "a ! negates only within brackets"},
		{namespaceNames, "", "a name is never empty"},
		{namespaceNames, "prod/", "only lower-case letters, digits and dashes"},
		{namespaceNames, "my_team", "only lower-case letters"},
		{namespaceNames, "a.b", "only lower-case letters"},
		{namespaceNames, "-a", "starts and ends with"},
		{namespaceNames, "*-", "starts and ends with"},
		{namespaceNames, "[A-Z]*", "write"},
		{namespaceNames, strings.Repeat("a", 64), "at most 63 characters"},
		{namespaceNames, strings.Repeat("?", 64) + "*", "at most 63 characters"},
		{podNames, "web_1", "only lower-case letters, digits, dashes and dots"},
		{containerNames, "Web", `write "web"`},
		{ownerNames, "web/", "only"},
		{namespaceNames, strings.Repeat("a", 63) + "*", ""},
		{namespaceNames, "kube-*", ""},
		{namespaceNames, "*-system", ""},
		{namespaceNames, "*", ""},
		{namespaceNames, "[!p]*", ""},
		{namespaceNames, "[^p]*", ""},
		{namespaceNames, "[a-cX]?", ""},
		{namespaceNames, `a\b`, ""},
		{podNames, "web-0.example", ""},
		{ownerNames, "system:node", ""},
	} {
		if got := tt.rule.never(tt.glob); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s %q: %q, want %q", tt.rule.what, tt.glob, got, tt.want)
		}
	}
}

// TestNeverNamesIsTrue makes random globs and names: what matches no name does not match these.
func TestNeverNamesIsTrue(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	word := func(alphabet string, most int) string {
		var b strings.Builder
		for range r.IntN(most + 1) {
			b.WriteByte(alphabet[r.IntN(len(alphabet))])
		}
		return b.String()
	}
	names := make([]string, 0, 150)
	for len(names) < cap(names) {
		if name := word("ab0-.", 4); name != "" && isLowerOrDigit(name[0]) && isLowerOrDigit(name[len(name)-1]) {
			names = append(names, name)
		}
	}
	never := 0
	for range 5_000 {
		glob := word(`ab0-.A_*?[]!^-\`, 6)
		if _, err := rules.ParseGlob(glob); err != nil || podNames.never(glob) == "" {
			continue
		}
		never++
		for _, name := range names {
			if rules.MatchGlob(glob, name) {
				t.Fatalf("%q: %s, and it matches %q", glob, podNames.never(glob), name)
			}
		}
	}
	if never < 200 {
		t.Errorf("%d globs match no name: the test tries too few", never)
	}
}

func TestNeverLabel(t *testing.T) {
	for value, want := range map[string]string{
		"": "", "web": "", "Web_1.x": "", strings.Repeat("a", 63): "",
		"web-*": "not as shell globs", "[a]": "not as shell globs", "a b": "only letters", "-a": "starts and ends", strings.Repeat("a", 64): "at most 63",
	} {
		if got := neverLabel(value); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}
