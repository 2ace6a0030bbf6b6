package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/rules"
)

// A Baseline counts the violations of an older report.
type Baseline struct {
	// Name is the file's, Policy and Hash are those of the report.
	Name, Policy, Hash string

	// older says that the report is of a version without subjects: one name stands for the container or the subject.
	older bool
	// known are the violations that count, and waived those that were waived.
	known, waived map[BaselineEntry]entryCount
	// inFile counts the violations of manifests by their file too.
	inFile map[entryInFile]int
	// pods says that there are violations that name a pod and no workload.
	pods bool
}

// A BaselineEntry names a violation in such a way that it is the same in the next report: by the workload, not by its pods, whose
// names and number change. A report that does not know workloads names the pod.
type BaselineEntry struct {
	Namespace string
	Workload  string // "Deployment/web"; empty where the report names the pod alone
	Pod       string // empty where the workload is named
	Check     string // the check's id
	Container string // the enclosing container; empty where there is none, and of an older report
	Subject   string // the name within it, or the path where there is no name at all; empty for the container or the pod itself
}

type entryInFile struct {
	BaselineEntry
	file string
}

// A entryCount counts what the baseline knows under one name. Another replica of a workload is nothing new: all recorded pods of
// a workload count once. Each manifest counts, so that a second one of the same name is new. A violation of a manifest is
// counted as often as it is there: once for each document, unless a pod has two containers of one name.
type entryCount struct {
	manifests int
	recorded  bool
}

func (t entryCount) count() int {
	if t.recorded {
		return t.manifests + 1
	}
	return t.manifests
}

// isRecorded reports whether a violation is one of the recorded pods of a workload, which count once together. A report
// says so by what it shows: a manifest has a file, the pod of a template is named after its workload, and a pod that is its
// own workload is the only one.
func isRecorded(file, pod, workload string) bool {
	return file == "" && pod != workload && "Pod/"+pod != workload
}

func (k BaselineEntry) compare(l BaselineEntry) int {
	return cmp.Or(cmp.Compare(k.Namespace, l.Namespace), cmp.Compare(k.Workload, l.Workload), cmp.Compare(k.Pod, l.Pod),
		cmp.Compare(k.Check, l.Check), cmp.Compare(k.Container, l.Container), cmp.Compare(k.Subject, l.Subject))
}

// owner is the workload, or the pod where that is what is known.
func (k BaselineEntry) owner() string {
	if k.Workload == "" {
		return "Pod/" + k.Pod
	}
	return k.Workload
}

// label names the subject for people.
func (k BaselineEntry) label() string { return subjectLabel(k.Container, k.Subject) }

// older is the name that a report without subjects has for it.
func (k BaselineEntry) older() BaselineEntry {
	k.Container, k.Subject = "", cmp.Or(k.Subject, k.Container)
	return k
}

// LoadBaseline reads a report that was printed as json, by a scan or by an agent. The error is one line that names the
// file. An incomplete report is refused: what it lacks would be new.
func LoadBaseline(name string, r io.Reader) (*Baseline, error) {
	b := &Baseline{Name: name, older: true, known: make(map[BaselineEntry]entryCount), waived: make(map[BaselineEntry]entryCount), inFile: make(map[entryInFile]int)}
	d := &baselineReader{Decoder: json.NewDecoder(bufio.NewReaderSize(r, 1<<16)), into: b}
	if err := d.report(); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the file ends early")
		}
		return nil, fmt.Errorf("baseline %s: byte %d: %w; make it with: kube-devops scan -o json", printable(name), d.InputOffset(), err)
	}
	if b.older {
		b.known, b.waived = asOlder(b.known), asOlder(b.waived)
		inFile := make(map[entryInFile]int, len(b.inFile))
		for at, n := range b.inFile {
			inFile[entryInFile{at.older(), at.file}] += n
		}
		b.inFile = inFile
	}
	return b, nil
}

// asOlder counts by the names of an older report.
func asOlder(known map[BaselineEntry]entryCount) map[BaselineEntry]entryCount {
	older := make(map[BaselineEntry]entryCount, len(known))
	for k, t := range known {
		sum := older[k.older()]
		older[k.older()] = entryCount{sum.manifests + t.manifests, sum.recorded || t.recorded}
	}
	return older
}

// A baselineReader reads a report violation by violation.
type baselineReader struct {
	*json.Decoder
	into *Baseline
}

func (d *baselineReader) report() error {
	if err := d.delim('{', "this is not a report"); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string) // the decoder lets nothing else be a key
		if seen[key] {
			return fmt.Errorf("duplicate key %q", head(key, 40))
		}
		seen[key] = true
		if err := d.member(key); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if !seen["policy"] || !seen["violations"] {
		return errors.New("this is not a report: it has no policy or no violations")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the report")
	}
	return nil
}

