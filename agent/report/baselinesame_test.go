package report

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// TestBaselineOfSubjectsOfOneName compares pods of one workload whose container mounts volumes several times. Each list is a
// pod: pods of a recording, or manifests of the same name.
func TestBaselineOfSubjectsOfOneName(t *testing.T) {
	table := loadTable(t, mixedTable)
	scanOf := func(manifest bool, pods ...string) *Scan {
		s := state.New(table)
		for i, mounts := range pods {
			verdict := rules.Verdict{Subjects: []int{len(mounts), 0}}
			for j, mount := range mounts {
				verdict.Violations = append(verdict.Violations, rules.Violation{Container: "c", Subject: string(mount), Path: fmt.Sprintf("spec.containers.0.volumeMounts.%d", j)})
			}
			origin := &Origin{Workload: Workload{"Deployment", "web"}}
			if manifest {
				origin.File, origin.Document, origin.Pod = "web.yaml", i+1, "Deployment/web"
			}
			s.Put(state.Pod{Namespace: "shop", Name: fmt.Sprintf("web-%d", i)}, verdict, origin)
		}
		return &Scan{Snapshot: s.SnapshotWithViolations()}
	}
	older := func(text string) string {
		return strings.NewReplacer(" \"version\": 1,\n", "", `"container":"c","subject":`, `"container":`).Replace(text)
	}
	of := func(s *Scan) string { return string(printed(t, ScanJSON, s, Options{})) }
	agent := func(s *Scan) string {
		return string(printed(t, func(to io.Writer, s *Scan, _ Options) error { return JSON(to, s.Snapshot, nil, nil) }, s, Options{}))
	}
	for _, test := range []struct {
		name            string
		old             string
		now             *Scan
		fresh, resolved int
	}{
		{"manifest: the same", of(scanOf(true, "aab")), scanOf(true, "aab"), 0, 0},
		{"manifest: a second one", of(scanOf(true, "a")), scanOf(true, "aa"), 1, 0},
		{"manifest: a second and a third one, and one of another name", of(scanOf(true, "a")), scanOf(true, "aaab"), 3, 0},
		{"manifest: one less", of(scanOf(true, "aaa")), scanOf(true, "aa"), 0, 1},
		{"two manifests: the first has one more", of(scanOf(true, "a", "aa")), scanOf(true, "aa", "aa"), 1, 0},
		{"two manifests: one from the first to the second", of(scanOf(true, "aa", "a")), scanOf(true, "a", "aa"), 0, 0},
		{"pods: the same", of(scanOf(false, "aab", "aab")), scanOf(false, "aab", "aab"), 0, 0},
		{"pods: a second one", of(scanOf(false, "a")), scanOf(false, "aa"), 1, 0},
		{"pods: a second one in two of three pods", of(scanOf(false, "a", "a")), scanOf(false, "a", "aa", "aa"), 2, 0},
		{"pods: another replica", of(scanOf(false, "aa")), scanOf(false, "aa", "aa", "a"), 0, 0},
		{"pods: one less", of(scanOf(false, "aaa", "a")), scanOf(false, "aa"), 0, 1},
		{"pods: fewer of them", of(scanOf(false, "aa", "aa")), scanOf(false, "aa"), 0, 0},
		{"report of an agent: the same, and another replica", agent(scanOf(false, "aab")), scanOf(false, "aab", "aab"), 0, 0},
		{"report of an agent: a second one", agent(scanOf(false, "a")), scanOf(false, "aa"), 1, 0},
		{"report of an agent: one less", agent(scanOf(false, "aa")), scanOf(false, "a"), 0, 1},
		{"older report: the same pods", older(of(scanOf(false, "aab", "aab"))), scanOf(false, "aab", "aab"), 0, 0},
		{"older report: a second one in a pod", older(of(scanOf(false, "a"))), scanOf(false, "aa"), 1, 0},
		{"older report: the same manifest", older(of(scanOf(true, "aab"))), scanOf(true, "aab"), 0, 0},
		{"older report: a second one in a manifest", older(of(scanOf(true, "a"))), scanOf(true, "aa"), 1, 0},
		{"recording after manifests", of(scanOf(true, "aa")), scanOf(false, "aa", "aa"), 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			changes := baselineOf(t, []byte(test.old)).Compare(test.now)
			if changes.Violations != test.fresh || len(changes.Resolved) != test.resolved {
				t.Errorf("%d are new and %d resolved, want %d and %d", changes.Violations, len(changes.Resolved), test.fresh, test.resolved)
			}
			if lines := strings.Count(string(printed(t, NDJSON, test.now, Options{Baseline: changes})), `"new":true`); lines != test.fresh {
				t.Errorf("%d lines are new, want %d", lines, test.fresh)
			}
			if findings := strings.Count(string(printed(t, SARIF, test.now, Options{Baseline: changes})), `"baselineState":"new"`); (findings > 0) != (test.fresh > 0) {
				t.Errorf("%d results are new", findings)
			}
		})
	}
}
