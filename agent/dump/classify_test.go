package dump

import (
	"bytes"
	"compress/gzip"
	"os"
	"strings"
	"testing"
)

func TestClassifyFile(t *testing.T) {
	const manifest = "apiVersion: v1\nkind: Pod\n"
	for name, tt := range map[string]struct {
		text string
		want FileClass
	}{
		"nothing":                           {"", Empty},
		"blank":                             {" \n\t\r\n", Empty},
		"comments":                          {"# a\n  # b\n", Empty},
		"a comment with an action":          {"# {{ x }}\n", Empty},
		"values":                            {"image: x\nkind: y\n", NotManifest},
		"a list":                            {"- apiVersion: v1\n  kind: Pod\n", NotManifest},
		"keys that are not at the start":    {" apiVersion: v1\n kind: Pod\nx: [\n", NotManifest},
		"no kind":                           {"apiVersion: v2\nname: [\n", NotManifest},
		"a manifest":                        {manifest + "spec: [\n", Broken},
		"keys the other way around":         {"kind: Pod\nspec: [\napiVersion: v1\n", Broken},
		"line breaks of Windows":            {"apiVersion: v1\r\nkind: Pod\r\nspec: [\r\n", Broken},
		"in two documents":                  {"apiVersion: v1\n---\nkind: Pod\n", Broken},
		"a list without its end":            {"apiVersion: v1\nitems:\n- kind: Pod\n", Broken},
		"a template":                        {manifest + "name: {{ x }}\n", Template},
		"a template of no manifest":         {"a: {{ x }}\n", Template},
		"braces with a space":               {manifest + "a: { { x } }\nb: [\n", Broken},
		"a byte order mark":                 {"\xef\xbb\xbf" + manifest, Broken},
		"far behind":                        {"apiVersion: v1\n" + strings.Repeat("  x\n", 1<<20) + "kind: Pod\n", Broken},
		"an action far behind":              {manifest + strings.Repeat("x", 1<<20) + "{{\n", Template},
		"an action between two parts":       {manifest + strings.Repeat("x", 64<<10-len(manifest)-1) + "{{", Template},
		"a long line that begins otherwise": {manifest[:15] + strings.Repeat("x", 64<<10) + "kind: Pod\n", NotManifest},
		"JSON":                              {`{"apiVersion":"v1","kind":"Pod",}`, Broken},
		"JSON lines":                        {"{\"a\":1}\n{\"apiVersion\":\"v1\",\"kind\":\"Pod\"", Broken},
		"JSON of a watch":                   {`{"type":"ADDED","object":{"apiVersion":"v1","kind":"Pod"`, Broken},
		"JSON of something else":            {`{"kind":"x",}`, NotManifest},
		"JSON that is a template":           {`{"apiVersion":"v1","kind":{{ x }}}`, Template},
		"binary":                            {"\x00\x01\x02apiVersion", NotManifest},
	} {
		for _, packed := range []bool{false, true} {
			text := []byte(tt.text)
			if packed {
				var b bytes.Buffer
				z := gzip.NewWriter(&b)
				_, _ = z.Write(text)
				_ = z.Close()
				text = b.Bytes()
			}
			path := t.TempDir() + "/f.yaml"
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := ClassifyFile(path); err != nil || got != tt.want {
				t.Errorf("%s, packed %v: %d, %v; want %d", name, packed, got, err, tt.want)
			}
		}
	}
	path := t.TempDir() + "/f.yaml.gz"
	if err := os.WriteFile(path, []byte("\x1f\x8b\x08"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ClassifyFile(path); err == nil || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("a file that cannot be unpacked: %v", err)
	}
}