func (d *baselineReader) member(key string) error {
	switch key {
	case "policy":
		var policy policyJSON
		if err := d.Decode(&policy); err != nil {
			return err
		}
		d.into.Policy, d.into.Hash = policy.Name, policy.Hash
	case "incomplete":
		return errors.New("the report is incomplete: some inputs could not be read")
	case "version":
		var version int
		if err := d.Decode(&version); err != nil {
			return err
		}
		if version != reportVersion {
			return fmt.Errorf("report version %d is not supported, only %d", version, reportVersion)
		}
		d.into.older = false
	case "violations":
		return d.violations(key, d.into.add)
	case "waived":
		return d.violations(key, func(v violationJSON) { d.into.entryCount(d.into.waived, v) })
	default:
		var other json.RawMessage
		return d.Decode(&other)
	}
	return nil
}

func (d *baselineReader) violations(key string, add func(violationJSON)) error {
	if err := d.delim('[', key+" is not a list"); err != nil {
		return err
	}
	for n := 1; d.More(); n++ {
		var v violationJSON
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("%s, item %d: %w", key, n, err)
		}
		if v.Namespace == "" || v.Check == "" || v.Workload == "" && v.Pod == "" {
			return fmt.Errorf("%s, item %d has no namespace, no check or no pod", key, n)
		}
		add(v)
	}
	_, err := d.Token()
	return err
}

func (b *Baseline) add(v violationJSON) {
	known := b.entryCount(b.known, v)
	if v.File != "" {
		b.inFile[entryInFile{known, v.File}]++
	}
}

// entryCount counts a violation of the report.
func (b *Baseline) entryCount(into map[BaselineEntry]entryCount, v violationJSON) BaselineEntry {
	known := BaselineEntry{Namespace: v.Namespace, Workload: v.Workload, Check: v.Check, Container: v.Container, Subject: v.Subject}
	if v.Container == "" && v.Subject == "" {
		known.Subject = v.Path
	}
	if v.Workload == "" {
		known.Pod = v.Pod
		b.pods = true
	}
	t := into[known]
	if v.Workload == "" || isRecorded(v.File, v.Pod, v.Workload) {
		t.recorded = true
	} else {
		t.manifests++
	}
	into[known] = t
	return known
}

func (d *baselineReader) delim(want json.Delim, otherwise string) error {
	token, err := d.Token()
	if err == nil && token != want {
		err = errors.New(otherwise)
	}
	return err
}

// A BaselineDiff is what changed from a baseline to a scan.
type BaselineDiff struct {
	Baseline *Baseline
	// New are the findings of the scan that the baseline does not have, the ones that cost most first. A finding is new as
	// a whole or not at all: another replica of a workload makes none.
	New []Finding
	// Violations counts those of the new findings.
	Violations int
	// Resolved are those of the baseline that the scan no longer has, sorted, one for each that its count has fallen by. What
	// a waiver accepts by now is not among them, nor what the scan did not cover: another namespace or check.
	Resolved []BaselineEntry
	// Incomplete says that something was left out of the scan: what is resolved is not known, and Resolved is empty.
	Incomplete bool

	fresh map[findingID]bool // the new findings
}

// A findingID is the key of a finding that counts.
type findingID struct {
	namespace string
	findingKey
}

// Compare compares the scan with the baseline: what exceeds the count of the baseline is new.
func (b *Baseline) Compare(scan *Scan) *BaselineDiff {
	d := &BaselineDiff{Baseline: b, fresh: make(map[findingID]bool), Incomplete: len(scan.Inputs.Unreadable) > 0}
	c := &comparison{baseline: b, used: make(map[BaselineEntry]int), waivedUsed: make(map[BaselineEntry]int), inFile: make(map[entryInFile]int), gone: make(map[BaselineEntry]bool)}
	if b.pods {
		c.matchPods(scan)
	}
	for namespace, found := range scan.findings(nil) {
		for _, f := range c.fresh(found) {
			f.New = true
			d.New = append(d.New, f)
			d.Violations += f.Violations
			d.fresh[findingID{namespace, f.key()}] = true
		}
	}
	if !d.Incomplete {
		d.Resolved = c.resolved(scan)
	}
	slices.SortFunc(d.New, compareCosts)
	return d
}

// A comparison takes what a scan found from the counts of a baseline.
type comparison struct {
	baseline *Baseline
	used     map[BaselineEntry]int // how much of each count is found again
	// waivedUsed is the same of what was waived, and inFile of the violations of one file.
	waivedUsed map[BaselineEntry]int
	inFile     map[entryInFile]int
	gone       map[BaselineEntry]bool // what is found again, whatever its count
	// pods are the recorded findings of which the baseline names a pod.
	pods map[findingID]bool
}

