package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// export prints a built-in table as `kube-devops policy export vap` does, into a file.
func export(t *testing.T, flags ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), agentBinary, append([]string{"policy", "export", "vap"}, flags...)...)
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("export %q: %v", flags, err)
	}
	path := filepath.Join(t.TempDir(), "enforce.yaml")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// admissionKinds are those that a release may install for enforcement.
func admissionKinds(all []document) []document {
	return slices.DeleteFunc(all, func(d document) bool { return !strings.HasPrefix(d.GetKind(), "ValidatingAdmission") })
}

// TestEnforcement has the chart install what the command prints, object by object, and nothing without a file.
func TestEnforcement(t *testing.T) {
	if got := admissionKinds(documents(t, render(t))); len(got) > 0 {
		t.Errorf("without a file there are %v", kinds(got))
	}
	for _, flags := range [][]string{{"--action=deny"}, {"--action=audit", "--policy=recommended", "--partial"}} {
		file := export(t, flags...)
		all := admissionKinds(documents(t, render(t, "--set-file", "enforcement.policies="+file)))
		checkTypes(t, all)
		var want, got []map[string]any
		for part := range strings.SplitSeq(string(content(t, file)), "\n---\n") {
			var object map[string]any
			if err := yaml.UnmarshalStrict([]byte(part), &object); err != nil {
				t.Fatal(err)
			}
			if object != nil {
				want = append(want, object)
			}
		}
		for _, d := range all {
			got = append(got, d.Object)
		}
		sort := func(objects []map[string]any) {
			slices.SortFunc(objects, func(a, b map[string]any) int { return strings.Compare(asJSON(t, a), asJSON(t, b)) })
		}
		sort(want)
		sort(got)
		if diff := cmp.Diff(want, got); diff != "" || len(want) < 2 {
			t.Errorf("%v: %d objects (-exported +rendered):\n%s", flags, len(want), diff)
		}
	}
}

// TestEnforcementRefuses checks the messages about files that hold something else.
func TestEnforcementRefuses(t *testing.T) {
	const (
		head    = "apiVersion: admissionregistration.k8s.io/v1\nkind: "
		policy  = head + "ValidatingAdmissionPolicy\nmetadata: {name: a}\nspec: {}\n"
		binding = head + "ValidatingAdmissionPolicyBinding\nmetadata: {name: a}\nspec: {policyName: a}\n"
	)
	for _, test := range []struct{ name, text, want string }{
		{"both kinds", "# head\n---\n" + policy + "---\r\n" + binding + "--- \n# tail\n", ""},
		{"nothing", "# no checks\n---\n", "has no ValidatingAdmissionPolicy"},
		{"a Secret", policy + "---\n" + binding + "---\napiVersion: v1\nkind: Secret\n", "document 3 is v1 Secret; expected a ValidatingAdmissionPolicy"},
		{"a webhook", head + "ValidatingWebhookConfiguration\n", "document 1 is admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration; expected"},
		{"another version", strings.Replace(policy, "/v1", "/v1beta1", 1), "document 1 is admissionregistration.k8s.io/v1beta1 Validating"},
		{"a list", "apiVersion: v1\nkind: List\nitems: []\n", "document 1 is v1 List; expected"},
		{"a policy table", "kind: PolicyTable\n", "document 1 is without apiVersion PolicyTable; expected"},
		{"no YAML", policy + "---\n{", "document 2 is not a YAML object"},
		{"a text", "true", "document 1 is not a YAML object"},
		{"no name", head + "ValidatingAdmissionPolicy\n", "document 1 has no metadata.name"},
		{"a policy twice", policy + "---\n" + policy, "document 2: ValidatingAdmissionPolicy a is there twice"},
		{"a policy without a binding", policy, "policy a has no binding in the file"},
		{"a binding without its policy", binding, `binding a is for policy "a", which the file does not have`},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file.yaml")
			if err := os.WriteFile(file, []byte(test.text), 0o644); err != nil {
				t.Fatal(err)
			}
			out, err := helm(t.Context(), t.TempDir(), "template", "kube-devops", chart, "--set-file", "enforcement.policies="+file)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if test.want == "" && len(admissionKinds(documents(t, out))) != 2 {
				t.Errorf("rendered:\n%s", out)
			}
		})
	}
}
