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
	recomputed int           // comparisons with a recompute
	failed     bool

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
	cells := []string{r.key(), r.name, "", "", "", "", r.demand, ""}
	switch {
	case r.cannot != "":
		cells[7] = "not run: " + r.cannot
	case o == nil:
		cells[7] = "not run"
	default:
		cells[2], cells[3] = strconv.Itoa(o.trials), seconds(o.double)
		if r.stated > 0 {
			cells[3] += " (at most " + seconds(r.stated) + ")"
		}
		if len(o.took) > 0 {
			slices.Sort(o.took)
			cells[4], cells[5] = seconds(o.took[len(o.took)/2]), seconds(o.took[len(o.took)-1])+" (bound "+seconds(o.bound)+")"
		}
		if cells[7] = "holds"; o.failed {
			cells[7] = "**FAILS**"
		}
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

const tableHead = "| row | fault | trials | double publish | recovered, median | recovered, most | what is demanded | verdict |\n" +
	"| --- | --- | --- | --- | --- | --- | --- | --- |\n"

// table is the whole matrix: the rows that have run as measured, the others as they stand in the page.
func table(page string) string {
	var b strings.Builder
	b.WriteString(tableHead)
	for _, r := range matrix {
		o := results.of[r.key()]
		line := r.line(o)
		if o == nil && r.cannot == "" {
			if at := strings.Index(page, "\n| "+r.key()+" | "); at >= 0 {
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
