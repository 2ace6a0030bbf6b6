package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
)

var errSilent = errors.New("it answers, and does not lead")

// TestEachPermission takes each permission away by itself. An agent that starts without it says in one line of its log which
// it lacks, publishes nothing, and does so, without a restart, when it is given back.
func TestEachPermission(t *testing.T) {
	for _, test := range []struct {
		verb, resource string
		names          []string // of the rule that is meant, where two have the resource
		want           string   // in one line
	}{
		{"watch", "pods", nil, `cannot watch resource "pods"`},
		{"list", "pods", nil, `cannot list resource "pods"`},
		{"create", "leases", nil, `cannot create resource "leases"`},
		{"get", "leases", []string{env.installation.LeaseName}, `cannot get resource "leases"`},
		{"update", "leases", []string{env.installation.LeaseName}, `cannot update resource "leases"`},
	} {
		t.Run(test.verb+" "+test.resource, func(t *testing.T) {
			deleteLease(t)
			if test.verb == "update" { // who may not update has use for that permission where there is a Lease
				startAgentForLease(t)
			}
			verbs := []string{test.verb}
			if test.verb == "list" {
				// The first list is streamed by a watch, and asked for again by list where that fails.
				verbs = append(verbs, "watch")
			}
			restore := without(t, test.resource, verbs, test.names)
			agent := startAgent(t, "agent", liveArgs(quickLease...)...)
			waitFor(t, "one line says what is missing", 30*time.Second, func() error { return says(agent, test.want) })
			if leads, _ := publishes(agent); leads {
				t.Error("it publishes without the permission")
			}
			restore()
			waitFor(t, "it publishes", 90*time.Second, func() error {
				if leads, err := publishes(agent); !leads {
					return fmt.Errorf("no scores (%w)", cmp.Or(err, errSilent))
				}
				return nil
			})
			waitReady(t, agent, 5*time.Second)
		})
	}
}

// TestListAlone takes list away while the first list is streamed, as a server does that can. Nothing but the audit needs it
// then: the agent goes on to publish, says in one line what it lacks, and audits when it is given back.
func TestListAlone(t *testing.T) {
	deleteLease(t)
	restore := without(t, "pods", []string{"list"}, nil)
	agent := startAgent(t, "agent", liveArgs(append(quickLease, "--audit-interval=1s")...)...)
	waitFor(t, "it publishes", leadTimeout, func() error {
		if leads, err := publishes(agent); !leads {
			return fmt.Errorf("no scores (%w)", cmp.Or(err, errSilent))
		}
		return nil
	})
	waitFor(t, "one line says what is missing", 30*time.Second, func() error { return says(agent, `cannot list resource "pods"`) })
	if err := audited(agent); err == nil {
		t.Error("it says that it has audited without the permission")
	}
	restore()
	waitFor(t, "it audits", 30*time.Second, func() error { return audited(agent) })
	if leads, err := publishes(agent); !leads {
		t.Errorf("it does not publish any more (%v)", err)
	}
}

// audited is nil once an audit came to its end.
func audited(agent *blackbox.Agent) error {
	metrics, err := agent.Metrics()
	if err != nil {
		return err
	}
	if last, found := metrics.Value("kube_devops_audit_last_success_timestamp_seconds"); last == 0 {
		return fmt.Errorf("no audit has succeeded (its time is there: %t)", found)
	}
	return nil
}

// startAgentForLease has an agent make the Lease, and give it back.
func startAgentForLease(t *testing.T) {
	t.Helper()
	agent := startAgent(t, "first", liveArgs(quickLease...)...)
	waitFor(t, "the Lease is there", 30*time.Second, func() error {
		if leads, err := publishes(agent); !leads {
			return fmt.Errorf("no agent leads (%w)", cmp.Or(err, errSilent))
		}
		return nil
	})
	stopAgent(t, agent, syscall.SIGTERM, 0)
}

func deleteLease(t *testing.T) {
	t.Helper()
	err := env.Admin.CoordinationV1().Leases(metav1.NamespaceDefault).Delete(t.Context(), env.installation.LeaseName, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
}

// says finds one line with the words.
func says(agent *blackbox.Agent, words string) error {
	lines, err := agent.Log()
	if err != nil {
		return err
	}
	for _, line := range lines {
		for _, value := range line {
			if strings.Contains(fmt.Sprint(value), words) {
				return nil
			}
		}
	}
	return fmt.Errorf("no line with %q in\n%s", words, agent.Tail())
}

// publishes reports whether the agent leads and has evaluated the pods.
func publishes(agent *blackbox.Agent) (bool, error) {
	metrics, err := agent.Metrics()
	if err != nil {
		return false, err
	}
	leads, _ := metrics.Value("kube_devops_leader")
	status, _, err := agent.Get("/api/v1/report")
	return leads == 1 && status == 200, err
}

// without takes verbs out of the rule for a resource, and returns what gives them back, at the latest when the test ends.
func without(t *testing.T, resource string, verbs, names []string) (restore func()) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	strip := func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
		var stripped []rbacv1.PolicyRule
		for _, rule := range rules {
			if slices.Contains(rule.Resources, resource) && slices.Equal(rule.ResourceNames, names) {
				rule.Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(v string) bool { return slices.Contains(verbs, v) })
			}
			if len(rule.Verbs) > 0 {
				stripped = append(stripped, rule)
			}
		}
		return stripped
	}
	var before []rbacv1.PolicyRule
	var set func(rules []rbacv1.PolicyRule)
	if resource == "pods" {
		roles := env.Admin.RbacV1().ClusterRoles()
		role, err := roles.Get(ctx, env.installation.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		before = role.Rules
		set = func(rules []rbacv1.PolicyRule) {
			role.Rules, role.ResourceVersion = rules, ""
			if _, err := roles.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
				t.Error(err)
			}
		}
	} else {
		roles := env.Admin.RbacV1().Roles(metav1.NamespaceDefault)
		role, err := roles.Get(ctx, env.installation.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		before = role.Rules
		set = func(rules []rbacv1.PolicyRule) {
			role.Rules, role.ResourceVersion = rules, ""
			if _, err := roles.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
	after := strip(before)
	if len(after) == len(before) && equalVerbs(after, before) {
		t.Fatalf("no rule for %v of %s %v", verbs, resource, names)
	}
	set(after)
	waitPermission(t, resource, verbs[0], names, false)
	t.Cleanup(func() { set(before) })
	return func() { set(before) }
}

func equalVerbs(a, b []rbacv1.PolicyRule) bool {
	return slices.EqualFunc(a, b, func(a, b rbacv1.PolicyRule) bool { return slices.Equal(a.Verbs, b.Verbs) })
}

// waitPermission waits for the API server's own view of the roles.
func waitPermission(t *testing.T, resource, verb string, names []string, want bool) {
	t.Helper()
	waitFor(t, "the API server knows it", 20*time.Second, func() error {
		for _, rule := range rules(t, env.installation.Name, metav1.NamespaceDefault) {
			if slices.Contains(rule.Resources, resource) && slices.Equal(rule.ResourceNames, names) && slices.Contains(rule.Verbs, verb) {
				if want {
					return nil
				}
				return fmt.Errorf("%s may still %s", env.installation.Name, verb)
			}
		}
		if want {
			return fmt.Errorf("%s may not %s", env.installation.Name, verb)
		}
		return nil
	})
}
