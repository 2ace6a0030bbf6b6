package policies_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// pssVersion is the version of the Pod Security Standards that the tables pss-baseline and pss-restricted state.
var pssVersion = api.MajorMinorVersion(1, 37)

// pssLevels are the levels with a table.
var pssLevels = map[string]api.Level{"pss-baseline": api.LevelBaseline, "pss-restricted": api.LevelRestricted}

// pssChecks returns the checks of a level in the newest version, by our ids: those that the API server runs.
func pssChecks(level api.Level) map[string]policy.CheckPodFn {
	checks, overridden := make(map[string]policy.CheckPodFn), []policy.CheckID(nil)
	for _, check := range policy.DefaultChecks() {
		if level == api.LevelBaseline && check.Level != level {
			continue
		}
		newest := check.Versions[len(check.Versions)-1]
		checks[pssID(check.ID)] = newest.CheckPod
		overridden = append(overridden, newest.OverrideCheckIDs...)
	}
	for _, id := range overridden {
		delete(checks, pssID(id))
	}
	return checks
}

// pssID is our id of a check: pss_host_path_volumes for hostPathVolumes.
func pssID(id policy.CheckID) string {
	var b strings.Builder
	b.WriteString("pss_")
	for i, c := range id {
		// A run of capitals is one word, and its last letter begins the next one: seLinuxOptions.
		if unicode.IsUpper(c) && i > 0 && !unicode.IsUpper(rune(id[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// A pssTable compares a table with a level of the Pod Security Standards.
type pssTable struct {
	table     *rules.Table
	checks    map[string]policy.CheckPodFn
	level     api.Level
	evaluator policy.Evaluator
	verdict   rules.Verdict
	forbidden map[string]bool // by the last pod
}

func newPSSTable(t *testing.T, table *rules.Table, level api.Level) *pssTable {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &pssTable{table: table, checks: pssChecks(level), level: level, evaluator: evaluator, forbidden: make(map[string]bool)}
}

// differences lists the checks that forbid the pod in one of the two alone. The table sees the JSON of the pod.
func (p *pssTable) differences(pod *corev1.Pod, text []byte) (found []string) {
	if err := p.table.EvaluateInto(&p.verdict, text); err != nil {
		return []string{err.Error()}
	}
	ours := make(map[string]bool)
	for _, v := range p.verdict.Violations {
		id := p.table.Checks()[v.Check].ID
		ours[id] = true
		if v.Unknown {
			found = append(found, id+" is unknown")
		}
	}
	clear(p.forbidden)
	for id, check := range p.checks {
		if result := check(&pod.ObjectMeta, &pod.Spec); !result.Allowed {
			p.forbidden[id] = true
			if !ours[id] {
				found = append(found, fmt.Sprintf("%s allows the pod; forbidden: %s: %s", id, result.ForbiddenReason, result.ForbiddenDetail))
			}
		}
	}
	for id := range ours {
		if !p.forbidden[id] {
			found = append(found, id+" forbids the pod; allowed")
		}
	}
	// The answer of the API server as a whole: pssChecks must not have left out a check.
	whole := policy.AggregateCheckResults(p.evaluator.EvaluatePod(api.LevelVersion{Level: p.level, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec))
	if whole.Allowed != (len(p.forbidden) == 0) {
		found = append(found, fmt.Sprintf("the level as a whole allows the pod: %t: %s", whole.Allowed, whole.ForbiddenDetail()))
	}
	slices.Sort(found)
	return found
}

func pssTables(t *testing.T) (tables []*pssTable) {
	t.Helper()
	for name, level := range pssLevels {
		table, err := policies.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		tables = append(tables, newPSSTable(t, table, level))
	}
	return tables
}

// TestPodSecurityChecks: a table has a check for each check of its level, and no other.
func TestPodSecurityChecks(t *testing.T) {
	for _, p := range pssTables(t) {
		ids := make(map[string]bool)
		for _, check := range p.table.Checks() {
			ids[check.ID] = true
			if p.checks[check.ID] == nil {
				t.Errorf("%s: the level %s has no check %s", p.table.Name(), p.level, check.ID)
			}
			if check.Description == "" || check.Remediation == "" {
				t.Errorf("%s: %s: description %q, remediation %q: both must say something", p.table.Name(), check.ID, check.Description, check.Remediation)
			}
		}
		for id := range p.checks {
			if !ids[id] {
				t.Errorf("%s has no check %s", p.table.Name(), id)
			}
		}
		if text, _ := policies.Shipped(p.table.Name()); !strings.Contains(string(text), "version "+pssVersion.String()) {
			t.Errorf("%s does not name its version %s", p.table.Name(), pssVersion)
		}
		for _, namespace := range []string{"default", "kube-system", "monitoring"} {
			if !p.table.Includes(namespace) {
				t.Errorf("%s excludes the namespace %s", p.table.Name(), namespace)
			}
		}
		if reasons := p.table.SkipReasons(); len(reasons) > 0 {
			t.Errorf("%s skips pods: %v", p.table.Name(), reasons)
		}
	}
}

// TestPodSecurityPage holds the tables of README.md: our id and theirs for each check, and each version since v1.25 that changed a check.
func TestPodSecurityPage(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string) // by the first cell
	for line := range strings.Lines(string(page)) {
		if cells := strings.SplitN(line, "|", 3); len(cells) == 3 && cells[0] == "" {
			rows[strings.Trim(cells[1], " `")] = cells[2]
		}
	}
	inBaseline, inRestricted := pssChecks(api.LevelBaseline), pssChecks(api.LevelRestricted)
	for _, check := range policy.DefaultChecks() {
		id, level := pssID(check.ID), "both"
		if inBaseline[id] == nil {
			level = "restricted"
		} else if inRestricted[id] == nil {
			level = "baseline"
		}
		if want := fmt.Sprintf(" `%s` | %s |\n", check.ID, level); rows[id] != want {
			t.Errorf("README.md: the row of %s is %q, want %q", id, rows[id], want)
		}
		for i, version := range check.Versions {
			changed := version.MinimumVersion
			if pssVersion.Older(changed) {
				t.Errorf("%s changed in %s: bring the tables up to date", check.ID, changed)
			}
			replaces := i == 0 && len(version.OverrideCheckIDs) > 0
			if !replaces && !changed.Older(api.MajorMinorVersion(1, 25)) && !strings.Contains(rows[changed.String()], "`"+string(check.ID)+"`") {
				t.Errorf("README.md: the row of %s does not name %s", changed, check.ID)
			}
		}
	}
}

// TestPodSecurityRandomPods compares the tables with the Pod Security Standards on random pods, check by check and in both directions.
func TestPodSecurityRandomPods(t *testing.T) {
	seed, want := pssSeed(t), 100_000
	if testing.Short() {
		want = 2_000
	}
	random := newPSSPods(t, seed)
	tables := pssTables(t)
	type count struct{ forbidden, alone int }
	counts := make(map[string]count) // by table and check
	pods := 0
	for ; pods < want; pods++ {
		pod, text := random.next(t)
		for _, p := range tables {
			for _, difference := range p.differences(pod, text) {
				t.Errorf("pod %d: %s: %s\n%s", pods, p.table.Name(), difference, text)
			}
			for id := range p.forbidden {
				c := counts[p.table.Name()+" "+id]
				if c.forbidden++; len(p.forbidden) == 1 {
					c.alone++
				}
				counts[p.table.Name()+" "+id] = c
			}
		}
		if t.Failed() {
			t.FailNow() // one pod is enough to work on
		}
	}
	for _, p := range tables {
		for id := range p.checks {
			// Where a check never decides alone, nothing shows what it decides.
			c := counts[p.table.Name()+" "+id]
			if min(c.forbidden, pods-c.forbidden) < pods/200 || c.alone == 0 && !testing.Short() {
				t.Errorf("%s: %s forbids %d of %d pods, %d of them alone: the random pods are one-sided", p.table.Name(), id, c.forbidden, pods, c.alone)
			}
		}
	}
	t.Logf("%d pods, forbidden by each check, and by it alone: %v", pods, counts)
}

func pssSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		if _, err := fmt.Sscan(text, &seed); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	t.Logf("seed %d", seed)
	return seed
}

func newPSSPods(t *testing.T, seed uint64) pssPods {
	t.Helper()
	r := pssPods{Rand: rand.New(rand.NewPCG(seed, 0))}
	for _, f := range pssFixtures(t, pssVersion.String()) {
		r.known = append(r.known, f.pod)
	}
	return r
}
