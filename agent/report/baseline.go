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
	// Name is that of the file. Policy and Hash are those of the report.
	Name, Policy, Hash string

	// older is set for a report of a version without subjects, in which one name is that of the container or of the subject.
	older bool
	// known counts the violations that are not waived, and waived the others.
	known, waived map[BaselineEntry]entryCount
	// inFile counts the violations of manifests by their file too.
	inFile map[entryInFile]int
	// pods is set if there are violations that name a pod and no workload.
	pods bool
}

// A BaselineEntry identifies violations across reports: by the workload, because the names and the number of its pods change. A
// report of an agent has no workloads, and its entries name the pod.
type BaselineEntry struct {
	Namespace string
	Workload  string // "Deployment/web"; empty if the report names only the pod
	Pod       string // empty if the workload is named
	Check     string // the check's id
	Container string // the enclosing container; empty if there is none, and in an older report
	Subject   string // the name within it, or the path if there is no name; empty for the container or the pod itself
}

type entryInFile struct {
	BaselineEntry
	file string
}

// An entryCount counts the violations of one entry: several within a pod if subjects share a name. The recorded pods of a
// workload count once, because another replica is not a new violation. Each manifest counts, because a second one with the same
// name is.
type entryCount struct {
	manifests int
	recorded  int // the most in one pod

	// pod is the recorded pod that was read last, and inPod its count. A report lists the violations pod by pod.
	pod   string
	inPod int
}

func (t entryCount) count() int { return t.manifests + t.recorded }

// with merges the counts of two entries.
func (t entryCount) with(u entryCount) entryCount {
	return entryCount{manifests: t.manifests + u.manifests, recorded: max(t.recorded, u.recorded)}
}

// isRecorded reports whether a violation is of a recorded pod of a workload, and not of a manifest: a manifest has a file, the
// pod of a template has the name of its workload, and a pod without an owner is the only one of its workload.
func isRecorded(file, pod, workload string) bool {
	return file == "" && pod != workload && "Pod/"+pod != workload
}

func (k BaselineEntry) compare(l BaselineEntry) int {
	return cmp.Or(cmp.Compare(k.Namespace, l.Namespace), cmp.Compare(k.Workload, l.Workload), cmp.Compare(k.Pod, l.Pod),
		cmp.Compare(k.Check, l.Check), cmp.Compare(k.Container, l.Container), cmp.Compare(k.Subject, l.Subject))
}

// owner is the workload, or the pod if the workload is unknown.
func (k BaselineEntry) owner() string {
	if k.Workload == "" {
		return "Pod/" + k.Pod
	}
	return k.Workload
}

// label names the subject for readers.
func (k BaselineEntry) label() string { return subjectLabel(k.Container, k.Subject) }

// older is the entry as a report without subjects has it.
func (k BaselineEntry) older() BaselineEntry {
	k.Container, k.Subject = "", cmp.Or(k.Subject, k.Container)
	return k
}

// LoadBaseline reads a JSON report of a scan or an agent. The error is one line that names the file. An incomplete report is
// refused, because violations of the missing inputs would be new.
func LoadBaseline(name string, r io.Reader) (*Baseline, error) {
	b := &Baseline{Name: name, older: true, known: make(map[BaselineEntry]entryCount), waived: make(map[BaselineEntry]entryCount), inFile: make(map[entryInFile]int)}
	d := &baselineReader{Decoder: json.NewDecoder(bufio.NewReaderSize(r, 1<<16)), into: b}
	if err := d.report(); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("unexpected end of file")
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

// asOlder merges the entries that an older report does not distinguish.
func asOlder(known map[BaselineEntry]entryCount) map[BaselineEntry]entryCount {
	older := make(map[BaselineEntry]entryCount, len(known))
	for k, t := range known {
		older[k.older()] = older[k.older()].with(t)
	}
	return older
}

// A baselineReader reads a report violation by violation, without holding it in memory.
type baselineReader struct {
	*json.Decoder
	into *Baseline
}

func (d *baselineReader) report() error {
	if err := d.delim('{', "not a report: it must be a JSON object"); err != nil {
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
		return errors.New("not a report: policy or violations are missing")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("unexpected data after the report")
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
			return fmt.Errorf("report version %d is not supported; must be %d", version, reportVersion)
		}
		d.into.older = false
	case "violations":
		return d.violations(key, d.into.add)
	case "waived":
		return d.violations(key, func(v violationJSON) { d.into.count(d.into.waived, v) })
	default:
		var other json.RawMessage
		return d.Decode(&other)
	}
	return nil
}

func (d *baselineReader) violations(key string, add func(violationJSON)) error {
	if err := d.delim('[', key+" must be a list"); err != nil {
		return err
	}
	for n := 1; d.More(); n++ {
		var v violationJSON
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("%s, item %d: %w", key, n, err)
		}
		if v.Namespace == "" || v.Check == "" || v.Workload == "" && v.Pod == "" {
			return fmt.Errorf("%s, item %d: namespace, check or pod is missing", key, n)
		}
		add(v)
	}
	_, err := d.Token()
	return err
}

