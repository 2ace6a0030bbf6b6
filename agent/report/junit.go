package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/state"
)

// JUnit writes a test suite for each namespace. Its test cases are the checks: one that passes where nothing violates the
// check, one that fails for each workload that violates it, and one that is skipped for each workload whose violations are
// waived. With a baseline, only new findings fail, and known ones are skipped. A suite of the scan itself comes first, with
// what was read.
func JUnit(to io.Writer, scan *Scan, o Options) error {
	out := junitReport{Name: "kube-devops"}
	own := suiteOf("kube-devops scan", ownCases(scan))
	own.Output = sanitizedLines(scan.notes())
	out.add(own)
	rest := scan.Snapshot.Namespaces
	addNext := func(found []Finding) {
		out.add(suiteOf(rest[0].Name, casesOf(scan, rest[0], found, o.Baseline)))
		rest = rest[1:]
	}
	for namespace, found := range scan.findings(o.Baseline) { // in the order of the namespaces, including those without findings
		for rest[0].Name < namespace {
			addNext(nil)
		}
		addNext(found)
	}
	for len(rest) > 0 {
		addNext(nil)
	}
	if _, err := io.WriteString(to, xml.Header); err != nil {
		return err
	}
	w := xml.NewEncoder(to)
	w.Indent("", "  ")
	if err := w.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(to, "\n")
	return err
}

type (
	junitReport struct {
		XMLName xml.Name `xml:"testsuites"`
		Name    string   `xml:"name,attr"`
		junitCounts
		Suites []junitSuite
	}
	junitSuite struct {
		XMLName xml.Name `xml:"testsuite"`
		Name    string   `xml:"name,attr"`
		junitCounts
		Cases  []junitCase
		Output string `xml:"system-out,omitempty"`
	}
	junitCounts struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	// A junitCase passes where it has no outcome.
	junitCase struct {
		XMLName xml.Name      `xml:"testcase"`
		Name    string        `xml:"name,attr"`
		Suite   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Failure *junitOutcome `xml:"failure"`
		Error   *junitOutcome `xml:"error"`
		Skipped *junitOutcome `xml:"skipped"`
	}
	junitOutcome struct {
		Message  string `xml:"message,attr"`
		Severity string `xml:"type,attr,omitempty"`
		Text     string `xml:",chardata"`
	}
)

func (r *junitReport) add(s junitSuite) {
	r.Suites = append(r.Suites, s)
	r.Tests, r.Failures, r.Errors, r.Skipped = r.Tests+s.Tests, r.Failures+s.Failures, r.Errors+s.Errors, r.Skipped+s.Skipped
}

// outcomeOf has no control characters in its texts: XML cannot hold them.
func outcomeOf(message string, lines ...string) *junitOutcome {
	return &junitOutcome{Message: sanitized(message), Text: sanitizedLines(lines)}
}

func sanitizedLines(lines []string) string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = sanitized(line)
	}
	return strings.Join(out, "\n")
}

func suiteOf(name string, cases []junitCase) junitSuite {
	s := junitSuite{Name: sanitized(name), Cases: cases}
	for i := range cases {
		c := &cases[i]
		c.Name, c.Suite, c.File = sanitized(c.Name), s.Name, sanitized(c.File)
		s.Tests++
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	return s
}

// ownCases are the test cases of the scan itself: that all inputs could be read, and that there is data.
func ownCases(scan *Scan) []junitCase {
	read := junitCase{Name: "all inputs are read"}
	if left := scan.Inputs.Unreadable; len(left) > 0 {
		read.Error = outcomeOf(incomplete, left...)
	}
	cases := []junitCase{read}
	if scan.scoredNamespaces() == 0 {
		cases = append(cases, junitCase{Name: "there are pods", Skipped: outcomeOf(noData)})
	}
	return cases
}

// casesOf are the test cases of one namespace: what passes in the order of the table, then what fails by workload.
func casesOf(scan *Scan, ns state.NamespaceSnapshot, found []Finding, b *BaselineDiff) []junitCase {
	var cases []junitCase
	for i, check := range scan.Snapshot.Table.Checks() {
		if ns.TotalPods > 0 && ns.Violations[i] == 0 && ns.Waived[i] == 0 {
			cases = append(cases, junitCase{Name: check.ID})
		}
	}
	if ns.Unevaluated > 0 {
		cases = append(cases, junitCase{Name: "all pods can be evaluated",
			Error: outcomeOf(english.Plural(ns.Unevaluated, "pod", "") + " could not be evaluated: excluded from all scores")})
	}
	for len(found) > 0 {
		first := found[0]
		n := 1
		for n < len(found) && found[n].workloadKey() == first.workloadKey() && found[n].check == first.check && compareWaivers(found[n].Waiver, first.Waiver) == 0 {
			n++
		}
		cases = append(cases, caseOf(found[:n], b))
		found = found[n:]
	}
	return cases
}

// caseOf is the test case of the findings of one check in one workload.
func caseOf(found []Finding, b *BaselineDiff) junitCase {
	f := found[0]
	c := junitCase{Name: f.Check.ID + " " + f.owner, File: f.File}
	if f.Waiver != nil {
		text := fmt.Sprintf("waived until %s by %s: %s", expiry(f.Waiver), f.Waiver.ID, f.Waiver.Reason)
		if f.Enforce != "" {
			text += "; " + outcomes[f.Enforce] + " at admission, where the waiver does not hold"
		}
		c.Skipped = outcomeOf(text)
		return c
	}
	if b != nil {
		found = slices.DeleteFunc(slices.Clone(found), func(f Finding) bool { return !f.New })
		if len(found) == 0 {
			c.Skipped = outcomeOf("in the baseline " + name(b.Baseline.Name))
			return c
		}
	}
	violations, points := 0, 0
	var lines []string
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
		lines = append(lines, line)
	}
	if f.Check.Remediation != "" {
		lines = append(lines, f.Check.Remediation)
	}
	c.Failure = outcomeOf(fmt.Sprintf("%s: %s, %s", f.Check.Message(), english.Plural(violations, "violation", ""), english.Plural(points, "point", "")), lines...)
	c.Failure.Severity = string(f.Check.Severity)
	return c
}
