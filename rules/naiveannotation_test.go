package rules_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/kube-devops/kube-devops/rules"
)

type naiveAnnotationWaivers struct {
	Checks  naiveStrings
	MaxDays int `yaml:"maxDays"`
}

var naiveAnnotationLine = regexp.MustCompile(`^\s*([^:]*\S)\s+expires\s+([^:\s]+)\s*:\s*(.*[\pL\pN].*)$`)

// annotated are the waivers of a pod's annotation, and the number of mistakes in it.
func (t *naiveTable) annotated(pod any) (waivers []naiveWaiver, mistakes int) {
	at := func(of any, name string) any {
		object, _ := of.(map[string]any)
		return object[name]
	}
	metadata := at(pod, "metadata")
	annotation := at(at(metadata, "annotations"), "kube-devops.io/waive")
	if t.AnnotationWaivers == nil || annotation == nil || t.fault == "annotations are not read" {
		return nil, 0
	}
	text, isText := annotation.(string)
	if !isText || len(text) > 4000 { // random texts are much shorter or much longer
		return nil, 1
	}
	creation, _ := at(metadata, "creationTimestamp").(string)
	created, err := time.Parse(time.RFC3339, creation)
	known := err == nil
	if t.fault == "annotations count from any date" {
		known, created = true, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		w := naiveWaiver{ID: "kube-devops.io/waive"}
		line = strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return ' '
			}
			return r
		}, line)
		words := naiveAnnotationLine.FindStringSubmatch(line)
		right := known && words != nil
		if right {
			for _, check := range strings.Split(words[1], ",") {
				w.Check = append(w.Check, strings.TrimSpace(check))
				right = right && (slices.Contains(t.AnnotationWaivers.Checks, strings.TrimSpace(check)) || t.fault == "annotations accept any check")
			}
			date, err := time.Parse("2006-01-02", words[2])
			w.Expires = words[2]
			right = right && err == nil && (t.fault == "annotations accept for ever" || date.Sub(created) <= time.Duration(t.AnnotationWaivers.MaxDays)*24*time.Hour)
		}
		if right {
			waivers = append(waivers, w)
		} else {
			mistakes++
		}
	}
	return waivers, min(mistakes, 4)
}

// waivedShape is pods that waivers have much to say about, and that fail most checks.
var waivedShape = object(
	field{"metadata", object(
		field{"name", values(`"app"`, `"Deployment/app"`, `"Job/a-12345678"`, `"web"`, `""`)}, field{"namespace", namespaces},
		field{"creationTimestamp", values(`"2030-01-01T10:00:00Z"`, `"2030-01-01T10:00:00Z"`, `"2029-12-01T10:00:00+02:00"`, `"never"`)},
		field{"labels", object(field{"pod-template-hash", values(`"5"`, `"5"`, `"5"`, `""`, `5`)}, field{"app", values(`"x"`, `"y"`)})},
		field{"ownerReferences", array(object(
			field{"kind", values(`"ReplicaSet"`, `"ReplicaSet"`, `"Job"`, `"DaemonSet"`, `""`)},
			field{"name", values(`"app-5"`, `"app-5"`, `"app"`, `"a-12345678"`, `"-5"`, `""`, `5`)}, field{"controller", flags}))},
		field{"annotations", object(field{"kube-devops.io/waive", values(
			`"c0 expires 2030-01-10: reason"`, `"c1,c2 expires 2030-03-01: reason\nc0, c1 expires 2030-01-05: a: b\n\n"`, `"c0 expires 2031-06-30: late"`,
			`"c1 expires 2030-01-10:"`, `"c1 expires 2030-01-10: \u200b-"`, `"c9 expires 2030-01-10: r\nc2 expires 2030-01-31: r"`, `"c0  expires\t2030-13-10: r"`, `"expires 2030-01-10: r"`,
			`"\u00630 expires 2030-01-10: r"`, `"a\nb\nc\nd\ne\nc0 expires 2030-01-10: r"`, `"c0 expires 2030-01-10: r\n`+strings.Repeat(" ", 4200)+`"`)})})},
	field{"spec", object(field{"containers", array(object(field{"name", names}, field{"image", images}))})},
)

