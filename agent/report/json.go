package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// reportVersion is that of the keys of a report. Keys are only added; policies/report.schema.json describes them.
const reportVersion = 1

// JSON writes the report of an agent as one JSON object, piece by piece. Numbers are not rounded. Namespaces are sorted by
// name, violations by namespace, pod and check. Scores without data are null. Waived violations are excluded from all counts
// and scores, and are listed separately. details returns what a violation shows of its pod, and is called while the report is
// written; it may be nil. scope is nil if the report covers the whole cluster.
func JSON(to io.Writer, snap *state.Snapshot, details func(state.PodViolation) rules.Detail, scope *Scope) error {
	return writeJSON(to, &Scan{Snapshot: snap, Details: details, scope: scope}, Options{}, false)
}

// A Scope is the part of a cluster that an agent watches. The report calls these namespaces the cluster.
type Scope struct {
	Namespaces []string `json:"namespaces"`
	// Forbidden are the namespaces whose pods the agent may not list.
	Forbidden []string `json:"forbidden"`
}

// ScanJSON writes the report of a scan: that of JSON, with the workload of each violation, the file and line of manifests, and
// what is new against a baseline. Unreadable inputs come first, as "incomplete"; the baseline and the inputs come last.
func ScanJSON(to io.Writer, scan *Scan, o Options) error { return writeJSON(to, scan, o, true) }

func writeJSON(to io.Writer, scan *Scan, o Options, ofScan bool) error {
	snap := scan.Snapshot
	w := &jsonWriter{to: bufio.NewWriter(to)}
	violation := func(v state.PodViolation, waived bool) violationJSON {
		line := scan.violation(v, o.Baseline, waived)
		if !ofScan {
			line.Workload, line.File, line.Line = "", "", 0
		}
		return line
	}
	w.put("{")
	if len(scan.Inputs.Unreadable) > 0 {
		w.member("incomplete", scan.Inputs.Unreadable)
	}
	w.member("policy", policyOf(snap))
	if scan.scope != nil {
		w.member("scope", scan.scope)
	}
	w.member("cluster", scan.cluster())
	list(w, "namespaces", slices.Values(snap.Namespaces), func(ns state.NamespaceSnapshot) any {
		scores, ok := ns.Scores(snap.Table)
		return namespaceJSON{ns.Name, countsJSON{ns.TotalPods, scoresOrNull(scores, ok), checkCounts{snap.Table, ns.Violations}}}
	})
	w.member("version", reportVersion)
	list(w, "violations", snap.Violations(), func(v state.PodViolation) any { return violation(v, false) })
	if scan.waivedViolations() > 0 {
		list(w, "waived", snap.Waived(), func(v state.PodViolation) any { return waived(violation(v, true), v.Waiver) })
	}
	if ofScan {
		if o.Baseline != nil {
			w.member("baseline", o.Baseline.json())
		}
		if len(scan.Admission) > 0 {
			list(w, "refusals", slices.Values(o.Refusals), func(r Refusal) any { return r.json() })
		}
		w.member("inputs", inputsOf(scan.Inputs))
	}
	if warnings := scan.warnings(); len(warnings) > 0 {
		w.member("warnings", warnings)
	}
	w.put("}\n")
	return w.end()
}

// NDJSON writes the violations, one JSON object per line, and then the waived ones, which have the keys "waiver" and
// "expires". An incomplete report starts with a line with the key "incomplete".
func NDJSON(to io.Writer, scan *Scan, o Options) error {
	w := &jsonWriter{to: bufio.NewWriter(to)}
	if len(scan.Inputs.Unreadable) > 0 {
		w.value(map[string][]string{"incomplete": scan.Inputs.Unreadable})
		w.put("\n")
	}
	for v := range scan.Snapshot.Violations() {
		w.value(scan.violation(v, o.Baseline, false))
		w.put("\n")
	}
	for v := range scan.Snapshot.Waived() {
		w.value(waived(scan.violation(v, o.Baseline, true), v.Waiver))
		w.put("\n")
	}
	return w.end()
}

