package agent

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
)

// TestMetricsOfAScanAreTheAgents gathers the metrics of an agent, and prints those of a scan of the same pods: the same
// families with the same help, and the same series to the last digit.
func TestMetricsOfAScanAreTheAgents(t *testing.T) {
	for _, test := range []struct{ name, policy, waivers, dump string }{
		{name: "default", policy: "default", dump: "../testdata/dumps/shop.json"},
		{name: "odd pods", policy: "default", dump: "../testdata/dumps/edge.json"},
		{name: "with skips and waivers", policy: "recommended", dump: "../testdata/dumps/shop.json", waivers: "{id: old, reason: r, expires: 2031-01-01, namespace: legacy, check: [latest_tag, runs_as_root]}"},
		{name: "no pods", policy: "recommended"},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, err := policies.Open(test.policy)
			if err != nil {
				t.Fatal(err)
			}
			if test.waivers != "" {
				table, err = table.WithWaivers("waivers.yaml", fmt.Appendf(nil, "apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers: [%s]\n", test.waivers))
				if err != nil {
					t.Fatal(err)
				}
			}
			s := state.New(table)
			s.ExpireWaivers(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
			if test.dump != "" {
				_, err := dump.ReadPath(t.Context(), test.dump, nil, func(event dump.Event) error {
					_, _ = s.Observe(state.Pod{Namespace: event.Namespace, Name: event.Name}, event.JSON) // an odd pod counts as that
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			reg := prometheus.NewPedanticRegistry()
			e := evaluatorOf(table)
			e.Adopt(s, 0)
			reg.MustRegister(newScores(e))
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			for _, family := range families {
				if _, err := expfmt.MetricFamilyToText(&want, family); err != nil {
					t.Fatal(err)
				}
			}
			var got bytes.Buffer
			if err := report.Prometheus(&got, &report.Scan{Snapshot: s.SnapshotWithViolations()}, report.Options{}); err != nil {
				t.Fatal(err)
			}
			printed := parsed(t, got.String())
			for name := range printed {
				if strings.HasPrefix(name, "kube_devops_scan_") {
					delete(printed, name) // an agent has none of these
				}
			}
			served := parsed(t, want.String())
			delete(served, "kube_devops_namespaces_overflowed") // a scan leaves no namespace out
			if diff := cmp.Diff(served, printed); diff != "" {
				t.Errorf("metrics (-agent +scan):\n%s", diff)
			}
		})
	}
}

// parsed are the metric families of a text: help, type and series of each, the series and their labels sorted.
func parsed(t *testing.T, text string) map[string]string {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	read, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	families := make(map[string]string)
	for name, family := range read {
		lines := []string{family.GetHelp(), family.GetType().String()}
		for _, metric := range family.Metric {
			labels := make(map[string]string) // which fmt prints in order
			for _, pair := range metric.Label {
				labels[pair.GetName()] = pair.GetValue()
			}
			lines = append(lines, fmt.Sprint(labels, metric.GetGauge().GetValue()))
		}
		slices.Sort(lines[2:])
		families[name] = strings.Join(lines, "\n")
	}
	return families
}
