package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// A manifest is one document of a file with a Deployment of one container, whose image has the tag latest.
type manifest struct {
	file      string
	document  int
	line      int // of the container
	name      string
	container string
}

const probedLatest = `{"spec": {"containers": [{"name": %q, "image": "shop/%s:latest", "livenessProbe": {}, "readinessProbe": {}}]}}`

// manifestsOf is a scan of manifests, each a workload of its own, with the value and the line of each violation.
func manifestsOf(t testing.TB, table *rules.Table, manifests ...manifest) *Scan {
	t.Helper()
	b := newScan(table)
	for _, m := range manifests {
		details := []Detail{{Detail: rules.Detail{Value: "shop/" + m.container + ":latest"}, Line: m.line}}
		origin := Origin{
			Workload: Workload{"Deployment", m.name}, File: m.file, Line: 1, Document: m.document, Pod: "Deployment/" + m.name, Details: &details,
		}
		key := fmt.Sprintf("%s\x00%s\x00%d", origin.Pod, m.file, m.document)
		if err := b.put("shop", key, fmt.Appendf(nil, probedLatest, m.container, m.container), &origin); err != nil {
			t.Fatal(err)
		}
		b.scan.Inputs.Templates++
	}
	b.scan.Inputs.Files = len(manifests)
	return b.done()
}

// TestManifestsOfOneNameStayApart has two documents of one name in two files, and two in one file.
func TestManifestsOfOneNameStayApart(t *testing.T) {
	table := shipped(t, "default")
	for _, test := range []struct {
		name      string
		manifests []manifest
		labels    []string
	}{
		{"two files", []manifest{{"a.yaml", 1, 21, "web", "main"}, {"b.yaml", 1, 9, "web", "main"}}, []string{"Deployment/web (a.yaml)", "Deployment/web (b.yaml)"}},
		{"one file", []manifest{{"a.yaml", 1, 21, "web", "main"}, {"a.yaml", 2, 41, "web", "main"}}, []string{"Deployment/web (a.yaml, document 1)", "Deployment/web (a.yaml, document 2)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			scan := manifestsOf(t, table, test.manifests...)
			lines := make([]string, 0, 2)
			for _, m := range test.manifests {
				lines = append(lines, fmt.Sprintf("%s:%d", m.file, m.line))
			}
			for form, want := range map[string][]string{
				"table": append(lines, test.labels...), "html": append(lines, test.labels...), "junit": append(lines, test.labels...),
				"markdown": lines, "github": {fmt.Sprintf("file=%s,line=%d,", test.manifests[1].file, test.manifests[1].line)},
				"json":  {fmt.Sprintf(`"file":%q,"line":%d`, test.manifests[0].file, test.manifests[0].line), fmt.Sprintf(`"file":%q,"line":%d`, test.manifests[1].file, test.manifests[1].line)},
				"sarif": {fmt.Sprintf(`"startLine":%d`, test.manifests[0].line), fmt.Sprintf(`"startLine":%d`, test.manifests[1].line)},
			} {
				format, err := FormatNamed(form)
				if err != nil {
					t.Fatal(err)
				}
				text := string(printed(t, format.Print, scan, Options{}))
				for _, part := range want {
					if !strings.Contains(text, part) {
						t.Errorf("%s: %q is missing in:\n%s", form, part, text)
					}
				}
				if strings.Contains(text, `\u0000`) {
					t.Errorf("%s shows the key of the state:\n%s", form, text)
				}
			}
			// The first keeps the fingerprint that it has alone, and the other has one of its own.
			alone := sarifOf(t, printed(t, SARIF, manifestsOf(t, table, test.manifests[0]), Options{})).Runs[0].Results
			both := sarifOf(t, printed(t, SARIF, scan, Options{})).Runs[0].Results
			if len(alone) != 1 || len(both) != 2 {
				t.Fatalf("%d and %d results, want 1 and 2", len(alone), len(both))
			}
			if diff := cmp.Diff(alone[0].PartialFingerprints, both[0].PartialFingerprints); diff != "" {
				t.Errorf("the fingerprints of the first (-alone +both):\n%s", diff)
			}
			for _, name := range []string{"kubeDevopsFinding/v1", "primaryLocationLineHash"} {
				if a, b := both[0].PartialFingerprints[name], both[1].PartialFingerprints[name]; a == b || b == "" {
					t.Errorf("%s: %q and %q", name, a, b)
				}
			}
		})
	}
}

