package enforce_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// TestTimeOfACreate measures the time that enforcement adds to the creation of a pod, and prints a table. It measures with and without
// enforcement in turn.
func TestTimeOfACreate(t *testing.T) {
	const rounds, creates = 3, 250
	tables := []string{"", "recommended", "extended"}
	space := namespace(t, "e2e-time", nil)
	r, err := newRandomPods(1)
	if err != nil {
		t.Fatal(err)
	}
	// The pods have all kinds of violations, because pods without violations would be the fastest. Each round uses each pod.
	var pods []object
	for i := 0; len(pods) < creates; i++ {
		pod := r.pod(space, fmt.Sprintf("p-%d", i))
		if _, err := dryRun(t.Context(), pod); err == nil {
			pods = append(pods, pod)
		}
	}
	took := make(map[string][]time.Duration)
	for range rounds {
		for _, table := range tables {
			t.Run("measure", func(t *testing.T) { // its policies are deleted at its end
				if table != "" {
					// Audit and warn let the object pass, so that both ends of the way are measured.
					install(t, export(t, table, "--action", "audit").stdout)
				}
				inForce(t)
				for _, pod := range pods {
					begun := time.Now()
					if _, err := dryRun(t.Context(), pod); err != nil {
						t.Fatal(err)
					}
					took[table] = append(took[table], time.Since(begun))
				}
			})
		}
	}
	at := func(table string, part float64) time.Duration {
		d := took[table]
		slices.Sort(d)
		return d[min(len(d)-1, int(part*float64(len(d))))]
	}
	t.Logf("%-14s %8s %8s %12s %12s  (%d creates each)", "policies", "p50", "p99", "p50 added", "p99 added", rounds*creates)
	for _, table := range tables {
		t.Logf("%-14s %8s %8s %12s %12s", cmpOr(table, "none"), ms(at(table, .5)), ms(at(table, .99)), ms(at(table, .5)-at("", .5)), ms(at(table, .99)-at("", .99)))
	}
	// The limit is generous, for a busy machine; the log has the exact figure. It still finds a policy that is a hundred times slower.
	if added := at("extended", .5) - at("", .5); added > 50*time.Millisecond {
		t.Errorf("extended adds %s to a create at the median", added)
	}
}

func cmpOr(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

// TestMetricOfTheAPIServer reads the metric with which the API server counts decisions. It must have the labels that the documentation names.
func TestMetricOfTheAPIServer(t *testing.T) {
	s := newScenario(t, "metric")
	s.enforce(t)
	s.refused(t, "a bad pod", text(t, newPod(s.namespace, "bad", bad)), []string{"apply", "-f", "-"}, "latest_tag/web")
	const metric = "apiserver_validating_admission_policy_check_total"
	// A refusal has the error type invalid_error, like an evaluation error. Only compile_error and out_of_budget are always errors.
	want := []string{`enforcement_action="deny"`, `error_type="invalid_error"`, `policy="kube-devops-` + s.name + `-deny"`, `policy_binding="kube-devops-` + s.name + `-deny"`}
	err := cluster.Eventually(t.Context(), 10*time.Second, 100*time.Millisecond, func() error {
		text, err := client().Get().AbsPath("/metrics").DoRaw(t.Context())
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, metric+"{") && strings.Contains(line, want[2]) && strings.Contains(line, want[0]) {
				for _, label := range want {
					if !strings.Contains(line, label) {
						return fmt.Errorf("no %s in %s", label, line)
					}
				}
				return nil
			}
		}
		return fmt.Errorf("/metrics has no %s of the policy", metric)
	})
	if err != nil {
		t.Error(err)
	}
	page := readme(t, "deploy/README.md")
	for _, name := range []string{metric, "enforcement_action", "error_type", "policy_binding"} {
		if !strings.Contains(page, name) {
			t.Errorf("deploy/README.md does not name %s", name)
		}
	}
}
