package deploy

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// A ruleFile is what Prometheus reads.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Record      string            `json:"record,omitempty"`
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	KeepFiring  string            `json:"keep_firing_for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func (f *ruleFile) all() []rule {
	var all []rule
	for _, group := range f.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

// ruleFiles are the rules of the chart by their file's name.
func ruleFiles(t *testing.T) map[string]*ruleFile {
	t.Helper()
	files := make(map[string]*ruleFile)
	for _, path := range glob(t, "chart/rules/*.yaml") {
		file := new(ruleFile)
		if err := yaml.UnmarshalStrict(content(t, path), file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		files[filepath.Base(path)] = file
	}
	return files
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files (%v)", pattern, len(paths), err)
	}
	return paths
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// promtool runs promtool. Without it the test is skipped, except in CI.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("promtool is not installed (apt-get install prometheus)")
	} else if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestRules checks the rules with promtool, and runs the test cases of each rule file.
func TestRules(t *testing.T) {
	for name, rules := range ruleFiles(t) {
		t.Run(name, func(t *testing.T) {
			promtool(t, "chart/rules", "check", "rules", "--lint=all", "--lint-fatal", name)
			// The runbook lines have no templates, and would stand in each case again.
			for _, rule := range rules.all() {
				delete(rule.Annotations, "runbook")
			}
			dir := t.TempDir()
			text, err := yaml.Marshal(rules)
			if err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string][]byte{"rules.yaml": text, "cases.yaml": content(t, "testdata/rules/"+name)} {
				if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			promtool(t, dir, "test", "rules", "cases.yaml")
		})
	}
}

// TestAlerts checks that each alert has a severity and a runbook, a test case in which it fires, and one in which it does not.
func TestAlerts(t *testing.T) {
	type outcomes struct{ fires, quiet bool }
	cases := make(map[string]*outcomes)
	for _, path := range glob(t, "testdata/rules/*.yaml") {
		var file struct {
			Tests []struct {
				Alerts []struct {
					Name     string `json:"alertname"`
					Expected []any  `json:"exp_alerts"`
				} `json:"alert_rule_test"`
			} `json:"tests"`
		}
		if err := yaml.Unmarshal(content(t, path), &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Tests {
			for _, alert := range test.Alerts {
				o := cases[alert.Name]
				if o == nil {
					o = new(outcomes)
					cases[alert.Name] = o
				}
				o.fires = o.fires || len(alert.Expected) > 0
				o.quiet = o.quiet || len(alert.Expected) == 0
			}
		}
	}
	for _, file := range ruleFiles(t) {
		for _, rule := range file.all() {
			if rule.Alert == "" {
				continue
			}
			if !slices.Contains([]string{"info", "warning", "critical"}, rule.Labels["severity"]) {
				t.Errorf("%s has severity %q", rule.Alert, rule.Labels["severity"])
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["runbook"] == "" {
				t.Errorf("%s lacks a summary or a runbook: %v", rule.Alert, rule.Annotations)
			}
			if o := cases[rule.Alert]; o == nil || !o.fires || !o.quiet {
				t.Errorf("%s has no case in which it fires and none in which it does not: %+v", rule.Alert, o)
			}
		}
	}
}

// TestRunbook checks that the runbook in deploy/README.md matches the alerts. UPDATE_GOLDEN=1 writes it.
func TestRunbook(t *testing.T) {
	var want strings.Builder
	want.WriteString("| alert | severity | after | what to do |\n| --- | --- | --- | --- |\n")
	files := ruleFiles(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, rule := range files[name].all() {
			if rule.Alert != "" {
				fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", rule.Alert, rule.Labels["severity"], cmp.Or(rule.For, "at once"), rule.Annotations["runbook"])
			}
		}
	}
	const page = "README.md"
	text := string(content(t, page))
	head, rest, found := strings.Cut(text, "<!-- runbook: from chart/rules, by UPDATE_GOLDEN=1 go test . -->\n")
	got, tail, closed := strings.Cut(rest, "<!-- end -->")
	if !found || !closed {
		t.Fatal("deploy/README.md has no section runbook")
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		text = head + "<!-- runbook: from chart/rules, by UPDATE_GOLDEN=1 go test . -->\n" + want.String() + "<!-- end -->" + tail
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want.String() {
		t.Errorf("the runbook is not what the rules say; run: cd deploy && UPDATE_GOLDEN=1 go test .\n%s", want.String())
	}
}

// A metric is what the agent, a client library or a rule exports: all of its labels.
type metric struct{ labels []string }

// scraped are the labels that a scrape, or a fleet, adds to every series, and what becomes of a label of ours that a scrape
// has too, where ours is not honored.
var scraped = []string{"cluster", "job", "instance", "exported_namespace"}

// exported are all metrics that there are: those of the README's table, which is made from the code; those of the client
// library, as an agent says them; and those that the rules record.
func exported(t *testing.T) map[string]metric {
	t.Helper()
	all := map[string]metric{
		"up": {scraped},
		// Of the API server, for the policies that it enforces. TestEnforcementRelease in agent/e2e reads these labels there.
		"apiserver_validating_admission_policy_check_total": {append(slices.Clone(scraped), "policy", "policy_binding", "error_type", "enforcement_action")},
		"kube_devops_watched_namespace_permitted":           {append(slices.Clone(scraped), "namespace")}, // of an agent with --namespaces alone
		"kube_devops_page_info":                             {append(slices.Clone(scraped), "url")},       // of an agent with --external-url alone
	}
	_, table, found := strings.Cut(string(content(t, "../agent/README.md")), "<!-- metrics: from the code -->\n")
	if !found {
		t.Fatal("agent/README.md has no table of metrics")
	}
	table, _, _ = strings.Cut(table, "<!-- end -->")
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		name := quoted.FindStringSubmatch(cells[1])
		if name == nil {
			continue
		}
		m := metric{slices.Clone(scraped)}
		for _, label := range quoted.FindAllStringSubmatch(cells[2], -1) {
			m.labels = append(m.labels, label[1])
		}
		all[name[1]] = m
	}
	if len(all) < 20 {
		t.Fatalf("only %d metrics found in agent/README.md", len(all))
	}
	for name, m := range scrape(t) {
		if _, documented := all[name]; !documented {
			all[name] = m
		}
	}
	// A rule may read what one before it records; so may those of a fleet, which come last by name.
	files := ruleFiles(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, rule := range files[name].all() {
			if rule.Record != "" {
				all[rule.Record] = metric{labelsOf(parse(t, rule.Record, rule.Expr), all)}
			}
		}
	}
	return all
}

// parse reads an expression of the rule or panel that is named.
func parse(t *testing.T, where, expression string) parser.Expr {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		t.Fatalf("%s: %v: %s", where, err, expression)
	}
	return parsed
}

// labelsOf are the labels that the series of an expression can have, given those of the metrics.
func labelsOf(expression parser.Node, known map[string]metric) []string {
	switch e := expression.(type) {
	case *parser.VectorSelector:
		return known[e.Name].labels
	case *parser.AggregateExpr:
		inner := labelsOf(e.Expr, known)
		if e.Op == parser.TOPK || e.Op == parser.BOTTOMK {
			return inner
		}
		return slices.DeleteFunc(slices.Clone(inner), func(label string) bool { return slices.Contains(e.Grouping, label) == e.Without })
	case *parser.BinaryExpr:
		left := labelsOf(e.LHS, known)
		if e.Op != parser.LOR && len(left) > 0 {
			return left // and unless: the left side; else one matches the other, and those of the left are enough here
		}
		return append(slices.Clone(left), labelsOf(e.RHS, known)...)
	}
	var all []string
	for child := range parser.ChildrenIter(expression) {
		all = append(all, labelsOf(child, known)...)
	}
	return all
}

// scrape starts the agent on a recording and returns what it exports, a histogram by each of its series.
func scrape(t *testing.T) map[string]metric {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), agentBinary, "agent", "--listen", "127.0.0.1:0", "--replay", "../testdata/dumps/shop.json")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line struct{ Msg, Addr string }
	for said := bufio.NewScanner(stderr); line.Msg != "listening"; {
		if !said.Scan() {
			t.Fatalf("the agent does not listen: %v", cmd.Wait())
		}
		if err := json.Unmarshal(said.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, stderr) }()
	res, err := http.Get("http://" + line.Addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	parsed := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parsed.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the agent: %v", err)
	}
	all := make(map[string]metric)
	for name, family := range families {
		m := metric{slices.Clone(scraped)}
		for _, pair := range family.Metric[0].Label {
			m.labels = append(m.labels, pair.GetName())
		}
		all[name] = m
		if family.Metric[0].Histogram != nil {
			all[name+"_bucket"] = metric{append(slices.Clone(m.labels), "le")}
			all[name+"_sum"], all[name+"_count"] = m, m
		}
	}
	return all
}

// TestMetrics checks that every expression of a rule or panel parses, and uses existing metrics and labels.
func TestMetrics(t *testing.T) {
	known := exported(t)
	expressions := make(map[string]string)
	for name, file := range ruleFiles(t) {
		for _, rule := range file.all() {
			expressions[name+" "+cmp.Or(rule.Record, rule.Alert)] = rule.Expr
		}
	}
	for _, path := range glob(t, "chart/dashboards/*.json") {
		maps.Copy(expressions, panels(t, path))
	}
	used := make(map[string]bool)
	for where, expression := range expressions {
		parser.Inspect(parse(t, where, expression), func(node parser.Node, _ []parser.Node) error {
			switch n := node.(type) {
			case *parser.VectorSelector:
				m, ok := known[n.Name]
				if !ok {
					t.Errorf("%s: nothing exports %q", where, n.Name)
				}
				used[n.Name] = true
				for _, matcher := range n.LabelMatchers {
					if matcher.Name != model.MetricNameLabel {
						checkLabel(t, where, m, matcher.Name)
					}
				}
			case *parser.AggregateExpr:
				for _, label := range n.Grouping {
					checkLabel(t, where, metric{labelsOf(n.Expr, known)}, label)
				}
			}
			return nil
		})
	}
	// Every exported metric must be used.
	for name := range known {
		if strings.HasPrefix(name, "kube_devops") && !used[name] && !slices.Contains(unused, name) && !regexp.MustCompile(`_(sum|count|bucket)$|:`).MatchString(name) {
			t.Errorf("%s is in no rule and no panel of deploy/chart: use it there, or add it to unused in this file", name)
		}
	}
}

// labelNames are the labels that an expression selects or groups by.
func labelNames(t *testing.T, where, expression string) []string {
	t.Helper()
	var names []string
	parser.Inspect(parse(t, where, expression), func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			for _, matcher := range n.LabelMatchers {
				names = append(names, matcher.Name)
			}
		case *parser.AggregateExpr:
			names = append(names, n.Grouping...)
		}
		return nil
	})
	return names
}

// TestPairs checks that the rules and the dashboard of a fleet count a cluster with two Prometheus servers once.
func TestPairs(t *testing.T) {
	expressions := panels(t, "chart/dashboards/fleet.json")
	for _, rule := range ruleFiles(t)["fleet.yaml"].all() {
		expressions[cmp.Or(rule.Record, rule.Alert)] = rule.Expr
	}
	merged := 0
	for where, expression := range expressions {
		parser.Inspect(parse(t, where, expression), func(node parser.Node, path []parser.Node) error {
			selector, ok := node.(*parser.VectorSelector)
			if !ok || strings.HasPrefix(selector.Name, "kube_devops:fleet_") || strings.Contains(where, "variable") {
				return nil
			}
			merged++
			isMerged := func(above parser.Node) bool {
				a, ok := above.(*parser.AggregateExpr)
				return ok && (a.Op == parser.MAX || a.Op == parser.GROUP) && slices.Contains(a.Grouping, "cluster")
			}
			if !slices.ContainsFunc(path, isMerged) {
				t.Errorf("%s counts %s twice where a pair of Prometheus sends it", where, selector.Name)
			}
			return nil
		})
	}
	if merged < 10 {
		t.Errorf("only %d selectors found", merged)
	}
}

// unused are metrics for somebody who looks closer; a histogram is used by its buckets.
var unused = []string{
	"kube_devops_evaluation_duration_seconds", "kube_devops_full_evaluation_duration_seconds", "kube_devops_gate_valid_seconds",
	"kube_devops_pods_skipped", "kube_devops_sync_duration_seconds", "kube_devops_watch_requests_total",
}

func checkLabel(t *testing.T, where string, m metric, label string) {
	t.Helper()
	if !slices.Contains(m.labels, label) {
		t.Errorf("%s: no label %q there", where, label)
	}
}

// panels are the expressions of a dashboard, with its variables filled in.
func panels(t *testing.T, path string) map[string]string {
	t.Helper()
	var dashboard struct {
		UID        string `json:"uid"`
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
		Panels      []struct {
			ID            int
			Title, Type   string
			GridPos       struct{ X, Y, W, H int }
			Targets       []struct{ RefID, Expr string }
			Transparent   bool
			Datasource    map[string]string
			SchemaVersion int
		}
	}
	if err := json.Unmarshal(content(t, path), &dashboard); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	variables := []string{"$__rate_interval", "5m", "$__range", "1d"}
	names := []string{}
	for _, v := range dashboard.Templating.List {
		names = append(names, v.Name)
		variables = append(variables, "$"+v.Name, ".*")
	}
	for _, want := range []string{"datasource", "cluster", "namespace"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s has no variable %s", path, want)
		}
	}
	fill := strings.NewReplacer(variables...)
	expressions := make(map[string]string)
	for _, v := range dashboard.Templating.List {
		if query, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			expressions[fmt.Sprintf("%s variable %s", path, v.Name)] = fill.Replace(query[:strings.LastIndex(query, ",")])
		}
	}
	for _, a := range dashboard.Annotations.List {
		expressions[fmt.Sprintf("%s annotation %s", path, a.Name)] = fill.Replace(a.Expr)
	}
	seen := make(map[int]bool)
	for _, panel := range dashboard.Panels {
		if seen[panel.ID] || panel.Title == "" || panel.GridPos.X+panel.GridPos.W > 24 || panel.GridPos.W == 0 {
			t.Errorf("%s: panel %d %q has the id of another, no title, or no place", path, panel.ID, panel.Title)
		}
		seen[panel.ID] = true
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("%s: panel %q shows nothing", path, panel.Title)
		}
		for _, target := range panel.Targets {
			expressions[fmt.Sprintf("%s panel %q %s", path, panel.Title, target.RefID)] = fill.Replace(target.Expr)
		}
	}
	return expressions
}

// TestDocs checks that every metric named in the documentation exists.
func TestDocs(t *testing.T) {
	known := exported(t)
	named := regexp.MustCompile(`\b(kube_devops[a-z_:]*[a-z]|(cluster|namespace)_health_score|pod_events_total)\b`)
	for _, path := range []string{"README.md", "../README.md", "../agent/README.md", "../cmd/kube-devops/README.md", "../policies/README.md", "chart/values.yaml", "chart/templates/NOTES.txt"} {
		for _, name := range named.FindAllString(string(content(t, path)), -1) {
			if _, ok := known[name]; !ok {
				t.Errorf("%s names %s, which nothing exports", path, name)
			}
		}
	}
}
