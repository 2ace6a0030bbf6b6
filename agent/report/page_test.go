package report

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// screens are the widths at which text must fit: a phone, a small window and a desktop.
var screens = []int{390, 760, 1280}

// frames are all pages of the tests.
func frames(t *testing.T) map[string]frame {
	t.Helper()
	page := func(scan *Scan, o Options) string { return string(printed(t, HTML, scan, o)) }
	all := make(map[string]frame)
	scans := recorded(t)
	scans["categories"] = func() (*Scan, Options) { return categorized(t), Options{} }
	for folder, open := range scans {
		scan, o := open()
		all[folder] = frame{Page: page(scan, o), Width: 1280}
		for _, width := range screens {
			// Everything is unfolded. Wider than 760, tables scroll on their own.
			all[fmt.Sprint(folder, " fits ", width)] = frame{strings.ReplaceAll(page(scan, o), "<details", "<details open"), width, `
const root = doc.documentElement, width = root.clientWidth;
let clipped = 0;
for (const element of root.querySelectorAll("main *:not(svg):not(rect)")) {
  if (element.closest("thead")) continue; // it is hidden on a phone
  const box = element.getBoundingClientRect();
  if (width <= 760 && (box.right > width || box.left < 0)) clipped++;
}
write("scrolls " + (root.scrollWidth > width) + ", clipped " + clipped);`}
		}
	}
	scan, o := recorded(t)["shop"]()
	all["sorts"] = frame{page(scan, o), 1280, `
for (const column of [0, 0, 1, 1]) {
  doc.querySelectorAll("#namespaces th button")[column].click();
  const names = [...doc.querySelectorAll("#namespaces td:first-child")].map(cell => cell.textContent);
  const head = doc.querySelector("#namespaces th[aria-sort]");
  write(head.textContent + " " + head.ariaSort + ": " + names.join(" "));
}`}
	all["fleet sorts by age"] = frame{string(printedFleet(t)), 1280, `
const head = [...doc.querySelectorAll("#clusters th")].find((head) => head.textContent === "Age");
for (const click of [1, 2]) {
  head.querySelector("button").click();
  write(head.ariaSort + ": " + [...doc.querySelectorAll("#clusters tbody tr")].map((row) => row.cells[head.cellIndex].textContent).join(" "));
}`}
	categories := categorized(t)
	all["sorts in categories"] = frame{page(categories, Options{}), 1280, `
doc.querySelectorAll("#checks th button")[0].click();
write([...doc.querySelectorAll("#checks tbody tr")].map((row) => row.cells[0].textContent.split(" ")[0]).join(" "));`}
	all["filters"] = frame{page(scan, o), 1280, `
const text = doc.getElementById("filter-text");
write("offered " + !doc.getElementById("filter").hidden);
for (const words of ["LEGACY  intranet", "nothing has this", ""]) {
  text.value = words;
  text.dispatchEvent(new Event("input"));
  const shown = [...doc.querySelectorAll("details.workload:not([hidden]) .name")].map((name) => name.textContent);
  write(shown.length + " " + shown[0] + ", " + doc.getElementById("filter-count").textContent);
}`}
	all["hostile"] = frame{Page: page(hostileScan(t), Options{})}
	all["no data"] = frame{Page: page(newScan(shipped(t, "default")).done(), Options{})}
	manifests := manifestsOf(t, shipped(t, "default"), manifest{"a.yaml", 1, 21, "web", "main"})
	all["manifests"] = frame{Page: page(manifests, Options{Now: moment, Target: "deploy/"})}
	return all
}

// printedFleet is the page of clusters with reports of several ages, and of one without a report.
func printedFleet(t *testing.T) []byte {
	t.Helper()
	f := &Fleet{Now: moment}
	for i, age := range []time.Duration{90 * time.Minute, 9 * time.Second, 72 * time.Hour, 10 * time.Minute, 5 * time.Hour} {
		f.Members = append(f.Members, FleetMember{Name: fmt.Sprint("c", i), State: FleetCurrent, Time: moment.Add(-age), Report: &Document{Cluster: DocumentCounts{Compliance: new(50.0)}}})
	}
	f.Members = append(f.Members, FleetMember{Name: "gone", State: "away", Reason: "no such file"})
	var page bytes.Buffer
	if err := FleetHTML(&page, f, Options{}); err != nil {
		t.Fatal(err)
	}
	return page.Bytes()
}

func exact(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// TestFleetSorts: the column of ages sorts by time, and not by text. A cluster without a report comes last.
func TestFleetSorts(t *testing.T) {
	want := "descending: 3d 5h 90m 10m 9s -\nascending: 9s 10m 90m 5h 3d -"
	if got := viewOf(t, "fleet sorts by age").wrote; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestPageInABrowser opens the pages of three recordings in Chromium, and compares what stands there with the snapshot.
func TestPageInABrowser(t *testing.T) {
	for folder, open := range recorded(t) {
		t.Run(folder, func(t *testing.T) {
			scan, _ := open()
			document := viewOf(t, folder).document
			comparePage(t, document, scan)
			for _, head := range elements(document, "th") {
				if attribute(head, "scope") == "col" && len(elements(head, "button")) != 1 {
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
	counted := map[string]string{}
	for _, table := range elements(document, "table") { // one for each category
		if !strings.HasPrefix(attribute(table, "id"), "checks") {
			continue
		}
		texts, _ = cells(table)
		for _, row := range texts {
			counted[row[0]] = row[1] + " of " + row[2]
		}
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
	want := `Namespace ascending: checkout legacy payments search storefront
Namespace descending: storefront search payments legacy checkout
Compliance descending: checkout storefront payments search legacy
Compliance ascending: legacy search payments storefront checkout`
	if diff := cmp.Diff(want, viewOf(t, "sorts").wrote); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPageSortsInCategories clicks on the head of a table with categories: each check stays in its category.
func TestPageSortsInCategories(t *testing.T) {
	const want = "Security host privileged root Reliability no_probe Hygiene latest_tag Other no_label"
	if got := viewOf(t, "sorts in categories").wrote; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPageIsClosed opens a page of hostile names: none of them becomes an element or a script, and no address is asked.
func TestPageIsClosed(t *testing.T) {
	scan := hostileScan(t)
	document := viewOf(t, "hostile").document
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
	document := viewOf(t, "no data").document
	for _, id := range []string{"cluster-compliance", "cluster-score"} {
		if got := textOf(byID(t, document, id)); got != "no data" {
			t.Errorf("%s: %q, want no data", id, got)
		}
	}
}

// TestPageFits: no text is beside the screen, however wide that is, with everything unfolded.
func TestPageFits(t *testing.T) {
	for folder := range recorded(t) {
		for _, width := range screens {
			if got := viewOf(t, fmt.Sprint(folder, " fits ", width)).wrote; got != "scrolls false, clipped 0" {
				t.Errorf("%s, %d pixels wide: %s", folder, width, got)
			}
		}
	}
}

// TestPageFilters types into the filter.
func TestPageFilters(t *testing.T) {
	want := "offered true\n1 Deployment/intranet, 1 of 17 rows\n0 undefined, 0 of 17 rows\n9 Deployment/intranet,"
	if diff := cmp.Diff(want, viewOf(t, "filters").wrote); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPageShowsFindings opens a workload, which needs no script: its findings have the container, the value, the line and
// what to do.
func TestPageShowsFindings(t *testing.T) {
	document := viewOf(t, "manifests").document
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
