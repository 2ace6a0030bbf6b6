package report

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// A Finding is one thing to fix: the violations of one check by the same subject in all pods of one workload. Manifests of
// the same name are separate workloads.
type Finding struct {
	Namespace string
	Workload  Workload
	Check     *rules.Check
	// Container is the container that is the subject or encloses it, and Subject is the name of the subject within the
	// container or the pod. Path is its path in the first of the pods. All are empty if the subject is the pod itself.
	Container, Subject, Path string
	// Detail is that of the first violation.
	Detail rules.Detail
	// Pod is the first of the pods by name. Violations counts the violations in all of them.
	Pod        string
	Violations int
	// File, Document and Line locate the subject in a manifest. They are zero for a recording, whose file is Dump.
	File     string
	Document int
	Line     int
	Dump     string
	// Unknown is set if the check could not be answered for some of the pods.
	Unknown bool
	// Enforce is what the API server does when the object is created, once the table is exported; empty if it does nothing.
	Enforce rules.Enforce
	// Waiver is the waiver that accepts the violations; nil if they count.
	Waiver *rules.Waiver
	// New is set if the baseline does not contain the finding, or not all of its violations in one pod. It is false without a
	// baseline, and for waived findings.
	New bool

	check  int    // the index of the check
	owner  string // the label of the workload, unique in the namespace
	suffix string // distinguishes its fingerprint from those of findings with the same names

	stored, template bool // as in Origin

	more []int // the pods with a second violation, a third and so on, because subjects of one name are one finding
}

// Points returns the penalty points of the violations.
func (f *Finding) Points() int { return f.Violations * f.Check.Weight }

// count counts a violation. before is the number of those that were counted in the same pod.
func (f *Finding) count(before int) {
	f.Violations++
	if before > len(f.more) {
		f.more = append(f.more, 0)
	}
	if before > 0 {
		f.more[before-1]++
	}
}

// inOnePod returns the most violations in one pod.
func (f *Finding) inOnePod() int { return len(f.more) + 1 }

// beyond counts the violations beyond the first n in each pod.
func (f *Finding) beyond(n int) int {
	if n == 0 {
		return f.Violations
	}
	beyond := 0
	for _, pods := range f.more[min(n-1, len(f.more)):] {
		beyond += pods
	}
	return beyond
}

// message describes the violation in one sentence.
func (f *Finding) message() string { return f.Check.MessageOf(f.Container, f.Subject, f.Detail) }

// label names the subject for readers: "web", or "web/TOKEN" for a part of a container. It is empty for the pod itself.
func (f *Finding) label() string { return subjectLabel(f.Container, cmp.Or(f.Subject, f.pathAlone())) }

// pathAlone is the path of a subject that has no name.
func (f *Finding) pathAlone() string {
	if f.Container != "" {
		return ""
	}
	return f.Path
}

func subjectLabel(container, subject string) string {
	if container != "" && subject != "" && container != subject {
		return container + "/" + subject
	}
	return cmp.Or(container, subject)
}

// element identifies the subject by a single name, as fingerprints and older baselines do.
func (f *Finding) element() string { return cmp.Or(f.Subject, f.Container, f.Path) }

// isManifest reports whether the finding is in a manifest, where it can be fixed.
func (f *Finding) isManifest() bool { return f.File != "" || f.Document > 0 }

func (f *Finding) workloadKey() workloadKey {
	return workloadKey{f.Workload, document{f.File, f.Document}}
}

// place returns where to fix the finding: "web.yaml:21", or the workload if there is no file.
func (f *Finding) place() string {
	switch {
	case f.File == "":
		return name(f.Namespace) + "/" + f.owner
	case f.Line > 0:
		return fmt.Sprintf("%s:%d", fileName(f.File), f.Line)
	}
	return fileName(f.File)
}

// id names the check, and says if the API server refuses the object or warns of it, and if the answer is unknown.
func (f *Finding) id() string {
	var marks []string
	switch f.Enforce {
	case rules.Deny:
		marks = append(marks, "refused")
	case rules.Warn:
		marks = append(marks, "warned")
	}
	if f.Unknown {
		marks = append(marks, "unknown")
	}
	if len(marks) == 0 {
		return f.Check.ID
	}
	return f.Check.ID + " (" + strings.Join(marks, ", ") + ")"
}

