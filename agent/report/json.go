// Package report prints a snapshot of the state: each printer writes one report to one io.Writer.
package report

import (
	"bufio"
	"encoding/json"
	"io"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// JSON writes the report as one JSON object, piece by piece. Numbers are not rounded. Namespaces are sorted by name,
// violations by namespace, pod and check. Scores of no data are null.
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
		w.violation(snap.Table, snap.Violations[i])
	})
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

func (w *jsonWriter) violation(table *rules.Table, v state.PodViolation) {
	check := &table.Checks()[v.Check]
	w.value(violationJSON{
		Namespace: v.Namespace,
		Pod:       v.Pod.Name,
		Check:     check.ID,
		Severity:  check.Severity,
		Weight:    check.Weight,
		Container: v.Violation.Name,
		Path:      v.Path,
		Message:   check.Message(),
	})
}