// TestFingerprintsOutliveAMovedLine moves a manifest within its file.
func TestFingerprintsOutliveAMovedLine(t *testing.T) {
	table := shipped(t, "default")
	var prints []map[string]string
	for _, line := range []int{21, 99} {
		results := sarifOf(t, printed(t, SARIF, manifestsOf(t, table, manifest{"a.yaml", 1, line, "web", "main"}), Options{})).Runs[0].Results
		if got := results[0].Locations[0].PhysicalLocation.Region.StartLine; got != line {
			t.Errorf("line %d, want %d", got, line)
		}
		prints = append(prints, results[0].PartialFingerprints)
	}
	if diff := cmp.Diff(prints[0], prints[1]); diff != "" || prints[0]["primaryLocationLineHash"] == "" {
		t.Errorf("fingerprints (-before +after):\n%s", diff)
	}
}

// TestBaselineCountsManifests compares manifests of one name: each document counts.
func TestBaselineCountsManifests(t *testing.T) {
	table := shipped(t, "default")
	first, second, third := manifest{"a.yaml", 1, 21, "web", "main"}, manifest{"b.yaml", 1, 9, "web", "main"}, manifest{"a.yaml", 2, 50, "web", "main"}
	moved := manifest{"deploy/a.yaml", 7, 3, "web", "main"}
	report := func(manifests ...manifest) string {
		return string(printed(t, ScanJSON, manifestsOf(t, table, manifests...), Options{}))
	}
	// An older version has no version, no subject apart from the container, and the last manifest of a name alone.
	older := strings.Replace(report(first), " \"version\": 1,\n", "", 1)
	for _, test := range []struct {
		name     string
		old      string
		now      []manifest
		fresh    []string
		resolved int
	}{
		{name: "the same", old: report(first, second, third), now: []manifest{first, second, third}},
		{name: "another file", old: report(first), now: []manifest{moved}},
		{name: "a second one in another file", old: report(first), now: []manifest{first, second}, fresh: []string{"b.yaml:9"}},
		{name: "a second one in a file that sorts first", old: report(second), now: []manifest{first, second}, fresh: []string{"a.yaml:21"}},
		{name: "a second one in the same file", old: report(first), now: []manifest{first, third}, fresh: []string{"a.yaml:50"}},
		{name: "one of two is fixed", old: report(first, second), now: []manifest{second}, resolved: 1},
		{name: "an older report hides no second one", old: older, now: []manifest{first, second}, fresh: []string{"b.yaml:9"}},
		{name: "an older report", old: older, now: []manifest{first}},
		{name: "all are fixed", old: report(first, second, third), now: nil, resolved: 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			scan := manifestsOf(t, table, test.now...)
			changes := baselineOf(t, []byte(test.old)).Compare(scan)
			var fresh []string
			for i := range changes.New {
				fresh = append(fresh, changes.New[i].place())
			}
			if diff := cmp.Diff(test.fresh, fresh); diff != "" {
				t.Errorf("new (-want +got):\n%s", diff)
			}
			if len(changes.Resolved) != test.resolved {
				t.Errorf("%d are resolved, want %d", len(changes.Resolved), test.resolved)
			}
			for _, place := range test.fresh {
				file, line, _ := strings.Cut(place, ":")
				if text := string(printed(t, NDJSON, scan, Options{Baseline: changes})); !strings.Contains(text, fmt.Sprintf(`"file":%q,"line":%s,"new":true`, file, line)) || strings.Count(text, `"new":true`) != len(test.fresh) {
					t.Errorf("the lines say:\n%s", text)
				}
			}
		})
	}
}

