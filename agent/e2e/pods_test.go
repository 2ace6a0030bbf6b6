package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

// TestMetricsFollowPods changes pods step by step, and compares all published metrics after each step.
func TestMetricsFollowPods(t *testing.T) {
	ctx := t.Context()
	a, b, excluded := newNamespace(t, "e2e-a"), newNamespace(t, "e2e-b"), newNamespace(t, "kube-e2e")
	agent := startAgent(t, "agent", liveArgs()...)
	waitReady(t, agent, leadTimeout)

	create := func(namespace, name string, containers ...cluster.Container) func() error {
		return func() error { return env.CreatePods(ctx, cluster.NewPod(namespace, name, containers...)) }
	}
	remove := func(namespace, name string) func() error {
		return func() error { return env.DeletePod(ctx, namespace, name) }
	}
	halfGood := cluster.Container{Image: "redis:latest", Liveness: true, Readiness: true}
	for _, step := range []struct {
		name string
		do   func() error
		a, b *oracle.Namespace // nil: no series of it
	}{
		{"nothing yet", func() error { return nil }, nil, nil},
		{"a bad pod", create(a, "web", cluster.Bad), ns(1, 1, 1, 1, 10, 0), nil},
		{"a good pod", create(a, "api", cluster.Good), ns(2, 1, 1, 1, 5, 0.5), nil},
		{"two containers, both :latest", create(a, "pair", halfGood, halfGood), ns(3, 3, 1, 1, 20.0/3, 0.5), nil},
		{"another namespace", create(b, "web", cluster.Good), ns(3, 3, 1, 1, 20.0/3, 0.5), ns(1, 0, 0, 0, 0, 1)},
		{"an image is pinned", func() error { return env.SetImage(ctx, a, "web", "nginx:1.29") }, ns(3, 2, 1, 1, 5, 0.625), ns(1, 0, 0, 0, 0, 1)},
		{"a change that no check sees", func() error {
			return env.PatchPod(ctx, a, "web", `[{"op": "add", "path": "/metadata/labels", "value": {"x": "y"}}]`)
		}, ns(3, 2, 1, 1, 5, 0.625), ns(1, 0, 0, 0, 0, 1)},
		{"the pod is gone", remove(a, "web"), ns(2, 2, 0, 0, 5, 1-10.0/30), ns(1, 0, 0, 0, 0, 1)},
		{"the name is used again", create(a, "web", cluster.Bad, cluster.Bad), ns(3, 4, 2, 2, 10, 0.4), ns(1, 0, 0, 0, 0, 1)},
		{"deleted and created in one breath", func() error {
			if err := remove(b, "web")(); err != nil {
				return err
			}
			return create(b, "web", cluster.Bad)()
		}, ns(3, 4, 2, 2, 10, 0.4), ns(1, 1, 1, 1, 10, 0)},
		{"an excluded namespace", create(excluded, "web", cluster.Bad), ns(3, 4, 2, 2, 10, 0.4), ns(1, 1, 1, 1, 10, 0)},
		{"a namespace empties", remove(b, "web"), ns(3, 4, 2, 2, 10, 0.4), nil},
		{"all pods of the other at once", func() error { return env.DeletePods(ctx, a) }, nil, nil},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		want := scoresOf(map[string]*oracle.Namespace{a: step.a, b: step.b})
		waitScores(t, step.name, agent, leadTimeout, []string{a, b, excluded}, func() (oracle.Scores, error) { return want, nil })
		checkReport(t, step.name, agent, []string{a, b, excluded})
	}
	wantEvents(t, agent, a, "web",
		violation("latest_tag", "missing_liveness", "missing_readiness"),
		violation("missing_liveness", "missing_readiness"),
		resolved,
		violation("latest_tag", "missing_liveness", "missing_readiness"),
		resolved,
	)
	wantEvents(t, agent, a, "pair", violation("latest_tag"), resolved)
	wantEvents(t, agent, a, "api")
	wantEvents(t, agent, excluded, "web")
	wantNoComplaints(t, agent)
}

