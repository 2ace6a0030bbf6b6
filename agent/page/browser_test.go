package page

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/page/browsertest"
)

// cluster returns views like the agent: it filters, sorts and pages namespaces.
func cluster(rows []NamespaceRow) func(r *http.Request) View {
	return func(r *http.Request) View {
		if r.URL.Path != "/" {
			return nil
		}
		o := overview(60, PerPage, 1)
		o.Query = ParseQuery(r.URL.Query())
		o.Query.All = len(rows)
		var found []NamespaceRow
		for _, row := range rows {
			if o.Query.Matches(row.Name) && (o.Query.Grade == "" || o.Query.Grade == *row.Grade) {
				found = append(found, row)
			}
		}
		slices.SortFunc(found, func(a, b NamespaceRow) int {
			c := 0
			switch o.Query.Sort {
			case SortWorst, SortCompliance:
				c = cmp.Compare(*a.Compliance, *b.Compliance)
			case SortViolations:
				c = cmp.Compare(a.Violations, b.Violations)
			}
			if o.Query.Descending {
				c = -c
			}
			return cmp.Or(c, cmp.Compare(a.Name, b.Name))
		})
		start, end := o.Query.Slice(len(found))
		o.Namespaces = found[start:end]
		o.Total.Namespaces = len(rows)
		return o
	}
}

func rowsOf(n int) []NamespaceRow {
	rows := make([]NamespaceRow, n)
	for i := range rows {
		rows[i] = row(i)
	}
	return rows
}

const shownNames = `[...document.querySelectorAll("#namespaces tbody th")].map((cell) => cell.textContent).join(" ")`

