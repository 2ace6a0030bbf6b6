package enforce_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// sizes returns the numbers of pods and workloads that are compared for each table.
func sizes() (pods, workloads int) {
	if os.Getenv("ENFORCE") == "full" {
		return 3000, 1000
	}
	return 400, 150
}

// A compared table is one whose refusals are compared with the verdicts of the engine.
type comparedTable struct {
	name    string
	extends string // a table that ships, or a file
	audit   bool   // the policy does not refuse: the audit log says what it finds
	waivers bool   // those of testdata/forms-waivers.yaml
	// leftOut has the checks, and skips as skip:REASON, that the export leaves out with a warning.
	leftOut []string
	// never has the checks without a violation in any object, because the API server refuses or corrects such objects.
	never []string
}

var comparedTables = []comparedTable{
	{name: "default", extends: "default"},
	{name: "recommended", extends: "recommended", leftOut: []string{"restarts", "pending", "skip:mirror"}},
	{name: "extended", extends: "extended", leftOut: []string{"restarts", "pending", "skip:mirror"}, never: neverInExtended},
	{name: "pss-baseline", extends: "pss-baseline", never: []string{"pss_proc_mount"}}, // the API server allows procMount with hostUsers: false alone
	{name: "pss-restricted", extends: "pss-restricted"},
	{name: "forms", extends: "./forms.yaml", waivers: true},
	{name: "forms-audit", extends: "./forms-audit.yaml", audit: true},
}

// The API server refuses violations of the first two, and sets both fields that the third one compares. The namespaces of the tests have other
// names, and ephemeral containers are added later.
var neverInExtended = []string{"invalid_restart_policy", "invalid_port_name", "deprecated_service_account", "default_namespace", "ephemeral_container"}

func (c comparedTable) action() string {
	if c.audit {
		return "audit"
	}
	return "deny"
}