// TestBaselineOfSubjects reads an older report, whose container is any subject, and one that names both.
func TestBaselineOfSubjects(t *testing.T) {
	table := loadTable(t, mixedTable)
	s := state.New(table)
	violation := rules.Violation{Check: 0, Container: "web", Subject: "TOKEN", Path: "spec.containers.0.env.0"}
	s.Put(state.Pod{Namespace: "shop", Name: "web-1"}, rules.Verdict{Subjects: []int{1, 1}, Violations: []rules.Violation{violation}}, &Origin{Workload: Workload{"Deployment", "web"}})
	scan := &Scan{Snapshot: s.SnapshotWithViolations()}
	const report = `{"policy": {"name": "p", "hash": "h"}, %s "violations": [{"namespace": "shop", "workload": "Deployment/web", "pod": "web-0", "check": "zeta", %s}]}`
	for _, test := range []struct {
		name, version, subject string
		fresh                  int
	}{
		{"older, by name", "", `"container": "TOKEN"`, 0},
		{"older, of the container", "", `"container": "web"`, 1},
		{"by container and subject", `"version": 1,`, `"container": "web", "subject": "TOKEN"`, 0},
		{"of another container", `"version": 1,`, `"container": "side", "subject": "TOKEN"`, 1},
	} {
		changes := baselineOf(t, fmt.Appendf(nil, report, test.version, test.subject)).Compare(scan)
		if len(changes.New) != test.fresh || len(changes.Resolved) != test.fresh {
			t.Errorf("%s: %d are new and %d resolved, want %d of each", test.name, len(changes.New), len(changes.Resolved), test.fresh)
		}
	}
}

// TestFindingsOfManifests looks for the line of each finding in the table, and for how many are not listed.
func TestFindingsOfManifests(t *testing.T) {
	var manifests []manifest
	for i := range 40 {
		manifests = append(manifests, manifest{fmt.Sprintf("deploy/%02d.yaml", i), 1, 10 + i, fmt.Sprintf("web-%02d", i), "main"})
	}
	scan := manifestsOf(t, shipped(t, "default"), manifests...)
	text := string(printed(t, Table, scan, Options{Findings: 30, Top: 5}))
	if want := "deploy/07.yaml:17  main  latest_tag: The image ends with :latest: shop/main:latest\n"; !strings.Contains(text, want) {
		t.Errorf("%q is missing in:\n%s", want, text)
	}
	if n := strings.Count(text, "  main  latest_tag: "); n != 30 || !strings.Contains(text, "\nand 10 more findings\n") {
		t.Errorf("%d findings, want 30 and 10 more:\n%s", n, text)
	}
	if want := "latest_tag (high, 40 violations): Pin the image to a version or a digest.\n"; !strings.Contains(text, want) {
		t.Errorf("%q is missing in:\n%s", want, text)
	}
	// The headline is there again, as the report is long; and is not where the terminal is higher.
	headline, _, _ := strings.Cut(text, "\n")
	if !strings.HasSuffix(headline, "40 violations (40 high)") || !strings.HasSuffix(text, "\n\n"+headline+"\n") {
		t.Errorf("the headline %q does not end the report", headline)
	}
	if text := string(printed(t, Table, scan, Options{Top: 5, Height: 500})); strings.Count(text, headline) != 1 || strings.Count(text, "  main  latest_tag: ") != 40 {
		t.Errorf("the headline is repeated on a high terminal, or findings are missing:\n%s", text)
	}
}

// TestFindingsOfOneFileAreTogether has manifests whose names and files sort in opposite ways.
func TestFindingsOfOneFileAreTogether(t *testing.T) {
	scan := manifestsOf(t, shipped(t, "default"), manifest{"b.yaml", 1, 5, "alpha", "main"}, manifest{"a.yaml", 2, 30, "beta", "main"}, manifest{"a.yaml", 1, 7, "gamma", "main"})
	text := string(printed(t, Table, scan, Options{}))
	at := func(place string) int { return strings.Index(text, "\n"+place+"  main") }
	if first, second, third := at("a.yaml:7"), at("a.yaml:30"), at("b.yaml:5"); first < 0 || first > second || second > third {
		t.Errorf("the findings are not in the order of the files:\n%s", text)
	}
}