func waived(v violationJSON, by *rules.Waiver) waivedJSON {
	return waivedJSON{v, by.ID, by.Expires.UTC().Format(time.RFC3339Nano)}
}

// violation describes a violation and its pod.
func (s *Scan) violation(v state.PodViolation, b *BaselineDiff, waived bool) violationJSON {
	check := &s.Snapshot.Table.Checks()[v.Check]
	origin := originOf(v)
	detail := s.detail(v, &origin)
	out := violationJSON{
		Namespace: v.Namespace, Pod: origin.Pod, Check: check.ID, Category: check.Category, Severity: check.Severity, Weight: check.Weight,
		Container: v.Container, Subject: v.Subject, Path: v.Path, Value: detail.Value, Message: check.MessageOf(v.Container, v.Subject, detail.Detail),
		Remediation: check.Remediation, Unknown: v.Unknown, Enforce: s.enforced().Of(v.Check, acceptedBy(v, waived)), Workload: origin.Workload.String(), File: origin.File, Line: detail.Line,
	}
	if b != nil {
		known, isNew := b.newFrom(v.Namespace, keyOf(v, &origin, waived))
		out.New = isNew && (known == 0 || sameBefore(v) >= known)
	}
	return out
}

type baselineJSON struct {
	File       string      `json:"file"`
	Policy     policyJSON  `json:"policy"`
	New        int         `json:"new"`
	Resolved   *int        `json:"resolved"` // null: unknown
	Violations []entryJSON `json:"resolvedViolations"`
}

type entryJSON struct {
	Namespace string `json:"namespace"`
	Workload  string `json:"workload,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Check     string `json:"check"`
	Container string `json:"container,omitempty"`
	// Subject is the container itself if that is what the check evaluates.
	Subject string `json:"subject,omitempty"`
}

func (d *BaselineDiff) json() baselineJSON {
	out := baselineJSON{
		File: d.Baseline.Name, Policy: policyJSON{d.Baseline.Policy, d.Baseline.Hash},
		New: d.Violations, Violations: make([]entryJSON, len(d.Resolved)),
	}
	if n := len(d.Resolved); !d.Incomplete {
		out.Resolved = &n
	}
	for i, e := range d.Resolved {
		out.Violations[i] = entryJSON{e.Namespace, e.Workload, e.Pod, e.Check, e.Container, cmp.Or(e.Subject, e.Container)}
	}
	return out
}

type (
	inputsJSON struct {
		Files      int            `json:"files"`
		Pods       int            `json:"pods"`
		Templates  int            `json:"templates"`
		OtherKinds map[string]int `json:"others"`
		Duplicates int            `json:"repeated"`
		Excluded   map[string]int `json:"excludedNamespaces"`
		Ignored    ignoredJSON    `json:"leftOut"`
	}
	ignoredJSON struct {
		ChartTemplates int `json:"chartTemplates"`
		NotManifests   int `json:"notManifests"`
		Excluded       int `json:"excluded"`
		DanglingLinks  int `json:"danglingLinks"`
		Empty          int `json:"empty"`
	}
)

func inputsOf(in Inputs) inputsJSON {
	out := inputsJSON{in.Files, in.Pods, in.Templates, in.OtherKinds, in.Duplicates, make(map[string]int, len(in.ExcludedNamespaces)), ignoredJSON(in.Ignored)}
	if out.OtherKinds == nil {
		out.OtherKinds = map[string]int{}
	}
	for namespace, excluded := range in.ExcludedNamespaces {
		out.Excluded[namespace] = excluded.Pods
	}
	return out
}

type policyJSON struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
}

func policyOf(snap *state.Snapshot) policyJSON {
	return policyJSON{snap.Table.Name(), snap.Table.Hash()}
}

type (
	clusterJSON struct {
		Namespaces int `json:"namespaces"`
		countsJSON
	}
	namespaceJSON struct {
		Namespace string `json:"namespace"`
		countsJSON
	}
	countsJSON struct {
		Pods int `json:"pods"`
		scoresJSON
		Violations checkCounts `json:"violations"`
	}
	// scoresJSON has null where there is no data.
	scoresJSON struct {
		Score      *float64 `json:"score"`
		Compliance *float64 `json:"compliance"`
		Grade      *string  `json:"grade"`
	}
)

func scoresOrNull(s state.Scores, ok bool) scoresJSON {
	if !ok {
		return scoresJSON{}
	}
	return scoresJSON{&s.Score, &s.Compliance, &s.Grade}
}

func (s *Scan) cluster() clusterJSON {
	totals := s.Snapshot.Totals()
	scores, ok := s.Snapshot.Cluster()
	return clusterJSON{s.scoredNamespaces(), countsJSON{totals.TotalPods, scoresOrNull(scores, ok), checkCounts{s.Snapshot.Table, totals.Violations}}}
}

// checkCounts is an object with the count of each check, in the order of the table.
type checkCounts struct {
	table  *rules.Table
	counts []int
}

// MarshalJSON keeps the order, which a map would not.
func (c checkCounts) MarshalJSON() ([]byte, error) {
	text := []byte("{")
	for i, check := range c.table.Checks() {
		if i > 0 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, "%q:%d", check.ID, c.counts[i]) // an id has only lower-case letters, digits and _
	}
	return append(text, '}'), nil
}

type violationJSON struct {
	Namespace   string         `json:"namespace"`
	Pod         string         `json:"pod"`
	Check       string         `json:"check"`
	Category    rules.Category `json:"category,omitempty"`
	Severity    rules.Severity `json:"severity"`
	Weight      int            `json:"weight"`
	Container   string         `json:"container,omitempty"`
	Subject     string         `json:"subject,omitempty"`
	Path        string         `json:"path,omitempty"`
	Value       string         `json:"value,omitempty"`
	Message     string         `json:"message"`
	Remediation string         `json:"remediation,omitempty"`
	Unknown     bool           `json:"unknown,omitempty"`
	Enforce     rules.Enforce  `json:"enforce,omitempty"`
	// Only a scan has the following.
	Workload string `json:"workload,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	New      bool   `json:"new,omitempty"`
}

