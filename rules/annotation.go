package rules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tidwall/gjson"
)

// WaiveAnnotation is the annotation of a pod by which its owner accepts violations, and the id of the waivers that it makes. No waiver of
// a table can have this id.
const WaiveAnnotation = "kube-devops.io/waive"

// The bounds of what a pod can make of its annotation.
const (
	maxAnnotationBytes = 4096 // of its JSON
	maxMistakes        = 3    // that are described
)

// AnnotationWaivers is what the annotation of a pod may accept. Each of its lines has the form "CHECK[,CHECK] expires DATE: REASON".
type AnnotationWaivers struct {
	// CheckIDs are the checks that may be waived. The caller must not change them.
	CheckIDs []string
	// MaxDays is how far DATE may be away: from the creation of the pod, or for a manifest from the present.
	MaxDays int

	checks []int // the indexes of CheckIDs in the table; -1 for one that a subset leaves out
}

// AnnotationWaivers returns what annotations may accept; nil if the table does not read them.
func (t *Table) AnnotationWaivers() *AnnotationWaivers { return t.annotations }

// AsOf returns a copy of the table for a moment. Annotations of pods that have no creation time, as in manifests, count from there. Without
// it their annotations accept nothing.
func (t *Table) AsOf(now time.Time) *Table {
	if t.annotations == nil {
		return t
	}
	at := *t
	at.now = now
	return &at
}

// FromAnnotation reports whether the waiver is that of an annotation.
func (w *Waiver) FromAnnotation() bool { return w.ID == WaiveAnnotation }

// An annotationLine is one line that accepts violations. Its texts are parts of the pod.
type annotationLine struct {
	checks  []string
	expires time.Time
	reason  string
}

// annotationOf returns the annotation of a pod, and whether it has one.
func annotationOf(metadata gjson.Result) (gjson.Result, bool) {
	var found gjson.Result
	// The name has dots and a slash, which a path would have to escape.
	if annotations := metadata.Get("annotations"); metadata.IsObject() && annotations.IsObject() {
		annotations.ForEach(func(name, value gjson.Result) bool {
			if name.Str == WaiveAnnotation {
				found = value
			}
			return !found.Exists()
		})
	}
	return found, found.Exists() && found.Type != gjson.Null
}

// readAnnotation notes the lines of the pod's annotation that accept violations, and describes those that accept nothing.
func (t *Table) readAnnotation(e *evaluation, v *Verdict) {
	if t.annotations == nil {
		return
	}
	metadata := e.pod.Get("metadata")
	annotation, ok := annotationOf(metadata)
	if !ok {
		return
	}
	if annotation.Type != gjson.String || len(annotation.Raw) > maxAnnotationBytes {
		v.Mistakes = append(v.Mistakes, fmt.Sprintf("annotation %s must be a text of at most %d bytes; it accepts nothing", WaiveAnnotation, maxAnnotationBytes))
		return
	}
	from, what := t.annotationStart(metadata)
	number, wrong := 0, 0
	for text := range strings.Lines(annotation.Str) {
		number++
		if strings.TrimSpace(text) == "" {
			continue
		}
		line, err := t.parseLine(text)
		if err == nil {
			err = t.annotations.checkExpiry(line.expires, from, what)
		}
		if err == nil {
			e.annotated = append(e.annotated, line)
		} else if wrong++; wrong <= maxMistakes {
			v.Mistakes = append(v.Mistakes, fmt.Sprintf("line %d of annotation %s accepts nothing: %v", number, WaiveAnnotation, err))
		}
	}
	if more := wrong - maxMistakes; more > 0 {
		v.Mistakes = append(v.Mistakes, fmt.Sprintf("%d more lines of annotation %s accept nothing", more, WaiveAnnotation))
	}
}

// annotationStart returns the moment from which MaxDays counts, and how a message names it. It is the creation of a pod: no line of a pod
// begins to accept violations because time goes by. A manifest has no creation time, so each scan counts from its own moment, and a line
// whose date is too far away accepts violations as soon as the date is near enough.
func (t *Table) annotationStart(metadata gjson.Result) (from time.Time, name string) {
	created, err := time.Parse(time.RFC3339, textOf(metadata, "creationTimestamp"))
	if err == nil && (t.now.IsZero() || created.Before(t.now)) {
		return created, "after the creation of the pod"
	}
	return t.now, "from now"
}

