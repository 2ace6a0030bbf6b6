package report

import (
	"bufio"
	"cmp"
	"io"
	"slices"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/rules"
)

// A DocumentWaiver has the violations that one waiver accepts in one namespace.
type DocumentWaiver struct {
	Waiver     string         `json:"waiver"`
	Expires    string         `json:"expires"`
	Namespace  string         `json:"namespace"`
	Violations map[string]int `json:"violations"` // by check
}

// Waivers returns the waived violations by waiver and namespace, sorted by expiry.
func (doc *Document) Waivers() []DocumentWaiver {
	type key struct{ waiver, expires, namespace string }
	at := make(map[key]map[string]int)
	for _, v := range doc.Waived {
		k := key{v.Waiver, v.Expires, v.Namespace}
		if at[k] == nil {
			at[k] = make(map[string]int)
		}
		at[k][v.Check]++
	}
	found := make([]DocumentWaiver, 0, len(at))
	for k, counts := range at {
		found = append(found, DocumentWaiver{k.waiver, k.expires, k.namespace, counts})
	}
	slices.SortFunc(found, func(a, b DocumentWaiver) int {
		return cmp.Or(cmp.Compare(a.Expires, b.Expires), cmp.Compare(a.Waiver, b.Waiver), cmp.Compare(a.Namespace, b.Namespace))
	})
	return found
}

// DocumentWaivers writes the violations that waivers accept, sorted by expiry, and the warnings.
func DocumentWaivers(to io.Writer, doc *Document, o Options) error {
	w := &tableWriter{to: bufio.NewWriter(to), o: o}
	w.line("%s", w.in(bold, english.Plural(len(doc.Waived), "violation", "")+" waived."))
	var cells [][]gridCell
	for _, waiver := range doc.Waivers() {
		until := name(waiver.Expires)
		if at, err := time.Parse(time.RFC3339Nano, waiver.Expires); err == nil {
			until = expiry(&rules.Waiver{Expires: at})
		}
		cells = append(cells, []gridCell{{text: name(waiver.Waiver)}, {text: until}, {text: name(waiver.Namespace)}, {items: byCount(waiver.Violations)}})
	}
	if len(cells) > 0 {
		w.grid(grid{{head: "WAIVED BY", least: 12}, {head: "UNTIL"}, {head: "NAMESPACE", least: 12}, {head: "WAIVED", least: 20}}, cells)
	}
	w.documentNotes(doc)
	return w.to.Flush()
}
