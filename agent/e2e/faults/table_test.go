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

// An outcome has the measurements of one row.
type outcome struct {
	trials     int
	double     time.Duration // in which both replicas published
	unseen     time.Duration // longest time without an answer of a running replica
	recomputed int           // number of comparisons with a recompute
	failed     bool
	skipped    string // reason
	notes      []string

	mu    sync.Mutex
	took  []time.Duration
	bound time.Duration // the largest one
}

func (o *outcome) recovered(took, bound time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took = append(o.took, took)
	o.bound = max(o.bound, bound)
}

// median returns the median time to recover.
func (o *outcome) median() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.took) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(o.took))[len(o.took)/2]
}

// longest returns the longest time to recover.
func (o *outcome) longest() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.took) == 0 {
		return 0
	}
	return slices.Max(o.took)
}

// results has the outcomes of completed rows by key.
var results = struct {
	sync.Mutex
	of map[string]*outcome
}{of: map[string]*outcome{}}

// line returns the row of the table in Markdown.
func (r *row) line(o *outcome) string {
	cells := []string{r.key(), r.name, "", "", "", "", "", r.demand, r.verdict(o)}
	if o != nil && o.trials > 0 {
		cells[2], cells[3], cells[4] = strconv.Itoa(o.trials), seconds(o.double), fmt.Sprintf("%.2f s", o.unseen.Seconds())
		if r.allowedDouble > 0 {
			cells[3] += " (at most " + seconds(r.allowedDouble) + ")"
		}
		if r.standalone {
			cells[3], cells[4] = "", ""
		}
		if len(o.took) > 0 {
			cells[5], cells[6] = seconds(o.median()), seconds(o.longest())+" (bound "+seconds(o.bound)+")"
		}
		cells[7] = strings.Join(append([]string{r.demand}, o.notes...), "; ")
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// verdict returns the result of the row. A skipped row, or one without a completed trial, does not pass.
func (r *row) verdict(o *outcome) string {
	switch {
	case r.cannot != "":
		return "not run: " + r.cannot
	case o == nil:
		return "not run"
	case o.failed:
		return "**fail**"
	case o.skipped != "":
		return "not run: " + o.skipped
	case o.trials == 0:
		return "not run: no trial was completed"
	default:
		return "pass"
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

const tableHead = "| row | fault | trials | double publish | longest gap in scrapes | median recovery | longest recovery | requirement; further measurements | result |\n" +
	"| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"

// table returns the whole matrix. A row that has not run keeps its line of the page, if the page has the same fault.
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

// writePage writes the table to deploy/RELIABILITY.md.
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
		return fmt.Errorf("%s has no markers for the table", path)
	}
	text := string(before) + tableBegin + table(string(old)) + tableEnd + string(after)
	return os.WriteFile(path, []byte(text), 0o644)
}
