package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

const tableText = `
apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: test}
pods: {skip: [{reason: done, when: {path: status.phase, operator: equals, value: Succeeded}}]}
checks:
  - {id: latest_tag, weight: 5, forEach: spec.containers, violation: {path: image, operator: hasSuffix, value: ":latest"}}
grades: [{name: A, min: 100}, {name: B, min: 60}, {name: C, min: 50}, {name: D, min: 20}, {name: E, min: 0}]
`

const waiversText = tableText + `waivers: [{id: w, reason: "because", expires: "2999-01-01", namespace: "ns-1"}]`

func loadTable(t testing.TB, text string) *rules.Table {
	t.Helper()
	table, err := rules.Load("table.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// A pod has these containers: with "l" the image has the tag latest, with "c" it has another one. "!" is not JSON.
type pod struct{ namespace, name, containers string }

func (p pod) json() []byte {
	if p.containers == "!" {
		return []byte("{")
	}
	var list []string
	for i, c := range p.containers {
		list = append(list, fmt.Sprintf(`{"name":"c%d","image":"i:%s"}`, i, map[rune]string{'l': "latest", 'c': "1"}[c]))
	}
	return []byte(`{"spec":{"containers":[` + strings.Join(list, ",") + `]}}`)
}

func snapshotOf(table *rules.Table, pods ...pod) *state.Snapshot {
	s := state.New(table)
	for _, p := range pods {
		_, _ = s.Observe(state.Pod{Namespace: p.namespace, Name: p.name}, p.json()) // a failure is part of the snapshot
	}
	return s.Snapshot()
}

func scoresOf(v View, namespaces ...string) *Scores {
	return New(func() View { return v }, namespaces...)
}

// gathered are the families that a registry gathers, by name.
func gathered(t *testing.T, s *Scores) map[string]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*dto.MetricFamily)
	for _, family := range families {
		byName[family.GetName()] = family
	}
	return byName
}

// values are the values of a family by namespace; without a name where it has no such label.
func values(family *dto.MetricFamily) map[string]float64 {
	byNamespace := make(map[string]float64)
	for _, m := range family.GetMetric() {
		namespace := ""
		for _, label := range m.Label {
			if label.GetName() == "namespace" {
				namespace = label.GetValue()
			}
		}
		byNamespace[namespace] += m.GetGauge().GetValue()
	}
	return byNamespace
}

// TestTextIsWhatIsGathered reads the written text back, and compares it with what client_golang gathers.
func TestTextIsWhatIsGathered(t *testing.T) {
	table := loadTable(t, waiversText)
	unreadable := 3
	for name, test := range map[string]struct {
		namespaces []string // the only ones that are watched
		pods       []pod    // nil: there is no snapshot
		unreadable *int
	}{
		"no snapshot":                     {},
		"no snapshot of some namespaces":  {namespaces: []string{"ns-2", "ns-1"}},
		"no pods":                         {pods: []pod{}},
		"one namespace":                   {namespaces: []string{"ns-1"}, pods: []pod{{"ns-1", "a", "l"}}},
		"a scan":                          {pods: []pod{{"ns-1", "a", "l"}}, unreadable: &unreadable},
		"waived, unevaluated and escaped": {pods: []pod{{"ns-1", "a", "l"}, {"ns-2", "a", "lcc"}, {"ns-2", "b", "c"}, {"ns-3", "b", "!"}, {"\"\\\n\xff\u202e", "b", "c"}}},
	} {
		t.Run(name, func(t *testing.T) {
			view := View{Table: table, UnreadableInputs: test.unreadable, MaxNamespaces: 2}
			if test.pods != nil {
				view.Snapshot = snapshotOf(table, test.pods...)
			}
			scores := scoresOf(view, test.namespaces...)
			parser := expfmt.NewTextParser(model.UTF8Validation)
			got, err := parser.TextToMetricFamilies(bytes.NewReader(scores.AppendText(nil)))
			if err != nil {
				t.Fatal(err)
			}
			sorted := cmpopts.SortSlices(func(a, b *dto.Metric) bool { return a.String() < b.String() })
			if diff := cmp.Diff(gathered(t, scores), got, sorted, cmp.Comparer(func(a, b *dto.LabelPair) bool { return a.String() == b.String() }),
				cmp.Comparer(func(a, b *dto.Gauge) bool { return a.GetValue() == b.GetValue() }), cmpopts.IgnoreUnexported(dto.MetricFamily{}, dto.Metric{})); diff != "" {
				t.Errorf("metrics (-gathered +written):\n%s", diff)
			}
		})
	}
}