// TestPageInABrowser uses the page like a user with a keyboard: it filters, sorts, opens other pages, and waits for new data.
func TestPageInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
	browser := browsertest.Start(t)
	rows := rowsOf(250)
	site := serve(t, cluster(rows))
	tab := browser.Tab(t)
	tab.Screen(t, 1280, 900, false)
	tab.Go(t, site.URL)

	t.Run("the numbers are those of the data", func(t *testing.T) {
		want := overview(60, PerPage, 1).Total
		var got struct {
			Compliance, Score string
			Violations        string
			Rows              [][]string
		}
		tab.Eval(t, `({
  Compliance: document.getElementById("cluster-compliance").dataset.value, Score: document.getElementById("cluster-score").dataset.value,
  Violations: document.getElementById("cluster-violations").textContent,
  Rows: [...document.querySelectorAll("#namespaces tbody tr")].map((row) => [...row.cells].map((cell) => cell.dataset.value ?? cell.textContent)),
})`, &got)
		if got.Compliance != exact(want.Compliance) || got.Score != exact(want.Score) || got.Violations != "3,997" {
			t.Errorf("%+v, want %+v", got, want)
		}
		o := cluster(rows)(&http.Request{URL: &url.URL{Path: "/"}}).(*Overview)
		for i, row := range o.Namespaces {
			want := []string{row.Name, exact(row.Compliance), exact(row.Score), fmt.Sprint(row.Pods), fmt.Sprint(row.Violations), fmt.Sprint(row.Waived), fmt.Sprint(row.Unknown)}
			cells := got.Rows[i]
			if shown := append([]string{cells[0], cells[2]}, cells[6:]...); !slices.Equal(shown, want) {
				t.Errorf("row %d: %q, want %q", i, shown, want)
			}
		}
	})

	t.Run("links sort and turn pages", func(t *testing.T) {
		for _, step := range []struct{ link, sort, first, found string }{
			{"Violations", "Violations descending", most(rows, true), "1–100 of 250 namespaces"},
			{"Next", "Violations descending", "", "101–200 of 250 namespaces"},
			{"Last", "Violations descending", "", "201–250 of 250 namespaces"},
			{"Violations", "Violations ascending", most(rows, false), "1–100 of 250 namespaces"},
		} {
			var path string
			tab.Eval(t, fmt.Sprintf(`[...document.querySelectorAll("main a")].find((a) => a.textContent === %q).href`, step.link), &path)
			tab.Go(t, path)
			var got []string
			tab.Eval(t, `(() => { const head = document.querySelector("#namespaces th[aria-sort]");
return [head.textContent + " " + head.ariaSort, document.querySelector("#namespaces tbody th").textContent, document.getElementById("found").textContent] })()`, &got)
			if got[0] != step.sort || step.first != "" && got[1] != step.first || got[2] != step.found {
				t.Errorf("%s: %q, want %+v", step.link, got, step)
			}
		}
	})

	t.Run("the filter works as the reader types", func(t *testing.T) {
		tab.Go(t, site.URL)
		tab.Eval(t, `document.getElementById("filter-text").focus()`, nil)
		for _, letter := range "media-prod-1" {
			tab.Press(t, string(letter))
		}
		tab.Wait(t, `document.getElementById("found").textContent === "2 of 250 namespaces, worst first"`)
		var got []string
		tab.Eval(t, `[`+shownNames+`, document.activeElement.id, document.activeElement.value, location.search]`, &got)
		want := []string{"media-prod-124 media-prod-164", "filter-text", "media-prod-1", "?filter=media-prod-1"}
		if *rows[164].Compliance < *rows[124].Compliance {
			want[0] = "media-prod-164 media-prod-124"
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})

	t.Run("new data comes without a reload, and leaves focus, scrolling and text alone", func(t *testing.T) {
		tab.Go(t, site.URL)
		tab.Eval(t, `document.getElementById("filter-text").focus(); document.getElementById("filter-text").value = "half"; scrollTo(0, 700); window.same = true`, nil)
		site.with(func() { rows[0].Name, rows[0].Compliance = "brand-new", ptr(0.5) })
		tab.Wait(t, `document.querySelector("#namespaces tbody th").textContent === "brand-new"`)
		var got []any
		// The browser keeps the row at the top of the screen where it is.
		tab.Eval(t, `[window.same, document.activeElement.id, document.activeElement.value, scrollY >= 700 && scrollY < 800]`, &got)
		if want := "[true filter-text half true]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
		// A row that moves keeps the focus too.
		tab.Eval(t, `document.querySelector("#namespaces tbody th a").focus()`, nil)
		site.with(func() { rows[0].Compliance = ptr(50.0) })
		tab.Wait(t, `document.querySelector("#namespaces tbody th").textContent !== "brand-new"`)
		var focused string
		tab.Eval(t, `document.activeElement.textContent`, &focused)
		if focused != "brand-new" {
			t.Errorf("the focus is on %q", focused)
		}
	})

	t.Run("unchanged data is not sent again, and its time moves", func(t *testing.T) {
		before := site.count(func() int { return site.saved })
		tab.Wait(t, `!document.getElementById("time").textContent.startsWith("2030")`)
		if site.count(func() int { return site.saved }) == before {
			t.Error("no answer was 304")
		}
	})

	t.Run("an error is shown, and goes away", func(t *testing.T) {
		site.with(func() { site.down = true })
		tab.Wait(t, `!document.getElementById("problem").hidden && document.getElementById("problem").textContent.includes("403 Forbidden: no permission.")`)
		site.with(func() { site.down = false })
		tab.Wait(t, `document.getElementById("problem").hidden`)
		tab.Errors() // the browser logs the answer 403
	})

	t.Run("parameters that are no longer valid have a way out", func(t *testing.T) {
		tab.Go(t, site.URL+"/?grade=Healthy")
		var views func(*http.Request) View
		site.with(func() {
			views = site.views
			site.views = func(r *http.Request) View { // the policy has other grades now
				if r.URL.Query().Has("grade") {
					return rejected()
				}
				return views(r)
			}
		})
		tab.Wait(t, `document.getElementById("reason")?.textContent.includes("unknown grade")`)
		tab.Eval(t, `document.getElementById("plain").click()`, nil)
		tab.Wait(t, `location.search === "" && document.getElementById("namespaces") !== null`)
		site.with(func() { site.views = views })
		tab.Errors() // the browser logs the answer 400
	})

	t.Run("a pause stops the requests", func(t *testing.T) {
		tab.Eval(t, `document.getElementById("pause").click()`, nil)
		site.with(func() { site.asked = nil })
		tab.Eval(t, `new Promise((resolve) => setTimeout(resolve, 2500))`, nil)
		if n := site.count(func() int { return len(site.asked) }); n > 0 {
			t.Errorf("%d requests in a pause", n)
		}
		tab.Eval(t, `document.getElementById("pause").click()`, nil)
		tab.Wait(t, `document.getElementById("pause").ariaPressed === "false"`)
	})

	t.Run("it works without scripts", func(t *testing.T) {
		tab.Scripts(t, false)
		defer tab.Scripts(t, true)
		tab.Go(t, site.URL+"/?sort=violations&order=asc&grade=Healthy")
		tab.Eval(t, `document.getElementById("filter-text").value = "edge-"; document.getElementById("filter-text").focus()`, nil)
		tab.Press(t, "Enter")
		tab.Wait(t, `location.search.includes("filter=edge-")`)
		tab.Wait(t, `document.readyState === "complete"`)
		var got []any
		tab.Eval(t, `[location.search, document.getElementById("pause").hidden, document.querySelectorAll("#namespaces tbody tr").length > 0,
[...document.querySelectorAll("#namespaces tbody th")].every((cell) => cell.textContent.startsWith("edge-"))]`, &got)
		if want := "[?filter=edge-&grade=Healthy&order=asc&sort=violations true true true]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
	})

	t.Run("the keyboard reaches everything", func(t *testing.T) {
		tab.Go(t, site.URL+"/?filter=edge-prod")
		var order []string
		for range 20 {
			tab.Press(t, "Tab")
			var at string
			tab.Eval(t, `(document.activeElement.textContent.trim() || document.activeElement.id || document.activeElement.ariaLabel).slice(0, 30)`, &at)
			order = append(order, at)
		}
		got := strings.Join(order, ", ")
		want := "Skip to the content, kube-devops, Namespaces, Waivers, Policy, Changes, Refresh, Pause, All 250, "
		if !strings.HasPrefix(got, want) || !strings.Contains(got, "filter-text, Apply, Clear") {
			t.Errorf("%s, want %s...", got, want)
		}
	})

	t.Run("a standby shows no old data", func(t *testing.T) {
		tab.Go(t, site.URL)
		site.with(func() { site.views = func(*http.Request) View { return standby() } })
		tab.Wait(t, `document.getElementById("leader")?.textContent === "kube-devops-6d5f7c9b8-8fjzn_77aa"`)
		var rest bool
		tab.Eval(t, `document.querySelector("table, nav, #cluster, footer, #time") !== null`, &rest)
		if rest {
			t.Error("data of the leader is still there")
		}
	})

	if errors := tab.Errors(); len(errors) > 0 {
		t.Errorf("errors: %q", errors)
	}
}

