package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// replicas is a scan of one Deployment of so many pods, whose names have a hash, with these containers.
func replicas(t *testing.T, table *rules.Table, n int, hash string, containers ...string) *Scan {
	t.Helper()
	b := newScan(table)
	for i := range n {
		name := fmt.Sprintf("web-%s-%d", hash, i)
		var list []string
		for _, c := range containers {
			list = append(list, `{"name": "`+c+`", "image": "a:latest", "livenessProbe": {}, "readinessProbe": {}}`)
		}
		object := `{"kind": "Pod", "metadata": {"namespace": "shop", "name": "` + name + `", "labels": {"pod-template-hash": "` + hash + `"},
			"ownerReferences": [{"kind": "ReplicaSet", "name": "web-` + hash + `"}]}, "spec": {"containers": [` + strings.Join(list, ",") + `]}}`
		if err := b.add([]byte(object), "", 0); err != nil {
			t.Fatal(err)
		}
	}
	return b.done()
}

func baselineOf(t *testing.T, report []byte) *Baseline {
	t.Helper()
	b, err := LoadBaseline("old.json", bytes.NewReader(report))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// names are the new findings and the resolved ones, for a comparison.
func (d *BaselineDiff) names() (fresh, resolved []string) {
	for _, f := range d.New {
		fresh = append(fresh, fmt.Sprintf("%s %s %s %s x%d", f.Namespace, f.Workload, f.Check.ID, f.label(), f.Violations))
	}
	for _, k := range d.Resolved {
		resolved = append(resolved, strings.Join([]string{k.Namespace, k.owner(), k.Check, k.label()}, " "))
	}
	return fresh, resolved
}

// TestBaseline compares scans with older reports of theirs.
func TestBaseline(t *testing.T) {
	table := shipped(t, "default")
	asScan := func(s *Scan) []byte { return printed(t, ScanJSON, s, Options{}) }
	asAgent := func(s *Scan) []byte {
		return printed(t, func(to io.Writer, s *Scan, _ Options) error { return JSON(to, s.Snapshot, nil, nil) }, s, Options{})
	}
	waived, err := table.WithWaivers("w.yaml", []byte(`
apiVersion: kube-devops.io/v1
kind: Waivers
waivers: [{id: side, reason: r, expires: 2031-01-01, namespace: shop, container: side}]
`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name            string
		old             []byte
		scan            *Scan
		fresh, resolved []string
	}{
		{name: "the same scan", old: asScan(replicas(t, table, 2, "a1", "main")), scan: replicas(t, table, 2, "a1", "main")},
		{name: "other pods of the same workload, and more of them", old: asScan(replicas(t, table, 2, "a1", "main")), scan: replicas(t, table, 5, "b2", "main")},
		{name: "fewer pods of it", old: asScan(replicas(t, table, 5, "a1", "main")), scan: replicas(t, table, 1, "b2", "main")},
		{
			name: "a container more", old: asScan(replicas(t, table, 2, "a1", "main")), scan: replicas(t, table, 3, "b2", "main", "side"),
			fresh: []string{"shop Deployment/web latest_tag side x3"},
		},
		{
			name: "a container less, and one of another name", old: asScan(replicas(t, table, 2, "a1", "main", "side")), scan: replicas(t, table, 2, "b2", "other"),
			fresh:    []string{"shop Deployment/web latest_tag other x2"},
			resolved: []string{"shop Deployment/web latest_tag main", "shop Deployment/web latest_tag side"},
		},
		{name: "containers in another order", old: asScan(replicas(t, table, 1, "a1", "main", "side")), scan: replicas(t, table, 1, "a1", "side", "main")},
		{name: "the report of an agent, which knows pods", old: asAgent(replicas(t, table, 2, "a1", "main")), scan: replicas(t, table, 2, "a1", "main")},
		{
			name: "the report of an agent, and a pod more", old: asAgent(replicas(t, table, 2, "a1", "main")), scan: replicas(t, table, 3, "a1", "main"),
		},
		{
			name: "everything gone", old: asAgent(replicas(t, table, 1, "a1", "main")), scan: newScan(table).done(),
			resolved: []string{"shop Pod/web-a1-0 latest_tag main"},
		},
		{
			name: "a waiver accepts it by now: neither new nor resolved", old: asScan(replicas(t, table, 1, "a1", "main", "side")), scan: replicas(t, waived, 1, "a1", "main", "side"),
		},
		{
			name: "it was waived, and is no longer", old: asScan(replicas(t, waived, 1, "a1", "main", "side")), scan: replicas(t, table, 1, "a1", "main", "side"),
			fresh: []string{"shop Deployment/web latest_tag side x1"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			changes := baselineOf(t, test.old).Compare(test.scan)
			fresh, resolved := changes.names()
			if diff := cmp.Diff(test.fresh, fresh); diff != "" {
				t.Errorf("new (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.resolved, resolved); diff != "" {
				t.Errorf("resolved (-want +got):\n%s", diff)
			}
			// What is said of single violations agrees.
			lines := strings.Count(string(printed(t, NDJSON, test.scan, Options{Baseline: changes})), `"new":true`)
			if lines != changes.Violations {
				t.Errorf("%d lines are new, want %d", lines, changes.Violations)
			}
		})
	}
}

// TestBaselineOfFormerIDs: a check that a built-in table renames does not make its violations new.
func TestBaselineOfFormerIDs(t *testing.T) {
	text, _ := policies.Shipped(policies.Default)
	load := func(renamed map[string]string, text string) *rules.Table {
		table, err := rules.LoadAll(rules.Source{File: "default.yaml", Text: []byte(text), Renamed: renamed})
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	old := printed(t, ScanJSON, replicas(t, load(nil, strings.ReplaceAll(string(text), "latest_tag", "latest")), 2, "a1", "main", "side"), Options{})
	scan := replicas(t, load(map[string]string{"latest": "latest_tag"}, string(text)), 3, "b2", "main", "more")
	fresh, resolved := baselineOf(t, old).Compare(scan).names()
	if diff := cmp.Diff([][]string{{"shop Deployment/web latest_tag more x3"}, {"shop Deployment/web latest_tag side"}}, [][]string{fresh, resolved}); diff != "" {
		t.Errorf("new and resolved (-want +got):\n%s", diff)
	}
}

// TestBaselineOfItself takes each recording as its own baseline: nothing is new, nothing resolved, in any order of the
// violations.
func TestBaselineOfItself(t *testing.T) {
	for folder, open := range recorded(t) {
		scan, _ := open()
		scan.Inputs.Unreadable = nil
		old := baselineOf(t, printed(t, ScanJSON, scan, Options{}))
		if old.Policy != scan.Snapshot.Table.Name() || old.Hash != scan.Snapshot.Table.Hash() {
			t.Errorf("%s: policy %s, %s", folder, old.Policy, old.Hash)
		}
		changes := old.Compare(scan)
		if len(changes.New) > 0 || len(changes.Resolved) > 0 || changes.Violations != 0 {
			t.Errorf("%s: %+v", folder, changes)
		}
		if text := string(printed(t, Table, scan, Options{Baseline: changes})); !strings.Contains(text, "Against old.json: 0 new violations, 0 resolved.") || strings.Contains(text, "another policy") {
			t.Errorf("%s: the table says\n%s", folder, text)
		}
	}
}

// TestBrokenBaseline reads files that are not baselines.
func TestBrokenBaseline(t *testing.T) {
	scan, _ := recorded(t)["shop"]()
	whole := string(printed(t, ScanJSON, scan, Options{}))
	const policy = `{"policy": {"name": "p", "hash": "h"}, "violations": [`
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "byte 0: unexpected end of file"},
		{"cut in a violation", whole[:strings.Index(whole, `"severity"`)+5], "unexpected end of file"},
		{"cut at the end", strings.TrimRight(whole, "}\n"), "unexpected end of file"},
		{"a list", "[]", "not a report: it must be a JSON object"},
		{"a number", "7", "not a report: it must be a JSON object"},
		{"no JSON", "apiVersion: v1", "invalid character"},
		{"another object", `{"kind": "List", "items": []}`, "byte 29: not a report: policy or violations are missing"},
		{"no violations", `{"policy": {"name": "p"}}`, "policy or violations are missing"},
		{"violations are an object", `{"policy": {}, "violations": {}}`, "violations must be a list"},
		{"a violation is a text", policy + `"x"]}`, "violations, item 1: json: cannot unmarshal string"},
		{"a violation without a check", policy + `{"namespace": "a", "pod": "b", "check": "c"}, {"namespace": "a", "pod": "b"}]}`, "violations, item 2: namespace, check or pod is missing"},
		{"violations twice", policy + `], "violations": []}`, `duplicate key "violations"`},
		{"something behind it", policy + `]} {}`, "unexpected data after the report"},
		{"on a part of the data", `{"incomplete": ["x"], ` + policy[1:] + `]}`, "the report is incomplete"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := LoadBaseline("old.json", strings.NewReader(test.text))
			if err == nil {
				t.Fatal("it was read")
			}
			if text := err.Error(); !strings.HasPrefix(text, "baseline old.json: byte ") || !strings.Contains(text, test.want) || strings.Contains(text, "\n") {
				t.Errorf("error %q, want %q", text, test.want)
			}
		})
	}
}

// TestBaselineInEachForm looks for new findings in the formats that show them.
func TestBaselineInEachForm(t *testing.T) {
	table := shipped(t, "default")
	scan := replicas(t, table, 2, "b2", "main", "side")
	changes := baselineOf(t, printed(t, ScanJSON, replicas(t, table, 2, "a1", "main", "gone"), Options{})).Compare(scan)
	for form, want := range map[string][]string{
		"table":    {"Against old.json: 2 new violations, 1 resolved.", "NEW ", "RESOLVED "},
		"markdown": {"Against old.json: 2 new violations, 1 resolved.", "1 resolved</summary>", "| latest\\_tag | high | shop/Deployment/web | side | The image ends with :latest (2 times) | Pin the image"},
		"json":     {`"new":2,"resolved":1,"resolvedViolations":[{"namespace":"shop","workload":"Deployment/web","check":"latest_tag","container":"gone","subject":"gone"}]`},
		"html":     {"Against old.json: 2 new violations, 1 resolved.", `id="resolved"`},
		"github":   {"title=new%3A latest_tag in shop/Deployment/web", "2 new violations, 1 resolved."},
		"sarif":    {`"baselineState":"new"`, `"baselineState":"unchanged"`},
		"junit":    {"new: The image ends with :latest (container side of Deployment/web in shop, 2 times)"},
	} {
		format, err := FormatNamed(form)
		if err != nil {
			t.Fatal(err)
		}
		text := string(printed(t, format.Print, scan, Options{Baseline: changes}))
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is missing in:\n%s", form, part, text)
			}
		}
	}
	if text := string(printed(t, GitHub, scan, Options{Baseline: changes})); strings.Contains(text, "container main") {
		t.Errorf("github annotates what is not new:\n%s", text)
	}
}

// TestScanWithoutOrigins treats each pod as its own workload.
func TestScanWithoutOrigins(t *testing.T) {
	b := newScan(shipped(t, "default"))
	if _, err := b.state.Observe(state.Pod{Namespace: "default", Name: "nginx"}, []byte(nginx)); err != nil {
		t.Fatal(err)
	}
	scan := b.done()
	if text := string(printed(t, Table, scan, Options{})); !strings.Contains(text, "default    Pod/nginx     1       8  latest_tag 1, missing_liveness 1\n") {
		t.Errorf("the table says\n%s", text)
	}
}
