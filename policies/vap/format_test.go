package vap

import (
	"strings"
	"testing"
)

// TestFormat checks that format changes only the space between tokens, and never texts in quotes.
func TestFormat(t *testing.T) {
	long := strings.Repeat("a", 60)
	tests := []struct{ expression, want string }{
		{"a && b", "a && b"},
		{long + " && " + long, long + "\n&& " + long},
		{long + " && b || " + long, long + " && b\n|| " + long},
		{`x.map(v, "` + long + ` && (" + v.` + long + ")", "x.map(v,\n  \"" + long + " && (\"\n  + v." + long + "\n)"},
		{`f("` + long + `", "\"` + long + `, ")`, "f(\n  \"" + long + "\",\n  \"\\\"" + long + ", \"\n)"},
		{"a ? [" + long + ", " + long + "] : b", "a\n? [\n  " + long + ",\n  " + long + "\n]\n: b"},
	}
	for _, tt := range tests {
		if got := format(tt.expression); got != tt.want {
			t.Errorf("format(%s):\n%s\nwant:\n%s", tt.expression, got, tt.want)
		}
	}
}

// TestClip checks that a remediation becomes one line of at most maxText bytes, and that no character is split.
func TestClip(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("ä", 250): strings.Repeat("ä", 250),
		strings.Repeat("ä", 251): strings.Repeat("ä", 248) + "...",
		"a":                      "a",
	} {
		if got := clip(text, maxText); got != want {
			t.Errorf("clip(%q) = %q, want %q", text, got, want)
		}
	}
	if got := oneLine(" a\n  b\tc\u2028d "); got != "a b c d" {
		t.Errorf("one line: %q", got)
	}
}
