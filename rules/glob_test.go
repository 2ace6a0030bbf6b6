package rules_test

import (
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

func TestGlob(t *testing.T) {
	tests := []struct {
		glob, name string
		want       bool
	}{
		{"[!p]*", "dev", true}, {"[!p]*", "prod", false}, {"[^p]*", "dev", true}, {"[^p]*", "prod", false}, {"[p!]*", "!", true}, {"[p!]*", "dev", false},
		{"a[!0-9]", "ab", true}, {"a[!0-9]", "a5", false}, {"[a][!b]", "ac", true}, {"[a][!b]", "ab", false},
		{`\[!p]`, "[!p]", true}, {`[\]!]x`, "!x", true}, {`[\]!]x`, "]x", true}, {"!p", "!p", true}, {"?hop-[a-c]", "shop-b", true}, {"*", "", true}, {"a", "ab", false},
	}
	for _, tt := range tests {
		if got := rules.MatchGlob(tt.glob, tt.name); got != tt.want {
			t.Errorf("%q matches %q: %t, want %t", tt.glob, tt.name, got, tt.want)
		}
		table := load(t, hostileHead+"namespaces: {include: ['"+tt.glob+"'], exclude: []}\nchecks: [{id: c, weight: 1, violation: {path: a, operator: exists}}]\n")
		if got := table.Includes(tt.name); got != tt.want {
			t.Errorf("a table that includes %q includes %q: %t, want %t", tt.glob, tt.name, got, tt.want)
		}
	}
	for _, glob := range []string{"[", "[!", "[!]", "[!a", `a\`, "[a-]"} {
		if _, err := rules.ParseGlob(glob); err == nil || rules.MatchGlob(glob, "a") {
			t.Errorf("%q is a glob: %v", glob, err)
		}
	}
}
