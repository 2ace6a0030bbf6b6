package report

import (
	"bytes"
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

// script runs a script in a page, whose policy is taken away as it would let no other run, and returns what it wrote.
func script(t *testing.T, page []byte, code string) string {
	t.Helper()
	page = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAll(page, nil)
	code = "<pre id=\"wrote\"></pre><script>const write = (line) => document.getElementById('wrote').append(line + '\\n');\n" + "{" + code + "}</script></body>"
	return textOf(byID(t, rendered(t, bytes.Replace(page, []byte("</body>"), []byte(code), 1)), "wrote"))
}

// TestPageFits opens pages in a frame as wide as a phone, with everything unfolded: no text is beside the screen.
func TestPageFits(t *testing.T) {
	for folder, open := range recorded(t) {
		scan, o := open()
		page := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAll(printed(t, HTML, scan, o), nil)
		page = bytes.ReplaceAll(page, []byte("<details"), []byte("<details open"))
		measure := `<script>
for (const width of [390, 760, 1280]) {
  const frame = document.createElement("iframe");
  frame.width = width;
  frame.height = 800;
  frame.srcdoc = ` + strings.ReplaceAll(quoted(string(page)), "</", `<\/`) + `;
  frame.addEventListener("load", () => {
    const root = frame.contentDocument.documentElement;
    let clipped = 0;
    for (const element of root.querySelectorAll("main *:not(svg):not(rect)")) {
      if (element.closest("thead")) continue; // it is hidden on a phone
      const box = element.getBoundingClientRect();
      if (width <= 760 && (box.right > width || box.left < 0)) clipped++; // wider, tables scroll on their own
    }
    document.getElementById("widths").append(width + ": scrolls " + (root.scrollWidth > width) + ", clipped " + clipped + "\n");
  });
  document.body.append(frame);
}
</script>`
		document := rendered(t, []byte(`<!DOCTYPE html><body><pre id="widths"></pre>`+measure))
		got := strings.Split(textOf(byID(t, document, "widths")), "\n")
		slices.Sort(got)
		want := []string{"1280: scrolls false, clipped 0", "390: scrolls false, clipped 0", "760: scrolls false, clipped 0"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", folder, diff)
		}
	}
}

// TestPageFilters types into the filter.
func TestPageFilters(t *testing.T) {
	scan, o := recorded(t)["shop"]()
	got := script(t, printed(t, HTML, scan, o), `
const text = document.getElementById("filter-text");
write("offered " + !document.getElementById("filter").hidden);
for (const words of ["LEGACY  intranet", "nothing has this", ""]) {
  text.value = words;
  text.dispatchEvent(new Event("input"));
  const shown = [...document.querySelectorAll("details.workload:not([hidden]) .name")].map((name) => name.textContent);
  write(shown.length + " " + shown[0] + ", " + document.getElementById("filter-count").textContent);
}`)
	want := "offered true\n1 Deployment/intranet, 1 of 17 rows\n0 undefined, 0 of 17 rows\n9 Deployment/intranet,"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPageShowsFindings opens a workload, which needs no script: its findings have the container, the value, the line and
// what to do.
func TestPageShowsFindings(t *testing.T) {
	scan := manifestsOf(t, shipped(t, "default"), manifest{"a.yaml", 1, 21, "web", "main"})
	document := rendered(t, printed(t, HTML, scan, Options{Now: moment, Target: "deploy/"}))
	if got := attribute(byID(t, document, "date"), "datetime"); got != "2030-01-01T00:00:00Z" {
		t.Errorf("date %q", got)
	}
	if got := textOf(elements(document, "h1")[0]); got != "Governance of deploy/" {
		t.Errorf("heading %q", got)
	}
	finding := textOf(elements(elements(byID(t, document, "workloads"), "details")[0], "li")[0])
	for _, part := range []string{"high", "latest_tag", "main", "a.yaml:21", "The image ends with :latest: shop/main:latest", "Pin the image"} {
		if !strings.Contains(finding, part) {
			t.Errorf("%q is missing in the finding %q", part, finding)
		}
	}
}

// TestPageContrast measures the contrast of each colour of text on what is behind it, in both themes: 4.5 at least, as
// WCAG 2 AA asks.
func TestPageContrast(t *testing.T) {
	pairs := [][2]string{
		{"text", "back"}, {"text", "card"}, {"soft", "back"}, {"soft", "card"}, {"soft", "track"}, {"card", "accent"},
		{"best-text", "best-back"}, {"fair-text", "fair-back"}, {"poor-text", "poor-back"}, {"worst-text", "worst-back"},
	}
	themes := strings.SplitN(pageStyle, "@media (prefers-color-scheme: dark)", 2)
	for theme, style := range themes {
		colors := make(map[string]float64)
		for _, match := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{3,6});`).FindAllStringSubmatch(style, -1) {
			colors[match[1]] = luminance(t, match[2])
		}
		for _, pair := range pairs {
			a, b := colors[pair[0]], colors[pair[1]]
			if contrast := (max(a, b) + 0.05) / (min(a, b) + 0.05); contrast < 4.5 || len(colors) < 15 {
				t.Errorf("theme %d: %s on %s has the contrast %.2f", theme, pair[0], pair[1], contrast)
			}
		}
	}
}

// luminance is that of WCAG 2 for a colour of three or six hexadecimal digits.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = strings.Join([]string{hex[:1], hex[:1], hex[1:2], hex[1:2], hex[2:], hex[2:]}, "")
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		channel := float64(n) / 255
		if channel <= 0.04045 {
			channel /= 12.92
		} else {
			channel = math.Pow((channel+0.055)/1.055, 2.4)
		}
		sum += weight * channel
	}
	return sum
}