// key identifies the finding within its namespace.
func (f *Finding) key() findingKey {
	return findingKey{f.workloadKey(), f.check, f.Container, cmp.Or(f.Subject, f.pathAlone()), keyOfWaiver(f.Waiver)}
}

// A findingKey identifies a finding within its namespace.
type findingKey struct {
	workloadKey
	check              int
	container, subject string
	waiver             waiverKey // zero for a finding that counts
}

// A waiverKey identifies a waiver. Those of annotations have one id.
type waiverKey struct {
	id, reason string
	expires    int64
}

func keyOfWaiver(w *rules.Waiver) waiverKey {
	if w == nil {
		return waiverKey{}
	}
	return waiverKey{w.ID, w.Reason, w.Expires.UnixNano()}
}

// keyOf returns the key of the finding that a violation belongs to.
func keyOf(v state.PodViolation, origin *Origin, waived bool) findingKey {
	key := findingKey{workloadKey: origin.workloadKey(), check: v.Check, container: v.Container, subject: v.Subject}
	if v.Container == "" && v.Subject == "" {
		key.subject = v.Path
	}
	if waived {
		key.waiver = keyOfWaiver(v.Waiver)
	}
	return key
}

// sameBefore counts the violations of the same pod and finding before this one.
func sameBefore(v state.PodViolation) int {
	n := 0
	for i := range v.Verdict[:v.Index] {
		u := &v.Verdict[i]
		if u.Check == v.Check && u.Container == v.Container && u.Subject == v.Subject && (v.Container != "" || v.Subject != "" || u.Path == v.Path) {
			n++
		}
	}
	return n
}

// findings yields the findings of one namespace after another, each sorted by workload, check, waiver and subject. Only the
// findings of one namespace are held in memory at a time.
func (s *Scan) findings(b *BaselineDiff) iter.Seq2[string, []Finding] {
	return func(yield func(string, []Finding) bool) {
		var r *findingBuilder
		for v, waived := range s.Snapshot.AllViolations() {
			if r != nil && r.namespace != v.Namespace {
				if !yield(r.namespace, r.sorted()) {
					return
				}
				r = nil
			}
			if r == nil {
				r = &findingBuilder{scan: s, baseline: b, namespace: v.Namespace, at: make(map[findingKey]int)}
			}
			r.add(v, waived)
		}
		if r != nil {
			yield(r.namespace, r.sorted())
		}
	}
}

// A findingBuilder groups the violations of one namespace into findings.
type findingBuilder struct {
	scan      *Scan
	baseline  *BaselineDiff
	namespace string
	found     []Finding
	at        map[findingKey]int
	pods      []podCount // the last pod of each finding
}

// A podCount counts the violations of a finding in one pod.
type podCount struct {
	pod        string
	violations int
}

func (r *findingBuilder) add(v state.PodViolation, waived bool) {
	origin := originOf(v)
	key := keyOf(v, &origin, waived)
	at, ok := r.at[key]
	if !ok {
		waiver := acceptedBy(v, waived)
		detail := r.scan.detail(v, &origin)
		at = len(r.found)
		r.at[key] = at
		r.pods = append(r.pods, podCount{pod: v.Pod.Name})
		r.found = append(r.found, Finding{
			Namespace: v.Namespace, Workload: origin.Workload, Check: &r.scan.Snapshot.Table.Checks()[v.Check], check: v.Check,
			Container: v.Container, Subject: v.Subject, Path: v.Path, Detail: detail.Detail, Pod: origin.Pod,
			File: origin.File, Document: origin.Document, stored: origin.Stored, template: origin.Template, Line: detail.Line, Dump: origin.Dump, Waiver: waiver,
			Enforce: r.scan.enforced().Of(v.Check, waiver),
		})
	}
	f := &r.found[at]
	last := &r.pods[at]
	if last.pod != v.Pod.Name {
		*last = podCount{pod: v.Pod.Name}
	}
	f.count(last.violations)
	known, isNew := r.baseline.newFrom(v.Namespace, key)
	f.New = f.New || isNew && last.violations >= known
	last.violations++
	f.Unknown = f.Unknown || v.Unknown
}