// ns builds what is published of one namespace.
func ns(pods, latest, liveness, readiness int, score, compliance float64) *oracle.Namespace {
	return &oracle.Namespace{
		Pods: pods, Score: score, Compliance: compliance,
		Violations: map[string]int{"latest_tag": latest, "missing_liveness": liveness, "missing_readiness": readiness},
	}
}

// scoresOf adds the means to those namespaces that are there.
func scoresOf(namespaces map[string]*oracle.Namespace) oracle.Scores {
	scores := oracle.Scores{Namespaces: map[string]oracle.Namespace{}}
	var score, compliance float64
	for name, namespace := range namespaces {
		if namespace != nil {
			scores.Namespaces[name] = *namespace
			score += namespace.Score
			compliance += namespace.Compliance
		}
	}
	if n := float64(len(scores.Namespaces)); n > 0 {
		score, compliance = score/n, compliance/n
		scores.Score, scores.Compliance = &score, &compliance
	}
	return scores
}

// report is /api/v1/report, as far as it repeats the metrics. Compliance is in percent there.
type report struct {
	Cluster    reportEntry
	Namespaces []reportEntry
}

type reportEntry struct {
	Namespace  string
	Pods       int
	Score      *float64
	Compliance *float64
	Violations map[string]int
}

// checkReport compares the live report with the metrics, while no pod changes.
func checkReport(t *testing.T, step string, agent *blackbox.Agent, namespaces []string) {
	t.Helper()
	status, body, err := agent.Get("/api/v1/report")
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: GET /api/v1/report: %d %v", step, status, err)
	}
	var r report
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%s: decode the report: %v", step, err)
	}
	metrics, err := agent.Metrics()
	if err != nil {
		t.Fatalf("%s: %v", step, err)
	}
	if err := diffScores(ours(metrics.Scores(), namespaces), ours(r.scores(), namespaces)); err != nil {
		t.Errorf("%s: the report differs from the metrics: %v", step, err)
	}
}

func (r report) scores() oracle.Scores {
	scores := oracle.Scores{Namespaces: map[string]oracle.Namespace{}, Score: r.Cluster.Score, Compliance: ratio(r.Cluster.Compliance)}
	for _, n := range r.Namespaces {
		scores.Namespaces[n.Namespace] = oracle.Namespace{
			Pods: n.Pods, Score: *n.Score, Compliance: *ratio(n.Compliance), Violations: n.Violations,
		}
	}
	return scores
}

func ratio(percent *float64) *float64 {
	if percent == nil {
		return nil
	}
	return new(*percent / 100)
}

var resolved = blackbox.Event{Event: "policy_violation_resolved"}

func violation(checks ...string) blackbox.Event {
	return blackbox.Event{Event: "policy_violation", Violations: checks}
}

// wantEvents compares all that was logged of a pod. A resolved line may name what is resolved.
func wantEvents(t *testing.T, agent *blackbox.Agent, namespace, pod string, want ...blackbox.Event) {
	t.Helper()
	waitFor(t, "log of "+namespace+"/"+pod, seeTimeout, func() error {
		events, err := agent.Events(namespace, pod)
		if err != nil {
			return err
		}
		for i := range events {
			if events[i].Event == resolved.Event {
				events[i].Violations = nil
			}
		}
		if diff := cmp.Diff(want, events); diff != "" {
			return fmt.Errorf("events (-want +got):\n%s", diff)
		}
		return nil
	})
}

// wantNoComplaints checks that the agent logged no warnings or errors, such as missing permissions.
func wantNoComplaints(t *testing.T, agent *blackbox.Agent) {
	t.Helper()
	lines, err := agent.Complaints()
	if err != nil {
		t.Error(err)
	}
	for _, line := range lines {
		if line["event"] == nil { // violations may be logged as warnings
			t.Errorf("%s complains: %v", agent.Name(), fmt.Sprint(line))
		}
	}
}
