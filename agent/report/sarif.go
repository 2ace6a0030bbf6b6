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
	w := &jsonWriter{to: bufio.NewWriter(to)}
	w.put(`{"$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",` +
		"\n \"version\": \"2.1.0\",\n \"runs\": [{\"tool\": {\"driver\": {\"name\": \"kube-devops\", " +
		"\"informationUri\": \"https://github.com/kube-devops/kube-devops\"")
	if o.Version != "" {
		w.put(`, "version": `)
		w.value(o.Version)
	}
	list(w, "rules", slices.Values(scan.Snapshot.Table.Checks()), func(c rules.Check) { w.value(sarifRuleOf(&c)) })
	w.put("}},\n \"invocations\": [")
	w.value(sarifInvocationOf(scan, leftOut))
	w.put("],\n \"columnKind\": \"unicodeCodePoints\",\n \"properties\": {\"policy\": ")
	w.value(policyJSON{scan.Snapshot.Table.Name(), scan.Snapshot.Table.Hash()})
	w.put(`, "cluster": `)
	w.cluster(scan.Snapshot)
	w.put("}")
	list(w, "results", slices.Values(first), func(f Finding) { w.value(sarifResultOf(&f, o.Baseline)) })
	w.put("}]}\n")
	return w.end()
}

type (
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifHelp struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown"`
	}
	sarifRule struct {
		ID                   string              `json:"id"`
		ShortDescription     sarifMessage        `json:"shortDescription"`
		Help                 sarifHelp           `json:"help"`
		DefaultConfiguration sarifConfiguration  `json:"defaultConfiguration"`
		Properties           sarifRuleProperties `json:"properties"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	sarifRuleProperties struct {
		Severity rules.Severity `json:"severity"`
		Weight   int            `json:"weight"`
		Tags     []string       `json:"tags"`
		// SecuritySeverity is a number, by which GitHub sorts alerts.
		SecuritySeverity string `json:"security-severity"`
	}
	sarifInvocation struct {
		ExecutionSuccessful        bool                `json:"executionSuccessful"`
		ToolExecutionNotifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string       `json:"level"`
		Message sarifMessage `json:"message"`
	}
	sarifResult struct {
		RuleID              string             `json:"ruleId"`
		RuleIndex           int                `json:"ruleIndex"`
		Level               string             `json:"level"`
		Message             sarifMessage       `json:"message"`
		Locations           []sarifLocation    `json:"locations"`
		OccurrenceCount     int                `json:"occurrenceCount"`
		PartialFingerprints map[string]string  `json:"partialFingerprints"`
		BaselineState       string             `json:"baselineState,omitempty"`
		Suppressions        []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifLocation struct {
		PhysicalLocation *sarifPhysical `json:"physicalLocation,omitempty"`
		LogicalLocations []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		ArtifactLocation sarifArtifact `json:"artifactLocation"`
		Region           *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		Name               string `json:"name"`
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string            `json:"kind"`
		Status        string            `json:"status"`
		Justification string            `json:"justification"`
		Properties    map[string]string `json:"properties"`
	}
)

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

func sarifRuleOf(c *rules.Check) sarifRule {
	help := cmp.Or(c.Remediation, c.Message())
	markdown := fmt.Sprintf("%s\n\n- Severity: %s\n- Weight: %s", markdownText(help), c.Severity, english.Plural(c.Weight, "point", ""))
	return sarifRule{
		ID: c.ID, ShortDescription: sarifMessage{c.Message()}, Help: sarifHelp{help, markdown},
		DefaultConfiguration: sarifConfiguration{sarifLevel(c.Severity)},
		Properties:           sarifRuleProperties{c.Severity, c.Weight, []string{"kubernetes", "governance"}, securitySeverity(c.Severity)},
	}
}

// sarifInvocationOf says what could not be read, what the log has no room for, and what the other reports note.
func sarifInvocationOf(scan *Scan, leftOut string) sarifInvocation {
	out := sarifInvocation{ExecutionSuccessful: len(scan.Inputs.Unreadable) == 0}
	notify := func(level, text string) {
		out.ToolExecutionNotifications = append(out.ToolExecutionNotifications, sarifNotification{level, sarifMessage{text}})
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
	return out
}

func sarifResultOf(f *Finding, b *BaselineDiff) sarifResult {
	out := sarifResult{
		RuleID: f.Check.ID, RuleIndex: f.check, Level: sarifLevel(f.Check.Severity),
		Message:             sarifMessage{f.sentence()},
		Locations:           []sarifLocation{sarifLocationOf(f)},
		OccurrenceCount:     f.Violations,
		PartialFingerprints: f.fingerprints(),
	}
	if b != nil {
		out.BaselineState = map[bool]string{true: "new", false: "unchanged"}[f.New]
	}
	if f.Waiver != nil {
		out.Suppressions = []sarifSuppression{{
			Kind: "external", Status: "accepted", Justification: f.Waiver.Reason,
			Properties: map[string]string{"waiver": f.Waiver.ID, "expires": f.Waiver.Expires.UTC().Format("2006-01-02T15:04:05Z")},
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
	if f.Unknown {
		text += "; unknown: the check could not be answered"
	}
	return text + ")"
}

// sarifLocationOf names the first pod, and the file and the line.
func sarifLocationOf(f *Finding) sarifLocation {
	owner := f.Namespace + "/" + f.Workload.String()
	location := sarifLocation{LogicalLocations: []sarifLogical{
		{f.Namespace, f.Namespace, "namespace"}, {f.Workload.Name, owner, "resource"},
	}}
	full := owner
	if f.Pod != f.Workload.Name && f.Pod != f.Workload.String() {
		full += "/" + f.Pod
		location.LogicalLocations = append(location.LogicalLocations, sarifLogical{f.Pod, full, "resource"})
	}
	if subject := f.label(); subject != "" {
		location.LogicalLocations = append(location.LogicalLocations, sarifLogical{subject, full + "/" + subject, "member"})
	}
	file, line := f.File, f.Line
	if file == "" {
		file, line = f.Dump, 1
	}
	if file != "" {
		location.PhysicalLocation = &sarifPhysical{ArtifactLocation: sarifArtifact{fileURI(file)}}
		if line > 0 {
			location.PhysicalLocation.Region = &sarifRegion{line}
		}
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
	if f.twin != "" {
		parts = append(parts, f.twin)
	}
	for _, part := range parts {
		_, _ = io.WriteString(h, part+"\x00") // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
