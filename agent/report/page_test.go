package report

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// browser finds Chromium. In CI it must be there; elsewhere a machine may have none.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no Chromium on this machine; .ci/run installs Debian's package chromium")
	}
	t.Skip("no Chromium on this machine; install Debian's package chromium")
	return ""
}

// rendered is the page as a browser has it after its script ran.
func rendered(t *testing.T, page []byte) *html.Node {
	t.Helper()
	program := browser(t)
	folder := t.TempDir()
	file := filepath.Join(folder, "page.html")
	if err := os.WriteFile(file, page, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+filepath.Join(folder, "profile"), "--dump-dom", "file://"+file)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = time.Minute // its children may hold the pipe
	if err := command.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", command.Args, err, stderr.String())
	}
	document, err := html.Parse(&stdout)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// all are the nodes below one for which the condition holds, in the order of the document.
func all(n *html.Node, holds func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	for d := range n.Descendants() {
		if holds(d) {
			found = append(found, d)
		}
	}
	return found
}

func elements(n *html.Node, name string) []*html.Node {
	return all(n, func(d *html.Node) bool { return d.Type == html.ElementNode && d.Data == name })
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func byID(t *testing.T, document *html.Node, id string) *html.Node {
	t.Helper()
	found := all(document, func(n *html.Node) bool { return attribute(n, "id") == id })
	if len(found) != 1 {
		t.Fatalf("%d elements have the id %s", len(found), id)
	}
	return found[0]
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

// cells are the texts of a table's body, row by row, and the exact values behind them.
func cells(table *html.Node) (texts, values [][]string) {
	for _, row := range elements(elements(table, "tbody")[0], "tr") {
		var text, value []string
		for _, cell := range elements(row, "td") {
			text = append(text, textOf(cell))
			value = append(value, attribute(cell, "data-value"))
		}
		texts, values = append(texts, text), append(values, value)
	}
	return texts, values
}

func exact(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// TestPageInABrowser opens the pages of three recordings in Chromium, and compares what stands there with the snapshot.
func TestPageInABrowser(t *testing.T) {
	for folder, open := range recorded(t) {
		t.Run(folder, func(t *testing.T) {
			scan, o := open()
			document := rendered(t, printed(t, HTML, scan, o))
			comparePage(t, document, scan)
			for _, head := range elements(document, "th") {
				if len(elements(head, "button")) != 1 {
					t.Errorf("the script did not run: no button in the head %q", textOf(head))
				}
			}
		})
	}
}

func comparePage(t *testing.T, document *html.Node, scan *Scan) {
	t.Helper()
	snap := scan.Snapshot
	cluster, _ := snap.Cluster()
	totals := snap.Totals()
	got := map[string]string{}
	want := map[string]string{
		"cluster-compliance": percent(cluster.Compliance) + " " + exact(cluster.Compliance), "cluster-grade": cluster.Grade + " ",
		"cluster-pods": strconv.Itoa(totals.TotalPods) + " ", "cluster-violations": strconv.Itoa(sum(totals.Violations)) + " ",
		"cluster-namespaces": strconv.Itoa(len(snap.Namespaces)) + " ",
		"cluster-score":      strconv.FormatFloat(cluster.Score, 'f', 2, 64) + " " + exact(cluster.Score),
	}
	for id := range want {
		n := byID(t, document, id)
		got[id] = textOf(n) + " " + attribute(n, "data-value")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the cluster (-want +got):\n%s", diff)
	}
	texts, values := cells(byID(t, document, "namespaces"))
	if len(texts) != len(snap.Namespaces) {
		t.Fatalf("%d namespaces, want %d", len(texts), len(snap.Namespaces))
	}
	for i, row := range texts {
		for _, ns := range snap.Namespaces {
			if ns.Name != row[0] {
				continue
			}
			scores, _ := ns.Scores(snap.Table)
			wantRow := []string{percent(scores.Compliance), scores.Grade, strconv.FormatFloat(scores.Score, 'f', 2, 64),
				strconv.Itoa(ns.TotalPods), strconv.Itoa(sum(ns.Violations)), strings.Join(scan.checkCounts(ns.Violations), ", ")}
			if diff := cmp.Diff(wantRow, row[1:]); diff != "" {
				t.Errorf("namespace %s (-want +got):\n%s", ns.Name, diff)
			}
			if values[i][1] != exact(scores.Compliance) || values[i][3] != exact(scores.Score) {
				t.Errorf("namespace %s: values %v, want %v", ns.Name, values[i], scores)
			}
		}
	}
	texts, _ = cells(byID(t, document, "checks"))
	counted := map[string]string{}
	for _, row := range texts {
		counted[row[0]] = row[1] + " of " + row[2]
	}
	wantCounts := map[string]string{}
	for i, check := range snap.Table.Checks() {
		wantCounts[check.ID] = strconv.Itoa(totals.Violations[i]) + " of " + strconv.Itoa(totals.Subjects[i])
	}
	if diff := cmp.Diff(wantCounts, counted); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	points := 0
	for _, workload := range elements(byID(t, document, "workloads"), "details") {
		n, err := strconv.Atoi(attribute(workload, "data-points"))
		if err != nil {
			t.Fatal(err)
		}
		points += n
	}
	lost := 0
	for i, check := range snap.Table.Checks() {
		lost += totals.Violations[i] * check.Weight
	}
	if points != lost {
		t.Errorf("the workloads have %d points together, want %d", points, lost)
	}
}

// TestPageSorts clicks on the heads of a table.
func TestPageSorts(t *testing.T) {
	scan, o := recorded(t)["shop"]()
	// The policy of the page would let no other script run.
	page := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAll(printed(t, HTML, scan, o), nil)
	clicks := `<pre id="orders"></pre><script>
for (const column of [0, 0, 1, 1]) {
  document.querySelectorAll("#namespaces th button")[column].click();
  const names = [...document.querySelectorAll("#namespaces td:first-child")].map(cell => cell.textContent);
  const head = document.querySelector("#namespaces th[aria-sort]");
  document.getElementById("orders").append(head.textContent + " " + head.ariaSort + ": " + names.join(" ") + "\n");
}
</script></body>`
	document := rendered(t, bytes.Replace(page, []byte("</body>"), []byte(clicks), 1))
	want := `Namespace ascending: checkout legacy payments search storefront
Namespace descending: storefront search payments legacy checkout
Compliance descending: checkout storefront payments search legacy
Compliance ascending: legacy search payments storefront checkout`
	if diff := cmp.Diff(want, textOf(byID(t, document, "orders"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPageIsClosed opens a page of hostile names: none of them becomes an element or a script, and no address is asked.
func TestPageIsClosed(t *testing.T) {
	scan := hostileScan(t)
	document := rendered(t, printed(t, HTML, scan, Options{}))
	cluster, _ := scan.Snapshot.Cluster()
	if title := textOf(elements(document, "title")[0]); title != "kube-devops: "+percent(cluster.Compliance)+", Critical (incomplete)" {
		t.Errorf("title %q", title)
	}
	if n := len(elements(document, "script")); n != 1 {
		t.Errorf("%d scripts, want the one of the page", n)
	}
	for _, name := range []string{"img", "iframe", "link", "object", "a", "form", "base"} {
		if n := len(elements(document, name)); n != 0 {
			t.Errorf("%d elements %s", n, name)
		}
	}
	for n := range document.Descendants() {
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "href" || a.Key == "style" {
				t.Errorf("an element %s has %s=%q", n.Data, a.Key, a.Val)
			}
		}
	}
}

// TestPageWithoutData has no number that could be taken for a good one.
func TestPageWithoutData(t *testing.T) {
	document := rendered(t, printed(t, HTML, newScan(shipped(t, "default")).done(), Options{}))
	for _, id := range []string{"cluster-compliance", "cluster-score"} {
		if got := textOf(byID(t, document, id)); got != "no data" {
			t.Errorf("%s: %q, want no data", id, got)
		}
	}
}
