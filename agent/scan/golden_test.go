package scan

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules/golden"
)

// reportFiles are the golden files of the formats.
var reportFiles = map[string]string{
	"table": "table.txt", "json": "report.json", "yaml": "report.yaml", "ndjson": "violations.ndjson", "sarif": "report.sarif",
	"junit": "junit.xml", "github": "github.txt", "markdown": "comment.md", "html": "report.html", "prometheus": "metrics.prom",
}

// TestReports scans three recordings, and compares each form of the report with a golden file in testdata/reports: one of a
// cluster, odd pods beside a file that is cut, and manifests with waivers and a baseline. No other files may lie there.
func TestReports(t *testing.T) {
	t.Chdir("../..")
	const baseline = "testdata/reports/bookshop/baseline.json"
	moment := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		folder, policy, waivers string
		files                   []string
		options                 report.Options
	}{
		{folder: "shop", policy: policies.Default, files: []string{"testdata/dumps/shop.json"}, options: report.Options{Top: 20, Now: moment, Target: "shop"}},
		{folder: "edge", policy: policies.Default, files: []string{"testdata/dumps/edge.json", "testdata/broken/cut.json"}, options: report.Options{Top: 3}},
		{folder: "bookshop", policy: "recommended", waivers: "testdata/manifests/waivers.yaml", files: []string{"testdata/manifests/bookshop.yaml"},
			options: report.Options{Top: 20, Now: moment}},
	} {
		t.Run(test.folder, func(t *testing.T) {
			table := open(t, test.policy)
			if test.waivers != "" {
				var err error
				if table, err = table.WithWaivers(test.waivers, contentOf(t, test.waivers)); err != nil {
					t.Fatal(err)
				}
			}
			found, err := Run(t.Context(), Options{
				Table: table, Now: moment, Found: found(t, test.files...), KeepGoing: true, Workers: 2,
			})
			if err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join("testdata/reports", test.folder)
			var known []string
			if test.folder == "bookshop" {
				old, err := report.LoadBaseline(baseline, bytes.NewReader(contentOf(t, baseline)))
				if err != nil {
					t.Fatal(err)
				}
				test.options.Baseline = old.Compare(found)
				known = append(known, filepath.Base(baseline))
			}
			compare := func(file string, print func(io.Writer) error) {
				known = append(known, file)
				var b bytes.Buffer
				if err := print(&b); err != nil {
					t.Errorf("%s: %v", file, err)
					return
				}
				// The hash is another one after each change of the table, be it to a comment.
				hash := table.Hash()
				text := strings.NewReplacer(hash, "sha256:...", hash[:len("sha256:")+12]+"…", "sha256:...").Replace(b.String())
				golden.Compare(t, filepath.Join(folder, file), text)
			}
			for _, format := range report.Formats() {
				if reportFiles[format.Name] == "" {
					t.Fatalf("the format %s has no golden file: add it to reportFiles", format.Name)
				}
				compare(reportFiles[format.Name], func(to io.Writer) error { return format.Print(to, found, test.options) })
			}
			narrow := test.options
			narrow.Width, narrow.Color = 80, true
			compare("table-80-color.txt", func(to io.Writer) error { return report.Table(to, found, narrow) })
			for _, ns := range found.Snapshot.Namespaces {
				compare("explain-"+ns.Name+".txt", func(to io.Writer) error { return report.Explain(to, found, []string{ns.Name}, test.options) })
			}
			entries, err := os.ReadDir(folder)
			if err != nil {
				t.Fatal(err)
			}
			var there []string
			for _, entry := range entries {
				there = append(there, entry.Name())
			}
			slices.Sort(known)
			if diff := cmp.Diff(known, there); diff != "" {
				t.Errorf("%s (-compared +there):\n%s", folder, diff)
			}
		})
	}
}

func contentOf(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