// wrapped writes a table that extends another table for a single namespace, next to a copy of the files in testdata.
func wrapped(t *testing.T, name, extends string, disable []string, namespaces ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "table.yaml")
	table := fmt.Sprintf("apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: %s}\nextends: %s\ndisable: [%s]\nnamespaces: {include: [%s], exclude: []}\n",
		name, extends, quotedAll(disable), strings.Join(namespaces, ", "))
	if err := os.WriteFile(path, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func quotedAll(texts []string) string {
	var quoted []string
	for _, text := range texts {
		quoted = append(quoted, fmt.Sprintf("%q", text))
	}
	return strings.Join(quoted, ", ")
}

var warnedLeftOut = regexp.MustCompile(`(?m)^kube-devops: warning: (check|skip) (\S+) is left out of `)

// TestDifferential compares the refusals of exported policies with the verdicts of the engine for the objects that the API server stores. For random
// pods and templates, both must find the same checks and subjects.
func TestDifferential(t *testing.T) {
	pods, workloads := sizes()
	s := newSample(t, seed(t), pods, workloads)
	space := make(map[string]string)
	for _, c := range comparedTables {
		space[c.name] = namespace(t, "e2e-"+c.name, nil)
		args := []string{"--action", c.action()}
		if c.waivers {
			args = append(args, "--waivers", "testdata/forms-waivers.yaml")
		}
		exported := export(t, wrapped(t, "e2e-"+c.name, c.extends, nil, space[c.name]), args...)
		var leftOut []string
		for _, found := range warnedLeftOut.FindAllStringSubmatch(exported.stderr, -1) {
			leftOut = append(leftOut, strings.TrimPrefix(found[1]+":"+found[2], "check:"))
		}
		if diff := differ(c.leftOut, leftOut); diff != "" {
			t.Errorf("%s: what is left out (-want +got):\n%s", c.name, diff)
		}
		install(t, exported.stdout)
	}
	inForce(t)
	for _, c := range comparedTables {
		t.Run(c.name, func(t *testing.T) { c.compare(t, s, space[c.name]) })
	}
}

func (c comparedTable) compare(t *testing.T, s *sample, space string) {
	table := wrapped(t, "e2e-"+c.name, c.extends, c.leftOut, space)
	var ofPods, ofWorkloads []string
	if c.waivers {
		// A waiver of a workload does not hold for pods: they only claim to have one.
		ofPods, ofWorkloads = []string{"--waivers", waiversOfPods(t)}, []string{"--waivers", "testdata/forms-waivers.yaml"}
	}
	want := verdicts(t, table, s.storedIn(space, s.pods), ofPods...)
	maps.Copy(want, verdicts(t, table, s.storedIn(space, s.workloads), ofWorkloads...))
	objects := slices.Concat(in(space, s.pods), in(space, s.workloads))
	begun := time.Now()
	got := refusals(t.Context(), t, objects)
	took := time.Since(begun)
	if c.audit {
		got = audited(t, space, "kube-devops-e2e-"+c.name+"-audit")
	}
	found, different := 0, 0
	violating := make(map[string]int)
	for _, o := range objects {
		for check := range want[nameOf(o)] {
			violating[check]++
		}
		if len(got[nameOf(o)].checks) > 0 {
			found++
		}
		if difference := want[nameOf(o)].differs(got[nameOf(o)]); difference != "" {
			if different++; different <= 5 {
				t.Errorf("%s %s: %s\n%s", o["kind"], nameOf(o), difference, text(t, s.stored[nameOf(o)]))
			}
		}
	}
	t.Logf("violations in %d of %d objects, %d different, in %s", found, len(objects), different, took.Round(time.Second))
	c.checkVariety(t, table, violating, len(objects))
}

// checkVariety checks that some objects violate each check of the table and some do not. Otherwise the comparison does not test the check.
func (c comparedTable) checkVariety(t *testing.T, table string, violating map[string]int, objects int) {
	var seldom, always []string
	for _, found := range regexp.MustCompile(`(?m)^  - id: (\w+)$`).FindAllStringSubmatch(kubeDevops(t, "policy", "show", table, "-o", "yaml").stdout, -1) {
		switch id := found[1]; {
		case violating[id] == 0 && !slices.Contains(c.never, id):
			seldom = append(seldom, id)
		case violating[id] == objects:
			always = append(always, id)
		}
	}
	// For a few checks, violations are rare, and a small sample may have none.
	if most := len(violating) / 10; len(seldom) > most {
		t.Errorf("%d of %d checks have no violation: %s", len(seldom), len(violating), strings.Join(seldom, ", "))
	}
	t.Logf("%d checks; without any violation: %s; violated by all: %s", len(violating), strings.Join(seldom, ", "), strings.Join(always, ", "))
}

// audited returns from the audit log the violations that a policy found in the objects of a namespace, by object name.
func audited(t *testing.T, namespace, policy string) map[string]refusal {
	t.Helper()
	all := make(map[string]refusal)
	for _, event := range auditEvents(t) {
		if event.ObjectRef.Namespace != namespace {
			continue
		}
		for _, failure := range auditFailures(t, event) {
			r, ok := parseRefusal(failure.Message)
			if !ok {
				t.Fatalf("cannot read the message: %s", failure.Message)
			}
			if failure.Policy == policy {
				all[event.ObjectRef.Name] = r
			}
		}
	}
	return all
}

// waiversOfPods writes the waivers of testdata, except those for workloads.
func waiversOfPods(t *testing.T) string {
	t.Helper()
	return waiversWith(t, func(line string) bool { return !strings.Contains(line, "workload:") })
}

// waiversWith writes the waivers of testdata, one on each line, that keep selects.
func waiversWith(t *testing.T, keep func(line string) bool) string {
	t.Helper()
	b, err := os.ReadFile("testdata/forms-waivers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kept := "apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers:\n"
	none := kept
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "id:") && keep(line) {
			kept += line
		}
	}
	if kept == none {
		kept = strings.Replace(kept, "waivers:\n", "waivers: []\n", 1)
	}
	return writeFile(t, "waivers.yaml", kept)
}
