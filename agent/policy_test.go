package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/exposition"
	"github.com/kube-devops/kube-devops/agent/logtest"
	"github.com/kube-devops/kube-devops/agent/reload"
	"github.com/kube-devops/kube-devops/agent/reload/reloadtest"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// recording has a pod in shop that fails latest_tag twice, a clean one, and a clean one in depot.
const recording = `{"kind":"List","items":[
{"kind":"Pod","metadata":{"namespace":"shop","name":"web"},"spec":{"containers":[{"name":"a","image":"web:latest"},{"name":"b","image":"web:latest"}]}},
{"kind":"Pod","metadata":{"namespace":"shop","name":"db"},"spec":{"containers":[{"name":"c","image":"db:17"}]}},
{"kind":"Pod","metadata":{"namespace":"depot","name":"db"},"spec":{"containers":[{"name":"c","image":"db:17"}]}}]}`

// tableText is a table whose one check weighs as much as is said, with more lines at its end.
func tableText(name string, weight int, more ...string) string {
	return fmt.Sprintf(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: %s}
checks:
  - id: latest_tag
    weight: %d
    forEach: spec.containers
    violation: {path: image, operator: hasSuffix, value: ":latest"}
%s`, name, weight, strings.Join(more, "\n"))
}

// A replayed is an agent that serves a recording in a bubble: all its parts but the socket.
type replayed struct {
	*Agent
	t    *testing.T
	logs *logtest.Buffer
	hang chan os.Signal // asks for a look at the policy
	stop func()
}

func replay(t *testing.T, policy, waivers string) *replayed {
	t.Helper()
	r := &replayed{t: t, logs: new(logtest.Buffer), hang: make(chan os.Signal, 1)}
	dump := filepath.Join(t.TempDir(), "pods.json")
	if err := os.WriteFile(dump, []byte(recording), 0o600); err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	o.Policies, o.Waivers, o.Replay, o.Listen, o.Reload, o.Log = []string{policy}, waivers, dump, "127.0.0.1:0", r.hang, logtest.Logger(r.logs)
	var err error
	if r.Agent, err = New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, part := range []func(context.Context) error{r.publish, func(ctx context.Context) error { return r.policy.Follow(ctx, r.setPolicy) }, r.evaluator.Run} {
		group.Go(func() {
			if err := part(ctx); err != nil {
				t.Errorf("a part of the agent failed: %v", err)
			}
		})
	}
	r.stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
		if err := r.server.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	synctest.Wait()
	return r
}

// wait lets time go by.
func (r *replayed) wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (r *replayed) page(path string) (status int, body string) {
	answer := httptest.NewRecorder()
	r.server.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	return answer.Code, answer.Body.String()
}

// metrics are the values of the series, which are written as Prometheus prints them.
func (r *replayed) metrics(series ...string) map[string]float64 {
	r.t.Helper()
	_, body := r.page("/metrics")
	values := make(map[string]float64)
	for line := range strings.Lines(body) {
		for _, name := range series {
			if text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), name+" "); ok {
				value, err := strconv.ParseFloat(text, 64)
				if err != nil {
					r.t.Fatal(err)
				}
				values[name] = value
			}
		}
	}
	return values
}

// expect compares the values of some series.
func (r *replayed) expect(want map[string]float64) {
	r.t.Helper()
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	if diff := cmp.Diff(want, r.metrics(names...)); diff != "" {
		r.t.Errorf("after %s: metrics (-want +got):\n%s", time.Now().Format(time.TimeOnly), diff)
	}
}

// entries are the lines of the log with a message, or with any where it is empty, from a line on. The folder of the
// policy is left out of them.
func (r *replayed) entries(message string, from int) []map[string]any {
	r.t.Helper()
	var entries []map[string]any
	n := 0
	folder := filepath.Dir(r.options.Policies[0]) + "/"
	for line := range strings.Lines(strings.ReplaceAll(r.logs.String(), folder, "")) {
		if n++; n <= from {
			continue
		}
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			r.t.Fatalf("a log line is not JSON: %q", line)
		}
		if message == "" || entry["msg"] == message {
			entries = append(entries, entry)
		}
	}
	return entries
}

const (
	successful = "kube_devops_policy_last_reload_successful"
	loadedAt   = "kube_devops_policy_last_reload_success_timestamp_seconds"
	shopScore  = `namespace_health_score{namespace="shop"}`
	depotScore = `namespace_health_score{namespace="depot"}`
	// soon is how long the agent may take to notice a change of a mounted directory.
	soon = 300 * time.Millisecond
)

// A policy that cannot be loaded changes no score, and is logged once. The next good one takes effect.
func TestReload(t *testing.T) {
	half, _, _ := strings.Cut(tableText("half", 9), "violation")
	tests := []struct {
		name   string
		breaks func(m *reloadtest.Mount) error
		text   string // of the file, where it could be read
		err    string // where it could not
	}{
		{"a mistake in a line", nil, tableText("bad", 0), ""},
		{"two mistakes", nil, tableText("Bad", 0), ""},
		{"an empty file", nil, "", ""},
		{"half of a table", nil, half, ""},
		{"no YAML", nil, "checks: [\n", ""},
		{"the file is gone", func(m *reloadtest.Mount) error { return m.Swap(nil) }, "",
			"read policy.yaml: no such file or directory"},
		{"larger than may be", func(m *reloadtest.Mount) error {
			return m.Swap(map[string]string{"policy.yaml": tableText("large", 9, strings.Repeat("#", reload.MaxBytes))})
		}, "", "read policy.yaml: is larger than 1048576 bytes"},
	}
	for _, test := range tests {
		if test.err == "" {
			test.breaks = func(m *reloadtest.Mount) error { return m.Swap(map[string]string{"policy.yaml": test.text}) }
		}
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				m := reloadtest.New(t, map[string]string{"policy.yaml": tableText("one", 5)})
				r := replay(t, m.Path("policy.yaml"), "")
				r.expect(map[string]float64{shopScore: 5, depotScore: 0, successful: 1, loadedAt: float64(start.Unix())})

				r.wait(10 * time.Second)
				lines := len(r.entries("", 0))
				if err := test.breaks(m); err != nil {
					t.Fatal(err)
				}
				r.wait(soon)
				for range 10 { // it is looked at again and again
					r.expect(map[string]float64{shopScore: 5, depotScore: 0, successful: 0, loadedAt: float64(start.Unix())})
					if status, body := r.page("/readyz"); status != http.StatusOK {
						t.Fatalf("/readyz is %d %s", status, body)
					}
					r.wait(time.Second)
				}
				logged := r.entries("", lines)
				want := []map[string]any{{"level": "error", "msg": "the policy cannot be loaded; the last good one stays in force"}}
				if test.err != "" {
					want[0]["error"] = test.err
				} else {
					_, err := rules.Load("policy.yaml", []byte(test.text))
					var lines []any
					for line := range strings.Lines(err.Error()) {
						lines = append(lines, strings.TrimSuffix(line, "\n"))
					}
					want[0]["mistakes"] = lines
				}
				for _, entry := range logged {
					delete(entry, "ts")
				}
				if diff := cmp.Diff(want, logged); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}

				healed := time.Now()
				m.MustSwap(t, map[string]string{"policy.yaml": tableText("two", 7)})
				r.wait(soon)
				now := r.metrics(loadedAt)[loadedAt]
				if min, max := float64(healed.Unix()), float64(time.Now().Unix()+1); now < min || now > max {
					t.Errorf("loaded at %f, want between %f and %f", now, min, max)
				}
				r.expect(map[string]float64{shopScore: 7, depotScore: 0, successful: 1})

				// The last good one again, after an error, is a success and not a change.
				if err := test.breaks(m); err != nil {
					t.Fatal(err)
				}
				r.wait(soon)
				r.expect(map[string]float64{shopScore: 7, successful: 0})
				m.MustSwap(t, map[string]string{"policy.yaml": tableText("two", 7)})
				r.wait(soon)
				r.expect(map[string]float64{shopScore: 7, successful: 1})
			})
		})
	}
}

// What a reload did to the scores is logged, by namespace.
func TestReloadLogsItsEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := reloadtest.New(t, map[string]string{"policy.yaml": tableText("one", 5)})
		r := replay(t, m.Path("policy.yaml"), "")
		r.wait(time.Second)
		m.MustSwap(t, map[string]string{"policy.yaml": tableText("two", 7, "namespaces: {exclude: [depot]}")})
		r.wait(soon)
		effects := r.entries("scores under the new policy", 0)
		for _, entry := range effects {
			delete(entry, "ts")
		}
		want := []map[string]any{{
			"level": "info", "msg": "scores under the new policy", "changed": 2.0,
			"cluster": map[string]any{
				"score_before": 2.5, "compliance_before": (100 - 200/3.0 + 100) / 2, "score_after": 7.0, "compliance_after": 100 - 200/3.0,
			},
			"namespaces": []any{
				map[string]any{"namespace": "depot", "score_before": 0.0, "compliance_before": 100.0},
				map[string]any{"namespace": "shop", "score_before": 5.0, "compliance_before": 100 - 200/3.0,
					"score_after": 7.0, "compliance_after": 100 - 200/3.0},
			},
		}}
		close := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
		if diff := cmp.Diff(want, effects, close); diff != "" {
			t.Errorf("logged (-want +got):\n%s", diff)
		}
	})
}

// A signal asks for a look at once, and is answered in the log though nothing has changed.
func TestReloadOnSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := reloadtest.New(t, map[string]string{"policy.yaml": tableText("one", 5)})
		r := replay(t, m.Path("policy.yaml"), "")
		r.wait(time.Second)
		m.MustSwap(t, map[string]string{"policy.yaml": tableText("two", 7)})
		r.hang <- os.Interrupt
		synctest.Wait()
		r.expect(map[string]float64{shopScore: 7, successful: 1})
		r.hang <- os.Interrupt
		synctest.Wait()
		if got := r.entries("the policy is as it was", 0); len(got) != 1 {
			t.Errorf("answered %d times, want once: %v", len(got), got)
		}
	})
}

// A recording that cannot be read again leaves the scores, and counts as a failed reload.
func TestReloadWithoutItsRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := reloadtest.New(t, map[string]string{"policy.yaml": tableText("one", 5)})
		r := replay(t, m.Path("policy.yaml"), "")
		kept, err := os.ReadFile(r.options.Replay)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(r.options.Replay); err != nil {
			t.Fatal(err)
		}
		m.MustSwap(t, map[string]string{"policy.yaml": tableText("two", 7)})
		r.wait(time.Minute)
		r.expect(map[string]float64{shopScore: 5, successful: 0})
		if got := r.entries("the recording cannot be evaluated again; the scores stay those of the policy before", 0); len(got) != 1 {
			t.Errorf("logged %d times, want once: %v", len(got), got)
		}
		if err := os.WriteFile(r.options.Replay, kept, 0o600); err != nil {
			t.Fatal(err)
		}
		r.hang <- os.Interrupt
		synctest.Wait()
		r.expect(map[string]float64{shopScore: 7, successful: 1})
	})
}

// A violation that a waiver accepts is excluded from all scores until the waiver expires. Then it counts again, and is logged.
func TestWaiverExpiresLive(t *testing.T) {
	const (
		waivedWeb = `kube_devops_waived_violations{check="latest_tag",namespace="shop"}`
		expiry    = `kube_devops_waiver_expiry_timestamp_seconds{waiver="web"}`
	)
	synctest.Test(t, func(t *testing.T) {
		expires := time.Now().Add(90*time.Second + 500*time.Millisecond).UTC()
		waivers := func(expires time.Time) string {
			return fmt.Sprintf("apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers:\n- {id: web, reason: Ada knows, expires: %s, pod: web, container: a}\n",
				expires.Format(time.RFC3339Nano))
		}
		m := reloadtest.New(t, map[string]string{"policy.yaml": tableText("one", 6), "waivers.yaml": waivers(expires)})
		r := replay(t, m.Path("policy.yaml"), m.Path("waivers.yaml"))
		seconds := float64(expires.Unix())
		accepted := map[string]float64{shopScore: 3, depotScore: 0, waivedWeb: 1, expiry: seconds}
		counted := map[string]float64{shopScore: 6, depotScore: 0, waivedWeb: 0, expiry: seconds}
		r.expect(accepted)
		r.wait(time.Until(expires) - time.Nanosecond)
		r.expect(accepted)
		if got := r.logs.Events(t); len(got) > 0 {
			t.Errorf("logged before: %v", got)
		}
		r.wait(time.Nanosecond)
		r.expect(counted)
		// The pod failed the check all the time, for its other container: no check is new.
		if got := r.logs.Events(t); len(got) > 0 {
			t.Errorf("logged: %v", got)
		}

		// A longer waiver of both containers, and the pod fails nothing until it expires too.
		later := time.Now().Add(time.Hour).UTC()
		m.MustSwap(t, map[string]string{"policy.yaml": tableText("one", 6),
			"waivers.yaml": strings.ReplaceAll(waivers(later), ", container: a", "")})
		r.wait(soon)
		seconds = float64(later.Unix())
		r.expect(map[string]float64{shopScore: 0, depotScore: 0, waivedWeb: 2, expiry: seconds})
		r.wait(time.Until(later))
		r.expect(map[string]float64{shopScore: 6, depotScore: 0, waivedWeb: 0, expiry: seconds})
		want := []map[string]any{{"event": "policy_violation", "namespace": "shop", "pod": "web", "violations": []any{"latest_tag"}}}
		if diff := cmp.Diff(want, r.logs.Events(t)); diff != "" {
			t.Errorf("logged (-want +got):\n%s", diff)
		}
	})
}

func loadTable(tb testing.TB, text string) *rules.Table {
	tb.Helper()
	table, err := rules.Load("policy.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return table
}

// While policies change places, pods come again and terms begin and end, every scrape is wholly of one policy, or has no
// scores.
func TestNoScrapeIsAMixture(t *testing.T) {
	changes := 300
	if testing.Short() {
		changes = 50
	}
	var pods []state.Observation
	for i := range 200 {
		text := podJSON(strings.Join([]string{clean, latest, noProbes}[:1+i%3], ","))
		pods = append(pods, state.Observation{Pod: state.Pod{Namespace: fmt.Sprint("ns-", i%7), Name: fmt.Sprint("pod-", i)}, JSON: text})
	}
	tables := []*rules.Table{
		loadTable(t, tableText("one", 5)),
		loadTable(t, tableText("two", 7, "  - {id: no_probe, weight: 2, forEach: spec.containers, violation: {path: livenessProbe, operator: absent}}")),
		loadTable(t, tableText("three", 9, "namespaces: {exclude: [ns-3]}", `pods: {skip: [{reason: old, when: {path: "spec.containers.#", operator: equals, value: 3}}]}`)),
	}
	scrape := func(e *evaluator.Evaluator) string {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(exposition.New(exposedBy(e)))
		families, err := registry.Gather()
		if err != nil {
			t.Error(err)
		}
		var text bytes.Buffer
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
				t.Error(err)
			}
		}
		return text.String()
	}
	whole := make(map[string]bool)
	for _, table := range tables {
		e := evaluatorOf(table)
		whole[scrape(e)] = true // a standby
		e.Begin(t.Context(), observations(pods...))
		whole[scrape(e)] = true
	}
	if len(whole) != 2*len(tables) {
		t.Fatalf("%d scrapes differ, want %d", len(whole), 2*len(tables))
	}

	e := evaluatorOf(tables[0])
	e.Begin(t.Context(), observations(pods...))
	var done atomic.Bool
	var group sync.WaitGroup
	seen := make([]map[string]int, 2)
	for i := range seen {
		seen[i] = make(map[string]int)
		group.Go(func() {
			for !done.Load() {
				seen[i][scrape(e)]++
			}
		})
	}
	group.Go(func() {
		for n := 0; !done.Load(); n++ {
			pod := pods[n%len(pods)]
			apply(e, pod.Pod, pod.JSON)
		}
	})
	for n := range changes {
		_ = e.SetPolicy(t.Context(), tables[n%len(tables)], nil, observations(pods...))
		if n%10 == 9 {
			e.End()
			e.Begin(t.Context(), observations(pods...))
		}
	}
	done.Store(true)
	group.Wait()
	for i := range seen {
		for text, times := range seen[i] {
			if !whole[text] {
				t.Fatalf("%d scrapes are of no policy alone:\n%s", times, text)
			}
		}
	}
}