// TestPolicyInfoNamesTheNamespaces: where only some namespaces are watched, the policy's series names them. Where all are, it
// has no such label, because queries join on the series as it is.
func TestPolicyInfoNamesTheNamespaces(t *testing.T) {
	table := loadTable(t, tableText)
	for _, test := range []struct {
		namespaces []string
		want       string
	}{
		{nil, ""},
		{[]string{"shop"}, `,namespaces="shop"`},
		{[]string{"shop", "bank"}, `,namespaces="bank,shop"`},
	} {
		want := "\nkube_devops_policy_info{hash=\"" + table.Hash() + `",name="test"` + test.want + "} 1\n"
		for _, view := range []View{{Table: table}, {Table: table, Snapshot: snapshotOf(table)}} {
			text := string(scoresOf(view, test.namespaces...).AppendText(nil))
			if strings.Count(text, "\nkube_devops_policy_info{") != 1 || !strings.Contains(text, want) {
				t.Errorf("namespaces %q: want %sin:\n%s", test.namespaces, want, text)
			}
		}
	}
}

// TestGradesOfSeverity: a grade that allows no critical violation is not that of a namespace with one, nor of its cluster, whatever
// their compliance.
func TestGradesOfSeverity(t *testing.T) {
	table := loadTable(t, strings.NewReplacer("id: latest_tag", "severity: critical, id: latest_tag", "name: A, min: 100", "name: A, min: 50, maxSeverity: high",
		"{name: B, min: 60}, {name: C, min: 50}, ", "").Replace(tableText))
	snap := snapshotOf(table, pod{"best", "a", "c"}, pod{"half", "a", "lc"})
	families := gathered(t, scoresOf(View{Table: table, Snapshot: snap, MaxNamespaces: 1}))
	if diff := cmp.Diff(map[string]float64{"": 1}, values(families["kube_devops_cluster_grade"])); diff != "" {
		t.Errorf("grade of the cluster (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]float64{"best": 0, "_other": 1}, values(families["kube_devops_namespace_grade"])); diff != "" {
		t.Errorf("grades of the namespaces (-want +got):\n%s", diff)
	}
}

// TestGrades: a grade is the index in the grades of the table, and is absent where there are no pods.
func TestGrades(t *testing.T) {
	table := loadTable(t, tableText)
	if families := gathered(t, scoresOf(View{Table: table, Snapshot: snapshotOf(table)})); families["kube_devops_cluster_grade"] != nil {
		t.Error("there is a grade without pods")
	}
	snap := snapshotOf(table, pod{"best", "a", "c"}, pod{"half", "a", "lc"}, pod{"last", "a", "l"}, pod{"unevaluated", "a", "!"})
	families := gathered(t, scoresOf(View{Table: table, Snapshot: snap}))
	if diff := cmp.Diff(map[string]float64{"": 2}, values(families["kube_devops_cluster_grade"])); diff != "" { // the mean is 50 %
		t.Errorf("grade of the cluster (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]float64{"best": 0, "half": 2, "last": 4}, values(families["kube_devops_namespace_grade"])); diff != "" {
		t.Errorf("grades of the namespaces (-want +got):\n%s", diff)
	}
}

// TestNamespacesOverflow: beyond the limit the namespaces share their series, and the sums stay the same.
func TestNamespacesOverflow(t *testing.T) {
	table := loadTable(t, tableText)
	const limit = 5
	for _, n := range []int{1, limit, limit + 1, limit + 30} {
		t.Run(fmt.Sprint(n, " namespaces"), func(t *testing.T) {
			var pods []pod
			for i := range n {
				pods = append(pods, pod{fmt.Sprintf("ns-%02d", i), "one", "l"}, pod{fmt.Sprintf("ns-%02d", i), "two", "c"})
			}
			families := gathered(t, scoresOf(View{Table: table, Snapshot: snapshotOf(table, pods...), MaxNamespaces: limit}))
			over := max(0, n-limit)
			if got := values(families["kube_devops_namespaces_overflowed"])[""]; got != float64(over) {
				t.Errorf("%v namespaces overflowed, want %d", got, over)
			}
			byNamespace := values(families["kube_devops_pods"])
			if want := min(n, limit+1); len(byNamespace) != want {
				t.Errorf("%d series, want %d", len(byNamespace), want)
			}
			if byNamespace["_other"] != float64(2*over) {
				t.Errorf("%v pods of others, want %d", byNamespace["_other"], 2*over)
			}
			if score, ok := values(families["namespace_health_score"])["_other"]; ok != (over > 0) || ok && score != 2.5 {
				t.Errorf("score of the others %v (there: %v), want 2.5 where there are any", score, ok)
			}
			if got := values(families["cluster_health_score"])[""]; got != 2.5 {
				t.Errorf("cluster_health_score %v, want 2.5: all namespaces are in it", got)
			}
		})
	}
}

// TestNamesThatAreNotText: a recording may hold any bytes, and two names must stay two series.
func TestNamesThatAreNotText(t *testing.T) {
	table := loadTable(t, tableText)
	snap := snapshotOf(table, pod{"a\xffb", "a", "c"}, pod{"a\xfeb", "a", "c"}, pod{"a\u202eb", "a", "c"}, pod{"größe", "a", "c"})
	want := map[string]float64{`a\xffb`: 1, `a\xfeb`: 1, `a\u202eb`: 1, "größe": 1}
	if diff := cmp.Diff(want, values(gathered(t, scoresOf(View{Table: table, Snapshot: snap}))["kube_devops_pods"])); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}

// TestUnknownViolationsHaveSeries: only where there are any, because one for each check and namespace would be mostly 0.
func TestUnknownViolationsHaveSeries(t *testing.T) {
	table := loadTable(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: unknown}
checks:
  - {id: small, weight: 5, violation: {path: spec.size, operator: quantityLessThan, value: 1}}
  - {id: large, weight: 5, violation: {path: spec.other, operator: quantityGreaterThan, value: 1}}
`)
	s := state.New(table)
	for namespace, json := range map[string]string{"ns-1": `{"spec":{"size":"1e101"}}`, "ns-2": `{"spec":{"size":"500m"}}`} {
		if _, err := s.Observe(state.Pod{Namespace: namespace, Name: "a"}, []byte(json)); err != nil {
			t.Fatal(err)
		}
	}
	text := string(scoresOf(View{Table: table, Snapshot: s.Snapshot()}).AppendText(nil))
	for _, want := range []string{
		"\nkube_devops_unknown_violations{check=\"small\",namespace=\"ns-1\"} 1\n", "\nkube_devops_violations{check=\"small\",namespace=\"ns-1\"} 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no series%sin:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\nkube_devops_unknown_violations{"); n != 1 {
		t.Errorf("%d series of unknown violations, want 1:\n%s", n, text)
	}
}

// A writer that counts its calls, and fails after some.
type limitedWriter struct {
	bytes.Buffer
	calls, most int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if w.calls++; w.calls > w.most {
		return 0, errors.New("full")
	}
	return w.Buffer.Write(p)
}

// TestWriteText: a long text is written in parts that add up to the whole, and ends at the first error.
func TestWriteText(t *testing.T) {
	table := loadTable(t, tableText)
	var pods []pod
	for i := range 1000 {
		pods = append(pods, pod{fmt.Sprintf("namespace-%04d", i), "one", "l"})
	}
	scores := scoresOf(View{Table: table, Snapshot: snapshotOf(table, pods...)})
	whole := limitedWriter{most: 1000}
	if err := scores.WriteText(&whole); err != nil || !slices.Equal(whole.Bytes(), scores.AppendText(nil)) || whole.calls < 3 {
		t.Errorf("%d bytes in %d parts, error %v", whole.Len(), whole.calls, err)
	}
	full := limitedWriter{most: 1}
	if err := scores.WriteText(&full); err == nil || full.calls != 2 {
		t.Errorf("error %v after %d parts, want one from the second", err, full.calls)
	}
}
