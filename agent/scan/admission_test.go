package scan

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// TestAdmissionIsTheTableAsExported compares the result of a scan for each pod of two inputs with the verdict of the selected table.
func TestAdmissionIsTheTableAsExported(t *testing.T) {
	t.Chdir("../..")
	moment := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	table, err := open(t, "recommended").WithWaivers("w.yaml", []byte(`apiVersion: kube-devops.io/v1
kind: Waivers
waivers:
  - {id: held, reason: r, expires: 2099-01-01, namespace: storefront}
  - {id: workload, reason: r, expires: 2099-01-01, workload: Deployment/intranet}
  - {id: over, reason: r, expires: 2029-01-01, namespace: legacy}
  - {id: label, reason: r, expires: 2099-01-01, labels: {app: web}}
`))
	if err != nil {
		t.Fatal(err)
	}
	selections, err := vap.Select(table, vap.Options{Action: rules.Deny, Partial: true})
	if err != nil || len(selections) != 1 {
		t.Fatalf("%d selections, error %v", len(selections), err)
	}
	for _, file := range []string{"testdata/dumps/shop.json", "testdata/manifests/bookshop.yaml"} {
		scanned, err := Run(t.Context(), Options{Table: table, Now: moment, Found: found(t, file), Workers: 2, Admission: selections})
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]int)
		for v := range scanned.Admission[0].Scan.Snapshot.Violations() {
			got[fmt.Sprintf("%s/%s %s %s", v.Namespace, v.Pod.Name, selections[0].Table.Checks()[v.Check].ID, v.Path)]++
		}
		want := make(map[string]int)
		_, err = dump.ReadPath(t.Context(), file, nil, func(e dump.Event) error {
			by := selections[0].PodTable
			if e.Template || report.IsExempt(rules.WorkloadOf(e.JSON).Kind) {
				by = selections[0].Table
			}
			if !by.Includes(e.Namespace) {
				return nil
			}
			verdict, err := by.Evaluate(e.JSON)
			for _, v := range verdict.Violations {
				if v.Waiver == nil || !v.Waiver.Active(moment) {
					want[fmt.Sprintf("%s/%s %s %s", e.Namespace, e.Name, by.Checks()[v.Check].ID, v.Path)]++
				}
			}
			return err
		}, dump.Manifests)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || len(want) < 10 {
			t.Errorf("%s: %d violations (-want +got):\n%s", file, len(want), diff)
		}
	}
}

// TestAdmissionOfDeletedPods checks that deleted and fixed pods are not refused.
func TestAdmissionOfDeletedPods(t *testing.T) {
	table := open(t, "default")
	selections, err := vap.Select(table, vap.Options{Action: rules.Deny})
	if err != nil {
		t.Fatal(err)
	}
	event := func(kind, name, image string) string {
		return fmt.Sprintf(`{"type":%q,"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":%[2]q,"namespace":"a","uid":%[2]q},"spec":{"containers":[{"name":"c","image":%q,"livenessProbe":{},"readinessProbe":{}}]}}}`+"\n", kind, name, image)
	}
	text := event("ADDED", "gone", "x:latest") + event("ADDED", "mended", "x:latest") + event("ADDED", "left", "x:latest") + event("DELETED", "gone", "x:latest") + event("MODIFIED", "mended", "x:1")
	scanned, err := Run(t.Context(), Options{Table: table, Now: time.Now(), Found: dump.Found{Files: []dump.File{{Path: "-"}}}, Stdin: strings.NewReader(text), Admission: selections})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range scanned.Refusals(nil) {
		got = append(got, r.Workload.String()+" "+r.Check.ID+" "+string(r.When))
	}
	if diff := cmp.Diff([]string{"Pod/left latest_tag create"}, got); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
}

