//go:build unix

package policysource

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/kube-devops/kube-devops/agent/reload/reloadtest"
	"github.com/kube-devops/kube-devops/rules"
)

const head = "apiVersion: kube-devops.io/v1\nkind: PolicyTable\n"

// upper is a table that extends files, and base is one with a check of a weight.
func upper(name string, extends ...string) string {
	return head + "metadata: {name: " + name + "}\nextends: [" + strings.Join(extends, ", ") + "]\n"
}

func base(id string, weight int) string {
	return fmt.Sprintf("%smetadata: {name: base}\nchecks: [{id: %s, weight: %d, violation: {path: a, operator: exists}}]\n", head, id, weight)
}

// describe is what a table is for these tests.
func describe(t *rules.Table) string {
	words := []string{t.Name()}
	for _, c := range t.Checks() {
		words = append(words, fmt.Sprintf("%s=%d", c.ID, c.Weight))
	}
	return strings.Join(words, " ")
}

// A followed is a policy whose tables and errors are recorded.
type followed struct {
	mu   sync.Mutex
	got  []string
	logs *observer.ObservedLogs
	dir  string
}

func follow(t *testing.T, waivers string, policies ...string) *followed {
	t.Helper()
	core, logs := observer.New(zap.WarnLevel)
	f := &followed{logs: logs, dir: filepath.Dir(policies[0]) + "/"}
	s, table, err := New(t.Context(), Options{Policies: policies, Waivers: waivers, Log: zap.New(core), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	f.got = append(f.got, describe(table))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		err := s.Follow(ctx, func(_ context.Context, table *rules.Table) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.got = append(f.got, describe(table))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); group.Wait() })
	return f
}

// expect compares what was loaded since the last call, and the errors that were logged.
func (f *followed) expect(t *testing.T, after time.Duration, want ...string) {
	t.Helper()
	<-time.After(after)
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	got := f.got
	for _, entry := range f.logs.TakeAll() {
		fields := entry.ContextMap()
		text := fmt.Sprint(fields["error"])
		if mistakes, ok := fields["mistakes"].([]any); ok {
			text = fmt.Sprint(mistakes...)
		}
		got = append(got, strings.ReplaceAll(text, f.dir, ""))
	}
	f.got = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
}

// TestFollowAMountedDirectory: all files of a ConfigMap change together, also where the set of the files changes.
func TestFollowAMountedDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := reloadtest.New(t, map[string]string{"policy.yaml": upper("p1", "./base.yaml"), "base.yaml": base("a", 1)})
		f := follow(t, "", m.Path("policy.yaml"))
		const soon = 300 * time.Millisecond
		f.expect(t, soon, "p1 a=1")
		f.expect(t, 10*time.Second)
		m.MustSwap(t, map[string]string{"policy.yaml": upper("p1", "./base.yaml"), "base.yaml": base("a", 2)})
		f.expect(t, soon, "p1 a=2")
		m.MustSwap(t, map[string]string{"policy.yaml": upper("p2", "other.yaml", "more.yaml"), "other.yaml": base("b", 3), "more.yaml": base("c", 4)})
		f.expect(t, soon, "p2 b=3 c=4")
		m.MustSwap(t, map[string]string{"policy.yaml": upper("p2", "other.yaml", "more.yaml"), "other.yaml": base("b", 3)})
		f.expect(t, soon, `policy.yaml:4: extends: "more.yaml": no such file or directory`)
		f.expect(t, 10*time.Second)
		m.MustSwap(t, map[string]string{"policy.yaml": upper("p2", "other.yaml", "more.yaml"), "other.yaml": base("b", 3), "more.yaml": base("c", 5)})
		f.expect(t, soon, "p2 b=3 c=5")
		m.MustSwap(t, map[string]string{"policy.yaml": upper("p2", "other.yaml", "more.yaml"), "other.yaml": base("b", 0), "more.yaml": "checks: ["})
		f.expect(t, soon, "more.yaml:1: not valid YAML: did not find expected node content")
		m.MustSwap(t, map[string]string{"policy.yaml": upper("p3", "other.yaml"), "other.yaml": upper("o", "policy.yaml")})
		f.expect(t, soon, "other.yaml:4: extends: a table must not extend itself: policy.yaml extends other.yaml extends policy.yaml")
		m.MustSwap(t, map[string]string{"policy.yaml": base("a", 9)})
		f.expect(t, soon, "base a=9")
	})
}

