package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/kube-devops/kube-devops/agent/history"
	"github.com/kube-devops/kube-devops/agent/page"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

const policyText = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: shop}
namespaces: {exclude: [kube-*]}
pods: {skip: [{reason: finished, when: {path: status.phase, operator: equals, value: Succeeded}}]}
grades: [{name: Good, min: 80, maxSeverity: high}, {name: Fair, min: 50}, {name: Bad, min: 0}]
checks:
  - {id: latest_tag, severity: high, weight: 5, forEach: spec.containers, violation: {path: image, operator: hasSuffix, value: ":latest"},
     message: "image {value}", remediation: Pin the image.}
  - {id: privileged, severity: critical, weight: 10, forEach: spec.containers, violation: {path: securityContext.privileged, operator: equals, value: true}}
  - {id: host_network, severity: medium, weight: 2, violation: {path: spec.hostNetwork, operator: equals, value: true}}
waivers:
  - {id: old-image, namespace: legacy, check: latest_tag, reason: to be replaced, expires: 2026-04-01}
  - {id: past, namespace: shop, check: host_network, reason: was accepted, expires: 2026-02-01}
`

// A fixture has the views of some pods at a fixed time.
type fixture struct {
	*Views
	table   *rules.Table
	state   *state.ClusterState
	history *history.History
	pods    map[state.Pod][]byte
	now     time.Time
}

func newFixture(tb testing.TB) *fixture {
	tb.Helper()
	table, err := rules.Load("policy.yaml", []byte(policyText))
	if err != nil {
		tb.Fatal(err)
	}
	f := &fixture{table: table, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), pods: make(map[state.Pod][]byte)}
	f.state, f.history = state.New(table), history.New(f.now)
	f.state.ExpireWaivers(f.now)
	f.Views = New(Options{
		State: func() *state.ClusterState { return f.state }, History: func() *history.History { return f.history },
		Pod: func(pod state.Pod) []byte { return f.pods[pod] },
		Source: func() Source {
			return Source{Text: "policy.yaml", Loaded: time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)}
		},
		Now: func() time.Time { return f.now }, Version: "v1",
	})
	return f
}

// add adds a pod of a Deployment, or without a Deployment if its name is empty.
func (f *fixture) add(tb testing.TB, namespace, deployment, pod, containers, more string) {
	tb.Helper()
	owner := ""
	if deployment != "" {
		owner = fmt.Sprintf(`,"labels":{"pod-template-hash":"abc"},"ownerReferences":[{"kind":"ReplicaSet","name":%q,"controller":true}]`, deployment+"-abc")
	}
	text := []byte(fmt.Sprintf(`{"metadata":{"namespace":%q,"name":%q%s},"spec":{"containers":[%s]%s}}`, namespace, pod, owner, containers, more))
	named := state.Pod{Namespace: namespace, Name: pod}
	if _, err := f.state.Observe(named, text); err != nil {
		tb.Fatal(err)
	}
	f.pods[named] = text
}

const (
	good    = `{"name":"app","image":"app:1"}`
	latest  = `{"name":"app","image":"app:latest"}`
	rooted  = `{"name":"app","image":"app:1","securityContext":{"privileged":true}}`
	sidecar = `{"name":"proxy","image":"proxy:latest"}`
)

func (f *fixture) fill(tb testing.TB) {
	for i := range 3 {
		f.add(tb, "shop", "web", fmt.Sprintf("web-abc-%d", i), latest, "")
	}
	f.add(tb, "shop", "", "debug", latest+","+sidecar+","+rooted, `,"hostNetwork":true`)
	f.add(tb, "legacy", "old", "old-abc-1", latest, "")
	f.add(tb, "clean", "api", "api-abc-1", good, "")
	f.add(tb, "kube-system", "dns", "dns-abc-1", latest, "")
}

// ask requests a view.
func (f *fixture) ask(path string, accept string) (*httptest.ResponseRecorder, Answer) {
	request := httptest.NewRequest(http.MethodGet, path, nil)
	request.Header.Set("Accept", accept)
	if name, ok := strings.CutPrefix(request.URL.Path, "/namespaces/"); ok {
		request.SetPathValue("name", name)
	}
	recorder := httptest.NewRecorder()
	answer := f.Answer(request)
	recorder.Code = answer.Status
	if err := answer.Write(recorder.Body); err != nil {
		panic(err)
	}
	return recorder, answer
}

func viewOf[T any](t *testing.T, f *fixture, path string) T {
	t.Helper()
	recorder, answer := f.ask(path, "application/json")
	var view T
	if err := json.Unmarshal(recorder.Body.Bytes(), &view); err != nil || answer.Type != "application/json" {
		t.Fatalf("%s: %d %s: %v in %s", path, answer.Status, answer.Type, err, recorder.Body)
	}
	return view
}

// TestOverviewEqualsReport reads the numbers of the overview, of its JSON and of its HTML, and compares them with the report.
func TestOverviewEqualsReport(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	var text bytes.Buffer
	if err := report.JSON(&text, f.state.SnapshotWithViolations(), nil, nil); err != nil {
		t.Fatal(err)
	}
	type scores struct {
		Namespace  string
		Pods       int
		Score      *float64
		Compliance *float64
		Grade      *string
		Violations map[string]int
	}
	var want struct {
		Cluster    scores
		Namespaces []scores
	}
	if err := json.Unmarshal(text.Bytes(), &want); err != nil {
		t.Fatal(err)
	}
	line := func(s scores) string {
		n := 0
		for _, count := range s.Violations {
			n += count
		}
		return fmt.Sprintf("%s %d %v %v %s %d", s.Namespace, s.Pods, *s.Score, *s.Compliance, *s.Grade, n)
	}
	var wanted []string
	for _, ns := range want.Namespaces {
		wanted = append(wanted, line(ns))
	}
	view := viewOf[page.Overview](t, f, "/?sort=namespace")
	var got []string
	for _, row := range view.Namespaces {
		got = append(got, fmt.Sprintf("%s %d %v %v %s %d", row.Name, row.Pods, *row.Score, *row.Compliance, *row.Grade, row.Violations))
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("namespaces (-report +JSON):\n%s", diff)
	}
	total := view.Total
	cluster := fmt.Sprintf(" %d %v %v %s %d", total.Pods, *total.Score, *total.Compliance, *total.Grade, total.Violations)
	if line(want.Cluster) != cluster || total.Namespaces != len(want.Namespaces) {
		t.Errorf("cluster: %s, want %s", cluster, line(want.Cluster))
	}

	recorder, answer := f.ask("/?sort=namespace", "text/html,*/*;q=0.8")
	if answer.Type != "text/html; charset=utf-8" || answer.Security != page.SecurityPolicy() {
		t.Errorf("type %q, policy %q", answer.Type, answer.Security)
	}
	document, err := html.Parse(recorder.Body)
	if err != nil {
		t.Fatal(err)
	}
	got = nil
	for _, tr := range rowsOf(document, "namespaces") {
		values := make(map[string]string)
		for cell := range tr.ChildNodes() {
			values[attribute(cell, "data-label")] = cmpOr(attribute(cell, "data-value"), textOf(cell))
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %s %s",
			attribute(tr, "data-key"), values["Pods"], values["Score"], values["Compliance"], values["Grade"], values["Violations"]))
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("namespaces (-report +HTML):\n%s", diff)
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

// rowsOf returns the rows of a table by their data-key.
func rowsOf(document *html.Node, id string) []*html.Node {
	var rows []*html.Node
	for n := range document.Descendants() {
		if n.Data != "table" || attribute(n, "id") != id {
			continue
		}
		for tr := range n.Descendants() {
			if tr.Data == "tr" && attribute(tr, "data-key") != "" {
				rows = append(rows, tr)
			}
		}
	}
	return rows
}

func TestOverviewQueries(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	for _, test := range []struct{ query, want string }{
		{"", "shop clean legacy"},
		{"?sort=&order=asc&filter=", "shop clean legacy"},
		{"?sort=namespace&order=desc", "shop legacy clean"},
		{"?sort=pods", "shop clean legacy"},
		{"?sort=waived", "legacy shop clean"},
		{"?sort=compliance&order=desc", "clean legacy shop"},
		{"?sort=grade", "shop clean legacy"},
		{"?filter=L", "clean legacy"},
		{"?filter=l+g", "legacy"},
		{"?grade=Good", "clean legacy"},
		{"?grade=Good&filter=leg", "legacy"},
		{"?grade=Bad", ""},
		{"?sort=namespace&per=2&page=2", "shop"},
		{"?sort=namespace&per=2&page=9", "shop"}, // the last page
		{"?sort=hour", "shop clean legacy"},      // there is no history
		{"?utm_source=mail", "shop clean legacy"},
	} {
		var names []string
		view := viewOf[page.Overview](t, f, "/"+test.query)
		for _, row := range view.Namespaces {
			names = append(names, row.Name)
		}
		if got := strings.Join(names, " "); got != test.want || view.Query.All != 3 {
			t.Errorf("%s: %s of %d, want %s", test.query, got, view.Query.All, test.want)
		}
	}
	for query, want := range map[string]string{
		"?sort=pod":    `unknown sort "pod"; valid values are namespace, grade,`,
		"?order=up":    `unknown order "up"; valid values are asc, desc`,
		"?grade=A":     `unknown grade "A"; valid values are Good, Fair, Bad`,
		"?page=0":      `page must be an integer from 1 to 1000000, got "0"`,
		"?page=x":      `page must be an integer`,
		"?per=501":     `per must be an integer from 1 to 500, got "501"`,
		"?filter=%zz":  `the query "filter=%zz" is not a valid URL query`,
		"?a=1;sort=up": `is not a valid URL query`,
	} {
		for _, path := range []string{"/", "/waivers", "/policy", "/changes", "/namespaces/shop"} {
			recorder, answer := f.ask(path+query, "application/json")
			text := recorder.Body.String()
			if answer.Status != http.StatusBadRequest || !strings.Contains(text, want) || strings.Count(text, "\n") != 1 || answer.Version != "" {
				t.Errorf("%s%s: %d %q, want %q", path, query, answer.Status, text, want)
			}
		}
	}
}

// TestRejectedInBrowser checks that a browser gets a page with the error and a link to the view, and that other clients get one line.
func TestRejectedInBrowser(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	for path, root := range map[string]string{"/": "./", "/waivers": "./", "/policy": "./", "/changes": "./", "/namespaces/shop": "../"} {
		recorder, answer := f.ask(path+"?grade=%3Cb%3E", "text/html,application/xhtml+xml,*/*;q=0.8")
		text := recorder.Body.String()
		for _, want := range []string{`unknown grade &#34;&lt;b&gt;&#34;; valid values are Good, Fair, Bad.`, `<a href="?" id="plain">`, `<a href="` + root + `waivers"`} {
			if answer.Status != http.StatusBadRequest || answer.Type != "text/html; charset=utf-8" || answer.Security == "" || answer.Version != "" ||
				!strings.Contains(text, want) {
				t.Errorf("%s: %d %s, want %s in %s", path, answer.Status, answer.Type, want, text)
			}
		}
		for _, accept := range []string{"", "*/*", "application/json", "text/html;q=0.5, application/json"} {
			if _, answer := f.ask(path+"?page=x", accept); answer.Status != http.StatusBadRequest || answer.Type != "text/plain; charset=utf-8" {
				t.Errorf("%s as %q: %d %s", path, accept, answer.Status, answer.Type)
			}
		}
	}
}

