// Package report prints a snapshot of the state: each printer writes one report to one io.Writer.
package report

import (
	"bufio"
	"encoding/json"
	"io"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// JSON writes the report as one JSON object, piece by piece. Numbers are not rounded. Namespaces are sorted by name,
// violations by namespace, pod and check. Scores of no data are null. The violations that a waiver accepts are in no
// count and no score, and follow in a list of their own where there are any.
func JSON(to io.Writer, snap *state.Snapshot) error {
	w := &jsonWriter{to: bufio.NewWriter(to)}
	w.put(`{"policy": `)
	w.value(policyJSON{snap.Table.Name(), snap.Table.Hash()})
	w.put(",\n \"cluster\": ")
	w.cluster(snap)
	w.list("namespaces", len(snap.Namespaces), func(i int) {
		ns := snap.Namespaces[i]
		scores, ok := ns.Scores(snap.Table)
		w.put(`{"namespace": `)
		w.value(ns.Name)
		w.put(`, "pods": `)
		w.value(ns.TotalPods)
		w.scores(scores, ok)
		w.counts(snap.Table, ns.Violations)
		w.put("}")
	})
	w.list("violations", len(snap.Violations), func(i int) {
		w.value(violationOf(snap.Table, snap.Violations[i]))
	})
	if len(snap.Waived) > 0 {
		w.list("waived", len(snap.Waived), func(i int) {
			v := snap.Waived[i]
			w.value(waivedJSON{violationOf(snap.Table, v), v.Waiver.ID, v.Waiver.Expires.UTC().Format(time.RFC3339Nano)})
		})
	}
	w.put("}\n")
	if w.err != nil {
		return w.err
	}
	return w.to.Flush()
}

type policyJSON struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
}

type violationJSON struct {
	Namespace string         `json:"namespace"`
	Pod       string         `json:"pod"`
	Check     string         `json:"check"`
	Severity  rules.Severity `json:"severity"`
	Weight    int            `json:"weight"`
	Container string         `json:"container,omitempty"`
	Path      string         `json:"path,omitempty"`
	Message   string         `json:"message"`
}

type waivedJSON struct {
	violationJSON
	Waiver  string `json:"waiver"`
	Expires string `json:"expires"`
}

// A jsonWriter writes pieces of JSON, and keeps the first error.
type jsonWriter struct {
	to  *bufio.Writer
	err error
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
	w.put(string(text))
}

func (w *jsonWriter) list(name string, n int, item func(i int)) {
	w.put(",\n \"" + name + "\": [")
	for i := range n {
		if i > 0 {
			w.put(",")
		}
		w.put("\n  ")
		item(i)
	}
	w.put("]")
}

func (w *jsonWriter) cluster(snap *state.Snapshot) {
	namespaces := 0
	for _, ns := range snap.Namespaces {
		if ns.TotalPods > 0 {
			namespaces++
		}
	}
	totals := snap.Totals()
	w.put(`{"namespaces": `)
	w.value(namespaces)
	w.put(`, "pods": `)
	w.value(totals.TotalPods)
	scores, ok := snap.Cluster()
	w.scores(scores, ok)
	w.counts(snap.Table, totals.Violations)
	w.put("}")
}

func (w *jsonWriter) scores(s state.Scores, ok bool) {
	if !ok {
		w.put(`, "score": null, "compliance": null, "grade": null`)
		return
	}
	w.put(`, "score": `)
	w.value(s.Score)
	w.put(`, "compliance": `)
	w.value(s.Compliance)
	w.put(`, "grade": `)
	w.value(s.Grade)
}

// counts writes the violations of each check in the order of the table.
func (w *jsonWriter) counts(table *rules.Table, counts []int) {
	w.put(`, "violations": {`)
	for i, check := range table.Checks() {
		if i > 0 {
			w.put(", ")
		}
		w.value(check.ID)
		w.put(": ")
		w.value(counts[i])
	}
	w.put("}")
}

func violationOf(table *rules.Table, v state.PodViolation) violationJSON {
	check := &table.Checks()[v.Check]
	return violationJSON{
		Namespace: v.Namespace,
		Pod:       v.Pod.Name,
		Check:     check.ID,
		Severity:  check.Severity,
		Weight:    check.Weight,
		Container: v.Violation.Name,
		Path:      v.Path,
		Message:   check.Message(),
	}
}