func (b *Baseline) add(v violationJSON) {
	known := b.count(b.known, v)
	if v.File != "" {
		b.inFile[entryInFile{known, v.File}]++
	}
}

// count counts a violation of the report.
func (b *Baseline) count(into map[BaselineEntry]entryCount, v violationJSON) BaselineEntry {
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
		if t.pod != v.Pod {
			t.pod, t.inPod = v.Pod, 0
		}
		t.inPod++
		t.recorded = max(t.recorded, t.inPod)
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

// A BaselineDiff is the difference between a baseline and a scan.
type BaselineDiff struct {
	Baseline *Baseline
	// New are the findings that the baseline does not contain, worst first. Another replica of a workload does not make a
	// finding new. Violations of a finding counts only the new ones: another subject of the same name may be known.
	New []Finding
	// Violations counts those of the new findings.
	Violations int
	// Resolved are the violations of the baseline that the scan does not find, sorted. It excludes violations that are waived
	// now, and those of namespaces and checks that the scan does not cover.
	Resolved []BaselineEntry
	// Incomplete is set if the scan has unreadable inputs. Resolved is empty then, because it is unknown.
	Incomplete bool

	fresh map[findingID]int // the new findings, and how many violations of each the baseline contains in each pod
}

// A findingID identifies a finding of a scan.
type findingID struct {
	namespace string
	findingKey
}

// Compare compares the scan with the baseline. Violations that exceed the count of the baseline are new.
func (b *Baseline) Compare(scan *Scan) *BaselineDiff {
	if scan.Snapshot.Table.Renames() {
		b = b.renamed(scan.Snapshot.Table)
	}
	d := &BaselineDiff{Baseline: b, fresh: make(map[findingID]int), Incomplete: len(scan.Inputs.Unreadable) > 0}
	c := &comparison{baseline: b, used: make(map[BaselineEntry]int), waivedUsed: make(map[BaselineEntry]int), recorded: make(map[BaselineEntry]int), inFile: make(map[entryInFile]int), gone: make(map[BaselineEntry]bool)}
	if b.pods {
		c.matchPods(scan)
	}
	for namespace, found := range scan.findings(nil) {
		known := c.known(found)
		for i := range found {
			f := &found[i]
			fresh := f.beyond(known[i])
			if f.Waiver != nil || fresh == 0 {
				continue
			}
			d.fresh[findingID{namespace, f.key()}] = known[i]
			f.New, f.Violations = true, fresh
			d.New = append(d.New, *f)
			d.Violations += fresh
		}
	}
	if !d.Incomplete {
		d.Resolved = c.resolved(scan)
	}
	slices.SortFunc(d.New, compareCosts)
	return d
}

// renamed returns the baseline with the present ids of checks that a built-in table has renamed.
func (b *Baseline) renamed(table *rules.Table) *Baseline {
	r := *b
	r.known, r.waived = renamed(b.known, table), renamed(b.waived, table)
	r.inFile = make(map[entryInFile]int, len(b.inFile))
	for at, n := range b.inFile {
		at.Check = table.Resolve(at.Check)
		r.inFile[at] += n
	}
	return &r
}

func renamed(known map[BaselineEntry]entryCount, table *rules.Table) map[BaselineEntry]entryCount {
	r := make(map[BaselineEntry]entryCount, len(known))
	for k, t := range known {
		k.Check = table.Resolve(k.Check)
		r[k] = r[k].with(t)
	}
	return r
}

// A comparison matches the findings of a scan with the counts of a baseline.
type comparison struct {
	baseline *Baseline
	used     map[BaselineEntry]int // how much of each count is matched
	// waivedUsed is the same for waived violations, recorded for those of recorded pods, and inFile for those of one file.
	waivedUsed, recorded map[BaselineEntry]int
	inFile               map[entryInFile]int
	gone                 map[BaselineEntry]bool // entries that are matched whatever their count
	// pods are the findings with a pod that the baseline names, and how many violations it has in one of these pods.
	pods map[findingID]int
}

// matchPods finds the workloads whose pods the baseline names. A match of one pod is a match of its workload.
func (c *comparison) matchPods(scan *Scan) {
	c.pods = make(map[findingID]int)
	for v, waived := range scan.Snapshot.AllViolations() {
		origin := originOf(v)
		key := keyOf(v, &origin, false)
		known := c.baseline.as(BaselineEntry{Namespace: v.Namespace, Pod: origin.Pod, Check: scan.Snapshot.Table.Checks()[v.Check].ID, Container: key.container, Subject: key.subject})
		if n := c.baseline.known[known].count(); n > 0 {
			c.used[known]++
			if id := (findingID{v.Namespace, key}); !waived {
				c.pods[id] = max(c.pods[id], n)
			}
		}
	}
}

// as returns the entry in the form of the baseline.
func (b *Baseline) as(k BaselineEntry) BaselineEntry {
	if b.older {
		return k.older()
	}
	return k
}

// entry returns the entry of a finding, by its workload.
func (c *comparison) entry(f *Finding) BaselineEntry {
	return c.baseline.as(BaselineEntry{
		Namespace: f.Namespace, Workload: f.Workload.String(), Check: f.Check.ID, Container: f.Container, Subject: cmp.Or(f.Subject, f.pathAlone()),
	})
}

// known returns how many violations of each finding of one namespace the baseline contains in each pod. Manifests in files that
// the baseline names are matched first, so that a manifest with the same name in another file is the new one.
func (c *comparison) known(found []Finding) []int {
	known := make([]int, len(found))
	var elsewhere []int
	for i := range found {
		f := &found[i]
		entry := c.entry(f)
		switch {
		case isRecorded(f.File, f.Pod, f.Workload.String()):
			known[i] = c.takeRecorded(entry, f)
		case f.Waiver != nil && c.waivedUsed[entry] < c.baseline.waived[entry].count():
			c.waivedUsed[entry] += f.Violations
		default:
			known[i] = c.takeInFile(entry, f)
			elsewhere = append(elsewhere, i)
		}
	}
	// Waived findings are matched last: they must not make another finding new.
	slices.SortStableFunc(elsewhere, func(i, j int) int { return compareWaivers(found[i].Waiver, found[j].Waiver) })
	for _, i := range elsewhere {
		f := &found[i]
		known[i] += c.take(c.entry(f), f.Violations-known[i])
		known[i] = max(known[i], c.pods[findingID{f.Namespace, f.key()}])
	}
	return known
}

// take matches at most n violations, and returns how many.
func (c *comparison) take(entry BaselineEntry, n int) int {
	n = max(0, min(n, c.baseline.known[entry].count()-c.used[entry]))
	c.used[entry] += n
	return n
}

func (c *comparison) takeInFile(entry BaselineEntry, f *Finding) int {
	if f.File == "" {
		return 0
	}
	at := entryInFile{entry, f.File}
	n := c.take(entry, min(f.Violations, c.baseline.inFile[at]-c.inFile[at]))
	c.inFile[at] += n
	return n
}

// takeRecorded returns the whole count of the entry: the pods of a workload do not share it.
func (c *comparison) takeRecorded(entry BaselineEntry, f *Finding) int {
	t := c.baseline.known[entry]
	if used := min(f.inOnePod(), t.count()); used > c.recorded[entry] {
		c.used[entry] += used - c.recorded[entry]
		c.recorded[entry] = used
	}
	// Manifests of the baseline may be those of the pods, and an entry of an older report may count several subjects.
	if t.manifests > 0 || c.baseline.older {
		c.gone[entry] = true
	}
	return max(t.count(), c.pods[findingID{f.Namespace, f.key()}])
}

// resolved returns the entries with a count that the scan does not reach, one for each missing violation.
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

// covers reports whether the scan evaluates the namespace and the check of an entry.
func (s *Scan) covers(k BaselineEntry) bool {
	if s.Selects != nil && !s.Selects(k.Namespace) {
		return false
	}
	return slices.ContainsFunc(s.Snapshot.Table.Checks(), func(c rules.Check) bool { return c.ID == k.Check })
}

// newFrom returns how many violations of a finding the baseline contains in each pod, and whether there are others, which are
// new. Without a baseline, nothing is new.
func (d *BaselineDiff) newFrom(namespace string, key findingKey) (known int, isNew bool) {
	if d == nil || key.waiver != (waiverKey{}) {
		return 0, false
	}
	known, isNew = d.fresh[findingID{namespace, key}]
	return known, isNew
}

// otherPolicy says that the baseline was made with another policy; empty if it was not.
func (d *BaselineDiff) otherPolicy(scan *Scan) string {
	table := scan.Snapshot.Table
	if d.Baseline.Policy == table.Name() && d.Baseline.Hash == table.Hash() {
		return ""
	}
	return "The baseline was made with another policy: " + name(d.Baseline.Policy) + ", " + sanitized(head(d.Baseline.Hash, len("sha256:")+12))
}

// headline summarizes the difference in one sentence.
func (d *BaselineDiff) headline() string {
	if d.Incomplete {
		return fmt.Sprintf("Against %s: %s; resolved violations are unknown, because some inputs could not be read.", name(d.Baseline.Name), english.Plural(d.Violations, "new violation", ""))
	}
	return fmt.Sprintf("Against %s: %s, %s resolved.", name(d.Baseline.Name), english.Plural(d.Violations, "new violation", ""), number(len(d.Resolved)))
}
