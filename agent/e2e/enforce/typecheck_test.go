package enforce_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
)

// builtin has the names of the built-in tables.
var builtin = []string{"default", "recommended", "extended", "pss-baseline", "pss-restricted"}

// Flags of the export that change what it prints.
var exportFlags = [][]string{
	{"--action", "warn"}, {"--action", "audit"}, {"--action", "deny", "--kinds", "pods"}, {"--action", "deny", "--kinds", "workloads"},
	{"--action", "deny", "--namespace-opt-out", "--exempt-group", "breakglass", "--controller-user", "system:serviceaccount:databases:*", "--failure-policy", "Ignore"},
}

// exports returns exports of all tables, by their flags: each table as deny, which includes audit, and a small table also with all other flags.
func exports(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	add := func(table string, args ...string) {
		all[table+" "+strings.Join(args, " ")] = export(t, table, args...).stdout
	}
	for _, table := range append([]string{"testdata/forms.yaml"}, builtin...) {
		add(table, "--action", "deny")
	}
	for _, flags := range exportFlags {
		add("default", flags...)
	}
	add("testdata/forms.yaml", "--action", "warn", "--waivers", "testdata/forms-waivers.yaml")
	return all
}

// policiesOf returns the policies of an export with unique names. It omits their bindings, so that the policies apply to nothing.
func policiesOf(t *testing.T, exported, suffix string) (policies []object) {
	t.Helper()
	for _, o := range documents(t, exported) {
		if o["kind"] == "ValidatingAdmissionPolicy" {
			metadata := o["metadata"].(object)
			metadata["name"] = fmt.Sprint(metadata["name"], suffix)
			policies = append(policies, o)
		}
	}
	return policies
}

// TestTypeCheck has kube-controller-manager check the types of each expression of each export.
func TestTypeCheck(t *testing.T) {
	var all []object
	what := make(map[string]string)
	n := 0
	for name, exported := range exports(t) {
		for _, policy := range policiesOf(t, exported, fmt.Sprintf("-types-%d", n)) {
			what[policy["metadata"].(object)["name"].(string)] = name
			all = append(all, policy)
		}
		n++
	}
	// An expression that is valid only for a Pod although the policy matches workloads, too; and a field that no object has.
	planted := policiesOf(t, export(t, "default", "--action", "deny").stdout, "-types-planted")[0]
	spec := planted["spec"].(object)
	validations := spec["validations"].([]any)
	spec["validations"] = append(validations, object{"expression": "object.spec.containerz.size() > 0"})
	all = append(all, planted)

	begun := time.Now()
	manager := startControllers(t, "validatingadmissionpolicy-status-controller")
	var list strings.Builder
	for _, o := range all {
		list.WriteString("---\n" + text(t, o) + "\n")
	}
	install(t, list.String())

	checked := func(name string) (*admissionv1.TypeChecking, error) {
		policy, err := env.Admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if policy.Status.ObservedGeneration != policy.Generation || policy.Status.TypeChecking == nil {
			return nil, fmt.Errorf("%s is not checked yet", name)
		}
		return policy.Status.TypeChecking, nil
	}
	warnings := func(name string) (found []admissionv1.ExpressionWarning) {
		err := cluster.Eventually(t.Context(), 3*time.Minute, 50*time.Millisecond, func() error {
			result, err := checked(name)
			if err == nil {
				found = result.ExpressionWarnings
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for name := range what {
		for _, warning := range warnings(name) {
			t.Errorf("export %s: %s: %s", what[name], warning.FieldRef, warning.Warning)
		}
	}
	found := warnings(planted["metadata"].(object)["name"].(string))
	if len(found) != 1 || !strings.Contains(found[0].Warning, "containerz") {
		t.Errorf("the type check has not found the planted mistake alone: %v", found)
	}
	usage, err := process.UsageOf(manager.Pid())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d policies checked in %s, with %s of processor time", len(what), time.Since(begun).Round(time.Second), usage.CPU.Round(time.Second))
}

// TestExportsApply applies all exports twice, with server-side apply and strict field validation. The second time must not change anything.
func TestExportsApply(t *testing.T) {
	var stream strings.Builder
	n := 0
	for _, exported := range exports(t) {
		for _, o := range documents(t, exported) {
			metadata, spec := o["metadata"].(object), o["spec"].(object)
			metadata["name"] = fmt.Sprintf("%s-apply-%d", metadata["name"], n)
			if o["kind"] == "ValidatingAdmissionPolicyBinding" {
				spec["policyName"] = metadata["name"]
				spec["matchResources"] = object{"namespaceSelector": object{"matchLabels": object{"e2e": "none"}}} // it must judge nothing meanwhile
			}
			stream.WriteString("---\n" + text(t, o) + "\n")
		}
		n++
	}
	const versions = "jsonpath={range .items[*]}{.metadata.name}={.metadata.generation}/{.metadata.resourceVersion}{\"\\n\"}{end}"
	install(t, stream.String())
	once := mustKubectl(t, stream.String(), "get", "-f", "-", "-o", versions)
	again := mustKubectl(t, stream.String(), "apply", "--server-side", "--validate=strict", "-f", "-", "-o", versions)
	if again != once || strings.Count(again, "=1/") < 2*n {
		t.Errorf("the second apply changes something: %s\nthen %s", once, again)
	}
}

func asObject(value any) object {
	o, _ := value.(object)
	if o == nil {
		o = object{}
	}
	return o
}

func merged(a, b object) object {
	for key, value := range b {
		a[key] = value
	}
	return a
}

// TestExportIsDeterministic exports twice and expects the same bytes, so that manifests in a repository change only if the table does.
func TestExportIsDeterministic(t *testing.T) {
	first, second := exports(t), exports(t)
	for name, text := range first {
		if text != second[name] {
			t.Errorf("two exports of %s differ", name)
		}
	}
}
