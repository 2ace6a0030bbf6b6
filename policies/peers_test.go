package policies_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/policies"
)

// peerChecks are the numbers of checks in the lists of the peers, as of August 2026: the generated list of kube-linter, the files of
// Polaris, the list of kube-score, the best practices and Pod Security policies of Kyverno with the policies of others that validate
// pods, and the controls of Kubescape.
var peerChecks = map[string]int{"kube-linter": 63, "Polaris": 44, "kube-score": 39, "Kyverno": 119, "Kubescape": 281}

var peerColumns = []string{"peer", "check", "ours", "table", "agreement", "why not"}

// TestPeers holds peers.tsv: it names each check of each peer once, with our checks and whether they agree, or the reason why there is
// none.
func TestPeers(t *testing.T) {
	rows := peerRows(t)
	ids := make(map[string][]string)
	for _, name := range policies.Names() {
		table, err := policies.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range table.Checks() {
			ids[name] = append(ids[name], c.ID)
		}
	}
	for _, problem := range peerProblems(rows, ids) {
		t.Error(problem)
	}
	got := make(map[string]int)
	for _, row := range rows[1:] {
		got[row[0]]++
	}
	if diff := cmp.Diff(peerChecks, got); diff != "" {
		t.Errorf("checks of each peer (-want +got):\n%s", diff)
	}
}

// TestPeersFindsProblems makes sure that TestPeers can fail.
func TestPeersFindsProblems(t *testing.T) {
	ids := map[string][]string{"default": {"latest_tag", "missing_liveness"}}
	got := peerProblems([][]string{
		peerColumns,
		{"a", "tag", "latest_tag", "default", "same", ""},
		{"a", "probes", "missing_liveness, missing_readiness", "default", "differs: sidecars", ""},
		{"a", "tag", "", "", "", "twice"},
		{"a", "both", "latest_tag", "default", "same", "and a reason"},
		{"a", "nothing", "", "", "", ""},
		{"a", "silent", "latest_tag", "default", "", ""},
		{"a", "vague", "latest_tag", "default", "differs", ""},
		{"a", "elsewhere", "latest_tag", "other", "same", ""},
	}, ids)
	want := []string{
		"a probes: the table default has no check missing_readiness",
		"a tag: is there twice",
		"a both: has checks and a reason why there is none",
		"a nothing: has neither checks nor a reason why there is none",
		`a silent: the agreement is "", must be same or differs: and how`,
		`a vague: the agreement is "differs", must be same or differs: and how`,
		"a elsewhere: the table other has no check latest_tag",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if got := peerProblems([][]string{{"peer", "check"}}, ids); len(got) != 1 {
		t.Errorf("problems of another header: %v", got)
	}
}

func peerRows(t *testing.T) [][]string {
	t.Helper()
	file, err := os.Open("peers.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	reader := csv.NewReader(file)
	reader.Comma, reader.LazyQuotes = '\t', true
	rows, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// peerProblems lists what is wrong with the rows of peers.tsv; ids are those of the checks of each table.
func peerProblems(rows [][]string, ids map[string][]string) (problems []string) {
	if !slices.Equal(rows[0], peerColumns) {
		return []string{fmt.Sprintf("the columns are %q, must be %q", rows[0], peerColumns)}
	}
	seen := make(map[string]bool)
	for _, row := range rows[1:] {
		name := row[0] + " " + row[1]
		ours, table, agreement, whyNot := row[2], row[3], row[4], row[5]
		problem := func(format string, args ...any) {
			problems = append(problems, name+": "+fmt.Sprintf(format, args...))
		}
		switch {
		case seen[name]:
			problem("is there twice")
		case ours == "" && whyNot == "":
			problem("has neither checks nor a reason why there is none")
		case ours != "" && whyNot != "":
			problem("has checks and a reason why there is none")
		case ours != "" && agreement != "same" && !strings.HasPrefix(agreement, "differs: "):
			problem("the agreement is %q, must be same or differs: and how", agreement)
		case ours != "":
			for id := range strings.SplitSeq(ours, ", ") {
				if !slices.Contains(ids[table], id) {
					problem("the table %s has no check %s", table, id)
				}
			}
		}
		seen[name] = true
	}
	return problems
}
