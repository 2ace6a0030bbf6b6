package report

import (
	"cmp"
	"iter"
	"slices"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// A Finding is one thing to mend: the violations of one check by the same subject in all pods of one workload.
type Finding struct {
	Namespace string
	Workload  Workload
	Check     *rules.Check
	// Container is the subject's name, and Path leads to it in the first of the pods; both empty where it is the pod itself.
	Container, Path string
	// Pod is the first of the pods by name, and Violations how many there are.
	Pod        string
	Violations int
	// File and Line are those of a manifest; empty and 0 for a recording, whose file is Dump.
	File string
	Line int
	Dump string
	// Waiver accepts the violations; nil where they count.
	Waiver *rules.Waiver
	// New says that the baseline does not have it; false where there is no baseline, and of what is waived.
	New bool

	check int // the index of the check
}

// Points is what the violations cost.
func (f *Finding) Points() int { return f.Violations * f.Check.Weight }

// Subject is what the check looked at: a container's name, else the path to it; empty for the pod itself.
func (f *Finding) Subject() string { return cmp.Or(f.Container, f.Path) }

// A findingKey tells findings of one namespace from one another.
type findingKey struct {
	workload Workload
	check    int
	subject  string
	waiver   *rules.Waiver
}

// findings are those of one namespace after another, sorted by workload, check and subject, what counts before what is
// waived. No more than those of one namespace are held at a time.
func (s *Scan) findings(b *Baselined) iter.Seq2[string, []Finding] {
	return func(yield func(string, []Finding) bool) {
		var r *rollUp
		for v, waived := range s.Snapshot.AllViolations() {
			if r != nil && r.namespace != v.Namespace {
				if !yield(r.namespace, r.sorted()) {
					return
				}
				r = nil
			}
			if r == nil {
				r = &rollUp{scan: s, baseline: b, namespace: v.Namespace, at: make(map[findingKey]int)}
			}
			r.add(v, waived)
		}
		if r != nil {
			yield(r.namespace, r.sorted())
		}
	}
}

// A rollUp makes findings of the violations of one namespace.
type rollUp struct {
	scan      *Scan
	baseline  *Baselined
	namespace string
	found     []Finding
	at        map[findingKey]int
}

func (r *rollUp) add(v state.PodViolation, waived bool) {
	origin := originOf(v)
	key := findingKey{origin.Workload, v.Check, cmp.Or(v.Subject, v.Container, v.Path), nil}
	if waived {
		key.waiver = v.Waiver
	}
	at, ok := r.at[key]
	if !ok {
		at = len(r.found)
		r.at[key] = at
		r.found = append(r.found, Finding{
			Namespace: v.Namespace, Workload: origin.Workload, Check: &r.scan.Snapshot.Table.Checks()[v.Check], check: v.Check,
			Container: cmp.Or(v.Subject, v.Container), Path: v.Path, Pod: v.Pod.Name, File: origin.File, Line: origin.Line, Dump: origin.Dump, Waiver: key.waiver,
		})
	}
	r.found[at].Violations++
	if !waived && r.baseline.isNew(r.scan, v) {
		r.found[at].New = true
	}
}

func (r *rollUp) sorted() []Finding {
	slices.SortFunc(r.found, func(a, b Finding) int {
		return cmp.Or(a.Workload.compare(b.Workload), cmp.Compare(a.check, b.check), compareWaivers(a.Waiver, b.Waiver),
			cmp.Compare(a.Subject(), b.Subject()))
	})
	return r.found
}

func (w Workload) compare(v Workload) int {
	return cmp.Or(cmp.Compare(w.Name, v.Name), cmp.Compare(w.Kind, v.Kind))
}

// compareWaivers puts none first, and the others by id.
func compareWaivers(a, b *rules.Waiver) int {
	switch {
	case a == b:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return cmp.Compare(a.ID, b.ID)
}

// compareCosts puts the finding first that costs more: by severity, then by points, then by name.
func compareCosts(a, b Finding) int {
	return cmp.Or(cmp.Compare(rank(a.Check.Severity), rank(b.Check.Severity)), cmp.Compare(b.Points(), a.Points()),
		cmp.Compare(a.Namespace, b.Namespace), a.Workload.compare(b.Workload), cmp.Compare(a.check, b.check),
		cmp.Compare(a.Subject(), b.Subject()))
}

// rank numbers the severities, the worst with 0.
func rank(s rules.Severity) int {
	return slices.Index([]rules.Severity{rules.Critical, rules.High, rules.Medium, rules.Low}, s)
}

// A worst keeps the first so many items of an order, whatever comes, and counts all.
type worst[T any] struct {
	compare func(a, b T) int
	most    int // 0 for all
	items   []T
	all     int
}

func (w *worst[T]) add(item T) {
	w.all++
	w.items = append(w.items, item)
	// Sorted now and then: twice as many as are wanted are held, and few more.
	if w.most > 0 && len(w.items) >= 2*w.most+64 {
		w.trim()
	}
}

// trim sorts what is held, and returns the first of it and how many others there are.
func (w *worst[T]) trim() (first []T, others int) {
	slices.SortFunc(w.items, w.compare)
	if w.most > 0 && len(w.items) > w.most {
		clear(w.items[w.most:])
		w.items = w.items[:w.most]
	}
	return w.items, w.all - len(w.items)
}