// TestHistoryInOverview checks that changes and trends are absent until there is data of that age.
func TestHistoryInOverview(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	row := func() page.NamespaceRow {
		t.Helper()
		return viewOf[page.Overview](t, f, "/?filter=clean").Namespaces[0]
	}
	f.history.Record(f.now, f.state.Snapshot())
	if r := row(); r.HourChange != nil || r.DayChange != nil || len(r.Trend) != 0 {
		t.Errorf("at the start: %+v", r)
	}
	f.now = f.now.Add(time.Hour)
	f.add(t, "clean", "api", "api-abc-2", rooted, "")
	r := row()
	if r.HourChange == nil || *r.HourChange != -29.41 || r.DayChange != nil { // 24 of 34 points are kept
		t.Errorf("after an hour: %+v", r)
	}
	if n := len(r.Trend); n != 145 || r.Trend[n-7] != 100 || r.Trend[n-1] != 70.59 {
		t.Errorf("trend after an hour: %v", r.Trend)
	}
	f.history.Record(f.now, f.state.Snapshot())
	f.now = f.now.Add(23 * time.Hour)
	if total := viewOf[page.Overview](t, f, "/").Total; total.DayChange == nil || total.HourChange != nil {
		t.Errorf("after a day: %+v", total)
	}
	f.history = nil // the term has ended
	if r := row(); r.DayChange != nil {
		t.Errorf("without a history: %+v", r)
	}
}