// TestFollowFiles: a change of any file of a policy counts, in whatever folder it is.
func TestFollowFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write := func(name, text string) {
			t.Helper()
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("policy.yaml", upper("p", "default", "./sub/base.yaml"))
		write("sub/base.yaml", upper("s", "low.yml"))
		write("sub/low.yml", base("a", 1))
		write("last.yaml", upper("last", "default")+"checks: [{id: latest_tag, weight: 7}]\n")
		write("w.yaml", strings.Replace(head, "PolicyTable", "Waivers", 1)+"waivers: []\n")
		f := follow(t, filepath.Join(dir, "w.yaml"), filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "last.yaml"))
		const soon = 4 * time.Second
		const checks = "latest_tag=7 missing_liveness=3 missing_readiness=2"
		f.expect(t, soon, "last "+checks+" a=1")
		write("sub/low.yml", base("a", 2))
		f.expect(t, soon, "last "+checks+" a=2")
		write("sub/base.yaml", upper("s", "low.yml", "lower.yaml"))
		f.expect(t, soon, `sub/base.yaml:4: extends: "lower.yaml": no such file or directory`)
		write("sub/lower.yaml", base("b", 3))
		f.expect(t, soon, "last "+checks+" a=2 b=3")
		if err := os.Remove(filepath.Join(dir, "sub/lower.yaml")); err != nil {
			t.Fatal(err)
		}
		f.expect(t, soon, `sub/base.yaml:4: extends: "lower.yaml": no such file or directory`)
		write("secret.yaml", base("c", 1))
		write("sub/base.yaml", upper("s", "low.yml", "../secret.yaml"))
		f.expect(t, soon, `sub/base.yaml:4: extends: "../secret.yaml": the file is outside of the repository of this table, or of its folder if it is in no repository`)
		if err := os.Symlink("../secret.yaml", filepath.Join(dir, "sub/link.yaml")); err != nil {
			t.Fatal(err)
		}
		write("sub/base.yaml", upper("s", "low.yml", "link.yaml"))
		f.expect(t, soon, `sub/base.yaml:4: extends: "link.yaml": the file is outside of the repository of this table, or of its folder if it is in no repository`)
		write("sub/base.yaml", upper("s", "low.yml"))
		f.expect(t, soon, "last "+checks+" a=2")
		write("last.yaml", upper("last", "default"))
		f.expect(t, soon, "last latest_tag=5 missing_liveness=3 missing_readiness=2 a=2")
	})
}

// TestReadIsOfOneGeneration reads while the directory is swapped: no reading mixes two generations, and none fails, though the set of
// files changes.
func TestReadIsOfOneGeneration(t *testing.T) {
	generation := func(i int) map[string]string {
		name := fmt.Sprintf("base%d.yaml", i%3)
		return map[string]string{"policy.yaml": upper(fmt.Sprintf("p%d", i), name), name: base("a", i)}
	}
	m := reloadtest.New(t, generation(1))
	s, _, err := New(t.Context(), Options{Policies: []string{m.Path("policy.yaml")}, Log: zap.NewNop(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i <= 100; i++ {
		swapped := make(chan error, 1)
		go func() { swapped <- m.Swap(generation(i)) }()
		contents, err := s.read(t.Context())
		if err != nil {
			t.Fatalf("generation %d: %v", i, err)
		}
		if err := <-swapped; err != nil {
			t.Fatal(err)
		}
		table, err := s.compile(contents)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(table); got != fmt.Sprintf("p%d a=%d", i-1, i-1) && got != fmt.Sprintf("p%d a=%d", i, i) {
			t.Fatalf("generation %d: %s", i, got)
		}
	}
}