type waivedJSON struct {
	violationJSON
	Waiver  string `json:"waiver"`
	Expires string `json:"expires"`
}

// A jsonWriter writes the members of an object piece by piece, and keeps the first error.
type jsonWriter struct {
	to      *bufio.Writer
	err     error
	started bool // there is a member
}

// member writes a name and its value.
func (w *jsonWriter) member(name string, v any) {
	w.name(name)
	w.value(v)
}

func (w *jsonWriter) name(name string) {
	if w.started {
		w.put(",\n ")
	}
	w.started = true
	w.put(`"` + name + `": `)
}

func (w *jsonWriter) put(text string) {
	if w.err == nil {
		_, w.err = w.to.WriteString(text)
	}
}

func (w *jsonWriter) value(v any) {
	text, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.put(escaped(string(text)))
}

// escaped escapes what a terminal may interpret and JSON allows: control characters above ASCII, and invisible characters.
func escaped(text string) string {
	unprintable := func(r rune) bool { return r >= 0x7f && r != utf8.RuneError && !unicode.IsPrint(r) }
	if strings.IndexFunc(text, unprintable) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if !unprintable(r) {
			b.WriteRune(r)
			continue
		}
		for _, half := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, half)
		}
	}
	return b.String()
}

// end flushes the buffer, and returns the first error.
func (w *jsonWriter) end() error {
	if w.err != nil {
		return w.err
	}
	return w.to.Flush()
}

// list writes a member that is an array, without holding it in memory.
func list[T any](w *jsonWriter, name string, of iter.Seq[T], item func(T) any) {
	w.name(name)
	separator := "[\n  "
	for each := range of {
		if w.err != nil {
			return
		}
		w.put(separator)
		w.value(item(each))
		separator = ",\n  "
	}
	if separator[0] == '[' {
		w.put("[")
	}
	w.put("]")
}
