package report

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules"
)

// SARIF writes a log of SARIF 2.1.0, finding by finding: a result for each, with the number of its violations as
// occurrenceCount. Waived ones are suppressed. A result has a physical location, without which GitHub takes none: the line of
// a manifest, or the first line of the recording; none for what was read from standard input.
func SARIF(to io.Writer, scan *Scan, o Options) error {
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
	w.value(sarifInvocationOf(scan))
	w.put("],\n \"columnKind\": \"unicodeCodePoints\",\n \"properties\": {\"policy\": ")
	w.value(policyJSON{scan.Snapshot.Table.Name(), scan.Snapshot.Table.Hash()})
	w.put(`, "cluster": `)
	w.cluster(scan.Snapshot)
	w.put("},\n \"results\": [")
	separator := "\n  "
	for _, found := range scan.findings(o.Baseline) {
		for i := range found {
			w.put(separator)
			w.value(sarifResultOf(&found[i], o.Baseline))
			separator = ",\n  "
		}
		if w.err != nil {
			break
		}
	}
	w.put("]}]}\n")
	return w.end()
}

type (
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifRule struct {
		ID                   string              `json:"id"`
		ShortDescription     sarifMessage        `json:"shortDescription"`
		Help                 sarifMessage        `json:"help"`
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

func sarifRuleOf(c *rules.Check) sarifRule {
	help := c.Remediation
	if help == "" {
		help = c.Message()
	}
	return sarifRule{
		ID: c.ID, ShortDescription: sarifMessage{c.Message()}, Help: sarifMessage{help},
		DefaultConfiguration: sarifConfiguration{sarifLevel(c.Severity)},
		Properties:           sarifRuleProperties{c.Severity, c.Weight, []string{"kubernetes", "governance"}},
	}
}

func sarifInvocationOf(scan *Scan) sarifInvocation {
	out := sarifInvocation{ExecutionSuccessful: len(scan.Inputs.LeftOut) == 0}
	for _, line := range scan.Inputs.LeftOut {
		out.ToolExecutionNotifications = append(out.ToolExecutionNotifications,
			sarifNotification{"error", sarifMessage{"Left out, so that this report is on a part of the data: " + line}})
	}
	return out
}

func sarifResultOf(f *Finding, b *Baselined) sarifResult {
	out := sarifResult{
		RuleID: f.Check.ID, RuleIndex: f.check, Level: sarifLevel(f.Check.Severity),
		Message:             sarifMessage{f.sentence()},
		Locations:           []sarifLocation{sarifLocationOf(f)},
		OccurrenceCount:     f.Violations,
		PartialFingerprints: map[string]string{"kubeDevopsFinding/v1": f.fingerprint()},
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

// sentence says what is wrong and where: "The image ends with :latest: container web of Deployment/web in shop, 3 times".
func (f *Finding) sentence() string {
	text := strings.TrimSuffix(f.Check.Message(), ".") + ": "
	if f.Container != "" {
		text += "container " + f.Container + " of "
	} else if f.Path != "" {
		text += f.Path + " of "
	}
	text += f.Workload.String() + " in " + f.Namespace
	if f.Violations > 1 {
		text += ", " + number(f.Violations) + " times"
	}
	return text
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
	if subject := f.Subject(); subject != "" {
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

// fingerprint is the same for the same finding of a later scan, whatever the pods are called by then.
func (f *Finding) fingerprint() string {
	h := sha256.New()
	for _, part := range []string{f.Namespace, f.Workload.String(), f.Check.ID, f.Subject()} {
		_, _ = io.WriteString(h, part+"\x00") // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
