package page

import (
	"bufio"
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/page/base"
)

var (
	//go:embed frame.html overview.html namespace.html waivers.html policy.html changes.html standby.html
	texts embed.FS
	//go:embed status.css
	style string
	//go:embed status.js
	script string

	design    = base.NewDesign(style, script, "connect-src 'self'; form-action 'self'; frame-ancestors 'none'")
	templates = sync.OnceValue(parsed)
)

// SecurityPolicy returns the value of the header Content-Security-Policy for all views.
func SecurityPolicy() string { return design.Security }

// Render writes a view as HTML. The links are relative, so that the page works under any path.
func Render(to io.Writer, view View) error {
	f := view.frame()
	f.Document.Design = design
	buffer := bufio.NewWriter(to)
	if err := templates().ExecuteTemplate(buffer, f.template, &f); err != nil {
		return err
	}
	return buffer.Flush()
}

func parsed() *template.Template {
	var all []string
	for _, file := range []string{"frame", "overview", "namespace", "waivers", "policy", "changes", "standby"} {
		text, err := texts.ReadFile(file + ".html")
		if err != nil {
			panic(err) // it is embedded
		}
		all = append(all, string(text))
	}
	return base.Parse(template.FuncMap{
		"name": base.Name, "prose": base.Prose, "lines": lines, "hash": shortHash, "exact": exact, "web": web, "score": score, "severity": severityClass,
		"delta": deltaOf, "trend": curveOf, "gain": gain,
		"iso": iso, "second": second, "minute": minute, "day": day, "clock": clock,
		"word": func(n int, singular string) string { return english.PluralWord(n, singular, "") }, "wordOf": english.PluralWord,
		"few": few[string], "fewItems": few[Unavailable], "most": mostPods, "more": more, "moreOf": base.More, "shows": showsValue, "fewPods": fewPods, "admission": admission, "morePods": morePods,
	}, all...)
}

// A frame is the data of a page: a view and the parts that all views have.
type frame struct {
	base.Document
	template string
	// Head is nil on a standby.
	Head *Head
	// Root is the relative path of the overview, and Here the relative path of this page.
	Root, Here string
	Links      []link
	View       any

	query *Query // nil if the view has no rows to filter
	hint  string
	rows  string // what a row is, in the singular
	sorts bool   // whether the rows have grades and can be sorted
}

type link struct {
	Path, Text string
	Current    bool
}

// newFrame returns the frame of a view. path is relative to the root, such as "" or "waivers".
func newFrame(view View, name, path, title string, head *Head, query *Query) frame {
	f := frame{template: name, Head: head, Root: "./", Here: "?", View: view, query: query}
	if query != nil {
		f.Here = query.link()
	}
	if strings.HasPrefix(path, "namespaces/") {
		f.Root = "../"
	}
	f.Document.Title = title + " · kube-devops"
	if head != nil && head.Cluster != "" {
		f.Document.Title = title + " · " + base.Name(head.Cluster) + " · kube-devops"
	}
	for _, view := range []link{{"", "Namespaces", false}, {"waivers", "Waivers", false}, {"policy", "Policy", false}, {"changes", "Changes", false}} {
		f.Links = append(f.Links, link{f.Root + view.Path, view.Text, view.Path == path})
	}
	return f
}

func (o *Overview) frame() frame {
	title := "No data"
	if o.Total.Compliance != nil && o.Total.Grade != nil {
		title = base.Percent(*o.Total.Compliance) + ", " + base.Display(*o.Total.Grade, 40)
	}
	f := newFrame(o, "overview", "", title, &o.Head, &o.Query)
	f.hint, f.rows, f.sorts = "part of a namespace's name", "namespace", true
	return f
}

func (n *Namespace) frame() frame {
	f := newFrame(n, "namespace", "namespaces/", base.Name(n.Name), &n.Head, &n.Query)
	f.hint, f.rows = "workload, check, container", "workload"
	return f
}

func (w *Waivers) frame() frame {
	f := newFrame(w, "waivers", "waivers", "Waivers", &w.Head, &w.Query)
	f.hint, f.rows = "waiver, namespace, check, reason", "waiver"
	return f
}

func (p *Policy) frame() frame {
	return newFrame(p, "policy", "policy", "Policy "+base.Name(p.Head.Policy.Name), &p.Head, nil)
}

func (c *Changes) frame() frame {
	f := newFrame(c, "changes", "changes", "Changes", &c.Head, &c.Query)
	f.hint, f.rows = "namespace, workload, pod, check", "change"
	return f
}

func (n *NotFound) frame() frame {
	return newFrame(n, "not found", "namespaces/", "No namespace "+base.Name(n.Name), &n.Head, nil)
}

func (r *Rejected) frame() frame {
	return newFrame(r, "rejected", r.Path, "Invalid parameters", &r.Head, nil)
}

func (s *Standby) frame() frame {
	title := "Standby"
	if s.From != nil {
		title = "About to lead"
	}
	return newFrame(s, "standby", "", title, nil, nil)
}

// NamespaceLink returns the relative path of the view of a namespace.
func (f *frame) NamespaceLink(name string) string { return NamespacePath(f.Root, name) }

// Grade returns the badge of a grade. Its text is empty if grade is nil.
func (f *frame) Grade(grade *string) base.Badge {
	if grade == nil {
		return base.Badge{}
	}
	return f.GradeNamed(*grade)
}

// GradeNamed returns the badge of the grade with a name.
func (f *frame) GradeNamed(grade string) base.Badge {
	return base.Badge{Class: base.GradeClass(f.Head.Grades, grade), Text: base.Display(grade, 40)}
}

// A bar is a bar that shows a percentage.
type bar struct {
	Class string
	Width float64
}

// Bar returns the bar of a compliance, which must not be nil.
func (f *frame) Bar(s Scores) bar { return bar{f.Grade(s.Grade).Class, *s.Compliance} }

func iso(t time.Time) string    { return t.UTC().Format(time.RFC3339) }
func second(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
func day(t time.Time) string    { return t.UTC().Format(time.DateOnly) }
func clock(t time.Time) string  { return t.UTC().Format(time.DateTime) }

// exact formats a number without rounding, for scripts. It returns "" for nil.
func exact(x *float64) string {
	if x == nil {
		return ""
	}
	return fmt.Sprint(*x)
}

func score(x *float64) string {
	if x == nil {
		return "no data"
	}
	return fmt.Sprintf("%.2f", *x)
}

func shortHash(hash string) string { return base.Sanitized(base.Head(hash, len("sha256:")+12)) }

// web returns an address if it is an HTTP or HTTPS URL, which a page may link. Otherwise it returns "".
func web(address string) string {
	scheme, _, found := strings.Cut(address, "://")
	if found && (strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "http")) {
		return address
	}
	return ""
}

// severityClass returns the class of a severity's badge. It returns "low" for an unknown severity.
func severityClass(severity string) string {
	switch severity {
	case "critical", "high", "medium", "low":
		return severity
	}
	return "low"
}

// lines prepares a text of several lines for output.
func lines(text string, width int) string {
	all := strings.Split(base.Head(text, 4*width), "\n")
	for i, line := range all {
		all[i] = base.Sanitized(line)
	}
	return strings.Join(all, "\n")
}
