package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// collectorConfig is what a test reads of the configuration of the Collector.
type collectorConfig struct {
	Receivers struct {
		Prometheus struct {
			Config struct {
				Scrapes []struct {
					HonorLabels bool `json:"honor_labels"`
					Metrics     []struct {
						Source []string `json:"source_labels"`
						Regex  string   `json:"regex"`
						Action string   `json:"action"`
					} `json:"metric_relabel_configs"`
				} `json:"scrape_configs"`
			} `json:"config"`
		} `json:"prometheus"`
	} `json:"receivers"`
	Processors map[string]any `json:"processors"`
	Exporters  map[string]any `json:"exporters"`
	Service    struct {
		Pipelines map[string]struct{ Receivers, Processors, Exporters []string }
	} `json:"service"`
}

// TestCollector checks what the Collector scrapes: promtool accepts it as a configuration of Prometheus, whose scrape manager the Collector
// has, and no metric that a rule or a panel uses is dropped.
func TestCollector(t *testing.T) {
	text := content(t, "otel/collector.yaml")
	var whole struct {
		Receivers struct {
			Prometheus struct{ Config map[string]any }
		}
	}
	var config collectorConfig
	for _, into := range []any{&whole, &config} {
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	// promtool of Debian knows no discovery in Kubernetes, so that it checks a fixed target instead.
	for _, job := range whole.Receivers.Prometheus.Config["scrape_configs"].([]any) {
		job := job.(map[string]any)
		want := []any{map[string]any{"role": "pod", "namespaces": map[string]any{"names": []any{"kube-devops"}}}}
		if diff := cmp.Diff(want, job["kubernetes_sd_configs"]); diff != "" {
			t.Errorf("targets (-want +got):\n%s", diff)
		}
		delete(job, "kubernetes_sd_configs")
		job["static_configs"] = []any{map[string]any{"targets": []any{"127.0.0.1:8080"}}}
	}
	scrape, err := yaml.Marshal(whole.Receivers.Prometheus.Config)
	if err != nil {
		t.Fatal(err)
	}
	// The Collector replaces $NAME and ${NAME} by the environment, and $$ by $.
	if single := regexp.MustCompile(`(^|[^$])(\$\$)*\$([^$]|$)`).FindString(string(scrape)); single != "" {
		t.Errorf("the Collector would replace %q by its environment", single)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yaml"), []byte(strings.ReplaceAll(string(scrape), "$$", "$")), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "check", "config", "--syntax-only", "prometheus.yaml")
	job := config.Receivers.Prometheus.Config.Scrapes[0]
	if !job.HonorLabels || len(job.Metrics) != 1 || job.Metrics[0].Action != "keep" || !slices.Equal(job.Metrics[0].Source, []string{"__name__"}) {
		t.Errorf("the job is %+v", job)
	}
	kept := regexp.MustCompile("^(?:" + job.Metrics[0].Regex + ")$")
	if kept.MatchString("go_goroutines") {
		t.Error("the metrics of the runtime are kept, which nothing uses")
	}
	used := 0
	for _, expression := range slices.Concat(slices.Collect(maps.Values(ruleExpressions(t))), slices.Collect(maps.Values(panels(t, "chart/dashboards/kube-devops.json")))) {
		parser.Inspect(parse(t, "", expression), func(node parser.Node, _ []parser.Node) error {
			selector, ok := node.(*parser.VectorSelector)
			if !ok || strings.Contains(selector.Name, ":") || !regexp.MustCompile(`^(kube_devops|cluster|namespace|pod)_`).MatchString(selector.Name) {
				return nil // a recorded series, or one that the agent does not export
			}
			used++
			if !kept.MatchString(selector.Name) {
				t.Errorf("the Collector drops %s, which %s uses", selector.Name, expression)
			}
			return nil
		})
	}
	if used < 20 {
		t.Errorf("only %d metrics were found in the rules and panels", used)
	}
	pipeline := config.Service.Pipelines["metrics"]
	if !slices.Equal(pipeline.Receivers, []string{"prometheus"}) || !slices.Equal(slices.Sorted(maps.Keys(config.Processors)), slices.Sorted(slices.Values(pipeline.Processors))) ||
		!slices.Equal(slices.Sorted(maps.Keys(config.Exporters)), pipeline.Exporters) {
		t.Errorf("the pipeline %+v does not have the components of the file", pipeline)
	}
}

// ruleExpressions are the expressions of the rules of a cluster.
func ruleExpressions(t *testing.T) map[string]string {
	t.Helper()
	expressions := make(map[string]string)
	for _, rule := range ruleFiles(t)["cluster.yaml"].all() {
		expressions[rule.Record+rule.Alert] = rule.Expr
	}
	return expressions
}