// waivedTables are tables of three checks with random waivers.
func waivedTables(tb testing.TB, seed uint64, n int) (engines []*rules.Table, naives []*naiveTable) {
	r := newRand(seed)
	for range n {
		table := map[string]any{
			"apiVersion": "kube-devops.io/v1", "kind": "PolicyTable", "metadata": map[string]any{"name": "t"}, "waivers": randomWaivers(r, 3),
			"checks": []any{
				map[string]any{"id": "c0", "weight": 1, "forEach": "spec.containers", "violation": map[string]any{"path": "x", "operator": "absent"}},
				map[string]any{"id": "c1", "weight": 1, "forEach": "spec.containers", "violation": map[string]any{"path": "image", "operator": "imageTag", "value": "latest"}},
				map[string]any{"id": "c2", "weight": 1, "violation": map[string]any{"path": "spec.x", "operator": "absent"}},
			},
			"annotationWaivers": map[string]any{"checks": []string{"c0", "c1", "c2"}[:1+r.IntN(3)], "maxDays": pick(r, []int{7, 30, 90})},
		}
		if oneIn(r, 4) {
			table["waivers"] = []any{}
		}
		text, err := json.Marshal(table)
		if err != nil {
			tb.Fatal(err)
		}
		engines, naives = append(engines, load(tb, string(text))), append(naives, loadNaive(tb, text))
	}
	return engines, naives
}

// TestDifferentialOfWaivers evaluates random pods with random waivers and annotations by both engines, the pods whole and reduced. A fault
// in the naive one must show.
func TestDifferentialOfWaivers(t *testing.T) {
	tables, n := 30, 300
	if testing.Short() {
		tables, n = 15, 100
	}
	const seed = 1
	engines, naives := waivedTables(t, seed, tables)
	r := newRand(seed + 1)
	var texts [][]byte
	var pods []any
	for len(pods) < n {
		var b strings.Builder
		podWriter{r, &b}.write(waivedShape)
		if pod, err := decodeNaive([]byte(b.String())); err == nil && b.String()[0] == '{' {
			texts, pods = append(texts, []byte(b.String())), append(pods, pod)
		}
	}
	verdicts := make([][]naiveVerdict, tables)
	accepted := 0
	for i, engine := range engines {
		projection := engine.Projection()
		for k, text := range texts {
			reduced, err := projection.AppendTo(nil, text)
			if err != nil {
				t.Fatal(err)
			}
			got := evaluateOrFail(t, engine, string(text))
			for what, diff := range map[string]string{
				"of the naive engine": compareVerdicts(naives[i].evaluate(pods[k]), got), "of the reduced pod": compareVerdicts(evaluateOrFail(t, engine, string(reduced)), got),
			} {
				if diff != "" {
					t.Fatalf("table:\n%s\npod:\n%s\nverdict %s:\n%s", engine.YAML(), text, what, diff)
				}
			}
			verdicts[i] = append(verdicts[i], got)
			accepted += strings.Count(strings.Join(got.Violations, "\n"), "waived by kube-devops.io/waive")
		}
	}
	if accepted < n*tables/20 {
		t.Errorf("annotations accept %d violations in %d verdicts", accepted, n*tables)
	}
	differs := func(fault string) bool {
		for i, naive := range naives {
			naive.fault = fault
			for k, pod := range pods {
				if compareVerdicts(naive.evaluate(pod), verdicts[i][k]) != "" {
					return true
				}
			}
		}
		return false
	}
	for _, fault := range []string{
		"annotations accept any check", "annotations accept for ever", "annotations count from any date", "annotations are not read",
		"only the first namespace counts", "waivers do not ask for workloads", "ReplicaSets are workloads",
	} {
		if !differs(fault) {
			t.Errorf("%s: %d verdicts and no difference", fault, n*tables)
		}
	}
}
