package report

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/rules"
)

// sarifResults is how many results GitHub takes of one run.
const sarifResults = 5000

// SARIF writes a log of SARIF 2.1.0: a result for each finding, worst first, with the number of its violations as
// occurrenceCount. There are no more results than GitHub takes; what is left out is counted in a notification. Waived ones
// are there only when asked for, and are suppressed. A result has a physical location, without which GitHub takes none: the
// line of the subject in a manifest, or the first line of the recording; none for what was read from standard input.
func SARIF(to io.Writer, scan *Scan, o Options) error {
	results := worst[Finding]{most: sarifResults, compare: compareCosts}
	for _, found := range scan.findings(o.Baseline) {
		for i := range found {
			if o.Waived || found[i].Waiver == nil {
				results.add(found[i])
			}
		}
	}
	first, others := results.trim()
	leftOut := ""
	if others > 0 {
		leftOut = fmt.Sprintf("SARIF has the worst %s of %s: GitHub takes no more in one run", number(len(first)), english.Plural(len(first)+others, "finding", ""))
		if o.Warn != nil {
			o.Warn(leftOut)
		}
	}
	driver := object{"name": "kube-devops", "informationUri": "https://github.com/kube-devops/kube-devops", "rules": sarifRules(scan.Snapshot.Table)}
	if o.Version != "" {
		driver["version"] = o.Version
	}
	w := &jsonWriter{to: bufio.NewWriter(to)}
	w.put(`{"$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",` +
		"\n \"version\": \"2.1.0\",\n \"runs\": [{")
	w.member("tool", object{"driver": driver})
	w.member("invocations", []object{sarifInvocation(scan, leftOut)})
	w.member("columnKind", "unicodeCodePoints")
	w.member("properties", object{"policy": policyOf(scan.Snapshot), "cluster": scan.cluster()})
	list(w, "results", slices.Values(first), func(f Finding) any { return sarifResult(&f, o.Baseline) })
	w.put("}]}\n")
	return w.end()
}

// An object is one of JSON. What a log of SARIF may have is in its schema, to which the tests hold it.
type object = map[string]any

// sarifLevel is the level of a severity; a log knows three.
func sarifLevel(s rules.Severity) string {
	switch s {
	case rules.Critical, rules.High:
		return "error"
	case rules.Medium:
		return "warning"
	default:
		return "note"
	}
}

// securitySeverity is a severity as GitHub reads it: critical from 9.0, high from 7.0, medium from 4.0.
func securitySeverity(s rules.Severity) string {
	switch s {
	case rules.Critical:
		return "9.5"
	case rules.High:
		return "8.0"
	case rules.Medium:
		return "5.5"
	default:
		return "2.0"
	}
}

func sarifRules(table *rules.Table) []object {
	var all []object
	for _, c := range table.Checks() {
		properties := object{"severity": c.Severity, "weight": c.Weight}
		tags := []string{"kubernetes", "governance"}
		if c.Category != "" {
			properties["category"] = c.Category
			tags = append(tags, string(c.Category))
		}
		if c.Category == rules.Security {
			// GitHub shows a finding with these as a security alert, and sorts by the number.
			properties["security-severity"] = securitySeverity(c.Severity)
		}
		if c.Enforce != "" {
			properties["enforce"] = c.Enforce
		}
		properties["tags"] = tags
		all = append(all, object{
			"id": c.ID, "shortDescription": object{"text": c.Message()},
			"help":                 object{"text": cmp.Or(c.Remediation, c.Message()), "markdown": sarifHelp(&c)},
			"defaultConfiguration": object{"level": sarifLevel(c.Severity)}, "properties": properties,
		})
	}
	return all
}

// sarifHelp explains a check in Markdown: what is wrong, what to do, and how much it matters.
func sarifHelp(c *rules.Check) string {
	text := "**" + markdownText(c.Message()) + "**\n\n"
	if c.Remediation != "" {
		text += markdownText(c.Remediation) + "\n\n"
	}
	if c.Category != "" {
		text += "- Category: " + string(c.Category) + "\n"
	}
	return text + fmt.Sprintf("- Severity: %s\n- Weight: %s", c.Severity, english.Plural(c.Weight, "point", ""))
}