// checkExpiry returns an error for a date that is too far away.
func (a *AnnotationWaivers) checkExpiry(expires, from time.Time, name string) error {
	if from.IsZero() {
		return errors.New("the pod has no creationTimestamp, from which annotationWaivers.maxDays counts")
	}
	if expires.After(from.Add(time.Duration(a.MaxDays) * 24 * time.Hour)) {
		return fmt.Errorf("%s is more than %d days %s", expires.Format(time.DateOnly), a.MaxDays, name)
	}
	return nil
}

// parseLine reads one line.
func (t *Table) parseLine(text string) (annotationLine, error) {
	head, reason, hasReason := strings.Cut(text, ":")
	words := strings.Fields(head)
	n := len(words)
	if !hasReason || n < 3 || words[n-2] != "expires" {
		return annotationLine{}, fmt.Errorf("it must have the form %q", "CHECK[,CHECK] expires DATE: REASON")
	}
	line := annotationLine{reason: strings.TrimSpace(reason)}
	if !strings.ContainsFunc(line.reason, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) {
		return line, fmt.Errorf("it has no reason after %q", clippedTo(head, 100)+":")
	}
	var err error
	if line.expires, err = time.Parse(time.DateOnly, words[n-1]); err != nil {
		return line, fmt.Errorf("%q is not a date such as 2030-12-31", clippedTo(words[n-1], 60))
	}
	for id := range strings.SplitSeq(strings.Join(words[:n-2], " "), ",") {
		id = strings.TrimSpace(id)
		present := t.Resolve(id)
		if !slices.Contains(t.annotations.CheckIDs, present) {
			return line, fmt.Errorf("annotationWaivers does not allow check %q", clippedTo(id, 60))
		}
		line.checks = append(line.checks, present)
	}
	return line, nil
}

// annotationWaiver returns the waiver of the pod's annotation for a check: of several, the one that expires last; nil when there is none.
func (t *Table) annotationWaiver(e *evaluation, check int) *Waiver {
	if len(e.annotated) == 0 {
		return nil
	}
	if len(e.byAnnotation) == 0 { // once for a pod, however many violations it has
		e.byAnnotation = append(e.byAnnotation, make([]*Waiver, len(t.checks))...)
		for _, line := range e.annotated {
			w := t.annotations.waiver(line)
			for _, c := range w.checks {
				if last := e.byAnnotation[c]; last == nil || w.Expires.After(last.Expires) {
					e.byAnnotation[c] = w
				}
			}
		}
	}
	return e.byAnnotation[check]
}

// waiver makes the waiver of a line. It does not refer to the pod.
func (a *AnnotationWaivers) waiver(line annotationLine) *Waiver {
	w := &Waiver{ID: WaiveAnnotation, Reason: strings.Clone(line.reason), Expires: line.expires}
	for i, id := range a.CheckIDs {
		if a.checks[i] >= 0 && slices.Contains(line.checks, id) {
			w.checks, w.CheckIDs = append(w.checks, a.checks[i]), append(w.CheckIDs, id)
		}
	}
	return w
}

// CompareWaivers orders waivers by id, and those of annotations, which have one id, by what they say. It is 0 for waivers that accept the
// same for the same reason.
func CompareWaivers(a, b *Waiver) int {
	if a == b {
		return 0
	}
	return cmp.Or(cmp.Compare(a.ID, b.ID), a.Expires.Compare(b.Expires), cmp.Compare(a.Reason, b.Reason), slices.Compare(a.CheckIDs, b.CheckIDs))
}

// subset returns the same for the remaining checks. Lines go on naming the others.
func (a *AnnotationWaivers) subset(position map[int]int) *AnnotationWaivers {
	if a == nil {
		return nil
	}
	s := *a
	s.checks = make([]int, len(a.checks))
	for i, check := range a.checks {
		s.checks[i] = -1
		if at, stays := position[check]; stays {
			s.checks[i] = at
		}
	}
	return &s
}