// TestAdmissionOfOwnedTemplates checks that for a stored workload that another workload of the input created, the template of that workload is
// evaluated. A manifest is evaluated itself.
func TestAdmissionOfOwnedTemplates(t *testing.T) {
	table := open(t, "default")
	selections, err := vap.Select(table, vap.Options{Action: rules.Deny})
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"a","uid":"1"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"x:latest","livenessProbe":{},"readinessProbe":{}}]}}}},
{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"web-1","namespace":"a","uid":"2","ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":"web","uid":"1","controller":true}]},
 "spec":{"template":{"spec":{"containers":[{"name":"c","image":"x:latest","livenessProbe":{},"readinessProbe":{}}]}}}}]}`
	found := refusals(t, table, selections, text)
	if len(found) != 1 || found[0].Workload.String() != "Deployment/web" || found[0].Violations != 1 {
		t.Errorf("refusals %+v, want one of Deployment/web", found)
	}
	if found = refusals(t, table, selections, strings.Replace(text, `"uid":"2",`, "", 1)); len(found) != 2 {
		t.Errorf("refusals %+v, want those of the Deployment and of the manifest of a ReplicaSet", found)
	}
}

// TestAdmissionOfClaimedWorkloads checks that a waiver for a workload applies to its template and to the pods that Kubernetes creates from it, and not
// to other pods whose owner references name the workload.
func TestAdmissionOfClaimedWorkloads(t *testing.T) {
	table, err := open(t, "default").WithWaivers("w.yaml", []byte(`apiVersion: kube-devops.io/v1
kind: Waivers
waivers:
  - {id: web, reason: r, expires: 2099-01-01, workload: Deployment/web}
  - {id: broker, reason: r, expires: 2099-01-01, workload: Broker/broker}
`))
	if err != nil {
		t.Fatal(err)
	}
	selections, err := vap.Select(table, vap.Options{Action: rules.Deny})
	if err != nil {
		t.Fatal(err)
	}
	pod := func(kind, name, uid, owner string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":"a"%s,"labels":{"pod-template-hash":"1"},"ownerReferences":[{"apiVersion":"x/v1","kind":%q,"name":%q,"controller":true}]},
"spec":{"containers":[{"name":"c","image":"x:latest","livenessProbe":{},"readinessProbe":{}}]}}`, name, uid, kind, owner)
	}
	for _, test := range []struct {
		name, pod string
		want      int
	}{
		{"a recorded pod of the workload", pod("ReplicaSet", "web-1-a", `,"uid":"1"`, "web-1"), 0},
		{"a recorded pod of an operator", pod("Broker", "broker-0", `,"uid":"1"`, "broker"), 1},
		{"a manifest that claims the workload", pod("ReplicaSet", "web-1-a", "", "web-1"), 1},
	} {
		for _, text := range []string{`{"apiVersion":"v1","kind":"List","items":[` + test.pod + `]}`, test.pod} {
			if got := len(refusals(t, table, selections, text)); got != test.want {
				t.Errorf("%s: %d refusals, want %d, in %s", test.name, got, test.want, text)
			}
		}
	}
}

// refusals returns the refusals of one input.
func refusals(t *testing.T, table *rules.Table, selections []vap.Selection, text string) []report.Refusal {
	t.Helper()
	scanned, err := Run(t.Context(), Options{Table: table, Now: time.Now(), Found: dump.Found{Files: []dump.File{{Path: "-"}}}, Stdin: strings.NewReader(text), Admission: selections})
	if err != nil {
		t.Fatal(err)
	}
	return scanned.Refusals(nil)
}

