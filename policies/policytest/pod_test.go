package policytest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestToJSON(t *testing.T) {
	tests := []struct{ name, yaml, want, err string }{
		{"types", "{a: 5, b: 0x10, c: 1.50, d: true, e: null, f: ~, g: text, h: '5', i: 1e3, j: [], k: {}}",
			`{"a":5,"b":16,"c":1.5,"d":true,"e":null,"f":null,"g":"text","h":"5","i":1000,"j":[],"k":{}}`, ""},
		{"dates are text", "{a: 2024-01-01T00:00:00Z, b: 2024-01-01}", `{"a":"2024-01-01T00:00:00Z","b":"2024-01-01"}`, ""},
		{"quotes and lines", "z: |\n  a\n  \"b\"\na: [1, {b: \"\\u00e9<\"}]\n", `{"a":[1,{"b":"é\u003c"}],"z":"a\n\"b\"\n"}`, ""},
		{"keys of other types", "{5: a, true: b}", `{"5":"a","true":"b"}`, ""},
		{"large numbers", "[9223372036854775807, 18446744073709551615]", `[9223372036854775807,18446744073709551615]`, ""},
		{"infinite", "a: .inf", "", "line 1: .inf is not a number in JSON"},
		{"not a number", "\na: .nan", "", "line 2: .nan is not a number in JSON"},
		{"binary", "a: !!binary aGk=", "", `line 1: the tag "!!binary" is not allowed in a pod`},
		{"own tag", "a: !pod x", "", `line 1: the tag "!pod" is not allowed in a pod`},
		{"merge", "a: {}\n<<: {b: 1}", "", "line 2: a key must be a string"},
		{"key", "? [a]\n: b", "", "line 1: a key must be a string"},
		{"twice", "a: {b: 1, b: 2}", "", `line 1: duplicate field "b"`},
		{"alias", "a: &x [1]\nb: [*x]", "", "line 1: anchors and aliases are not allowed; repeat the value instead"},
		{"empty", "", "", "is empty"},
		{"two documents", "a: 1\n---\n", "", "must hold one YAML document"},
		{"broken", "a: [", "", "yaml: line 1: did not find expected node content"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := toJSON([]byte(tt.yaml))
			message := ""
			if err != nil {
				message = err.Error()
			}
			if string(got) != tt.want || message != tt.err {
				t.Errorf("%s, error %q; want %s, error %q", got, message, tt.want, tt.err)
			}
		})
	}
}

func TestReadPodBounds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pod.json")
	pod := `{"metadata":{"namespace":"shop"}}`
	for extra, want := range map[int]string{0: "", 1: "is larger than 4 MiB"} {
		if err := os.WriteFile(file, []byte(pod+strings.Repeat(" ", maxPodBytes-len(pod)+extra)), 0o600); err != nil {
			t.Fatal(err)
		}
		text, namespace, err := readPod(file)
		switch {
		case want == "" && (err != nil || namespace != "shop" || len(text) != maxPodBytes):
			t.Errorf("at the bound: %d bytes, namespace %q, error %v", len(text), namespace, err)
		case want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)):
			t.Errorf("beyond the bound: error %v", err)
		}
	}
}
