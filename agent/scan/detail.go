package scan

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/rules"
)

// describer finds the details of violations for the reports. Its memory is reused.
type describer struct {
	of       []rules.Detail
	subjects rules.Locator
}

// describe appends the details of each violation of a pod: the value, and the line in a manifest.
func (d *describer) describe(to []report.Detail, p *batchedPod, verdict *rules.Verdict, table *rules.Table, text, reduced []byte) []report.Detail {
	d.of = table.Details(d.of[:0], reduced, verdict.Violations)
	first := len(to)
	for _, detail := range d.of {
		to = append(to, report.Detail{Detail: detail})
	}
	if !p.Recorded && p.from.file != "" {
		d.findLines(to[first:], p, verdict, text)
	}
	return to
}

// findLines finds the line of the subject of each violation. It is that of the object if the subject is the pod itself, or cannot
// be found.
func (d *describer) findLines(of []report.Detail, p *batchedPod, verdict *rules.Verdict, text []byte) {
	d.subjects.Begin(text)
	defer d.subjects.End()
	last, line := 0, p.Line
	for i := range of {
		at, ok := d.subjects.Offset(verdict.Violations[i].Path)
		if !ok {
			of[i].Line = p.Line
			continue
		}
		if at < last {
			last, line = 0, p.Line
		}
		line += bytes.Count(text[last:at], []byte{'\n'})
		last = at
		of[i].Line = line
	}
}

// details keeps each list of details once: the pods of a workload share theirs.
type details struct {
	known map[string]*[]report.Detail
	key   []byte
}

// of returns the details of a verdict of a pod, or nil if there are none.
func (d *details) of(p *batchedPod, j *judged) *[]report.Detail {
	if !slices.ContainsFunc(j.details, func(detail report.Detail) bool { return detail != (report.Detail{}) }) {
		return nil
	}
	if !p.Recorded { // each manifest has lines of its own
		return cloneDetails(j.details)
	}
	d.key = d.key[:0]
	for _, detail := range j.details {
		d.key = binary.AppendUvarint(d.key, uint64(len(detail.Value)))
		d.key = strconv.AppendBool(append(d.key, detail.Value...), detail.Withheld)
	}
	if known, ok := d.known[string(d.key)]; ok {
		return known
	}
	if d.known == nil {
		d.known = make(map[string]*[]report.Detail)
	}
	own := cloneDetails(j.details)
	d.known[string(d.key)] = own
	return own
}

// cloneDetails returns a copy that shares no memory with the batch.
func cloneDetails(of []report.Detail) *[]report.Detail {
	own := slices.Clone(of)
	for i := range own {
		own[i].Value = strings.Clone(own[i].Value)
	}
	return &own
}
