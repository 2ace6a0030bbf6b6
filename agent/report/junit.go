package report

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"slices"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/state"
)

// JUnit writes a test suite for each namespace. Its test cases are the checks: one that passes where nothing violates the
// check, one that fails for each workload that does, and one that is skipped for each that a waiver accepts. Where there is a
// baseline only what is new fails, and what it has is skipped. A suite of the scan itself comes first, with what was read.
func JUnit(to io.Writer, scan *Scan, o Options) error {
	w := &junitWriter{to: bufio.NewWriter(to), scan: scan, against: o.Baseline}
	// The counts come before what is counted: the suites are made twice and written once.
	var all junitCounts
	w.suites(o, func(_ state.NamespaceSnapshot, cases []junitCase) { all.add(cases) })
	own := w.own()
	all.add(own)
	w.put("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"kube-devops\"" + all.String() + ">\n")
	w.suite("kube-devops scan", own, scan.notes())
	w.suites(o, func(ns state.NamespaceSnapshot, cases []junitCase) { w.suite(ns.Name, cases, nil) })
	w.put("</testsuites>\n")
	if w.err != nil {
		return w.err
	}
	return w.to.Flush()
}

// A junitCase is one test case. It passes where it has no outcome.
type junitCase struct {
	name, suite string
	file        string
	outcome     string // failure, error or skipped
	message     string
	severity    string
	lines       []string
}

type junitCounts struct{ tests, failures, errors, skipped int }

func (c *junitCounts) add(cases []junitCase) {
	for _, tc := range cases {
		c.tests++
		switch tc.outcome {
		case "failure":
			c.failures++
		case "error":
			c.errors++
		case "skipped":
			c.skipped++
		}
	}
}

func (c junitCounts) String() string {
	return fmt.Sprintf(` tests="%d" failures="%d" errors="%d" skipped="%d"`, c.tests, c.failures, c.errors, c.skipped)
}

type junitWriter struct {
	to      *bufio.Writer
	scan    *Scan
	against *BaselineDiff
	err     error
}

func (w *junitWriter) put(text string) {
	if w.err == nil {
		_, w.err = w.to.WriteString(text)
	}
}

func (w *junitWriter) text(text string) {
	if w.err == nil {
		w.err = xml.EscapeText(w.to, []byte(plain(text)))
	}
}

func (w *junitWriter) attribute(name, value string) {
	w.put(" " + name + `="`)
	w.text(value)
	w.put(`"`)
}

// own are the test cases of the scan itself: that all inputs could be read, and that there is data.
func (w *junitWriter) own() []junitCase {
	read := junitCase{name: "all inputs are read"}
	if left := w.scan.Inputs.Unreadable; len(left) > 0 {
		read.outcome, read.message, read.lines = "error", incomplete, left
	}
	cases := []junitCase{read}
	if w.scan.scoredNamespaces() == 0 {
		cases = append(cases, junitCase{name: "there are pods", outcome: "skipped", message: "No data: no pod was scored"})
	}
	return cases
}

// suites makes the test cases of one namespace after another.
func (w *junitWriter) suites(o Options, suite func(state.NamespaceSnapshot, []junitCase)) {
	rest := w.scan.Snapshot.Namespaces
	until := func(namespace string, found []Finding) {
		for len(rest) > 0 && rest[0].Name <= namespace {
			ns := rest[0]
			rest = rest[1:]
			if ns.Name == namespace {
				suite(ns, w.cases(ns, found))
				return
			}
			suite(ns, w.cases(ns, nil))
		}
	}
	for namespace, found := range w.scan.findings(o.Baseline) {
		if w.err != nil {
			return
		}
		until(namespace, found)
	}
	for _, ns := range rest {
		suite(ns, w.cases(ns, nil))
	}
}

// cases are those of one namespace: what passes in the order of the table, then what fails by workload.
func (w *junitWriter) cases(ns state.NamespaceSnapshot, found []Finding) []junitCase {
	var cases []junitCase
	checks := w.scan.Snapshot.Table.Checks()
	for i := range checks {
		if ns.TotalPods > 0 && ns.Violations[i] == 0 && ns.Waived[i] == 0 {
			cases = append(cases, junitCase{name: checks[i].ID, suite: ns.Name})
		}
	}
	if ns.Unevaluated > 0 {
		cases = append(cases, junitCase{
			name: "all pods can be evaluated", suite: ns.Name, outcome: "error",
			message: english.Plural(ns.Unevaluated, "pod", "") + " could not be evaluated: excluded from all scores",
		})
	}
	for len(found) > 0 {
		first := found[0]
		n := 1
		for n < len(found) && found[n].unit() == first.unit() && found[n].check == first.check && found[n].Waiver == first.Waiver {
			n++
		}
		cases = append(cases, w.caseOf(found[:n]))
		found = found[n:]
	}
	return cases
}

// caseOf is the test case of the findings of one check in one workload.
func (w *junitWriter) caseOf(found []Finding) junitCase {
	f := found[0]
	tc := junitCase{name: f.Check.ID + " " + f.owner, suite: f.Namespace, file: f.File}
	if f.Waiver != nil {
		tc.outcome = "skipped"
		tc.message = fmt.Sprintf("waived until %s by %s: %s", expiry(f.Waiver), f.Waiver.ID, f.Waiver.Reason)
		return tc
	}
	if w.against != nil {
		found = slices.DeleteFunc(slices.Clone(found), func(f Finding) bool { return !f.New })
		if len(found) == 0 {
			tc.outcome, tc.message = "skipped", "in the baseline "+name(w.against.Baseline.Name)
			return tc
		}
	}
	tc.outcome, tc.severity = "failure", string(f.Check.Severity)
	violations, points := 0, 0
	for _, each := range found {
		violations += each.Violations
		points += each.Points()
		line := each.sentence()
		if each.New {
			line = "new: " + line
		}
		if each.File != "" {
			line = each.place() + ": " + line
		} else if each.Pod != each.Workload.Name && each.Pod != each.Workload.String() {
			line += ", first in pod " + each.Pod
		}
		tc.lines = append(tc.lines, line)
	}
	tc.message = fmt.Sprintf("%s: %s, %s", f.Check.Message(), english.Plural(violations, "violation", ""), english.Plural(points, "point", ""))
	if f.Check.Remediation != "" {
		tc.lines = append(tc.lines, f.Check.Remediation)
	}
	return tc
}

func (w *junitWriter) suite(name string, cases []junitCase, notes []string) {
	var counts junitCounts
	counts.add(cases)
	w.put("  <testsuite")
	w.attribute("name", name)
	w.put(counts.String() + ">\n")
	for _, tc := range cases {
		w.put("    <testcase")
		w.attribute("name", tc.name)
		w.attribute("classname", name)
		if tc.file != "" {
			w.attribute("file", tc.file)
		}
		w.outcome(tc)
	}
	if len(notes) > 0 {
		w.put("    <system-out>")
		w.lines(notes)
		w.put("</system-out>\n")
	}
	w.put("  </testsuite>\n")
}

func (w *junitWriter) outcome(tc junitCase) {
	if tc.outcome == "" {
		w.put("/>\n")
		return
	}
	w.put("><" + tc.outcome)
	w.attribute("message", tc.message)
	if tc.severity != "" {
		w.attribute("type", tc.severity)
	}
	w.put(">")
	w.lines(tc.lines)
	w.put("</" + tc.outcome + "></testcase>\n")
}

func (w *junitWriter) lines(lines []string) {
	for i, line := range lines {
		if i > 0 {
			w.put("\n")
		}
		w.text(line)
	}
}