// TestTableBreaksBetweenWords prints a wide table for 80 columns: every check is named or counted, no word is cut, and a
// cell of several lines stays in its column.
func TestTableBreaksBetweenWords(t *testing.T) {
	scan, _ := bookshop(t)
	text := string(printed(t, Table, scan, Options{Width: 80, Color: true}))
	for _, code := range []string{bold, dim, red, green, yellow, "\x1b[0m"} {
		text = strings.ReplaceAll(text, code, "")
	}
	if strings.Contains(text, "…logue") || strings.Contains(text, ", +") {
		t.Errorf("a name is cut, or a check is not named:\n%s", text)
	}
	want := "bookshop   StatefulSet/catalogue-         1       3  privilege_escalation 1,\n           search                                    missing_startup 1\n"
	if !strings.Contains(text, want) {
		t.Errorf("%q is missing in:\n%s", want, text)
	}
	cell := gridCell{items: []string{"privileged 1", "latest_tag 1", "runs_as_root 1", "missing_liveness 1", "missing_readiness 1", "missing_requests 1", "missing_memory_limit 1"}}
	wantLines := []string{"privileged 1,", "latest_tag 1,", "and 5 more checks"}
	if diff := cmp.Diff(wantLines, cell.wrap(18)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestUnknownIsMarked has a violation of a check that could not be answered.
func TestUnknownIsMarked(t *testing.T) {
	s := state.New(shipped(t, "default"))
	violation := rules.Violation{Check: 0, Container: "web", Path: "spec.containers.0", Unknown: true}
	s.Put(state.Pod{Namespace: "shop", Name: "Deployment/web"}, rules.Verdict{Subjects: []int{1, 1, 1}, Violations: []rules.Violation{violation}},
		&Origin{Workload: Workload{"Deployment", "web"}, File: "web.yaml", Line: 3, Document: 1})
	scan := &Scan{Snapshot: s.SnapshotWithViolations(), Inputs: Inputs{Files: 1, Templates: 1}}
	const note = "Unknown: 1 violation, because a check could not be answered."
	for form, want := range map[string][]string{
		"table": {"latest_tag (unknown): ", note}, "json": {`"unknown":true`}, "ndjson": {`"unknown":true`}, "yaml": {"unknown: true"}, "sarif": {"unknown: the check could not be answered", note},
		"junit": {"unknown: the check could not be answered", note}, "github": {"latest_tag (unknown)", note}, "markdown": {`latest\_tag (unknown)`, note}, "html": {">unknown</span>", note},
	} {
		format, err := FormatNamed(form)
		if err != nil {
			t.Fatal(err)
		}
		text := string(printed(t, format.Print, scan, Options{}))
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is missing in:\n%s", form, part, text)
			}
		}
	}
}

// TestNotesAreEverywhere looks for what was left out, and why, in the formats for people and for CI.
func TestNotesAreEverywhere(t *testing.T) {
	scan := manifestsOf(t, shipped(t, "default"), manifest{"a.yaml", 1, 21, "web", "main"})
	scan.Inputs.Duplicates = 1
	scan.Inputs.ExcludedNamespaces = map[string]Excluded{"kube-system": {600, "kube-*"}, "monitoring": {1, "monitoring"}, "other": {2, ""}}
	scan.Inputs.Ignored = Ignored{ChartTemplates: 3, NotManifests: 12, Empty: 1}
	scan.Warnings = []string{"a warning of its own"}
	want := []string{
		"1 duplicate of pods or manifests: each counts once; of recorded pods, the last one wins.",
		"The policy excludes 601 pods of 2 namespaces: kube-system (kube-*) 600, monitoring 1.", "Not selected: 2 pods of 1 namespace: other 2.",
		"Left out of folders: 3 chart templates, 12 files that are not manifests, 1 empty file.", "a warning of its own",
	}
	for _, form := range []string{"table", "sarif", "junit", "github", "markdown", "html"} {
		format, err := FormatNamed(form)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(printed(t, format.Print, scan, Options{})), `\*`, "*")
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is missing in:\n%s", form, part, text)
			}
		}
	}
	var report struct {
		Inputs   inputsJSON
		Warnings []string
	}
	if err := json.Unmarshal(printed(t, ScanJSON, scan, Options{}), &report); err != nil {
		t.Fatal(err)
	}
	wantInputs := inputsJSON{Files: 1, Templates: 1, OtherKinds: map[string]int{}, Duplicates: 1, Excluded: map[string]int{"kube-system": 600, "monitoring": 1, "other": 2}, Ignored: ignoredJSON{3, 12, 0, 0, 1}}
	if diff := cmp.Diff(wantInputs, report.Inputs); diff != "" || len(report.Warnings) != 1 {
		t.Errorf("inputs (-want +got):\n%s, warnings %q", diff, report.Warnings)
	}
}

// TestWithheldValuesAreNowhere has a violation whose value may be a secret.
func TestWithheldValuesAreNowhere(t *testing.T) {
	b := newScan(shipped(t, "default"))
	details := []Detail{{Detail: rules.Detail{Withheld: true}, Line: 4}}
	origin := Origin{Workload: Workload{"Pod", "p"}, File: "p.yaml", Line: 1, Document: 1, Details: &details}
	if err := b.put("shop", "p", fmt.Appendf(nil, probedLatest, "main", "hunter2"), &origin); err != nil {
		t.Fatal(err)
	}
	scan := b.done()
	for _, format := range Formats() {
		if text := string(printed(t, format.Print, scan, Options{})); strings.Contains(text, "hunter2") || strings.Contains(text, `"value":`) {
			t.Errorf("%s shows a value that is withheld:\n%s", format.Name, text)
		}
	}
}

