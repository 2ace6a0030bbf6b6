package enforce_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// priorityClass is a priority class that exists in the cluster, for the pods that use one.
const priorityClass = "high-priority"

const (
	forceTimeout = 20 * time.Second // until a policy is in force; it takes about a second
	concurrency  = 8                // of dry runs
)

// client returns a client for requests with raw bodies.
func client() rest.Interface { return env.Admin.CoreV1().RESTClient() }

// dryRun creates an object in a dry run, and returns the object that would be stored.
func dryRun(ctx context.Context, o object) ([]byte, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	answer := client().Post().AbsPath(collection(o)).Param("dryRun", "All").
		SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").Body(text).Do(ctx)
	if err := answer.Error(); err != nil { // with the reason and the message of the API server, which Raw leaves out
		return nil, err
	}
	return answer.Raw()
}

// dryRunAll creates all objects without storing them. It calls each with the index of the object, from several goroutines.
func dryRunAll(ctx context.Context, objects []object, each func(i int, stored []byte, err error) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i, o := range objects {
		group.Go(func() error {
			stored, err := dryRun(ctx, o)
			return each(i, stored, err)
		})
	}
	return group.Wait()
}

// isRefused reports whether a policy refused a request, and returns its message.
func isRefused(err error) (message string, refused bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Reason != metav1.StatusReasonForbidden {
		return "", false
	}
	_, message, refused = strings.Cut(status.Status().Message, "denied request: ")
	return message, refused
}

// inForce waits until the API server enforces all policies and bindings that were written before, and no deleted ones. It writes a policy and waits
// for that, because the API server loads policies and bindings in the order in which they were written.
func inForce(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	name := fmt.Sprint("e2e-barrier-", time.Now().UnixNano())
	fail, forbidden := admissionv1.Fail, metav1.StatusReasonForbidden
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: fmt.Sprintf("object.metadata.name != '%s'", name), Reason: &forbidden}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}
	policies, bindings := env.Admin.AdmissionregistrationV1().ValidatingAdmissionPolicies(), env.Admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	if _, err := policies.Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := bindings.Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		err := errors.Join(policies.Delete(ctx, name, metav1.DeleteOptions{}), bindings.Delete(ctx, name, metav1.DeleteOptions{}))
		if err != nil {
			t.Error(err)
		}
	}()
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
	err := cluster.Eventually(ctx, forceTimeout, 25*time.Millisecond, func() error {
		_, err := env.Admin.CoreV1().ConfigMaps(metav1.NamespaceDefault).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if _, refused := isRefused(err); refused {
			return nil
		}
		return errors.Join(errors.New("the probe is not refused"), err)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// namespace creates a namespace with labels, and returns its name.
func namespace(t *testing.T, prefix string, labels map[string]string) string {
	t.Helper()
	made, err := env.Admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-", Labels: labels},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made.Name
}

// A result is the output of a command, and its exit code.
type result struct {
	stdout, stderr string
	code           int
}

func run1(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// kubeDevops runs the binary.
func kubeDevops(t *testing.T, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), env.binary, args...)
	cmd.Env = []string{"HOME=" + env.dir, "PATH=" + os.Getenv("PATH")}
	return run1(t, cmd)
}

// kubectl runs kubectl as the administrator. stdin may be empty.
func kubectl(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	cmd := env.KubectlCommand(t.Context(), args...)
	cmd.Stdin = strings.NewReader(stdin)
	return run1(t, cmd)
}

// mustKubectl runs kubectl, which must succeed, and returns its output.
func mustKubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	res := kubectl(t, stdin, args...)
	if res.code != 0 {
		t.Fatalf("kubectl %v: exit code %d\n%s%s", args, res.code, res.stdout, res.stderr)
	}
	return res.stdout
}

// writeFile writes a file of the test, and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// export exports the policies of a table, without checks that cannot be enforced.
func export(t *testing.T, table string, args ...string) result {
	t.Helper()
	res := kubeDevops(t, append([]string{"policy", "export", "vap", "--policy", table, "--partial"}, args...)...)
	if res.code != 0 || res.stdout == "" {
		t.Fatalf("export %s: exit code %d\n%s", table, res.code, res.stderr)
	}
	return res
}

// install applies exported policies, and deletes them when the test ends. It does not wait until they are enforced.
func install(t *testing.T, policies string) {
	t.Helper()
	mustKubectl(t, policies, "apply", "--server-side", "--validate=strict", "-f", "-")
	t.Cleanup(func() {
		cmd := env.KubectlCommand(context.WithoutCancel(t.Context()), "delete", "--ignore-not-found", "--wait=false", "-f", "-")
		cmd.Stdin = strings.NewReader(policies)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("delete the policies: %v\n%s", err, out)
		}
	})
}
