package faults_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

// An outcome is what was measured of one row.
type outcome struct {
	trials     int
	double     time.Duration // both replicas published
	unseen     time.Duration // the longest time without an answer of a replica that ran
	recomputed int           // comparisons with a recompute
	failed     bool
	skipped    string // why it was not run here
	notes      []string

	mu    sync.Mutex
	took  []time.Duration
	bound time.Duration // the largest that was asked for
}

func (o *outcome) recovered(took, bound time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took = append(o.took, took)
	o.bound = max(o.bound, bound)
}

// median is the middle one of the times to recover.
func (o *outcome) median() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.took) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(o.took))[len(o.took)/2]
}

// longest is the longest time to recover.
func (o *outcome) longest() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.took) == 0 {
		return 0
	}
	return slices.Max(o.took)
}

// results are the outcomes of the rows that have run, by their keys.
var results = struct {
	sync.Mutex
	of map[string]*outcome
}{of: map[string]*outcome{}}

// line is the row in the table, in Markdown.
func (r *row) line(o *outcome) string {
	cells := []string{r.key(), r.name, "", "", "", "", "", r.demand, r.verdict(o)}
	if o != nil && o.trials > 0 {
		cells[2], cells[3], cells[4] = strconv.Itoa(o.trials), seconds(o.double), fmt.Sprintf("%.2f s", o.unseen.Seconds())
		if r.stated > 0 {
			cells[3] += " (at most " + seconds(r.stated) + ")"
		}
		if r.bare {
			cells[3], cells[4] = "", ""
		}
		if len(o.took) > 0 {
			cells[5], cells[6] = seconds(o.median()), seconds(o.longest())+" (bound "+seconds(o.bound)+")"
		}
		cells[7] = strings.Join(append([]string{r.demand}, o.notes...), "; ")
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// verdict tells whether the row holds. One that was skipped, or of which no trial came to its end, does not.
func (r *row) verdict(o *outcome) string {
	switch {
	case r.cannot != "":
		return "not run: " + r.cannot
	case o == nil:
		return "not run"
	case o.failed:
		return "**FAILS**"
	case o.skipped != "":
		return "not run: " + o.skipped
	case o.trials == 0:
		return "not run: no trial came to its end"
	default:
		return "holds"
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

const tableHead = "| row | fault | trials | double publish | unseen, most | recovered, median | recovered, most | what is demanded; what was measured besides | verdict |\n" +
	"| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"

// table is the whole matrix: the rows that have run as measured, the others as they stand in the page, if they
// are the same fault there.
func table(page string) string {
	var b strings.Builder
	b.WriteString(tableHead)
	for _, r := range matrix {
		o := results.of[r.key()]
		line := r.line(o)
		if o == nil && r.cannot == "" {
			if at := strings.Index(page, "\n| "+r.key()+" | "+r.name+" | "); at >= 0 {
				line, _, _ = strings.Cut(page[at+1:], "\n")
			}
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

const (
	tableBegin = "<!-- The table is written by `make faults`. -->\n"
	tableEnd   = "<!-- The end of the table. -->\n"
)

// writePage puts the table into deploy/RELIABILITY.md.
func writePage() error {
	root, err := binaries.Root()
	if err != nil {
		return err
	}
	path := filepath.Join(root, "deploy", "RELIABILITY.md")
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(page, []byte(tableBegin))
	old, after, ended := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ended {
		return fmt.Errorf("%s has no place for the table", path)
	}
	text := string(before) + tableBegin + table(string(old)) + tableEnd + string(after)
	return os.WriteFile(path, []byte(text), 0o644)
}
