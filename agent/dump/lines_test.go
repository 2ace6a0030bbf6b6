package dump

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

// lineWriter writes random manifests as YAML or JSON, and notes the line of each container by the name that it gives it.
type lineWriter struct {
	t     *rapid.T
	names int
}

// container is a container in one of several styles, as the lines of an element of a list.
func (w *lineWriter) container() []string {
	w.names++
	name := fmt.Sprintf("c%d", w.names)
	return rapid.SampledFrom([][]string{
		{"- name: " + name, "  image: i:1"},
		{"-", "  # c", "  image: i:1", "  name: " + name},
		{"- {name: " + name + ", image: 'i:1'}"},
		{"- {image: i:1,", "    name: " + name + "}"},
		{"- image: i:1", "  args:", "  - |", "    a", "", "    b", "  # c", "", "  name: \"" + name + "\""},
		{"- args: [a,", "    \"b", "    c\"]", "  name: " + name},
		{"- command: >-", "    x", "    y", "  name: " + name},
	}).Draw(w.t, "container")
}

func indented(by int, lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		if out[i] = line; line != "" {
			out[i] = strings.Repeat(" ", by) + line
		}
	}
	return out
}

// podSpec is a spec with containers.
func (w *lineWriter) podSpec() []string {
	lines := []string{"spec:"}
	for _, key := range rapid.Permutation([]string{"initContainers", "containers", "nodeName", "volumes"}).Draw(w.t, "keys") {
		switch key {
		case "nodeName":
			lines = append(lines, "  nodeName: n # c")
		case "volumes":
			lines = append(lines, "  volumes: []", "")
		default:
			lines = append(lines, "  "+key+":")
			for range rapid.IntRange(1, 3).Draw(w.t, "containers") {
				lines = append(lines, indented(rapid.SampledFrom([]int{2}).Draw(w.t, "indent"), w.container())...)
			}
		}
	}
	return lines
}

// manifest is one object.
func (w *lineWriter) manifest() []string {
	metadata := []string{"metadata:", "  # c", "  name: x"}
	parts := [][]string{metadata}
	kind := rapid.SampledFrom([]string{"Pod", "Deployment", "CronJob"}).Draw(w.t, "kind")
	template := append([]string{"template:"}, indented(2, w.podSpec())...)
	if rapid.Bool().Draw(w.t, "labels") {
		labels := []string{"  metadata:", "    labels:", "      a: b"}
		if rapid.Bool().Draw(w.t, "labels first") {
			template = append(append([]string{"template:"}, labels...), template[1:]...)
		} else {
			template = append(template, labels...)
		}
	}
	switch kind {
	case "Pod":
		parts = append(parts, w.podSpec())
	case "Deployment":
		parts = append(parts, append([]string{"spec:", "  replicas: 1"}, indented(2, template)...))
	default:
		parts = append(parts, append([]string{"spec:", "  jobTemplate:", "    spec:"}, indented(6, template)...))
	}
	parts = append(parts, []string{"kind: " + kind}, []string{"apiVersion: v1", "", "# c"})
	var lines []string
	for _, part := range rapid.Permutation(parts).Draw(w.t, "parts") {
		lines = append(lines, part...)
	}
	return lines
}

// TestLinesOfContainers: the line of a container is Line and the line breaks of the JSON before it, as the nodes of the
// parser have it.
func TestLinesOfContainers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &lineWriter{t: t}
		var lines []string
		for range rapid.IntRange(1, 3).Draw(t, "documents") {
			lines = append(lines, "---")
			if !rapid.Bool().Draw(t, "list") {
				lines = append(lines, w.manifest()...)
				continue
			}
			lines = append(lines, "# c", "apiVersion: v1", "items:")
			for range rapid.IntRange(1, 3).Draw(t, "items") {
				item := indented(2, w.manifest())
				for i := range item {
					if strings.HasPrefix(item[i], "  ") && !strings.HasPrefix(strings.TrimSpace(item[i]), "#") {
						item[i] = "- " + item[i][2:]
						break
					}
				}
				lines = append(lines, item...)
			}
			lines = append(lines, "kind: List")
		}
		input := strings.Join(lines, rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "break"))
		want := linesOfNodes(t, input)
		if rapid.Bool().Draw(t, "as JSON") {
			input, want = asIndentedJSON(t, input)
		}
		got := make(map[string]int)
		_, err := Read(t.Context(), "x", strings.NewReader(input), func(e Event) error {
			var pod struct {
				Spec map[string]json.RawMessage
			}
			if err := json.Unmarshal(e.JSON, &pod); err != nil {
				return err
			}
			for name := range want {
				quoted := fmt.Sprintf("%q", name)
				if i := bytes.Index(e.JSON, []byte(quoted)); i >= 0 {
					start := openBrace(e.JSON, i)
					got[name] = e.Line + bytes.Count(e.JSON[:start], []byte{'\n'})
				}
			}
			return nil
		}, Manifests)
		if err != nil {
			t.Fatalf("%v:\n%s", err, input)
		}
		for name, line := range want {
			if got[name] != line {
				t.Fatalf("container %s is on line %d, not %d:\n%s", name, line, got[name], input)
			}
		}
	})
}

// openBrace is where the object starts that an index is in; strings of these tests have no braces.
func openBrace(text []byte, i int) int {
	depth := 0
	for i--; ; i-- {
		switch text[i] {
		case '}':
			depth++
		case '{':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
}

// linesOfNodes are the lines of the containers, by their names.
func linesOfNodes(t *rapid.T, input string) map[string]int {
	lines := make(map[string]int)
	var visit func(n *yaml.Node)
	visit = func(n *yaml.Node) {
		for i, inner := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 && inner.Value == "name" && strings.HasPrefix(n.Content[i+1].Value, "c") {
				lines[n.Content[i+1].Value] = n.Line
			}
			visit(inner)
		}
	}
	for d := yaml.NewDecoder(strings.NewReader(input)); ; {
		var n yaml.Node
		if err := d.Decode(&n); err != nil {
			break
		}
		visit(&n)
	}
	if len(lines) == 0 {
		t.Fatalf("no containers in\n%s", input)
	}
	return lines
}

// asIndentedJSON is the same input as JSON documents, and the lines of the containers in that.
func asIndentedJSON(t *rapid.T, input string) (string, map[string]int) {
	var b bytes.Buffer
	for d := yaml.NewDecoder(strings.NewReader(input)); ; {
		var v any
		if err := d.Decode(&v); err != nil {
			break
		}
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(text, '\n'))
	}
	lines := make(map[string]int)
	text := b.Bytes()
	for i := range text {
		if bytes.HasPrefix(text[i:], []byte(`"name": "c`)) {
			name := string(text[i+9 : i+9+bytes.IndexByte(text[i+9:], '"')])
			lines[name] = 1 + bytes.Count(text[:openBrace(text, i)], []byte{'\n'})
		}
	}
	return b.String(), lines
}