// TestAdmissionMoments checks at which moment workloads are refused. The API server evaluates the templates of built-in kinds. For other kinds, it
// evaluates the objects that their controllers create, so a waiver for the workload does not apply. A single object printed by kubectl is evaluated
// as in a list.
func TestAdmissionMoments(t *testing.T) {
	table, err := open(t, "default").WithWaivers("w.yaml", []byte("apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers:\n"+
		"- {id: d, reason: r, expires: 2099-01-01, workload: Deployment/waived}\n- {id: r, reason: r, expires: 2099-01-01, workload: Rollout/waived}\n"))
	if err != nil {
		t.Fatal(err)
	}
	selections, err := vap.Select(table, vap.Options{Action: rules.Deny})
	if err != nil {
		t.Fatal(err)
	}
	const spec = `{"containers":[{"name":"c","image":"x:latest","livenessProbe":{},"readinessProbe":{}}]}`
	workload := func(kind, metadata string) string {
		return fmt.Sprintf(`{"apiVersion":"x/v1","kind":%q,"metadata":{"namespace":"a",%s},"spec":{"template":{"spec":%s}}}`, kind, metadata, spec)
	}
	pod := func(metadata string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"a",%s},"spec":%s}`, metadata, spec)
	}
	const broker, node = `,"ownerReferences":[{"kind":"Broker","name":"b","controller":true}]`, `,"ownerReferences":[{"kind":"Node","name":"n","controller":true}]`
	for _, test := range []struct {
		text string
		want report.When // empty: it is not refused
	}{
		{workload("Deployment", `"name":"web"`), report.AtCreate},
		{workload("Deployment", `"name":"waived"`), ""},
		{workload("ReplicaSet", `"name":"web"`), report.AtCreate},
		{workload("ReplicaSet", `"name":"web","uid":"1"`), report.AtRollOut},
		{workload("Rollout", `"name":"web"`), report.AtRollOut},
		{workload("Rollout", `"name":"waived"`), report.AtRollOut},
		{workload("Rollout", `"name":"web","uid":"1"`), report.AtRollOut},
		{workload("Broker", `"name":"web"`), report.AtRestart},
		{workload("Broker", `"name":"web","uid":"1"`), report.AtRestart},
		{pod(`"name":"alone"`), report.AtCreate},
		{pod(`"name":"alone","uid":"1"`), report.AtCreate},
		{pod(`"name":"b-0"` + broker), report.AtCreate},
		{pod(`"name":"b-0","uid":"1"` + broker), report.AtRestart},
		{pod(`"name":"static"` + node), report.AtCreate},
		{pod(`"name":"static","uid":"1"` + node), ""},
	} {
		var got report.When
		for _, r := range refusals(t, table, selections, test.text) {
			got = r.When
		}
		if got != test.want {
			t.Errorf("%q, want %q: %s", got, test.want, test.text)
		}
	}
}

// TestAdmissionOfDefaults checks that a manifest is evaluated with the defaults of the API server and reported with its own lines, and a stored object
// without changes. The score is that of the manifest without defaults.
func TestAdmissionOfDefaults(t *testing.T) {
	const checks = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: defaults}
checks:
  - {id: empty_dir, weight: 1, enforce: deny, forEach: spec.volumes, violation: {path: emptyDir, operator: exists}}
  - {id: host_port, weight: 1, enforce: deny, forEach: spec.containers.#.ports, violation: {path: hostPort, operator: exists}}
  - {id: grace, weight: 1, enforce: deny, violation: {path: spec.terminationGracePeriodSeconds, operator: absent}}
`
	table, err := rules.Load("table.yaml", []byte(checks))
	if err != nil {
		t.Fatal(err)
	}
	selections, err := vap.Select(table, vap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	spec := "hostNetwork: true\n%[1]scontainers:\n%[1]s- {name: c, image: x, ports: [{containerPort: 80}]}\n%[1]svolumes:\n%[1]s- {name: a, secret: {secretName: a}}\n%[1]s- {name: v}\n"
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: a%s}\nspec:\n  " + fmt.Sprintf(spec, "  ")
	workload := "apiVersion: x/v1\nkind: %s\nmetadata: {name: a}\nspec:\n  template:\n    spec:\n      " + fmt.Sprintf(spec, "      ")
	for _, test := range []struct {
		text string
		want []string // the check, and the line
	}{
		{fmt.Sprintf(pod, ""), []string{"empty_dir 10", "host_port 7"}},
		{fmt.Sprintf(pod, ", uid: u"), []string{"grace 1"}},
		{fmt.Sprintf(workload, "Deployment"), []string{"empty_dir 12"}},
		{fmt.Sprintf(workload, "Rollout"), []string{"empty_dir 12"}},
		{fmt.Sprintf(workload, "Broker"), []string{"empty_dir 12", "host_port 9"}},
	} {
		file := filepath.Join(t.TempDir(), "a.yaml")
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		scanned, err := Run(t.Context(), Options{Table: table, Now: time.Now(), Found: dump.Find([]string{file}, nil), Admission: selections})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range scanned.Refusals(nil) {
			got = append(got, fmt.Sprintf("%s %d", r.Check.ID, r.Line))
		}
		slices.Sort(got)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("refusals (-want +got):\n%s\n%s", diff, test.text)
		}
		var scored []string
		for v := range scanned.Snapshot.Violations() {
			scored = append(scored, table.Checks()[v.Check].ID)
		}
		if diff := cmp.Diff([]string{"grace"}, scored); diff != "" {
			t.Errorf("violations as written (-want +got):\n%s\n%s", diff, test.text)
		}
	}
}
