package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/golden"
)

// pages are the pages with generated blocks. Their paths are absolute because transcripts run at the top of the repository.
var pages = func() (all []string) {
	for _, name := range []string{"README.md", "agent/README.md", "cmd/kube-devops/README.md", "deploy/README.md", "policies/README.md"} {
		page, _ := filepath.Abs(filepath.Join("../..", name))
		all = append(all, page)
	}
	return all
}()

// section compares a generated block, on each page that has it, with its expected text.
func section(t *testing.T, name, want string) {
	t.Helper()
	block := regexp.MustCompile(`(?s)(<!-- ` + name + `:[^\n]*-->\n)(.*?)(<!-- end -->)`)
	blocks := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if found := block.FindSubmatchIndex(text); found != nil {
			blocks++
			golden.Compare(t, page, string(slices.Concat(text[:found[4]], []byte(want), text[found[5]:])))
		}
	}
	if blocks == 0 {
		t.Errorf("no page has a block %q", name)
	}
}

func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) {
		for i, cell := range cells {
			cells[i] = strings.ReplaceAll(cell, "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	line(head)
	line(slices.Repeat([]string{"---"}, len(head)))
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

func TestREADMEOperators(t *testing.T) {
	var rows [][]string
	for _, o := range rules.Operators() {
		rows = append(rows, []string{"`" + o.Name + "`", o.Value, o.Meaning})
	}
	section(t, "operators", table([]string{"operator", "value", "true when"}, rows))
}

func TestREADMEHelp(t *testing.T) {
	for _, command := range []string{"agent", "scan", "policy lint", "policy test", "policy diff", "policy show", "policy list", "fleet", "governance", "governance open", "policy export vap"} {
		section(t, "help "+command, fenced("console", transcript(t, command+" --help")))
	}
}

func TestREADMEScan(t *testing.T) {
	var rows [][]string
	for _, f := range report.Formats() {
		rows = append(rows, []string{"`" + f.Name + "`", f.Help})
	}
	section(t, "formats", table([]string{"format", "use"}, rows))
	section(t, "fleet", fenced("console", "$ kube-devops fleet --config fleet.yaml\n"+content(t, "testdata/fleet/fleet.txt")))
	t.Chdir("../..")
	section(t, "scan", fenced("console", transcript(t, "scan testdata/dumps/shop.json --top 4")))
	section(t, "first scan", fenced("console", transcript(t, "scan testdata/manifests/bookshop.yaml -n sandbox")))
	section(t, "json", fenced("console", transcript(t, "scan testdata/manifests/bookshop.yaml -n sandbox --check latest_tag -o json")))
}

// TestREADMEMetrics joins the metrics of a recording, which has no cluster, and of a standby, which has no scores. The policy
// skips pods and waives a violation.
func TestREADMEMetrics(t *testing.T) {
	replay := scrape(t, "--replay", shop, "--policy", "../../testdata/policies/ours.yaml")
	// In this cluster, another replica is the leader.
	cluster := fakeapi.New()
	if _, err := cluster.Leases.Create(&coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: new("another")}}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(cluster)
	defer server.Close()
	kubeconfig := writeKubeconfig(t, server.URL)
	standby := scrape(t, "--kubeconfig", kubeconfig)
	for name, family := range scrape(t, "--kubeconfig", kubeconfig, "--namespaces", "shop", "--external-url", "https://governance.example.com/") {
		if standby[name] == nil {
			standby[name] = family // exported only with --namespaces, or with --external-url
		}
	}
	for name, family := range scrape(t, "--replay", "testdata/unknown/pod.json", "--policy", "testdata/unknown/policy.yaml") {
		if replay[name] == nil {
			replay[name] = family // a series for unknown violations only
		}
	}
	var rows [][]string
	for _, name := range slices.Sorted(keys(replay, standby)) {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") || strings.HasPrefix(name, "promhttp_") {
			continue
		}
		on, family := "leader", replay[name]
		if f, ok := standby[name]; ok {
			on, family = "all", f
		}
		var labels []string
		for _, label := range family.Metric[0].Label {
			labels = append(labels, "`"+label.GetName()+"`")
		}
		rows = append(rows, []string{"`" + name + "`", strings.Join(labels, ", "), on, family.GetHelp()})
	}
	section(t, "metrics", table([]string{"metric", "labels", "replica", "meaning"}, rows))
}

func keys(maps ...map[string]*dto.MetricFamily) func(func(string) bool) {
	all := make(map[string]bool)
	for _, m := range maps {
		for name := range m {
			all[name] = true
		}
	}
	return func(yield func(string) bool) {
		for name := range all {
			if !yield(name) {
				return
			}
		}
	}
}

func scrape(t *testing.T, args ...string) map[string]*dto.MetricFamily {
	t.Helper()
	a := startAgent(t, args...)
	a.waitReady(t)
	body := ""
	waitFor(t, "the metrics of the Lease", func() bool {
		_, body = a.get(t, "/metrics")
		return slices.Contains(args, "--replay") || strings.Contains(body, "kube_devops_lease_epoch")
	})
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("parse /metrics: %v", err)
	}
	a.stop(t)
	return families
}

