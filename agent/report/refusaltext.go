package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/rules"
)

// momentTexts has the names of the moments in a table, and their explanations below it.
var momentTexts = map[When]struct{ name, explanation string }{
	AtRestart: {"next restart", "when the next pod is created, because its owner is not a built-in workload. " +
		"Fix the workload first, or exempt the service account of its operator (policy export vap --controller-user)."},
	AtRollOut: {"next roll-out", "when the next ReplicaSet is created, because its owner is not a Deployment. Restarts of pods are admitted."},
	AtCreate: {"creation", "when the object is created, or deleted and created again. Restarts of its pods, and updates that add no " +
		"violation, are admitted. A rollback to an older revision, or a new name for a container, can add a violation."},
}

// refused lists the findings that the API server would refuse, earliest moment first.
func (w *tableWriter) refused() {
	if len(w.scan.Admission) == 0 {
		return
	}
	var refused []Refusal
	for _, r := range w.o.Refusals {
		if r.Action == rules.Deny {
			refused = append(refused, r)
		}
	}
	w.line("")
	for _, line := range Wrap(refusedHeadline(w.o.Refusals), w.o.Width, "  ") {
		w.line("%s", w.in(bold, line))
	}
	first := refused
	if w.o.Top > 0 && len(first) > w.o.Top {
		first = first[:w.o.Top]
	}
	w.refusalGrid(first, true, nil)
	w.more(len(refused)-len(first), "refused finding")
	w.explainMoments(refused)
	if n := w.scan.StaticPods(); n > 0 {
		w.wrapped(staticPods(n), "  ")
	}
}

// refusedHeadline returns the numbers of refused workloads, and of findings with other actions.
func refusedHeadline(refusals []Refusal) string {
	text := "Admission refuses " + english.Plural(len(RefusedWorkloads(refusals)), "workload", "")
	if others := otherActions(refusals); others != "" {
		text += "; " + others
	}
	return text
}

// otherActions returns the numbers of findings that the API server warns about and audits. It returns "" if there are none.
func otherActions(refusals []Refusal) string {
	counts := make(map[rules.Enforce]int)
	for _, r := range refusals {
		counts[r.Action]++
	}
	var words []string
	for _, action := range []rules.Enforce{rules.Warn, rules.Audit} {
		if n := counts[action]; n > 0 {
			words = append(words, english.Plural(n, "finding", "")+" "+outcomes[action])
		}
	}
	return strings.Join(words, ", ")
}

// refusalGrid lists refusals. checks adds a column for the check. If known is not nil, a column marks the refusals that are not in it as new.
func (w *tableWriter) refusalGrid(refusals []Refusal, checks bool, known map[refusalKey]bool) {
	if len(refusals) == 0 {
		return
	}
	g := grid{{head: "NAMESPACE", least: 12}, {head: "WORKLOAD", least: 18}, {head: "SUBJECT", least: 8}, {head: "AT"}}
	if checks {
		g = slices.Insert(g, 0, column{head: "REFUSED", least: 12})
	}
	if known != nil {
		g = append(g, column{head: "NEW"})
	}
	var cells [][]gridCell
	for i := range refusals {
		r := &refusals[i]
		row := []gridCell{{text: name(r.Namespace)}, {text: r.owner}, {text: subjectName(r.label())}, {text: momentTexts[r.When].name}}
		if checks {
			row = slices.Insert(row, 0, gridCell{text: r.Check.ID, color: red})
		}
		if known != nil {
			row = append(row, gridCell{text: map[bool]string{false: "new"}[known[r.refusalKey()]]})
		}
		cells = append(cells, row)
	}
	w.grid(g, cells)
}

// explainMoments explains the moments that the table has.
func (w *tableWriter) explainMoments(refusals []Refusal) {
	for _, moment := range moments {
		if slices.ContainsFunc(refusals, func(r Refusal) bool { return r.When == moment }) {
			text := momentTexts[moment]
			w.wrapped(text.name+": "+text.explanation, "  ")
		}
	}
}

// A Preview compares what the API server refuses with the exported policies of two tables.
type Preview struct {
	Before, After PreviewSide
	// LeftOut has sentences about the parts of the new table that are not evaluated.
	LeftOut []string
	// StaticPods is the number of static pods with violations. They run even if the API server refuses their mirror pods.
	StaticPods int
}

// A PreviewSide is a table with its refusals. There are none if the table enforces no check.
type PreviewSide struct {
	Table    *rules.Table
	Refusals []Refusal
}

