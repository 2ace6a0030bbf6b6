package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// waiverNames is how many waivers, or mistakes in annotations, a report names.
const waiverNames = 10

// warnings are all sentences that warn the reader of a report.
func (s *Scan) warnings() []string { return slices.Concat(s.Warnings, s.waiverWarnings()) }

// waiverWarnings are sentences about waivers that have expired or have no use, and about annotations that accept nothing. A violation that
// counts again must not fail a gate without an explanation.
func (s *Scan) waiverWarnings() []string {
	table := s.Snapshot.Table
	if len(table.Waivers()) == 0 && table.AnnotationWaivers() == nil {
		return nil
	}
	used, expired := make(map[*rules.Waiver]bool), make(map[*rules.Waiver]int)
	var annotated expiredAnnotations
	for v, accepted := range s.Snapshot.AllViolations() {
		switch w := v.Waiver; {
		case w == nil:
		case accepted:
			used[w] = true
		case w.FromAnnotation():
			annotated.add(v)
		default:
			expired[w]++
		}
	}
	warnings := expiredWarnings(expired)
	warnings = append(warnings, annotated.warnings()...)
	warnings = append(warnings, unusedWarnings(table, func(w *rules.Waiver) bool { return used[w] || expired[w] > 0 || s.isOutside(w) })...)
	return append(warnings, s.annotationWarnings()...)
}

func countAgain(violations int) string {
	if violations == 1 {
		return "1 violation counts again"
	}
	return number(violations) + " violations count again"
}

// expiryTime is the first moment at which the violations of a waiver count again.
func expiryTime(w *rules.Waiver) string { return w.Expires.UTC().Format("2006-01-02 15:04 MST") }

func expiredWarnings(violations map[*rules.Waiver]int) []string {
	order := slices.SortedFunc(maps.Keys(violations), func(a, b *rules.Waiver) int {
		return cmp.Or(cmp.Compare(violations[b], violations[a]), cmp.Compare(a.ID, b.ID))
	})
	var warnings []string
	others, more := 0, 0
	for i, w := range order {
		if i < waiverNames {
			warnings = append(warnings, fmt.Sprintf("Waiver %s expired at %s: %s.", w.ID, expiryTime(w), countAgain(violations[w])))
			continue
		}
		others++
		more += violations[w]
	}
	if others > 0 {
		warnings = append(warnings, fmt.Sprintf("%s expired: %s.", english.Plural(others, "more waiver", ""), countAgain(more)))
	}
	return warnings
}

// expiredAnnotations counts the violations that annotations accepted until they expired.
type expiredAnnotations struct {
	violations, pods int
	first            state.PodViolation
	last             state.Pod
}

func (e *expiredAnnotations) add(v state.PodViolation) {
	if e.violations == 0 {
		e.first = v
	}
	if e.violations++; v.Pod != e.last {
		e.pods++
		e.last = v.Pod
	}
}

func (e *expiredAnnotations) warnings() []string {
	if e.violations == 0 {
		return nil
	}
	origin := originOf(e.first)
	return []string{fmt.Sprintf("The annotation %s of %s expired: %s. The first is %s/%s, at %s.", rules.WaiveAnnotation, english.Plural(e.pods, "pod", ""),
		countAgain(e.violations), name(e.first.Namespace), name(origin.Workload.String()), expiryTime(e.first.Waiver))}
}

// isOutside reports whether a waiver is only about namespaces that the user did not select, where it may accept violations.
func (s *Scan) isOutside(w *rules.Waiver) bool {
	return (s.Restricted || s.scope != nil) && !slices.ContainsFunc(s.Snapshot.Namespaces, func(ns state.NamespaceSnapshot) bool { return w.IsAboutNamespace(ns.Name) })
}

// unusedWarnings name the waivers that could be removed.
func unusedWarnings(table *rules.Table, used func(*rules.Waiver) bool) []string {
	var unused, superseded []string
	for _, w := range table.Waivers() {
		if by := table.SupersededBy(w); by != nil {
			superseded = append(superseded, w.ID+" (by "+by.ID+")")
		} else if !used(w) {
			unused = append(unused, w.ID)
		}
	}
	var warnings []string
	if len(superseded) > 0 {
		warnings = append(warnings, "Waivers that another one supersedes, which accepts the same and expires later: "+listed(superseded, waiverNames)+".")
	}
	if len(unused) > 0 {
		warnings = append(warnings, "Waivers that accept nothing here: "+listed(unused, waiverNames)+
			". No violation matches them, or another waiver accepts it until later.")
	}
	return warnings
}

// annotationWarnings name the annotations of pods with lines that accept nothing.
func (s *Scan) annotationWarnings() []string {
	var warnings []string
	seen := make(map[string]bool)
	others := 0
	for m := range s.Snapshot.Mistakes() {
		origin := originOf(state.PodViolation{Pod: m.Pod, Origin: m.Origin})
		place := name(m.Namespace) + "/" + name(origin.Workload.String())
		if origin.File != "" {
			place = fmt.Sprintf("%s:%d: %s", fileName(origin.File), cmp.Or(origin.AnnotationLine, origin.Line), name(origin.Workload.String()))
		}
		// The pods of a workload have the same annotation.
		text := place + ": " + m.Text
		switch {
		case seen[text]:
		case len(seen) == waiverNames:
			others++
		default:
			seen[text] = true
			warnings = append(warnings, prose(strings.TrimSuffix(text, "."), 400)+".")
		}
	}
	if others > 0 {
		warnings = append(warnings, fmt.Sprintf("%s of annotations %s that accept nothing.", english.Plural(others, "more line", ""), rules.WaiveAnnotation))
	}
	return warnings
}