var transcribed = regexp.MustCompile("^[a-z_]*health_score")

func TestREADMETranscript(t *testing.T) {
	a := startAgent(t, "--replay", shop)
	a.waitReady(t)
	_, body := a.get(t, "/metrics")
	a.stop(t)
	var b bytes.Buffer
	b.WriteString("```console\n$ make run\n$ curl -s localhost:8080/metrics | grep ^[a-z_]*health_score\n")
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		if transcribed.MatchString(lines.Text()) {
			b.WriteString(lines.Text() + "\n")
		}
	}
	b.WriteString("```\n")
	section(t, "transcript", b.String())
}

// TestREADMETable: lint has no warnings about the table on the page.
func TestREADMETable(t *testing.T) {
	t.Chdir("../..")
	const file = "testdata/policies/ours.yaml"
	section(t, "table", fenced("yaml", content(t, file)))
	if got := transcript(t, "policy lint --strict --dump testdata/dumps/shop.json "+file); strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
}

// TestREADMEFirstTable: the first policy in README.md is a complete table without warnings, so that a reader can paste it.
func TestREADMEFirstTable(t *testing.T) {
	t.Chdir("../..")
	_, rest, _ := strings.Cut(content(t, "README.md"), "```yaml\n")
	text, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("README.md has no YAML block")
	}
	if lines := strings.Count(text, "\n"); lines > 10 {
		t.Errorf("the first table has %d lines, want at most 10", lines)
	}
	file := filepath.Join(t.TempDir(), "team.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if text := transcript(t, "policy lint --strict "+file); strings.Count(text, "\n") != 1 {
		t.Error(text)
	}
}

// TestREADMEIsShort: README.md is an introduction, and the reference is on the pages of the packages.
func TestREADMEIsShort(t *testing.T) {
	if lines := strings.Count(content(t, "../../README.md"), "\n"); lines > 200 {
		t.Errorf("README.md has %d lines, want at most 200", lines)
	}
}

func TestREADMEPolicy(t *testing.T) {
	t.Chdir("../..")
	section(t, "lint", fenced("console", transcript(t, "policy lint testdata/policies/draft.yaml")))
	section(t, "test", fenced("console", "$ cat testdata/policies/tests.yaml\n"+content(t, "testdata/policies/tests.yaml")+transcript(t, "policy test testdata/policies")))
	section(t, "diff", fenced("console", transcript(t, "policy diff default recommended testdata/dumps/shop.json")))
}

// TestREADMEEnforce: the example of a table that enforces is short, has no warnings, admits a good manifest and refuses a bad one.
func TestREADMEEnforce(t *testing.T) {
	t.Chdir("../..")
	const file = "testdata/policies/enforced.yaml"
	section(t, "enforced", fenced("yaml", content(t, file)))
	if lines := strings.Count(content(t, file), "\n"); lines > 10 {
		t.Errorf("%d lines, want at most 10", lines)
	}
	if got := transcript(t, "policy lint --strict "+file); strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
	section(t, "preview", fenced("console", transcript(t, "policy diff recommended "+file+" testdata/dumps/shop.json --enforce")))
	for namespace, want := range map[string]int{"docs": exitDone, "sandbox": exitCrossed} {
		if code, _, stderr := runScan(t, "", "testdata/manifests/bookshop.yaml", "-n", namespace, "--policy", file, "--enforce"); code != want {
			t.Errorf("namespace %s: code %d, want %d: %s", namespace, code, want, stderr)
		}
	}
}

func fenced(language, text string) string { return "```" + language + "\n" + text + "```\n" }

func content(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
