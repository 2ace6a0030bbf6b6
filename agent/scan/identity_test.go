package scan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/rules"
)

// workloadOf is a manifest of a workload.
func workloadOf(apiVersion, kind, name, metadata, image string) string {
	return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"namespace":"shop"%s},"spec":{"template":{"spec":{"containers":[{"name":"c","image":%q}]}}}}`,
		apiVersion, kind, name, metadata, image)
}

func deploymentOf(name, metadata, image string) string {
	return workloadOf("apps/v1", "Deployment", name, metadata, image)
}

// latest are the workloads whose image is :latest, with file and document where they are manifests, as a reader sees them.
func latest(found *report.Scan) []string {
	var got []string
	for v := range found.Snapshot.Violations() {
		if found.Snapshot.Table.Checks()[v.Check].ID != "latest_tag" {
			continue
		}
		name, place := v.Pod.Name, ""
		if o, ok := v.Origin.(*report.Origin); ok {
			if o.Pod != "" {
				name = o.Pod
			}
			if o.Document > 0 {
				place = fmt.Sprintf(" %s#%d", o.File, o.Document)
			}
		}
		got = append(got, name+place)
	}
	return got
}

// TestEachManifestIsAWorkload: a manifest does not hide another one of its name, in whatever file, group or order.
func TestEachManifestIsAWorkload(t *testing.T) {
	bad, good := deploymentOf("web", "", "i:latest"), deploymentOf("web", "", "i:1")
	pod := func(image, more string) string {
		return `{"kind":"Pod","metadata":{"name":"web","namespace":"shop"` + more + `},"spec":{"containers":[{"name":"c","image":"` + image + `"}]}}`
	}
	for name, tt := range map[string]struct {
		a, b     string
		inputs   report.Inputs
		latest   []string
		warnings []string
	}{
		"two files":                   {a: bad, b: good, inputs: report.Inputs{Templates: 2}, latest: []string{"Deployment/web a.json#1"}},
		"the other way":               {a: good, b: bad, inputs: report.Inputs{Templates: 2}, latest: []string{"Deployment/web b.json#1"}},
		"one file":                    {a: good + bad + deploymentOf("web", "", "j:latest"), b: good, inputs: report.Inputs{Templates: 3, Duplicates: 1}, latest: []string{"Deployment/web a.json#2", "Deployment/web a.json#3"}, warnings: []string{"1 manifest is identical to another one and counts once: shop/Deployment/web in b.json and a.json"}},
		"two groups":                  {a: bad, b: workloadOf("example.com/v1", "Deployment", "web", "", "i:1"), inputs: report.Inputs{Templates: 2}, latest: []string{"Deployment/web a.json#1"}},
		"equal as JSON":               {a: bad, b: strings.Replace(bad, `"apiVersion":"apps/v1","kind":"Deployment"`, "\n\"kind\":  \"Deployment\", \"apiVersion\":\"apps\\/v1\"", 1), inputs: report.Inputs{Templates: 1, Duplicates: 1}, latest: []string{"Deployment/web a.json#1"}, warnings: []string{"1 manifest is identical to another one and counts once: shop/Deployment/web in b.json and a.json"}},
		"pods":                        {a: pod("i:latest", ""), b: pod("i:1", ""), inputs: report.Inputs{Pods: 2}, latest: []string{"web a.json#1"}},
		"one uid":                     {a: pod("i:latest", `,"uid":"u"`), b: pod("i:1", `,"uid":"u"`), inputs: report.Inputs{Pods: 1, Duplicates: 1}, warnings: []string{"1 duplicate pod; the last one wins: shop/web in b.json and a.json"}},
		"two uids":                    {a: pod("i:latest", `,"uid":"u"`), b: pod("i:1", `,"uid":"v"`), inputs: report.Inputs{Pods: 2}, latest: []string{"web a.json#1"}},
		"one uid, two names":          {a: deploymentOf("web", `,"uid":"u"`, "i:latest"), b: deploymentOf("api", `,"uid":"u"`, "i:1"), inputs: report.Inputs{Templates: 2}, latest: []string{"Deployment/web a.json#1"}},
		"beside a recording":          {a: list(pod("i:latest", `,"uid":"u"`)), b: pod("i:1", "") + pod("j:latest", ""), inputs: report.Inputs{Pods: 3}, latest: []string{"web", "web b.json#2"}},
		"before a recording":          {a: pod("i:latest", ""), b: list(pod("j:latest", `,"uid":"u"`)) + list(pod("j:latest", `,"uid":"u"`)), inputs: report.Inputs{Pods: 2, Duplicates: 1}, latest: []string{"web a.json#1", "web"}, warnings: []string{"1 duplicate pod; the last one wins: shop/web in b.json"}},
		"printed alone, then watched": {a: pod("i:latest", `,"uid":"u"`), b: `{"type":"DELETED","object":` + pod("i:latest", `,"uid":"u"`) + `}` + pod("j:1", ""), inputs: report.Inputs{Pods: 1}},
		"names that look like keys": {a: pod("i:latest", "") + pod("j:latest", ""), b: strings.ReplaceAll(pod("k:latest", "")+list(pod("k:latest", `,"uid":"u"`)), `"name":"web"`, `"name":"web\u00001"`), inputs: report.Inputs{Pods: 4},
			latest: []string{"web a.json#1", "web a.json#2", "web\x001 b.json#1", "web\x001"}},
		"recorded, in two groups": {a: `{"kind":"List","items":[` + deploymentOf("web", `,"uid":"a"`, "i:latest") + "," + workloadOf("example.com/v1", "Deployment", "web", `,"uid":"b"`, "i:1") + "]}",
			b: `{"kind":"List","items":[` + workloadOf("example.com/v1", "Deployment", "web", `,"uid":"b"`, "i:1") + "]}", inputs: report.Inputs{Templates: 2, Duplicates: 1}, latest: []string{"Deployment/web"},
			warnings: []string{"1 duplicate workload; the last one wins: shop/Deployment/web in b.json and a.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			tree(t, map[string]string{"a.json": tt.a, "b.json": tt.b})
			found, lines, err := scanTree(t, []string{"a.json", "b.json"})
			if err != nil {
				t.Fatal(err)
			}
			tt.inputs.Files = 2
			if diff := cmp.Diff(tt.inputs, found.Inputs); diff != "" {
				t.Errorf("inputs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.latest, latest(found)); diff != "" {
				t.Errorf("violations of latest_tag (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.warnings, lines); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOwnedWorkloads: a workload does not count beside its owner, in any order, and counts where the input does not have that.
func TestOwnedWorkloads(t *testing.T) {
	owner := func(apiVersion, kind, name, uid string) string {
		return fmt.Sprintf(`,"ownerReferences":[{"apiVersion":%q,"kind":%q,"name":%q,"uid":%q,"controller":true}]`, apiVersion, kind, name, uid)
	}
	set := func(name, owner string) string {
		return workloadOf("apps/v1", "ReplicaSet", name, owner, name+":latest")
	}
	cronJob := `{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"cron","namespace":"shop"},"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i:latest"}]}}}}}}`
	web := deploymentOf("web", `,"uid":"w"`, "web:latest")
	for name, tt := range map[string]struct {
		texts []string
		want  []string
		left  map[string]int
	}{
		"a Deployment's":       {[]string{web, set("a", owner("apps/v1", "Deployment", "web", "w"))}, []string{"Deployment/web"}, map[string]int{"ReplicaSet": 1}},
		"without uid":          {[]string{deploymentOf("web", "", "i:latest"), set("a", owner("apps/v1", "Deployment", "web", "w"))}, []string{"Deployment/web"}, map[string]int{"ReplicaSet": 1}},
		"of an earlier one":    {[]string{web, set("a", owner("apps/v1", "Deployment", "web", "x"))}, []string{"Deployment/web", "ReplicaSet/a"}, nil},
		"a CronJob's":          {[]string{workloadOf("batch/v1", "Job", "j", owner("batch/v1", "CronJob", "cron", "c"), "i:latest"), cronJob}, []string{"CronJob/cron"}, map[string]int{"Job": 1}},
		"a custom resource's":  {[]string{web, workloadOf("apps/v1", "StatefulSet", "db", owner("example.com/v1", "Kafka", "db", "k"), "i:latest")}, []string{"Deployment/web", "StatefulSet/db"}, nil},
		"of another group":     {[]string{web, set("a", owner("example.com/v1", "Deployment", "web", ""))}, []string{"Deployment/web", "ReplicaSet/a"}, nil},
		"of another namespace": {[]string{web, strings.Replace(set("a", owner("apps/v1", "Deployment", "web", "w")), `"shop"`, `"mall"`, 1)}, []string{"Deployment/web", "ReplicaSet/a"}, nil},
		"its own":              {[]string{set("a", owner("apps/v1", "ReplicaSet", "a", ""))}, []string{"ReplicaSet/a"}, nil},
		"one another's":        {[]string{set("a", owner("apps/v1", "ReplicaSet", "b", "")), set("b", owner("apps/v1", "ReplicaSet", "a", ""))}, []string{"ReplicaSet/a", "ReplicaSet/b"}, nil},
		"an owned one's":       {[]string{set("a", owner("apps/v1", "Deployment", "web", "w")), set("b", owner("apps/v1", "ReplicaSet", "a", "")), web}, []string{"Deployment/web"}, map[string]int{"ReplicaSet": 2}},
		"a patch's":            {[]string{strings.Replace(deploymentOf("web", "", ""), `"image":""`, `"x":1`, 1), set("a", owner("apps/v1", "Deployment", "web", ""))}, []string{"ReplicaSet/a"}, map[string]int{"patches": 1}},
	} {
		for _, shape := range []string{"objects", "objects backwards", "a List", "a List backwards"} {
			texts := append([]string(nil), tt.texts...)
			if strings.HasSuffix(shape, "backwards") {
				for i := range len(texts) / 2 {
					texts[i], texts[len(texts)-1-i] = texts[len(texts)-1-i], texts[i]
				}
			}
			text := strings.Join(texts, "\n")
			if strings.HasPrefix(shape, "a List") {
				text = `{"kind":"List","items":[` + strings.Join(texts, ",") + "]}"
			}
			var lines []string
			found, err := scanned(t, text, func(o *Options) { o.Warn = func(line string) { lines = append(lines, line) } })
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var got []string
			for _, of := range latest(found) {
				of, _, _ = strings.Cut(of, " ")
				got = append(got, of)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" || found.Inputs.Templates != len(tt.want) {
				t.Errorf("%s, %s: %d templates; workloads (-want +got):\n%s", name, shape, found.Inputs.Templates, diff)
			}
			if diff := cmp.Diff(tt.left, found.Inputs.OtherKinds); diff != "" {
				t.Errorf("%s, %s: others (-want +got):\n%s", name, shape, diff)
			}
			warned := len(lines) == 1 && strings.Contains(lines[0], "left out because ")
			if (tt.left != nil && tt.left["patches"] == 0) != warned {
				t.Errorf("%s, %s: warnings %q", name, shape, lines)
			}
		}
	}
}

// TestOwnedWorkloadsOfHostileInputs: many references to many workloads of one name take a moment.
func TestOwnedWorkloadsOfHostileInputs(t *testing.T) {
	reference := `,"ownerReferences":[` + strings.Repeat(`{"apiVersion":"apps/v1","kind":"Deployment","name":"web"},`, 50) + `{"kind":"X","name":"y"}]`
	var b strings.Builder
	const n = 2000
	for i := range n {
		b.WriteString(deploymentOf("web", "", fmt.Sprint("i:", i)) + workloadOf("apps/v1", "ReplicaSet", fmt.Sprint("r", i), reference, "i:latest"))
	}
	found, err := scanned(t, b.String())
	if err != nil || found.Inputs.Templates != n || len(latest(found)) != 0 {
		t.Errorf("%+v, %v", found.Inputs, err)
	}
}

// TestLines: the line of a violation is that of the container, in every shape of manifest.
func TestLines(t *testing.T) {
	spec := "  containers:\n  - name: a\n    image: i:1\n\n  - image: i:latest\n    name: b\n"
	pod := "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\nspec:\n" + spec
	indented := func(text, by string) string {
		return by + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+by) + "\n"
	}
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n  replicas: 2\n  template:\n    metadata: {labels: {a: b}}\n    spec:\n" + indented(spec, "    ")
	item := "- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: x\n  spec:\n" + indented(spec, "  ")
	json := "{\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n \"metadata\": {\"name\": \"x\"}, \"spec\": {\"containers\": [\n  {\"name\": \"a\", \"image\": \"i:1\"},\n  {\"name\": \"b\",\n   \"image\": \"i:latest\"}]}}\n"
	for name, tt := range map[string]struct {
		text string
		want int
	}{
		"a pod": {pod, 10}, "behind a comment": {"# x\n\n" + pod, 12}, "a second document": {pod + "---\n" + strings.Replace(pod, "name: x", "name: w", 1), 22},
		"behind another": {aPod("z") + "---\n# x\n" + pod, 16}, "line breaks of Windows": {strings.ReplaceAll(pod, "\n", "\r\n"), 10},
		"a template": {deployment, 13}, "a List": {"apiVersion: v1\nkind: List\nitems:\n" + item, 13}, "a second item": {"apiVersion: v1\nitems:\n" + strings.Replace(item, "i:latest", "i:2", 1) + strings.Replace(item, "name: x", "name: w", 1) + "kind: List\n", 23},
		"JSON": {json, 4}, "JSON behind another": {strings.ReplaceAll(json, "i:latest", "i:1") + strings.Replace(json, `"x"`, `"w"`, 1), 9},
	} {
		tree(t, map[string]string{"f.yaml": tt.text})
		found, _, err := scanTree(t, []string{"f.yaml"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := 0
		for v := range found.Snapshot.Violations() {
			if o := v.Origin.(*report.Origin); found.Snapshot.Table.Checks()[v.Check].ID == "latest_tag" && (v.Container == "b" || v.Subject == "b") {
				if o.Details == nil || len(*o.Details) <= v.Index {
					t.Fatalf("%s: details %v", name, o.Details)
				}
				got = (*o.Details)[v.Index].Line
				break
			}
		}
		if got != tt.want {
			t.Errorf("%s: line %d, want %d", name, got, tt.want)
		}
	}
}

// TestPodOfManyContainers: the values and lines of the violations of one pod take time in proportion to its size. One walk
// over the pod for each violation takes minutes here.
func TestPodOfManyContainers(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n")
	for i := range rules.MaxSubjects {
		fmt.Fprintf(&b, "  - name: c%d\n    image: i%d:latest\n    workingDir: /%s\n", i, i, strings.Repeat("x", 300))
	}
	tree(t, map[string]string{"f.yaml": b.String()})
	start := time.Now()
	found, _, err := scanTree(t, []string{"f.yaml"})
	if took := time.Since(start); err != nil || took > 20*time.Second {
		t.Fatalf("%v, after %v", err, took)
	}
	line := 0
	for v := range found.Snapshot.Violations() {
		if o := v.Origin.(*report.Origin); v.Path == fmt.Sprint("spec.containers.", rules.MaxSubjects-1) {
			line = (*o.Details)[v.Index].Line
		}
	}
	if want := 6 + 3*(rules.MaxSubjects-1); line != want {
		t.Errorf("the last container is on line %d, want %d", line, want)
	}
}

// TestDetailsAreShared: pods of one workload whose violations look alike share what is known of them.
func TestDetailsAreShared(t *testing.T) {
	var pods []string
	for i := range 300 {
		pods = append(pods, fmt.Sprintf(`{"kind":"Pod","metadata":{"name":"p%d","namespace":"shop","uid":"u%d","ownerReferences":[{"kind":"StatefulSet","name":"db","controller":true}]},"spec":{"containers":[{"name":"c","image":"i%d:latest"}]}}`, i, i, i%3))
	}
	found, err := scanned(t, list(pods...))
	if err != nil {
		t.Fatal(err)
	}
	origins := map[any]bool{}
	for v := range found.Snapshot.Violations() {
		origins[v.Origin] = true
	}
	if len(origins) > 3 {
		t.Errorf("%d origins of 3 kinds of pods", len(origins))
	}
}
