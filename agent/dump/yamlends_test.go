package dump

import (
	"errors"
	"strings"
	"testing"
)

// TestTextAfterDocumentEnd: what kubectl does not read is counted.
func TestTextAfterDocumentEnd(t *testing.T) {
	stats, err := Read(t.Context(), "x", strings.NewReader("kind: Pod\nmetadata: {name: a}\n...\n# c\nkind: Pod\nmetadata: {name: b}\n"), func(Event) error { return nil })
	if err != nil || stats.Applied != 1 || stats.Others[TextAfterEnd] != 1 {
		t.Errorf("%+v, %v", stats, err)
	}
}

// TestUnsupportedEncodings: the message names the encoding.
func TestUnsupportedEncodings(t *testing.T) {
	for _, tt := range []struct{ input, want string }{
		{"k\x00i\x00n\x00d\x00", "UTF-16 without a byte order mark: convert it with `iconv -f UTF-16LE -t UTF-8`"},
		{"\x00k\x00i\x00n\x00d", "UTF-16 without a byte order mark: convert it with `iconv -f UTF-16BE -t UTF-8`"},
	} {
		_, err := Read(t.Context(), "x", strings.NewReader(tt.input), func(Event) error { return nil })
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %s", tt.input, err, tt.want)
		}
	}
}

// TestTemplates: where the text holds {{ and is not YAML, the message says what to do; where it is YAML, it is read.
func TestTemplates(t *testing.T) {
	for input, template := range map[string]bool{
		"kind: Pod\nmetadata:\n  name: {{ .Values.name }}\n": true, "kind: Pod\n{{- if .x }}\nmetadata: {name: a}\n{{- end }}\n": true, "{{- range .x }}\nkind: Pod\n": true, "a: [\nb: '{{'\n": true,
		"kind: Pod\nkind: Pod\n": false, "kind: Pod\nmetadata: {name: a} # {{ x }}\n": false, "kind: Pod\nmetadata: {name: a}\nx: |\n  {{ y }}\n": false,
	} {
		_, err := Read(t.Context(), "x", strings.NewReader(input), func(Event) error { return nil })
		if errors.Is(err, ErrTemplate) != template || template && !strings.Contains(err.Error(), "render it first, for example with `helm template`") {
			t.Errorf("%q: %v", input, err)
		}
	}
}
