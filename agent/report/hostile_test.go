package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// printed is one form of a report.
func printed(t testing.TB, print func(io.Writer, *Scan, Options) error, scan *Scan, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := print(&b, scan, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hostile are names that mean something to one reader or another.
var hostile = []string{
	"\x1b[2J\x1b]0;owned\x07", "\u009b31mred", "line\nbreak\r\n::error::injected", "\r::set-output name=x::y", "<script>document.title='owned'</script>",
	`"><img src=x onerror="document.title='owned'">`, "</style><style>*{display:none}</style>", "{{.Policy}}", "]]>", "--><!--",
	"a|b`c`*d*_e_[f](http://example.com)~~g~~ @everyone #1", "%0A%25", "k: v # comment", "- item", "\u202egnp.exe", "\ufeff\u200b\u2028\u2029",
	"\xff\xfe not UTF-8 \xc3", "\x00", "=1+1", "..", "\U0001F600", "\"quoted\\\"", "null", "true", "1e3", "~", "</details>", "\x7f",
}

// hostileScan has hostile names wherever a name may stand, and long ones, one of a megabyte (of 32 kB in a short run).
func hostileScan(t testing.TB) *Scan {
	t.Helper()
	longest := 1 << 20
	if testing.Short() {
		longest = 1 << 15
	}
	b := newScan(hostileTable(t))
	add := func(namespace, pod, container string, origin Origin) {
		probes := ""
		if len(namespace)+len(pod) > 1<<12 {
			probes = `, "livenessProbe": {}, "readinessProbe": {}` // one violation of a long name will do
		}
		text := fmt.Sprintf(`{"spec": {"containers": [{"name": %s, "image": "a:latest"%s}]}}`, quoted(container), probes)
		if err := b.put(namespace, pod, []byte(text), &origin); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range hostile {
		add(name, "pod", "main", Origin{Workload: Workload{"Pod", "pod"}})
		details := make([]Detail, 3)
		details[0].Value = name
		add("team", name, name, Origin{Workload: Workload{"Deployment", name}, File: name, Line: i, Document: 1, Details: &details})
		add("team", fmt.Sprint(i), "main", Origin{Workload: Workload{name, "kind"}})
	}
	for _, name := range []string{strings.Repeat("long", longest/4), strings.Repeat("\x1b", longest/64)} {
		add(name, "pod", "main", Origin{Workload: Workload{"Pod", "pod"}})
		add("team", name, "main", Origin{Workload: Workload{"Pod", name}})
	}
	scan := b.done()
	scan.Inputs.Files = 1
	scan.Inputs.OtherKinds = map[string]int{strings.Repeat("Kind", 1<<12): 1}
	scan.Inputs.ExcludedNamespaces = make(map[string]Excluded)
	for _, name := range hostile {
		scan.Inputs.ExcludedNamespaces[name] = Excluded{Pods: 1, Pattern: name}
		scan.Warnings = append(scan.Warnings, name)
		scan.Inputs.OtherKinds[name]++
		scan.Inputs.Unreadable = append(scan.Inputs.Unreadable, name)
	}
	return scan
}

// hostileTable is the table default, with what may be hostile in the texts of a table.
func hostileTable(t testing.TB) *rules.Table {
	t.Helper()
	text := contentOf(t, "policies/default.yaml")
	odd := strings.Join(slices.DeleteFunc(slices.Clone(hostile), func(name string) bool { return !utf8.ValidString(name) }), " ")
	for _, old := range []string{"The image ends with :latest", "Pin the image to a version or a digest."} {
		if !bytes.Contains(text, []byte(old)) {
			t.Fatalf("the table default does not say %q", old)
		}
		text = bytes.Replace(text, []byte(old), []byte(escaped(quoted(odd))), 1)
	}
	table, err := rules.Load("hostile.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestHostileText prints hostile names in all forms: none has a character that a terminal obeys, but for JSON, where all
// of them are escaped, and each is what its readers take for well-formed.
func TestHostileText(t *testing.T) {
	scan := hostileScan(t)
	checks := map[string]func(t *testing.T, text []byte){
		"json":   wellFormedJSON,
		"sarif":  wellFormedJSON,
		"ndjson": func(t *testing.T, text []byte) { eachLine(text, func(line string) { wellFormedJSON(t, []byte(line)) }) },
		"yaml": func(t *testing.T, text []byte) {
			var fromYAML, fromJSON any
			if err := yaml.Unmarshal(text, &fromYAML); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(printed(t, ScanJSON, scan, Options{}), &fromJSON); err != nil {
				t.Fatal(err)
			}
			if a, b := canonical(t, fromYAML), canonical(t, fromJSON); a != b {
				t.Error("YAML and JSON are not the same document")
			}
		},
		"junit": func(t *testing.T, text []byte) {
			decoder := xml.NewDecoder(bytes.NewReader(text))
			for {
				if _, err := decoder.Token(); errors.Is(err, io.EOF) {
					return
				} else if err != nil {
					t.Fatal(err)
				}
			}
		},
		"github": func(t *testing.T, text []byte) {
			eachLine(text, func(line string) {
				if !strings.HasPrefix(line, "::error ") && !strings.HasPrefix(line, "::notice title=kube-devops::") && !strings.HasPrefix(line, "::warning ") {
					t.Errorf("a line is not one of our annotations: %.100q", line)
				}
				if len(line) > 10_000 {
					t.Errorf("an annotation of %d bytes", len(line))
				}
			})
		},
		"markdown": func(t *testing.T, text []byte) {
			text = regexp.MustCompile(`\\[[:punct:]]`).ReplaceAll(text, nil) // these are escaped
			for _, mark := range []string{"<script", "<img", "</style", "`", "](http", "~~", " @everyone", "<!--"} {
				if bytes.Contains(text, []byte(mark)) {
					t.Errorf("%q stands there as it is", mark)
				}
			}
			if open, closed := bytes.Count(text, []byte("<details>")), bytes.Count(text, []byte("</details>")); open != closed || open == 0 {
				t.Errorf("%d parts are opened and %d closed", open, closed)
			}
		},
		"table": func(t *testing.T, text []byte) {
			eachLine(text, func(line string) {
				if n := utf8.RuneCountInString(line); n > 1200 {
					t.Errorf("a line of %d characters", n)
				}
			})
		},
		"prometheus": func(t *testing.T, text []byte) {
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := len(families["kube_devops_pods"].GetMetric()), len(scan.Snapshot.Namespaces); got != want {
				t.Errorf("%d series, want one for each of %d namespaces", got, want)
			}
		},
		"html": func(t *testing.T, text []byte) {
			if n := bytes.Count(text, []byte("<script")); n != 1 {
				t.Errorf("%d scripts, want 1", n)
			}
		},
	}
	for _, format := range Formats() {
		t.Run(format.Name, func(t *testing.T) {
			text := printed(t, format.Print, scan, Options{})
			if !utf8.Valid(text) {
				t.Error("this is not UTF-8")
			}
			obeyed := func(r rune) bool {
				return r != '\n' && r != '\u2060' && !unicode.IsPrint(r)
			}
			if at := bytes.IndexFunc(text, obeyed); at >= 0 {
				t.Fatalf("it has the character %q", text[at:at+1])
			}
			if checks[format.Name] == nil {
				t.Fatalf("no check for the format %s: add what is well-formed to the checks of this test", format.Name)
			}
			checks[format.Name](t, text)
		})
	}
	for i := range hostile {
		var b bytes.Buffer
		if err := Explain(&b, scan, []string{hostile[i]}, Options{Color: false}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(b.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("the explanation of %q has control characters", hostile[i])
		}
	}
}

func eachLine(text []byte, line func(string)) {
	for l := range strings.Lines(string(text)) {
		line(strings.TrimSuffix(l, "\n"))
	}
}

func wellFormedJSON(t *testing.T, text []byte) {
	t.Helper()
	if !json.Valid(text) {
		t.Errorf("this is not JSON: %.200s", text)
	}
}

// canonical is a value as JSON with sorted keys and one way to write a number.
func canonical(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSameDocument reads YAML and JSON of the recordings.
func TestSameDocument(t *testing.T) {
	for folder, open := range recorded(t) {
		scan, o := open()
		var fromYAML, fromJSON any
		if err := yaml.Unmarshal(printed(t, YAML, scan, o), &fromYAML); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(printed(t, ScanJSON, scan, o), &fromJSON); err != nil {
			t.Fatal(err)
		}
		if a, b := canonical(t, fromYAML), canonical(t, fromJSON); a != b {
			t.Errorf("%s: YAML %s\nJSON %s", folder, a, b)
		}
	}
}

// TestErrorOfTheWriterOfAScan fails in the middle of each form.
func TestErrorOfTheWriterOfAScan(t *testing.T) {
	scan, changes := bookshop(t)
	for _, format := range Formats() {
		size := len(printed(t, format.Print, scan, Options{Baseline: changes}))
		for _, room := range []int{0, 1, size / 3, size - 1} {
			if err := format.Print(&limited{room}, scan, Options{Baseline: changes}); !errors.Is(err, errFull) {
				t.Errorf("%s, room for %d of %d bytes: error %v, want %v", format.Name, room, size, err, errFull)
			}
		}
		if err := format.Print(&limited{size}, scan, Options{Baseline: changes}); err != nil {
			t.Errorf("%s, room for all bytes: %v", format.Name, err)
		}
	}
	if err := Explain(&limited{10}, scan, []string{"bookshop"}, Options{}); !errors.Is(err, errFull) {
		t.Errorf("explanation: error %v, want %v", err, errFull)
	}
}

// TestNoDataIsNoPerfectScore prints a scan of nothing in all forms.
func TestNoDataIsNoPerfectScore(t *testing.T) {
	broken := newScan(shipped(t, "default"))
	if _, err := broken.state.Observe(state.Pod{Namespace: "shop", Name: "cut"}, []byte(`{"spec": `)); err == nil {
		t.Fatal("a cut pod was evaluated")
	}
	for name, scan := range map[string]*Scan{"nothing": newScan(shipped(t, "default")).done(), "no verdict": broken.done()} {
		for _, format := range Formats() {
			text := string(printed(t, format.Print, scan, Options{}))
			if strings.Contains(text, "100.0") || strings.Contains(text, `"compliance":100`) || strings.Contains(text, "Healthy") {
				t.Errorf("%s, %s: a perfect score of no pods:\n%s", name, format.Name, text)
			}
			want := map[string]string{
				"table": "No data", "json": `"compliance":null`, "yaml": "compliance: null", "ndjson": "", "sarif": `"compliance":null`,
				"junit": "No data", "github": "No data", "markdown": "No data", "html": "no data", "prometheus": "kube_devops_policy_info",
			}[format.Name]
			if !strings.Contains(text, want) {
				t.Errorf("%s, %s: %q is missing in:\n%s", name, format.Name, want, text)
			}
			if format.Name == "prometheus" && strings.Contains(text, "_score") {
				t.Errorf("%s: a score of no pods:\n%s", name, text)
			}
		}
	}
}

// TestIncompleteIsSaid looks for what was left out in all forms.
func TestIncompleteIsSaid(t *testing.T) {
	scan, o := recorded(t)["shop"]()
	scan.Inputs.Unreadable = []string{"cut.json: item 7 (byte 1234): the file ends"}
	for _, format := range Formats() {
		text := string(printed(t, format.Print, scan, o))
		if format.Name == "prometheus" {
			if !strings.Contains(text, "\nkube_devops_scan_inputs_left_out 1\n") {
				t.Errorf("prometheus does not count what was left out:\n%s", text)
			}
			continue
		}
		if !strings.Contains(strings.ReplaceAll(text, "%3A", ":"), "cut.json: item 7 (byte 1234): the file ends") {
			t.Errorf("%s does not say what was left out:\n%s", format.Name, text)
		}
	}
	if text := string(printed(t, Prometheus, &Scan{Snapshot: scan.Snapshot}, o)); !strings.Contains(text, "\nkube_devops_scan_inputs_left_out 0\n") {
		t.Errorf("prometheus does not say that nothing was left out:\n%s", text)
	}
}

// TestPrintersStream prints many pods in all forms: what is held beside the snapshot does not grow with them, but with
// the findings of one namespace and the lists that are shown.
func TestPrintersStream(t *testing.T) {
	if testing.Short() {
		t.Skip("a short run measures no memory of printers")
	}
	const pods = 20_000
	// A second copy of the violations takes more. SARIF holds its 5,000 findings, about 2.5 MB.
	const allowed = int64(8 << 20)
	scan := large(t, pods)
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	for _, format := range Formats() {
		runtime.GC()
		before := live()
		stop, peak := make(chan struct{}), make(chan uint64)
		go func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			most := uint64(0)
			for {
				select {
				case <-stop:
					peak <- max(most, live())
					return
				case <-tick.C:
					most = max(most, live())
				}
			}
		}()
		err := format.Print(io.Discard, scan, Options{Top: 20})
		close(stop)
		if held := int64(<-peak) - int64(before); held > allowed {
			t.Errorf("%s: %d MB more while it prints, want no more than %d", format.Name, held>>20, allowed>>20)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	runtime.KeepAlive(scan)
}

// live is what the last garbage collection found in use, in bytes.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// large is a scan of so many pods in namespaces of 1,000, ten pods to a workload, each with three violations.
func large(t testing.TB, pods int) *Scan {
	t.Helper()
	table := shipped(t, "default")
	verdict, err := table.Evaluate([]byte(`{"spec": {"containers": [{"name": "main", "image": "a:latest"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	s := state.New(table)
	for i := range pods {
		pod := state.Pod{Namespace: fmt.Sprintf("team-%03d", i/1000), Name: fmt.Sprintf("web-%d-7d9c5b6f4-%05d", i/10, i)}
		s.Put(pod, verdict, &Origin{Workload: Workload{"Deployment", fmt.Sprintf("web-%d", i/10)}})
	}
	return &Scan{Snapshot: s.SnapshotWithViolations(), Inputs: Inputs{Files: 1, Pods: pods}}
}
