package policies_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func recommended(t *testing.T) *rules.Table {
	t.Helper()
	table, err := policies.Open("recommended")
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestRecommended holds what others rely on: the ids, severities and weights, and the reasons for which pods are left out.
func TestRecommended(t *testing.T) {
	table := recommended(t)
	var got []string
	for _, c := range table.Checks() {
		got = append(got, fmt.Sprint(c.ID, " ", c.Severity, " ", c.Weight))
		if c.Description == "" || c.Remediation == "" {
			t.Errorf("%s: description %q, remediation %q: both must say something", c.ID, c.Description, c.Remediation)
		}
	}
	want := []string{
		"latest_tag high 5", "missing_liveness medium 3", "missing_readiness medium 2", "missing_startup low 1", "restarts high 6", "pending high 4",
		"missing_requests medium 2", "missing_memory_limit medium 2", "privileged critical 10", "host_namespaces high 6", "runs_as_root high 4",
		"privilege_escalation medium 2", "added_capabilities high 6", "docker_socket critical 10", "host_path high 4", "host_port medium 3",
		"unconfined_seccomp high 4", "proc_mount high 4", "unsafe_sysctls high 4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"finished", "mirror", "terminating"}, table.SkipReasons()); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if len(table.Waivers()) > 0 {
		t.Error("a table that ships accepts violations")
	}
}

// TestRunsAsRoot tries all that a pod and its container may say of their user: the container's word wins over the
// pod's, and where neither names a user the image decides, unless runAsNonRoot keeps it from root.
func TestRunsAsRoot(t *testing.T) {
	table := recommended(t)
	check := -1
	for i, c := range table.Checks() {
		if c.ID == "runs_as_root" {
			check = i
		}
	}
	users, truths := []string{"", "0", "1000"}, []string{"", "true", "false"}
	for _, podUser := range users {
		for _, podNonRoot := range truths {
			for _, user := range users {
				for _, nonRoot := range truths {
					effective := func(own, pods string) string {
						if own == "" {
							return pods
						}
						return own
					}
					u, n := effective(user, podUser), effective(nonRoot, podNonRoot)
					want := u == "0" || u == "" && n != "true"
					pod := `{"spec":{"securityContext":` + securityContext(podUser, podNonRoot) + `,"containers":[{"securityContext":` + securityContext(user, nonRoot) + `}]}}`
					verdict, err := table.Evaluate([]byte(pod))
					if err != nil {
						t.Fatal(err)
					}
					got := false
					for _, v := range verdict.Violations {
						got = got || v.Check == check
					}
					if got != want {
						t.Errorf("%s: runs as root: %t, want %t", pod, got, want)
					}
				}
			}
		}
	}
}

// securityContext is JSON; what is empty is left out, or null.
func securityContext(user, nonRoot string) string {
	if user == "" {
		user = "null"
	}
	if nonRoot == "" {
		return `{"runAsUser":` + user + `}`
	}
	return `{"runAsUser":` + user + `,"runAsNonRoot":` + nonRoot + `}`
}

// TestFleetOfLatestWithoutProbes: pods with the tag latest and without probes do not make a healthy namespace, although nothing else is
// wrong with them.
func TestFleetOfLatestWithoutProbes(t *testing.T) {
	table := recommended(t)
	const pod = `{"spec":{"containers":[{"name":"web","image":"web:latest","resources":{"requests":{"cpu":"1","memory":"1Gi"},"limits":{"memory":"1Gi"}},
		"securityContext":{"runAsNonRoot":true,"allowPrivilegeEscalation":false}}]},
		"status":{"phase":"Running","containerStatuses":[{"name":"web","restartCount":0}]}}`
	verdict, err := table.Evaluate([]byte(pod))
	if err != nil {
		t.Fatal(err)
	}
	lost, possible := 0, 0
	for i, c := range table.Checks() {
		possible += c.Weight * verdict.Subjects[i]
	}
	var ids []string
	for _, v := range verdict.Violations {
		c := table.Checks()[v.Check]
		lost += c.Weight
		ids = append(ids, c.ID)
	}
	if diff := cmp.Diff([]string{"latest_tag", "missing_liveness", "missing_readiness"}, ids); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
	if compliance := 100 * (1 - float64(lost)/float64(possible)); table.Grade(compliance, rules.High) != "Stable" {
		t.Errorf("a compliance of %.1f %% is %s, want Stable", compliance, table.Grade(compliance, rules.High))
	}
}