// PreviewText writes the refused workloads by check, with the remediation of each check.
func PreviewText(to io.Writer, p *Preview, o Options) error {
	w := &tableWriter{to: bufio.NewWriter(to), o: o}
	w.wrapped("Policy "+name(p.After.Table.Name())+": admission refuses "+english.Plural(len(RefusedWorkloads(p.After.Refusals)), "workload", "")+" ("+
		english.Plural(len(p.added()), "finding", "")+" new); policy "+name(p.Before.Table.Name())+" refuses "+number(len(RefusedWorkloads(p.Before.Refusals)))+".", "  ")
	var known map[refusalKey]bool
	if len(p.Before.Refusals) > 0 {
		known = keysOf(p.Before.Refusals)
	}
	for _, action := range rules.Enforcements() {
		for i := range p.After.Table.Checks() {
			w.previewOf(action, &p.After.Table.Checks()[i], p.After.Refusals, known)
		}
	}
	if len(p.After.Refusals) > 0 {
		w.line("")
		w.explainMoments(p.After.Refusals)
	}
	for _, text := range p.notes() {
		w.wrapped(text, "  ")
	}
	return w.to.Flush()
}

// previewOf writes the refusals of one check for one action, with the remediation of the check.
func (w *tableWriter) previewOf(action rules.Enforce, c *rules.Check, all []Refusal, known map[refusalKey]bool) {
	var of []Refusal
	for _, r := range all {
		if r.Action == action && r.Check.ID == c.ID {
			of = append(of, r)
		}
	}
	if len(of) == 0 {
		return
	}
	w.line("")
	text := strings.TrimSpace(strings.TrimSuffix(prose(c.Message(), 300), ".") + ". " + prose(c.Remediation, 600))
	lines := Wrap(fmt.Sprintf("%s (%s, %s): %s", c.ID, action, english.Plural(len(byWorkload(of)), "workload", ""), text), w.o.Width, "  ")
	lines[0] = w.in(bold, c.ID) + strings.TrimPrefix(lines[0], c.ID)
	for _, line := range lines {
		w.line("%s", line)
	}
	w.refusalGrid(of, false, known)
}

// notes returns sentences about what the list does not include.
func (p *Preview) notes() []string {
	var notes []string
	if n := len(p.gone()); n > 0 {
		notes = append(notes, english.Plural(n, "finding", "")+" refused by policy "+name(p.Before.Table.Name())+" only.")
	}
	if p.StaticPods > 0 {
		notes = append(notes, staticPods(p.StaticPods))
	}
	for _, text := range p.LeftOut {
		notes = append(notes, prose(text, 400))
	}
	return notes
}

// A refusalKey identifies a refusal independently of the table.
type refusalKey struct {
	action                                         rules.Enforce
	namespace, workload, check, container, subject string
}

func keysOf(refusals []Refusal) map[refusalKey]bool {
	keys := make(map[refusalKey]bool)
	for i := range refusals {
		keys[refusals[i].refusalKey()] = true
	}
	return keys
}

func (r *Refusal) refusalKey() refusalKey {
	return refusalKey{r.Action, r.Namespace, r.Workload.String() + "\x00" + r.File, r.Check.ID, r.Container, r.Subject + "\x00" + r.pathAlone()}
}

// added returns the refusals that only the new table has, and gone those that only the old table has.
func (p *Preview) added() []Refusal { return lacking(p.After.Refusals, p.Before.Refusals) }
func (p *Preview) gone() []Refusal  { return lacking(p.Before.Refusals, p.After.Refusals) }

func lacking(of, others []Refusal) []Refusal {
	known := keysOf(others)
	return slices.DeleteFunc(slices.Clone(of), func(r Refusal) bool { return r.Action != rules.Deny || known[r.refusalKey()] })
}

type (
	previewJSON struct {
		Before     previewSideJSON      `json:"before"`
		After      previewSideJSON      `json:"after"`
		Refusals   []previewRefusalJSON `json:"refusals"` // by the new table
		Gone       []refusalJSON        `json:"gone"`     // by the old table only
		StaticPods int                  `json:"staticPods"`
		LeftOut    []string             `json:"leftOut"`
	}
	previewSideJSON struct {
		policyJSON
		Workloads int `json:"refusedWorkloads"`
	}
	previewRefusalJSON struct {
		refusalJSON
		New bool `json:"new"` // the old table does not have this refusal
	}
)

// PreviewJSON writes the preview as one JSON object.
func PreviewJSON(to io.Writer, p *Preview) error {
	side := func(s PreviewSide) previewSideJSON {
		return previewSideJSON{policyJSON{s.Table.Name(), s.Table.Hash()}, len(RefusedWorkloads(s.Refusals))}
	}
	out := previewJSON{
		Before: side(p.Before), After: side(p.After), Refusals: []previewRefusalJSON{}, Gone: []refusalJSON{},
		StaticPods: p.StaticPods, LeftOut: append([]string{}, p.LeftOut...),
	}
	known := keysOf(p.Before.Refusals)
	for i := range p.After.Refusals {
		r := &p.After.Refusals[i]
		out.Refusals = append(out.Refusals, previewRefusalJSON{r.json(), !known[r.refusalKey()]})
	}
	for _, r := range p.gone() {
		out.Gone = append(out.Gone, r.json())
	}
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}

func staticPods(n int) string {
	return english.Plural(n, "static pod", "") + " not evaluated: the kubelet runs static pods even if the API server refuses their mirror pods."
}