// matchPods looks for the violations of which the baseline names the pod: one pod stands for its workload.
func (c *comparison) matchPods(scan *Scan) {
	c.pods = make(map[findingID]bool)
	for v, waived := range scan.Snapshot.AllViolations() {
		origin := originOf(v)
		key := keyOf(v, &origin, false)
		known := c.baseline.as(BaselineEntry{Namespace: v.Namespace, Pod: origin.Pod, Check: scan.Snapshot.Table.Checks()[v.Check].ID, Container: key.container, Subject: key.subject})
		if c.baseline.known[known].count() > 0 {
			c.gone[known] = true
			if !waived {
				c.pods[findingID{v.Namespace, key}] = true
			}
		}
	}
}

// as names a violation as the baseline does.
func (b *Baseline) as(k BaselineEntry) BaselineEntry {
	if b.older {
		return k.older()
	}
	return k
}

// known names a finding as the baseline does, by its workload.
func (c *comparison) known(f *Finding) BaselineEntry {
	return c.baseline.as(BaselineEntry{
		Namespace: f.Namespace, Workload: f.Workload.String(), Check: f.Check.ID, Container: f.Container, Subject: cmp.Or(f.Subject, f.pathAlone()),
	})
}

// fresh are the findings of one namespace that the baseline does not have. Recorded ones are found again under their name.
// Of manifests, those in the files that the baseline names come first, so that a manifest in another file is the new one.
func (c *comparison) fresh(found []Finding) []Finding {
	var fresh []Finding
	var elsewhere []*Finding
	for i := range found {
		f := &found[i]
		known := c.known(f)
		switch {
		case isRecorded(f.File, f.Pod, f.Workload.String()):
			isKnown := c.baseline.known[known].count() > 0 || c.pods[findingID{f.Namespace, f.key()}]
			if isKnown && !c.gone[known] {
				c.used[known]++
			}
			c.gone[known] = true
			if !isKnown && f.Waiver == nil {
				fresh = append(fresh, *f)
			}
		case f.Waiver != nil && c.waivedUsed[known] < c.baseline.waived[known].count():
			c.waivedUsed[known] += f.Violations
		case c.takeInFile(known, f):
		default:
			elsewhere = append(elsewhere, f)
		}
	}
	// What is waived takes only what no other finding needs.
	slices.SortStableFunc(elsewhere, func(a, b *Finding) int { return compareWaivers(a.Waiver, b.Waiver) })
	for _, f := range elsewhere {
		if !c.take(c.known(f), f) && f.Waiver == nil && !c.pods[findingID{f.Namespace, f.key()}] {
			fresh = append(fresh, *f)
		}
	}
	return fresh
}

func (c *comparison) take(known BaselineEntry, f *Finding) bool {
	if c.used[known]+f.Violations > c.baseline.known[known].count() {
		return false
	}
	c.used[known] += f.Violations
	return true
}

func (c *comparison) takeInFile(known BaselineEntry, f *Finding) bool {
	at := entryInFile{known, f.File}
	if f.File == "" || c.inFile[at]+f.Violations > c.baseline.inFile[at] || !c.take(known, f) {
		return false
	}
	c.inFile[at] += f.Violations
	return true
}

// resolved is what the counts of the baseline have beyond those of the scan, where it covers them.
func (c *comparison) resolved(scan *Scan) []BaselineEntry {
	var resolved []BaselineEntry
	for known, t := range c.baseline.known {
		if c.gone[known] || !scan.covers(known) {
			continue
		}
		for range t.count() - c.used[known] {
			resolved = append(resolved, known)
		}
	}
	slices.SortFunc(resolved, BaselineEntry.compare)
	return resolved
}

// covers reports whether the scan would find a violation if it were there.
func (s *Scan) covers(k BaselineEntry) bool {
	if s.Selects != nil && !s.Selects(k.Namespace) {
		return false
	}
	return slices.ContainsFunc(s.Snapshot.Table.Checks(), func(c rules.Check) bool { return c.ID == k.Check })
}

// isNew reports whether the baseline lacks a finding; nothing is new where there is no baseline.
func (d *BaselineDiff) isNew(namespace string, key findingKey) bool {
	return d != nil && key.waiver == nil && d.fresh[findingID{namespace, key}]
}

// otherPolicy says that the baseline was made under another policy; empty where it was not.
func (d *BaselineDiff) otherPolicy(scan *Scan) string {
	table := scan.Snapshot.Table
	if d.Baseline.Policy == table.Name() && d.Baseline.Hash == table.Hash() {
		return ""
	}
	return "The baseline was made under another policy: " + name(d.Baseline.Policy) + ", " + sanitized(head(d.Baseline.Hash, len("sha256:")+12))
}

// headline is the change in one sentence.
func (d *BaselineDiff) headline() string {
	if d.Incomplete {
		return fmt.Sprintf("Against %s: %s; resolved violations are not known, because some inputs could not be read.", name(d.Baseline.Name), english.Plural(d.Violations, "new violation", ""))
	}
	return fmt.Sprintf("Against %s: %s, %s resolved.", name(d.Baseline.Name), english.Plural(d.Violations, "new violation", ""), number(len(d.Resolved)))
}
