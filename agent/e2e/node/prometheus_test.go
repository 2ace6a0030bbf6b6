//go:build linux

package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

const prometheusURL = "http://127.0.0.1:9090"

// Debian builds Prometheus without the discovery of Kubernetes: the test writes the file that a discovery would keep.
const prometheusConfig = `global: {scrape_interval: 1s, evaluation_interval: 1s, scrape_timeout: 1s}
rule_files: [cluster.yaml, fleet.yaml]
scrape_configs:
  - job_name: kube-devops
    honor_labels: true
    file_sd_configs: [{files: [targets.json]}]
`

// scraped has a real Prometheus scrape the agents and load the rules of the chart. An alert fires for a bad deployment, and
// resolves when it is fixed. Each rule waits two seconds, and not minutes, before it fires, and before it is resolved; and it
// looks at every second of the last minutes, not at each fifth minute of a day.
func scraped(t *testing.T) {
	startPrometheus(t)
	eventually(t, "both replicas are scraped", 30*time.Second, func() error {
		var targets struct {
			ActiveTargets []struct{ Health, LastError string }
		}
		if err := ask("/api/v1/targets?state=active", &targets); err != nil {
			return err
		}
		up := 0
		for _, target := range targets.ActiveTargets {
			if target.Health == "up" {
				up++
			}
		}
		if up != 2 || len(targets.ActiveTargets) != 2 {
			return fmt.Errorf("targets %+v, want two that are up", targets.ActiveTargets)
		}
		return nil
	})
	eventually(t, "the rules are loaded and evaluated", 30*time.Second, func() error {
		var rules struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
		if err := ask("/api/v1/rules", &rules); err != nil {
			return err
		}
		n := 0
		for _, group := range rules.Groups {
			for _, rule := range group.Rules {
				if n++; rule.Health != "ok" {
					return fmt.Errorf("rule %s is %s: %s", rule.Name, rule.Health, rule.LastError)
				}
			}
		}
		if n < 25 {
			return fmt.Errorf("%d rules", n)
		}
		return nil
	})
	eventually(t, "one leader, as Prometheus sees it", 30*time.Second, func() error { return wantSample("kube_devops:leaders:sum", 1) })
	eventually(t, "the scores, as Prometheus sees them", 30*time.Second, func() error {
		return wantSample(`count(kube_devops:namespace_compliance:ratio{namespace=~"shop|default"})`, 2)
	})
	eventually(t, "the fleet, of one cluster", 30*time.Second, func() error { return wantSample("kube_devops:fleet_clusters:count", 1) })
	// On the day of an installation a namespace is reported that was not Critical before.
	kubectl(t, team("workload:v1", bothProbes), "apply", "-f", "-")
	eventually(t, "the namespace is not Critical", time.Minute, func() error {
		return wantSample(`kube_devops:namespace_critical{namespace="team"}`, 0)
	})
	kubectl(t, team("workload:latest", ""), "apply", "-f", "-")
	eventually(t, "the alert fires", time.Minute, func() error { return firing("KubeDevopsNamespaceCritical", "team", true) })
	kubectl(t, team("workload:v1", bothProbes), "apply", "-f", "-")
	eventually(t, "the alert is resolved", time.Minute, func() error { return firing("KubeDevopsNamespaceCritical", "team", false) })
	for _, alert := range []string{
		"KubeDevopsNoLeader", "KubeDevopsLeaderWithoutScores", "KubeDevopsTwoLeaders", "KubeDevopsLeaderChangesOften", "KubeDevopsGone",
		"KubeDevopsStale", "KubeDevopsLabelsLost", "KubeDevopsPolicyReloadFailing", "KubeDevopsNamespaceForbidden",
		"KubeDevopsEvaluationErrors", "KubeDevopsClusterSilent",
	} {
		// One scrape that took too long makes some of them pending for a moment.
		eventually(t, "an agent that is well", 30*time.Second, func() error { return firing(alert, "", false) })
	}
}

func startPrometheus(t *testing.T) {
	t.Helper()
	root, err := binaries.Root()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"prometheus.yaml": []byte(prometheusConfig)}
	for _, name := range []string{"cluster.yaml", "fleet.yaml"} {
		rules, err := os.ReadFile(filepath.Join(root, "deploy", "chart", "rules", name))
		if err != nil {
			t.Fatal(err)
		}
		rules = regexp.MustCompile(`(?m)^(\s+(?:keep_firing_)?for:).*$`).ReplaceAll(rules, []byte("$1 2s"))
		files[name] = bytes.ReplaceAll(rules, []byte("[1d:5m]"), []byte("[10m:1s]"))
	}
	all, err := pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var targets []map[string]any
	for _, pod := range all {
		targets = append(targets, map[string]any{
			"targets": []string{pod.Status.PodIP + ":" + pod.Annotations["prometheus.io/port"]},
			"labels":  map[string]string{"instance": pod.Name, "namespace": pod.Namespace, "cluster": "e2e"},
		})
	}
	if files["targets.json"], err = json.Marshal(targets); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(env.path(name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err = env.run(t.Context(), "prometheus", "prometheus", healthy(prometheusURL+"/-/ready"),
		"--config.file", env.path("prometheus.yaml"), "--storage.tsdb.path", env.path("prometheus"), "--web.listen-address", "127.0.0.1:9090")
	if err != nil {
		t.Fatal(err)
	}
}

// ask decodes the data of an answer of Prometheus's API.
func ask(path string, data any) error {
	res, err := http.Get(prometheusURL + path)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return nil
}

// wantSample asks for an expression of one sample.
func wantSample(expression string, want float64) error {
	var result struct {
		Result []struct{ Value [2]any }
	}
	if err := ask("/api/v1/query?query="+url.QueryEscape(expression), &result); err != nil {
		return err
	}
	if len(result.Result) != 1 || result.Result[0].Value[1] != fmt.Sprint(want) {
		return fmt.Errorf("%s is %v, want %g", expression, result.Result, want)
	}
	return nil
}

// firing says how the state of an alert, of one namespace where one is named, differs from what is wanted.
func firing(alert, namespace string, want bool) error {
	var alerts struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	if err := ask("/api/v1/alerts", &alerts); err != nil {
		return err
	}
	var of []string
	for _, a := range alerts.Alerts {
		if a.Labels["alertname"] == alert && (namespace == "" || a.Labels["namespace"] == namespace) {
			of = append(of, a.State)
		}
	}
	if slices.Contains(of, "firing") != want || !want && len(of) > 0 {
		return fmt.Errorf("%s of %q is %v, want firing %t", alert, namespace, of, want)
	}
	return nil
}
