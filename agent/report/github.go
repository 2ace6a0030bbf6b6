package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/rules"
)

// annotations is the number of annotations of each level that GitHub displays for one step.
const annotations = 10

// GitHub writes annotations of a workflow: the worst findings, for each level as many as GitHub displays, and one with the scores and the
// inputs. With a baseline, only new findings are annotated.
func GitHub(to io.Writer, scan *Scan, o Options) error {
	byLevel := map[string]*worst[Finding]{}
	for level, most := range map[string]int{"error": annotations, "warning": annotations, "notice": annotations - 1} {
		byLevel[level] = &worst[Finding]{most: most, compare: compareCosts}
	}
	if len(scan.Inputs.Unreadable) > 0 {
		byLevel["error"].most--
	}
	for _, found := range scan.findings(o.Baseline) {
		for _, f := range found {
			if f.Waiver == nil && (o.Baseline == nil || f.New) {
				byLevel[githubLevel(f.Check.Severity)].add(f)
			}
		}
	}
	var b bytes.Buffer
	if left := scan.Inputs.Unreadable; len(left) > 0 {
		annotate(&b, "error", "kube-devops: incomplete", "", 0,
			incomplete+". Left out:\n"+strings.Join(left[:min(len(left), 20)], "\n"))
	}
	others := 0
	for _, level := range []string{"error", "warning", "notice"} {
		first, more := byLevel[level].trim()
		others += more
		for i := range first {
			f := &first[i]
			message := f.sentence()
			if f.Check.Remediation != "" {
				message += ".\n" + f.Check.Remediation
			}
			title := f.id() + " in " + f.Namespace + "/" + f.owner
			if f.New {
				title = "new: " + title
			}
			annotate(&b, level, title, f.File, f.Line, message)
		}
	}
	summary := scan.headline()
	if o.Baseline != nil {
		summary += "\n" + o.Baseline.headline()
	}
	if len(scan.Admission) > 0 {
		summary += "\n" + refusedHeadline(o.Refusals) + "."
	}
	if others > 0 {
		summary += "\n" + english.Plural(others, "more finding", "") + " without an annotation: GitHub shows 10 of each level."
	}
	if n := scan.waivedViolations(); n > 0 {
		summary += "\n" + english.Plural(n, "violation", "") + " waived."
	}
	if notes := scan.notes(); len(notes) > 0 {
		summary += "\n" + strings.Join(notes, "\n")
	}
	annotate(&b, "notice", "kube-devops", "", 0, summary)
	_, err := b.WriteTo(to)
	return err
}

func githubLevel(s rules.Severity) string {
	if level := sarifLevel(s); level != "note" {
		return level
	}
	return "notice"
}

var (
	githubData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// annotate writes one workflow command. Line breaks are escaped and control characters are replaced, so that no text can begin another
// command.
func annotate(b *bytes.Buffer, level, title, file string, line int, message string) {
	lines := strings.Split(message, "\n")
	for i, text := range lines {
		lines[i] = sanitized(head(text, 1000))
	}
	properties := ""
	if file != "" {
		properties = "file=" + githubProperty.Replace(sanitized(head(file, 4096)))
		if line > 0 {
			properties += fmt.Sprintf(",line=%d", line)
		}
		properties += ","
	}
	fmt.Fprintf(b, "::%s %stitle=%s::%s\n", level, properties, githubProperty.Replace(sanitized(head(title, 250))), githubData.Replace(strings.Join(lines, "\n")))
}

// headline describes the cluster on one line.
func (s *Scan) headline() string {
	cluster, ok := s.Snapshot.Cluster()
	if !ok {
		return noData
	}
	totals := s.Snapshot.Totals()
	text := fmt.Sprintf("Compliance %s, score %.2f, %s: %s in %s, %s", percent(cluster.Compliance), cluster.Score, display(cluster.Grade, 40),
		english.Plural(totals.TotalPods, "pod", ""), english.Plural(s.scoredNamespaces(), "namespace", ""), english.Plural(sum(totals.Violations), "violation", ""))
	if severities := s.bySeverity(); severities != "" {
		text += " (" + severities + ")"
	}
	return text
}

// noData is the text of every report without a scored pod, incomplete that of every report with unreadable inputs.
const (
	noData     = "No data: no pod was scored"
	incomplete = "This report is incomplete: some inputs could not be read, and are in no number"
)