// sorted returns the findings in order, with labels and fingerprints that differ where names do not.
func (r *findingBuilder) sorted() []Finding {
	r.at, r.pods = nil, nil
	slices.SortFunc(r.found, func(a, b Finding) int {
		return cmp.Or(a.workloadKey().compare(b.workloadKey()), cmp.Compare(a.check, b.check), compareWaivers(a.Waiver, b.Waiver), a.compareSubject(&b))
	})
	keys := make([]workloadKey, 0, len(r.found))
	for i := range r.found {
		if u := r.found[i].workloadKey(); len(keys) == 0 || keys[len(keys)-1] != u {
			keys = append(keys, u)
		}
	}
	owners, suffixes := labels(keys), suffixes(keys)
	type base struct {
		workloadKey
		check   int
		element string
	}
	seen := make(map[base]bool, len(r.found))
	for i := range r.found {
		f := &r.found[i]
		f.owner, f.suffix = owners[f.workloadKey()], suffixes[f.workloadKey()]
		b := base{f.workloadKey(), f.check, f.element()}
		if seen[b] {
			f.suffix += "\x00" + f.Container
			if f.Waiver != nil {
				f.suffix += "\x00" + f.Waiver.ID
			}
		}
		seen[b] = true
	}
	return r.found
}

// suffixes distinguishes the fingerprints of manifests with the same workload name. Each gets its file and its position among
// those of the same name in the file, except the first: its fingerprints are as if it were alone. The keys are sorted.
func suffixes(keys []workloadKey) map[workloadKey]string {
	suffixes := make(map[workloadKey]string)
	for i, n := 1, 0; i < len(keys); i++ {
		before, u := keys[i-1], keys[i]
		n++
		if before.Workload != u.Workload || before.file != u.file {
			n = 0
		}
		if before.Workload == u.Workload {
			suffixes[u] = fmt.Sprintf("%s\x00%d", u.file, n)
		}
	}
	return suffixes
}

func (f *Finding) compareSubject(g *Finding) int {
	return cmp.Or(cmp.Compare(f.Container, g.Container), cmp.Compare(f.Subject, g.Subject), cmp.Compare(f.pathAlone(), g.pathAlone()))
}

// compareWaivers sorts nil first, and the others as rules.CompareWaivers does.
func compareWaivers(a, b *rules.Waiver) int {
	switch {
	case a == b:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return rules.CompareWaivers(a, b)
}

// compareCosts sorts findings that count before waived ones, then by severity, points and name.
func compareCosts(a, b Finding) int {
	return cmp.Or(compareWaivers(a.Waiver, b.Waiver), cmp.Compare(a.Check.Severity.Rank(), b.Check.Severity.Rank()), cmp.Compare(b.Points(), a.Points()),
		cmp.Compare(a.Namespace, b.Namespace), a.workloadKey().compare(b.workloadKey()), cmp.Compare(a.check, b.check), a.compareSubject(&b))
}

// A worst collects items, and keeps only the first of them in an order.
type worst[T any] struct {
	compare func(a, b T) int
	most    int // 0 for all
	items   []T
	all     int
	full    bool // the first items are sorted, and an item that sorts after them is not kept
}

func (w *worst[T]) add(item T) {
	w.all++
	if w.full && w.compare(item, w.items[w.most-1]) > 0 {
		return
	}
	w.items = append(w.items, item)
	// Sorting in batches is cheaper than inserting each item, and bounds what is held.
	if w.most > 0 && len(w.items) >= w.most+min(w.most, 512)+64 {
		w.trim()
	}
}

// trim returns the first items, sorted, and how many others there are.
func (w *worst[T]) trim() (first []T, others int) {
	slices.SortFunc(w.items, w.compare)
	if w.most > 0 && len(w.items) > w.most {
		clear(w.items[w.most:])
		w.items = w.items[:w.most]
		w.full = true
	}
	return w.items, w.all - len(w.items)
}