// sarifInvocation says what could not be read, what the log has no room for, and what the other reports note.
func sarifInvocation(scan *Scan, leftOut string) object {
	var notifications []object
	notify := func(level, text string) {
		notifications = append(notifications, object{"level": level, "message": object{"text": text}})
	}
	for _, line := range scan.Inputs.Unreadable {
		notify("error", incomplete+": "+line)
	}
	if leftOut != "" {
		notify("warning", leftOut)
	}
	for _, note := range scan.notes() {
		notify("note", note)
	}
	out := object{"executionSuccessful": len(scan.Inputs.Unreadable) == 0}
	if len(notifications) > 0 {
		out["toolExecutionNotifications"] = notifications
	}
	return out
}

func sarifResult(f *Finding, b *BaselineDiff) object {
	out := object{
		"ruleId": f.Check.ID, "ruleIndex": f.check, "level": sarifLevel(f.Check.Severity), "message": object{"text": f.sentence()},
		"locations": []object{sarifLocation(f)}, "occurrenceCount": f.Violations, "partialFingerprints": f.fingerprints(),
	}
	if f.Enforce != "" {
		out["properties"] = object{"enforce": f.Enforce}
	}
	if b != nil {
		out["baselineState"] = map[bool]string{true: "new", false: "unchanged"}[f.New]
	}
	if f.Waiver != nil {
		out["suppressions"] = []object{{
			"kind": "external", "status": "accepted", "justification": f.Waiver.Reason,
			"properties": object{"waiver": f.Waiver.ID, "expires": f.Waiver.Expires.UTC().Format("2006-01-02T15:04:05Z")},
		}}
	}
	return out
}

// sentence says what is wrong and where: "The image ends with :latest: web:latest (container web of Deployment/web in shop,
// 3 times)".
func (f *Finding) sentence() string {
	where := ""
	switch {
	case f.Container != "" && f.Subject != "":
		where = f.Subject + " in container " + f.Container + " of "
	case f.Container != "":
		where = "container " + f.Container + " of "
	case f.Subject != "" || f.Path != "":
		where = cmp.Or(f.Subject, f.Path) + " of "
	}
	text := strings.TrimSuffix(f.message(), ".") + " (" + where + f.Workload.String() + " in " + f.Namespace
	if f.Violations > 1 {
		text += ", " + number(f.Violations) + " times"
	}
	if f.Enforce != "" {
		text += "; " + outcomes[f.Enforce] + " at admission"
	}
	if f.Unknown {
		text += "; unknown: the check could not be answered"
	}
	return text + ")"
}

// sarifLocation names the first pod, and the file and the line.
func sarifLocation(f *Finding) object {
	named := func(name, full, kind string) object {
		return object{"name": name, "fullyQualifiedName": full, "kind": kind}
	}
	full := f.Namespace + "/" + f.Workload.String()
	logical := []object{named(f.Namespace, f.Namespace, "namespace"), named(f.Workload.Name, full, "resource")}
	if f.Pod != f.Workload.Name && f.Pod != f.Workload.String() {
		full += "/" + f.Pod
		logical = append(logical, named(f.Pod, full, "resource"))
	}
	if subject := f.label(); subject != "" {
		logical = append(logical, named(subject, full+"/"+subject, "member"))
	}
	location := object{"logicalLocations": logical}
	file, line := f.File, f.Line
	if file == "" {
		file, line = f.Dump, 1
	}
	if file != "" {
		physical := object{"artifactLocation": object{"uri": fileURI(file)}}
		if line > 0 {
			physical["region"] = object{"startLine": line}
		}
		location["physicalLocation"] = physical
	}
	return location
}

// fileURI is a file's name, which is clean and has slashes, as a URI, relative where the name is.
func fileURI(name string) string {
	if path.IsAbs(name) {
		return (&url.URL{Scheme: "file", Path: name}).String()
	}
	return (&url.URL{Path: name}).String()
}

// fingerprints identify the finding in a later log. They depend on no line, so that a manifest that moved within its file
// keeps them: GitHub would otherwise hash the text of the line.
func (f *Finding) fingerprints() map[string]string {
	fingerprint := f.fingerprint()
	return map[string]string{"kubeDevopsFinding/v1": fingerprint, "primaryLocationLineHash": fingerprint[:16] + ":1"}
}

// fingerprint is the same for the same finding of a later scan, whatever the pods are called by then. Of manifests of one
// name, the first has the fingerprint that it would have alone.
func (f *Finding) fingerprint() string {
	h := sha256.New()
	parts := []string{f.Namespace, f.Workload.String(), f.Check.ID, f.element()}
	if f.suffix != "" {
		parts = append(parts, f.suffix)
	}
	for _, part := range parts {
		_, _ = io.WriteString(h, part+"\x00") // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
