package rules

import (
	"strings"
	"testing"
)

func TestSubjects(t *testing.T) {
	const text = "{ \"a\" : [ 1,\n [ {\"b.c\":\n\"x\"} ] ], \"0\": {\"1\": [\"y\"]}, \"*\": 2, \"@this\": 3, \"\": 4 }"
	var subjects Locator
	subjects.Begin([]byte(text))
	defer subjects.End()
	// What was found before has no part in what is found next: the paths come in any order.
	for path, want := range map[string]string{
		"a": "[ 1", "a.0": "1,", "a.1": "[ {", "a.1.0": "{\"b", "a.1.0.b\\.c": "\"x\"", "0": "{\"1", "0.1.0": "\"y\"", "*": "2", "@this": "3",
		"": "", "a.2": "", "a.b": "", "b": "", "a.1.0.b": "", "a.1.0.b.c": "", "a.0.0": "", "a.01x": "", "a.-1": "", "a.#": "", "a.18446744073709551616": "", "?": "",
	} {
		at, ok := subjects.Offset(path)
		if ok != (want != "") || ok && !strings.HasPrefix(text[at:], want) {
			t.Errorf("%q: %d, %v, want %s", path, at, ok, want)
		}
	}
}