// TestRefreshOfEqualRows checks that a refresh keeps the rows of waivers with the same id apart, such as those of annotations, and that a new change
// above the focused row does not move the focus.
func TestRefreshOfEqualRows(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
	browser := browsertest.Start(t)
	waivers, changes := waivers(), changes(9)
	for i := range waivers.Waivers {
		waivers.Waivers[i].ID, waivers.Waivers[i].Source = "kube-devops.io/waive", fmt.Sprint("annotation of Deployment/web-", i)
	}
	waivers.Waivers = append(waivers.Waivers, waivers.Waivers[0]) // even with one key
	site := named(t, map[string]View{"waivers": waivers, "changes": changes})
	tab := browser.Tab(t)
	const sources = `[...document.querySelectorAll("#waivers .source")].map((source) => source.textContent)`
	tab.Go(t, site.URL+"/waivers")
	var before, after []string
	tab.Eval(t, sources, &before)
	for _, round := range []string{"2031-01-01", "2032-01-01"} {
		site.with(func() { waivers.Waived, waivers.Time = waivers.Waived+1, parsedDay(t, round) })
		tab.Wait(t, `document.getElementById("time").textContent.startsWith("`+round+`")`)
		tab.Eval(t, sources, &after)
		if len(before) != 7 || !slices.Equal(before, after) {
			t.Errorf("the sources are %q, after a refresh %q", before, after)
		}
	}

	tab.Go(t, site.URL+"/changes")
	tab.Eval(t, `document.querySelectorAll("#changes tbody a")[2].focus()`, nil)
	var focused string
	const row = `document.activeElement.closest("tr")?.textContent ?? document.activeElement.nodeName`
	tab.Eval(t, row, &focused)
	site.with(func() {
		first := changes.Changes[0]
		first.Time, first.Namespace = first.Time.Add(time.Second), "brand-new"
		changes.Changes = append([]Change{first}, changes.Changes...)
	})
	tab.Wait(t, `document.querySelector("#changes tbody a").textContent === "brand-new"`)
	var still string
	if tab.Eval(t, row, &still); still != focused {
		t.Errorf("the focus moved from %q to %q", focused, still)
	}
}

