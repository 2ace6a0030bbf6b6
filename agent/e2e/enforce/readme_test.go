package enforce_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// block returns the lines of a page between the markers of a block that the tests run.
func block(t *testing.T, page, name string) []string {
	t.Helper()
	found := regexp.MustCompile(`(?s)<!-- ` + name + `: run by agent/e2e/enforce -->\n(.*?)<!-- end -->`).FindStringSubmatch(readme(t, page))
	if found == nil {
		t.Fatalf("%s has no block %q that these tests run", page, name)
	}
	return strings.Split(strings.TrimSuffix(found[1], "\n"), "\n")
}

// shell runs a command line of a page in a temporary folder, with the kubeconfig of the cluster's administrator.
func shell(t *testing.T, dir, line string) result {
	t.Helper()
	bin := filepath.Join(env.dir, "path")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"kube-devops": env.binary, "kubectl": filepath.Join(env.bin, "kubectl")} {
		if err := os.Symlink(target, filepath.Join(bin, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + env.dir, "PATH=" + bin + ":" + os.Getenv("PATH"), "KUBECONFIG=" + env.Cluster.Kubeconfig()}
	return run1(t, cmd)
}

// consoleSteps returns the commands of a console block, with the output that the page shows for each.
func consoleSteps(lines []string) (steps [][2]string) {
	for _, line := range lines {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			steps = append(steps, [2]string{command})
		} else if !strings.HasPrefix(line, "```") {
			last := &steps[len(steps)-1]
			last[1] += line + "\n"
		}
	}
	return steps
}

// TestReadme runs the commands of the README in their order, from the score of a cluster to a refused kubectl apply and back.
func TestReadme(t *testing.T) {
	dir := t.TempDir()
	mustKubectl(t, text(t, newPod("default", "readme", bad)), "apply", "-f", "-") // something to score
	defer kubectl(t, "", "delete", "pod", "readme", "--wait=false")
	steps := consoleSteps(block(t, "README.md", "enforce"))
	if len(steps) != 5 {
		t.Fatalf("the README has %d commands, want 5", len(steps))
	}
	var got []string
	for i, step := range steps {
		res := shell(t, dir, step[0])
		printed := res.stdout + res.stderr
		got = append(got, printed)
		isRefused := strings.Contains(step[1], "denied request: ")
		if (res.code != 0) != isRefused {
			t.Fatalf("%s: exit code %d\n%s", step[0], res.code, printed)
		}
		switch i {
		case 0: // the page shows no score, since each cluster has another one
			if !strings.Contains(printed, "latest_tag") {
				t.Errorf("%s: no score:\n%s", step[0], printed)
			}
			continue
		case 2, 4:
			if !strings.Contains(step[0], "&& sleep 2") {
				t.Errorf("%s: the next command comes before the API server has taken up the policy", step[0])
			}
			inForce(t) // a busy machine may need longer than the page waits
		}
		if diff := cmp.Diff(step[1], printed); step[1] != "" && diff != "" {
			t.Errorf("%s (-page +got):\n%s", step[0], diff)
		}
	}
	if !strings.Contains(got[3], "denied request: ") {
		t.Errorf("kubectl apply is not refused: %s", got[3])
	}
	// Back: the same apply succeeds.
	if res := shell(t, dir, steps[3][0]); res.code != 0 {
		t.Errorf("after the last command, %s fails: %s", steps[3][0], res.stderr)
	}
	mustKubectl(t, "", "delete", "deployment", "web", "--wait=false")
	if left := mustKubectl(t, "", "get", "validatingadmissionpolicies,validatingadmissionpolicybindings", "-o", "name"); strings.Contains(left, "kube-devops-default") {
		t.Errorf("something is left: %s", left)
	}
}