// reportSchema is the schema that ships.
func reportSchema(t *testing.T, of string) *jsonschema.Schema {
	t.Helper()
	const name = "policies/report.schema.json"
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(contentOf(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	closed(document, false)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("https://example.com/"+name, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("https://example.com/" + name + of)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// closed makes a schema refuse keys that it does not name. The schema itself lets keys be added, and the test sees that it
// describes all that there are. A definition stays open, as another one may extend it; each reference to one is closed.
func closed(schema any, definition bool) {
	node, ok := schema.(map[string]any)
	if !ok {
		return
	}
	if node["$ref"] != nil || node["properties"] != nil && !definition {
		node["unevaluatedProperties"] = false
	}
	for _, key := range []string{"properties", "$defs"} {
		children, _ := node[key].(map[string]any)
		for _, child := range children {
			closed(child, key == "$defs")
		}
	}
	closed(node["items"], false)
}

// TestReportSchema holds reports of every kind against the schema that ships.
func TestReportSchema(t *testing.T) {
	whole := reportSchema(t, "")
	validate := func(name string, schema *jsonschema.Schema, text []byte) {
		t.Helper()
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: %.2000v", name, err)
		}
	}
	scans := recorded(t)
	scans["hostile"] = func() (*Scan, Options) { return hostileScan(t), Options{} }
	scans["categories"] = func() (*Scan, Options) { return categorized(t), Options{} }
	scans["enforced"] = func() (*Scan, Options) { return enforced(t), Options{} }
	scans["refused"] = func() (*Scan, Options) {
		scan := enforced(t)
		scan.Admission = []Admission{{rules.Deny, enforced(t)}}
		return scan, Options{Refusals: scan.Refusals(nil)}
	}
	scans["nothing"] = func() (*Scan, Options) { return newScan(shipped(t, "default")).done(), Options{} }
	scans["manifests"] = func() (*Scan, Options) {
		scan := manifestsOf(t, shipped(t, "default"), manifest{"a.yaml", 1, 21, "web", "main"})
		scan.Inputs.ExcludedNamespaces = map[string]Excluded{"kube-system": {600, "kube-*"}}
		scan.Warnings = []string{"w"}
		return scan, Options{}
	}
	line, waived := reportSchema(t, "#/properties/violations/items"), reportSchema(t, "#/properties/waived/items")
	for name, open := range scans {
		scan, o := open()
		validate(name, whole, printed(t, ScanJSON, scan, o))
		var agent bytes.Buffer
		details := func(state.PodViolation) rules.Detail { return rules.Detail{Value: "v"} }
		for _, scope := range []*Scope{{Namespaces: []string{"a"}, Forbidden: []string{}}, {Namespaces: []string{"a", "b"}, Forbidden: []string{"b"}}, nil} {
			agent.Reset()
			if err := JSON(&agent, scan.Snapshot, details, scope); err != nil {
				t.Fatal(err)
			}
			validate(name+", of an agent", whole, agent.Bytes())
		}
		if text := agent.String(); strings.Contains(text, `"line"`) || strings.Contains(text, `"inputs"`) || strings.Contains(text, `"file"`) && name != "hostile" {
			t.Errorf("%s: the report of an agent has what only a scan knows", name)
		}
		eachLine(printed(t, NDJSON, scan, o), func(text string) {
			switch {
			case strings.HasPrefix(text, `{"incomplete"`):
			case strings.Contains(text, `"waiver":`):
				validate(name+", a line", waived, []byte(text))
			default:
				validate(name+", a line", line, []byte(text))
			}
		})
	}
	for _, broken := range []string{`{}`, `{"policy": {"name": "a", "hash": "b"}, "cluster": {}, "namespaces": [], "version": 1, "violations": []}`,
		strings.Replace(string(printed(t, ScanJSON, manifestsOf(t, shipped(t, "default"), manifest{"a.yaml", 1, 21, "web", "main"}), Options{})), `"line":21`, `"lines":21`, 1)} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(broken))
		if err != nil {
			t.Fatal(err)
		}
		if whole.Validate(value) == nil {
			t.Errorf("the schema takes %s", broken)
		}
	}
}

// TestSARIFIsWhatGitHubTakes prints more findings than one run may have.
func TestSARIFIsWhatGitHubTakes(t *testing.T) {
	scan := large(t, 20_000) // 2,000 workloads, three findings each
	var warnings []string
	run := sarifOf(t, printed(t, SARIF, scan, Options{Warn: func(line string) { warnings = append(warnings, line) }})).Runs[0]
	const want = "SARIF has the worst 5,000 of 6,000 findings: GitHub takes no more in one run"
	if diff := cmp.Diff([]string{want}, warnings); diff != "" || len(run.Results) != 5000 {
		t.Errorf("%d results, warnings (-want +got):\n%s", len(run.Results), diff)
	}
	if n := run.Invocations[0].ToolExecutionNotifications; len(n) == 0 || n[0].Message.Text != want || n[0].Level != "warning" {
		t.Errorf("notifications %v", n)
	}
	levels := make(map[string]int)
	for i, result := range run.Results {
		levels[result.RuleID]++
		if i > 0 && run.Results[i-1].RuleIndex > result.RuleIndex {
			t.Fatalf("result %d is worse than the one before", i)
		}
	}
	if diff := cmp.Diff(map[string]int{"latest_tag": 2000, "missing_liveness": 2000, "missing_readiness": 1000}, levels); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	waiving, _ := bookshop(t)
	for _, asked := range []bool{false, true} {
		if text := string(printed(t, SARIF, waiving, Options{Waived: asked})); strings.Contains(text, `"suppressions"`) != asked {
			t.Errorf("waived asked for: %v, and there: %v", asked, !asked)
		}
	}
}

// TestExplainPatterns explains several namespaces, in text and as JSON.
func TestExplainPatterns(t *testing.T) {
	scan, o := recorded(t)["shop"]()
	var text bytes.Buffer
	if err := Explain(&text, scan, []string{"[!a-kp]*", "search"}, o); err != nil {
		t.Fatal(err)
	}
	var order []string
	eachLine(text.Bytes(), func(line string) {
		if rest, ok := strings.CutPrefix(line, "Namespace "); ok {
			name, _, _ := strings.Cut(rest, ":")
			order = append(order, name)
		}
	})
	if diff := cmp.Diff([]string{"legacy", "search", "storefront"}, order); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	var b bytes.Buffer
	if err := ExplainJSON(&b, scan, []string{"search"}, o); err != nil {
		t.Fatal(err)
	}
	var got explanationJSON
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Namespaces) != 1 || len(got.Namespaces[0].Checks) != 3 {
		t.Fatalf("%s", b.Bytes())
	}
	ns := got.Namespaces[0]
	if first := ns.Checks[0]; ns.Namespace != "search" || first.Check != "latest_tag" || first.Points != 10 || *first.IfFixed.Compliance != 76 || first.Remediation == "" {
		t.Errorf("%s", b.Bytes())
	}
	scan.Inputs.ExcludedNamespaces = map[string]Excluded{"kube-system": {600, "kube-*"}, "kube-public": {1, "kube-*"}, "other": {2, ""}}
	for pattern, want := range map[string]string{
		"kube-system": `the policy excludes namespace "kube-system" (600 pods, pattern "kube-*")`,
		"kube-*":      `the policy excludes namespace "kube-public" (1 pod, pattern "kube-*"), and others that match`,
		"other":       `--namespace does not select namespace "other" (2 pods)`,
		"[a":          `namespace pattern "[a" is malformed: close every bracket`,
		"x*":          `no pods in namespace "x*" (of 5 namespaces)`,
	} {
		for _, explain := range []func(io.Writer, *Scan, []string, Options) error{Explain, ExplainJSON} {
			var b bytes.Buffer
			if err := explain(&b, scan, []string{"search", pattern}, o); err == nil || err.Error() != want || b.Len() > 0 {
				t.Errorf("%s: error %v, want %s", pattern, err, want)
			}
		}
	}
}

// TestNarrowColumnKeepsTheName: where a workload and its file do not fit, the file is cut and the name is not.
func TestNarrowColumnKeepsTheName(t *testing.T) {
	cell := gridCell{text: "Deployment/backend (tests/data/common/app/advanced-routing/application.yaml)"}
	want := []string{"Deployment/backend", "(tests/data…tion.yaml)"}
	if diff := cmp.Diff(want, cell.wrap(22)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