// TestSortOnAPhone checks the sort controls of a narrow screen, on which the table has no heads: a new column starts with its default order, and a link
// reverses the order, also without scripts.
func TestSortOnAPhone(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
	browser := browsertest.Start(t)
	rows := rowsOf(20)
	site := serve(t, cluster(rows))
	tab := browser.Tab(t)
	tab.Screen(t, 390, 900, false)
	tab.Go(t, site.URL+"/?sort=pods&order=asc")
	tab.Eval(t, `(() => { const sort = document.getElementById("sort"); sort.value = "violations"; sort.dispatchEvent(new Event("input", { bubbles: true })) })()`, nil)
	tab.Wait(t, `location.search === "?sort=violations" && document.querySelector("#namespaces tbody th").textContent === "`+most(rows, true)+`"`)
	tab.Scripts(t, false)
	defer tab.Scripts(t, true)
	for _, worst := range []bool{false, true} {
		var path string
		tab.Eval(t, `document.querySelector(".sorts a").checkVisibility() ? document.querySelector(".sorts a").href : ""`, &path)
		tab.Go(t, path)
		var first string
		if tab.Eval(t, `document.querySelector("#namespaces tbody th").textContent`, &first); first != most(rows, worst) {
			t.Errorf("%s: %s is first, want %s", path, first, most(rows, worst))
		}
	}
	if errors := tab.Errors(); len(errors) > 0 {
		t.Errorf("errors: %q", errors)
	}
}

func parsedDay(t *testing.T, text string) time.Time {
	t.Helper()
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		t.Fatal(err)
	}
	return day
}

// most returns the namespace with the most violations, or with the fewest if worst is false.
func most(rows []NamespaceRow, worst bool) string {
	return slices.MinFunc(rows, func(a, b NamespaceRow) int {
		c := cmp.Compare(a.Violations, b.Violations)
		if worst {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a.Name, b.Name))
	}).Name
}

// TestPageFits opens all views, also with hostile texts, in all widths. No page may scroll sideways, on a phone no content may be cut off, and tables
// with ordinary texts must fit.
func TestPageFits(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
	views := examples()
	for name, view := range examples() {
		views["hostile "+name] = hostile(view)
	}
	site := named(t, views)
	tab := browsertest.Start(t).Tab(t)
	for name := range views {
		for _, width := range append([]int{1041, 1140, 1251}, widths...) {
			tab.Screen(t, width, 900, false)
			tab.Go(t, site.URL+"/"+url.PathEscape(name))
			var got []string
			tab.Eval(t, `(() => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const root = document.documentElement, width = root.clientWidth, wide = [], ordinary = `+strconv.FormatBool(!strings.HasPrefix(name, "hostile"))+`;
  if (root.scrollWidth > width) wide.push("the page scrolls sideways: " + root.scrollWidth);
  for (const element of document.querySelectorAll("body *:not(svg):not(path):not(rect):not(script):not(.hidden):not(.skip)")) {
    const box = element.getBoundingClientRect();
    if (width <= 760 && (box.right > width + 1 || box.left < -1)) wide.push(element.nodeName + "." + element.className + " " + element.textContent.slice(0, 40));
  }
  for (const region of document.querySelectorAll(".scroll")) {
    if (ordinary && region.scrollWidth > region.clientWidth) wide.push("the table scrolls sideways: " + region.scrollWidth);
  }
  return wide.slice(0, 5);
})()`, &got)
			if len(got) > 0 {
				t.Errorf("%s at %d: %q", name, width, got)
			}
		}
	}
	if errors := tab.Errors(); len(errors) > 0 {
		t.Errorf("errors: %q", errors)
	}
}

// TestAccessibility runs axe-core on all views.
func TestAccessibility(t *testing.T) {
	axe := browsertest.Axe(t)
	views := examples()
	views["hostile overview"], views["hostile namespace"] = hostileOverview(), hostileNamespace()
	site := named(t, views)
	pages := make(map[string]string)
	for name := range views {
		pages[name] = site.URL + "/" + url.PathEscape(name)
	}
	browsertest.Accessible(t, axe, pages)
}