// TestFromDenyToWarn changes from deny to warn with the commands of the page. Refused objects must then be admitted with a warning, and no other
// policy of the table must remain. The last command is the one in the comment of the export.
func TestFromDenyToWarn(t *testing.T) {
	install(t, export(t, "default", "--action", "deny").stdout)
	inForce(t)
	pod := text(t, newPod("default", "warned", bad))
	create := []string{"create", "--dry-run=server", "-f", "-"}
	if res := kubectl(t, pod, create...); res.code == 0 {
		t.Fatalf("deny does not refuse: %s", res.stdout)
	}
	dir, command := t.TempDir(), ""
	for _, line := range block(t, "deploy/README.md", "warn") {
		command = strings.TrimSpace(line)
		if res := shell(t, dir, command); res.code != 0 {
			t.Fatalf("%s: exit code %d\n%s", command, res.code, res.stderr)
		}
	}
	inForce(t)
	if res := kubectl(t, pod, create...); res.code != 0 || !strings.Contains(res.stderr, "Warning: Validation failed for ValidatingAdmissionPolicy 'kube-devops-default-warn'") {
		t.Errorf("exit code %d: %s", res.code, res.stderr)
	}
	left := mustKubectl(t, "", "get", "validatingadmissionpolicies,validatingadmissionpolicybindings", "-l", "kube-devops.io/policy-table=default", "-o", "name")
	if names := strings.Fields(left); len(names) != 2 || strings.Count(left, "/kube-devops-default-warn\n") != 2 {
		t.Errorf("the cluster has %q, want the policy and the binding for warn", names)
	}
	exported, err := os.ReadFile(filepath.Join(dir, "enforce.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(exported), "\n#   "+command+"\n") {
		t.Errorf("the export does not have the command %s:\n%.900s", command, exported)
	}
	mustKubectl(t, string(exported), "delete", "-f", "-")
	inForce(t)
}

// TestRefusalInReadme compares the refusal that deploy/README.md shows.
func TestRefusalInReadme(t *testing.T) {
	install(t, export(t, "default", "--action", "deny").stdout)
	inForce(t)
	for _, step := range consoleSteps(block(t, "deploy/README.md", "refused")) {
		res := shell(t, t.TempDir(), step[0])
		if diff := cmp.Diff(step[1], res.stdout+res.stderr); res.code == 0 || diff != "" {
			t.Errorf("%s: exit code %d (-page +got):\n%s", step[0], res.code, diff)
		}
	}
}

// TestStopEnforcement runs each command of deploy/README.md that stops enforcement, on policies that deny.
func TestStopEnforcement(t *testing.T) {
	var commands []string
	for _, line := range block(t, "deploy/README.md", "stop") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			commands = append(commands, line)
		}
	}
	if len(commands) != 4 {
		t.Fatalf("the page has %d commands, want 4: %q", len(commands), commands)
	}
	// From the narrowest to the widest, so that each command has something to stop.
	slices.Reverse(commands)
	s := newScenario(t, "stop", "--namespace-opt-out")
	s.enforce(t)
	create := []string{"create", "--dry-run=server", "-f", "-"}
	pod := text(t, newPod(s.namespace, "bad", bad))
	for _, command := range commands {
		t.Run(command, func(t *testing.T) {
			s.refused(t, "a bad pod before it", pod, create, "latest_tag/web")
			command = strings.NewReplacer("TABLE", s.name, "NAMESPACE", s.namespace).Replace(command)
			if res := shell(t, t.TempDir(), command); res.code != 0 {
				t.Fatalf("%s: exit code %d\n%s", command, res.code, res.stderr)
			}
			inForce(t)
			s.allowed(t, "a bad pod after it", pod, create...)
			// The way back, as the page describes it.
			if strings.Contains(command, "kubectl patch") {
				mustKubectl(t, "", "delete", "validatingadmissionpolicybinding", "kube-devops-"+s.name+"-deny")
			}
			mustKubectl(t, "", "label", "namespace", s.namespace, "kube-devops.io/enforce-")
			mustKubectl(t, s.policies, "apply", "--server-side", "-f", "-")
			inForce(t)
		})
	}
}

// TestChangeOfAction changes the action in both directions. After each export, the command in its comment must delete all other policies of the
// table.
func TestChangeOfAction(t *testing.T) {
	s := newScenario(t, "actions")
	install(t, s.policies) // removes what is left when the test ends
	for _, action := range []string{"audit", "warn", "deny", "warn", "audit"} {
		exported := export(t, s.table, "--action", action).stdout
		install(t, exported)
		command := ""
		for line := range strings.Lines(exported) {
			if found, ok := strings.CutPrefix(line, "#   kubectl delete "); ok {
				command = "kubectl delete " + strings.TrimSpace(found)
			}
		}
		if res := shell(t, t.TempDir(), command); command == "" || res.code != 0 {
			t.Fatalf("%s: %q: exit code %d\n%s", action, command, res.code, res.stderr)
		}
		want := []string{"kube-devops-" + s.name + "-" + action}
		if action == "deny" {
			want = append(want, "kube-devops-"+s.name+"-audit")
		}
		slices.Sort(want)
		for _, kind := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
			got := strings.Fields(mustKubectl(t, "", "get", kind, "-l", "kube-devops.io/policy-table="+s.name, "-o", "jsonpath={.items[*].metadata.name}"))
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", action, kind, diff)
			}
		}
	}
}