// TestVersion checks that the version of a view changes only if more than its time changes.
func TestVersion(t *testing.T) {
	for _, path := range []string{"/", "/namespaces/shop", "/namespaces/none", "/waivers", "/policy", "/changes"} {
		f := newFixture(t)
		f.fill(t)
		for _, accept := range []string{"text/html", "application/json"} {
			_, first := f.ask(path, accept)
			f.now = f.now.Add(2 * time.Second)
			if _, second := f.ask(path, accept); first.Version == "" || second.Version != first.Version {
				t.Errorf("%s as %s: version %q, then %q", path, accept, first.Version, second.Version)
			}
		}
		_, asHTML := f.ask(path, "text/html")
		if _, asJSON := f.ask(path, "application/json"); asJSON.Version == asHTML.Version {
			t.Errorf("%s: HTML and JSON have the version %s", path, asJSON.Version)
		}
		if path == "/namespaces/none" || path == "/changes" {
			continue
		}
		f.add(t, "shop", "", "one-more", rooted, "")
		f.now = f.now.Add(2 * time.Second)
		if _, changed := f.ask(path, "text/html"); changed.Version == asHTML.Version && path != "/waivers" {
			t.Errorf("%s: a violation does not change the version", path)
		}
	}
}

func TestNamespaceView(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	view := viewOf[page.Namespace](t, f, "/namespaces/shop")
	var checks []string
	for _, c := range view.Checks {
		checks = append(checks, fmt.Sprintf("%s %d of %d", c.ID, c.Violations, c.Subjects))
	}
	if diff := cmp.Diff([]string{"latest_tag 5 of 6", "privileged 1 of 6", "host_network 1 of 4"}, checks); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	var lines []string
	for _, w := range view.Workloads {
		lines = append(lines, fmt.Sprintf("%s: %d points of %d pods, cells %v", w.Label(), w.Points, w.Pods, w.Cells))
		for _, found := range w.Findings {
			lines = append(lines, fmt.Sprintf("  %s %s %q %q x%d %d points, %v, gain %.2f %s", found.Check, found.Container, found.Value, found.Message,
				found.Violations, found.Points, found.Pods, *found.Gain, found.GradeAfter))
		}
	}
	want := []string{
		"Pod/debug: 22 points of 1 pods, cells [{2 0 0} {1 0 0} {1 0 0}]",
		`  privileged app "true" "securityContext.privileged is true" x1 10 points, [debug], gain 10.20 `,
		`  latest_tag app "app:latest" "image app:latest" x1 5 points, [debug], gain 5.10 `,
		`  latest_tag proxy "proxy:latest" "image proxy:latest" x1 5 points, [debug], gain 5.10 `,
		`  host_network  "true" "spec.hostNetwork is true" x1 2 points, [debug], gain 2.04 `,
		"Deployment/web: 15 points of 3 pods, cells [{3 0 0} {0 0 0} {0 0 0}]",
		`  latest_tag app "app:latest" "image app:latest" x3 15 points, [web-abc-0 web-abc-1 web-abc-2], gain 15.31 `,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
	if view.GradeReason != "" || *view.Grade != "Fair" {
		t.Errorf("grade %s, %q", *view.Grade, view.GradeReason)
	}
	if len(view.Waivers) != 1 || view.Waivers[0].ID != "past" || !view.Waivers[0].Expired || view.Waivers[0].Violations != 1 {
		t.Errorf("waivers: %+v", view.Waivers)
	}

	filtered := viewOf[page.Namespace](t, f, "/namespaces/shop?filter=proxy")
	if len(filtered.Workloads) != 1 || filtered.Workloads[0].Name != "debug" || filtered.Query.All != 2 || filtered.Violations != view.Violations {
		t.Errorf("filtered: %+v", filtered.Workloads)
	}
	delete(f.pods, state.Pod{Namespace: "shop", Name: "debug"}) // it has gone meanwhile
	gone := viewOf[page.Namespace](t, f, "/namespaces/shop")
	if found := gone.Workloads[0].Findings[1]; found.Value != "" || found.Message != "image (not shown)" {
		t.Errorf("the finding of a pod that has gone: %+v", found)
	}

	legacy := viewOf[page.Namespace](t, f, "/namespaces/legacy")
	if found := legacy.Workloads[0].Findings[0]; found.Waiver != "old-image" || found.Gain != nil || found.Points != 0 || legacy.Waived != 1 {
		t.Errorf("a waived finding: %+v", found)
	}
}

func TestNamespaceNotFound(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	f.Scope, f.Forbidden = []string{"shop", "clean", "legacy", "secret"}, func() []string { return []string{"secret"} }
	for name, want := range map[string]string{
		"kube-system": "The policy excludes this namespace by the pattern kube-*.", "other": "The agent does not watch this namespace.",
		"secret": "The agent may not list the pods of this namespace.", "sho": "The agent does not watch this namespace.",
	} {
		recorder, answer := f.ask("/namespaces/"+name, "text/html")
		if text := recorder.Body.String(); answer.Status != http.StatusNotFound || !strings.Contains(text, want) {
			t.Errorf("%s: %d, want %q in %s", name, answer.Status, want, text)
		}
	}
	if view := viewOf[page.NotFound](t, f, "/namespaces/sho"); !slices.Equal(view.Near, []string{"shop"}) {
		t.Errorf("near: %v", view.Near)
	}
}

// TestNoSuggestions checks that a client with limited access does not learn the names of other namespaces, and that an invalid name has no
// suggestions.
func TestNoSuggestions(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	if view := viewOf[page.NotFound](t, f, "/namespaces/Shop"); len(view.Near) != 0 {
		t.Errorf("near a name that is not a DNS label: %v", view.Near)
	}
	f.LimitedAccess = true
	if view := viewOf[page.NotFound](t, f, "/namespaces/sho"); len(view.Near) != 0 {
		t.Errorf("near, with limited access: %v", view.Near)
	}
}

// TestExcludedOrder checks that excluded namespaces are sorted, most pods first, so that the version of the page does not change.
func TestExcludedOrder(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	f.Excluded = func(*rules.Table) map[string]int {
		pods := make(map[string]int)
		for i := range 60 {
			pods[fmt.Sprintf("kube-%02d", i)] = i / 10
		}
		return pods
	}
	_, first := f.ask("/", "text/html")
	f.now = f.now.Add(countFor + time.Second)
	if _, second := f.ask("/", "text/html"); second.Version != first.Version {
		t.Errorf("version %s, then %s", first.Version, second.Version)
	}
	counts := viewOf[page.Overview](t, f, "/").Uncounted.Excluded
	if got := fmt.Sprint(counts[:2], counts[59]); len(counts) != 60 || got != "[{kube-50 5} {kube-51 5}] {kube-09 0}" {
		t.Errorf("%d namespaces: %s", len(counts), got)
	}
}

// TestPodCount checks that a pod with two violations of a finding counts once.
func TestPodCount(t *testing.T) {
	table, err := rules.Load("policy.yaml", []byte(`
apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: two}
checks:
  - {id: tolerates, severity: low, weight: 1, forEach: spec.tolerations, violation: {path: operator, operator: equals, value: Exists}}
`))
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	f.state = state.New(table)
	const tolerations = `,"tolerations":[{"key":"a","operator":"Exists"},{"key":"a","operator":"Exists"}]`
	f.add(t, "shop", "web", "web-abc-0", good, tolerations)
	for pods := 1; pods <= maxPods+5; pods++ {
		found := viewOf[page.Namespace](t, f, "/namespaces/shop").Workloads[0].Findings[0]
		if found.Violations != 2*pods || found.PodCount != pods || len(found.Pods) != min(pods, maxPods) {
			t.Errorf("%d violations in %d pods %q, want %d in %d", found.Violations, found.PodCount, found.Pods, 2*pods, pods)
		}
		f.add(t, "shop", "web", fmt.Sprint("web-abc-", pods), good, tolerations)
	}
}

// TestEnforce checks that findings have the action of the API server, and that the table is translated only once.
func TestEnforce(t *testing.T) {
	table, err := rules.Load("policy.yaml", []byte(`
apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: enforced}
checks:
  - {id: latest_tag, weight: 5, enforce: deny, forEach: spec.containers, violation: {path: image, operator: hasSuffix, value: ":latest"}}
  - {id: privileged, weight: 5, enforce: warn, forEach: spec.containers, violation: {path: securityContext.privileged, operator: equals, value: true}}
  - {id: host_network, weight: 5, violation: {path: spec.hostNetwork, operator: equals, value: true}}
waivers:
  - {id: holds, reason: Ada, expires: 2099-01-01, namespace: shop, check: privileged}
`))
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	f.state = state.New(table)
	for _, namespace := range []string{"shop", "other"} {
		f.add(t, namespace, "", "debug", latest+","+rooted, `,"hostNetwork":true`)
	}
	for namespace, want := range map[string]string{
		"other": "host_network= latest_tag=deny privileged=warn", "shop": "host_network= latest_tag=deny privileged=",
	} {
		var got []string
		for _, found := range viewOf[page.Namespace](t, f, "/namespaces/"+namespace).Workloads[0].Findings {
			got = append(got, found.Check+"="+found.Enforce)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", namespace, got, want)
		}
		recorder, _ := f.ask("/namespaces/"+namespace, "text/html")
		if text := recorder.Body.String(); strings.Count(text, "refused at admission</span>") != 1 ||
			strings.Contains(text, "warned about at admission</span>") != (namespace == "other") {
			t.Errorf("%s: %s", namespace, text)
		}
	}
	first := f.actions(f.state.Table())
	f.now = f.now.Add(time.Hour)
	f.state.ExpireWaivers(f.now)
	f.ask("/namespaces/shop", "text/html")
	if again := f.actions(f.state.SnapshotOf("shop").Table); first == nil || again != first {
		t.Error("the table was translated again")
	}
}

func TestWaiversView(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	view := viewOf[page.Waivers](t, f, "/waivers")
	active, expired := 0, 0
	for _, w := range view.Waivers {
		if w.Expired {
			expired += w.Violations
		} else {
			active += w.Violations
		}
	}
	if active != view.Waived || expired != view.CountAgain || expired == 0 {
		t.Errorf("the rows accept %d and accepted %d, the view has %d and %d", active, expired, view.Waived, view.CountAgain)
	}
	var lines []string
	for _, w := range view.Waivers {
		lines = append(lines, fmt.Sprintf("%s %v expired=%t days=%d violations=%d", w.ID, w.Selects, w.Expired, w.Days, w.Violations))
	}
	want := []string{
		"past [{namespace shop} {check host_network}] expired=true days=-28 violations=1",
		"old-image [{namespace legacy} {check latest_tag}] expired=false days=30 violations=1",
	}
	if diff := cmp.Diff(want, lines); diff != "" || view.Waived != 1 {
		t.Errorf("waived %d; waivers (-want +got):\n%s", view.Waived, diff)
	}
	if view := viewOf[page.Waivers](t, f, "/waivers?filter=replaced"); len(view.Waivers) != 1 || view.Query.All != 2 {
		t.Errorf("filtered: %+v", view.Waivers)
	}
}

func TestPolicyView(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	view := viewOf[page.Policy](t, f, "/policy")
	if view.Head.Policy.Hash != f.table.Hash() || view.Source != "policy.yaml" || len(view.Checks) != 3 || view.Checks[0].Violations != 5 || view.Checks[0].Waived != 1 {
		t.Errorf("%+v", view)
	}
	grades := []page.GradeRule{{Name: "Good", Min: 80, MaxSeverity: "high", Namespaces: 2}, {Name: "Fair", Min: 50, Namespaces: 1}, {Name: "Bad"}}
	if diff := cmp.Diff(grades, view.GradeRules); diff != "" {
		t.Errorf("grades (-want +got):\n%s", diff)
	}
	f.Source = func() Source { return Source{Problem: "policy.yaml:3: unknown field"} }
	for _, path := range []string{"/", "/policy", "/namespaces/shop"} {
		if recorder, _ := f.ask(path, "text/html"); !strings.Contains(recorder.Body.String(), "policy.yaml:3: unknown field") {
			t.Errorf("%s does not say that a newer policy cannot be loaded", path)
		}
	}
}

func TestChangesView(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	pod := state.Pod{Namespace: "shop", Name: "web-abc-1"}
	f.history.Observe(f.now, f.table, state.Change{Pod: pod, Transition: state.Transition{After: []int{0}}}, "Deployment/web", history.PodChanged)
	f.history.Observe(f.now.Add(time.Minute), f.table, state.Change{Pod: pod, Transition: state.Transition{Before: []int{0}}}, "", history.PodGone)
	f.history.ReplacePolicy(f.now)
	view := viewOf[page.Changes](t, f, "/changes")
	want := []page.Change{
		{Time: f.now.Add(time.Minute), Namespace: "shop", Workload: "Deployment/web", Pod: "web-abc-1", Check: "latest_tag", Severity: "high", Reason: "The pod is gone."},
		{Time: f.now, Opened: true, Namespace: "shop", Workload: "Deployment/web", Pod: "web-abc-1", Check: "latest_tag", Severity: "high"},
	}
	if diff := cmp.Diff(want, view.Changes); diff != "" || len(view.Warnings) != 1 || !view.Since.Equal(f.now) {
		t.Errorf("%v; changes (-want +got):\n%s", view.Warnings, diff)
	}
	if view := viewOf[page.Changes](t, f, "/changes?filter=privileged"); len(view.Changes) != 0 || view.Query.All != 2 {
		t.Errorf("filtered: %+v", view.Changes)
	}
}

// TestNoData checks that a standby, and a leader that has not evaluated the pods yet, have no data.
func TestNoData(t *testing.T) {
	f := newFixture(t)
	f.state = nil
	for _, path := range []string{"/", "/namespaces/shop", "/waivers", "/policy", "/changes", "/?sort=x"} {
		recorder, answer := f.ask(path, "text/html")
		if answer.Status != http.StatusServiceUnavailable || answer.Version != "" || !strings.Contains(recorder.Body.String(), "The pods are not evaluated yet.") {
			t.Errorf("%s: %d %s", path, answer.Status, recorder.Body)
		}
	}
	request := httptest.NewRequest(http.MethodGet, "/namespaces/shop", nil)
	request.Header.Set("Accept", "application/json")
	answer := Standby(request, &page.Standby{Replica: "b", Leader: "a"})
	var text bytes.Buffer
	if err := answer.Write(&text); err != nil || answer.Status != http.StatusServiceUnavailable || text.String() != `{"replica":"b","leader":"a"}`+"\n" {
		t.Errorf("%d %s %v", answer.Status, &text, err)
	}
}

func TestAccept(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": true, "application/json, text/plain, */*": true, "Application/JSON": true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": false, "text/html, application/json;q=0.9": false,
		"text/html;q=0.1, application/json;q=0.9": true, "application/json;q=0": false, "application/json;q=x": false, "application/*": false,
	} {
		if got := wantsJSON([]string{accept}); got != want {
			t.Errorf("Accept %q: JSON is %t, want %t", accept, got, want)
		}
	}
}

func TestHistoryURL(t *testing.T) {
	for _, test := range []struct{ url, namespace, want string }{
		{"", "shop", ""},
		{"https://grafana/d/1", "shop", "https://grafana/d/1"},
		{"https://grafana/d/1?var-namespace={namespace}&from=now-7d", "shop", "https://grafana/d/1?var-namespace=shop&from=now-7d"},
		{"https://grafana/d/1?var-namespace={namespace}&from=now-7d", "", "https://grafana/d/1?from=now-7d"},
		{"https://grafana/d/1?var-namespace={namespace}", "a&b=c", "https://grafana/d/1?var-namespace=a%26b%3Dc"},
		{"https://grafana/{namespace}/x", "shop", "https://grafana/shop/x"},
		{"https://grafana/d/a%2Fb/{namespace}#{namespace}", "shop", "https://grafana/d/a%2Fb/shop#shop"},
		{"https://grafana/d/1?a=1;b=2&n={namespace}", "shop", "https://grafana/d/1?a=1;b=2&n=shop"},
		{"https://grafana/d/1?a=1;b=2&n={namespace}", "", "https://grafana/d/1?a=1;b=2"},
		{"HTTPS://grafana/d/1?n={namespace}", "", "HTTPS://grafana/d/1"},
	} {
		if got := historyURL(test.url, test.namespace); got != test.want {
			t.Errorf("%s of %q: %s, want %s", test.url, test.namespace, got, test.want)
		}
	}
}
