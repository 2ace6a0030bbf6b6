package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// TestPermissions reads all permissions of the agent's account from the API server, without those of an account that has no roles. The
// other tests run the agent as this account, and show that the permissions are sufficient.
func TestPermissions(t *testing.T) {
	newAccount(t, "plain")
	pods := rule([]string{"list", "watch"}, "", "pods")
	createLease := rule([]string{"create"}, "coordination.k8s.io", "leases")
	holdLease := rule([]string{"get", "update"}, "coordination.k8s.io", "leases", env.installation.LeaseName)
	for namespace, want := range map[string][]authorizationv1.ResourceRule{
		"default":             {createLease, holdLease, pods},
		"kube-system":         {pods},
		env.installation.Name: {pods},
	} {
		t.Run(namespace, func(t *testing.T) {
			got := rules(t, env.installation.Name, namespace)
			everybody := rules(t, "plain", namespace)
			got = slices.DeleteFunc(got, func(r authorizationv1.ResourceRule) bool {
				return slices.ContainsFunc(everybody, func(e authorizationv1.ResourceRule) bool { return cmp.Equal(r, e) })
			})
			slices.SortFunc(got, func(a, b authorizationv1.ResourceRule) int { return strings.Compare(a.String(), b.String()) })
			slices.SortFunc(want, func(a, b authorizationv1.ResourceRule) int { return strings.Compare(a.String(), b.String()) })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}

func rule(verbs []string, group, resource string, names ...string) authorizationv1.ResourceRule {
	return authorizationv1.ResourceRule{Verbs: verbs, APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: names}
}

// rules returns what an account may do in a namespace.
func rules(t *testing.T, account, namespace string) []authorizationv1.ResourceRule {
	t.Helper()
	client, err := env.installation.Client(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	review, err = client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.ResourceRules
}

// TestManifests applies every manifest as a dry run, and checks the pod against the Pod Security Standard of its namespace.
func TestManifests(t *testing.T) {
	manifests, err := env.installation.AllManifests()
	if err != nil {
		t.Fatal(err)
	}
	out, err := env.Kubectl(t.Context(), bytes.NewReader(manifests), "apply", "--dry-run=server", "--validate=strict", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", out)

	objects := decode(t, manifests)
	deployment := find[*appsv1.Deployment](t, objects)
	template := deployment.Spec.Template
	if err := dryRunPod(t, template); err != nil {
		t.Errorf("the pod of the Deployment is refused: %v", err)
	}
	lax := *template.DeepCopy()
	lax.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
	if err := dryRunPod(t, lax); !apierrors.IsForbidden(err) {
		t.Errorf("a pod that may gain privileges is not refused (%v): the namespace is not restricted", err)
	}
	account := find[*corev1.ServiceAccount](t, objects)
	if template.Spec.ServiceAccountName != account.Name || deployment.Namespace != account.Namespace {
		t.Errorf("the Deployment runs as %s/%s, and the roles are bound to %s/%s", deployment.Namespace, template.Spec.ServiceAccountName, account.Namespace, account.Name)
	}
	podLabels := labels.Set(template.Labels)
	if !labels.SelectorFromSet(find[*corev1.Service](t, objects).Spec.Selector).Matches(podLabels) {
		t.Error("the Service does not select the pods of the Deployment")
	}
	selector, err := metav1.LabelSelectorAsSelector(find[*policyv1.PodDisruptionBudget](t, objects).Spec.Selector)
	if err != nil || !selector.Matches(podLabels) {
		t.Errorf("the PodDisruptionBudget does not select the pods of the Deployment (%v)", err)
	}
}

// dryRunPod asks the API server whether it would take a pod of this template, without a token, which only its admission
// plugin for accounts could mount.
func dryRunPod(t *testing.T, template corev1.PodTemplateSpec) error {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: template.Spec}
	pod.Name = "manifest"
	pods := env.Admin.CoreV1().Pods(env.installation.Name)
	_, err := pods.Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// decode reads a stream of manifests into typed objects. A kind or field that the API does not have is an error.
func decode(t *testing.T, manifests []byte) []runtime.Object {
	t.Helper()
	var objects []runtime.Object
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(manifests)))
	buffer := make([]byte, len(manifests)+1)
	for {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(string(buffer[:n])) == "" {
			continue
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(buffer[:n], nil, nil)
		if err != nil {
			t.Fatalf("decode a manifest: %v\n%s", err, buffer[:n])
		}
		objects = append(objects, object)
	}
}

// find returns the one object of a type.
func find[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	var found []T
	for _, object := range objects {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d objects of type %T, want 1", len(found), *new(T))
	}
	return found[0]
}

// TestEachPermissionIsNeeded removes the permissions of the agent one at a time. Without one permission the agent logs which one is
// missing; with all of them it publishes without warnings.
func TestEachPermissionIsNeeded(t *testing.T) {
	type permission struct{ verb, resource string }
	all := []permission{{"list", "pods"}, {"watch", "pods"}, {"create", "leases"}, {"get", "leases"}, {"update", "leases"}}
	for i, missing := range append(all, permission{}) {
		name := "all"
		if missing.verb != "" {
			name = "no-" + missing.verb + "-" + missing.resource
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t, "e2e-permissions")
			if err := env.CreatePods(t.Context(), cluster.NewPod(namespace, "web", cluster.Bad)); err != nil {
				t.Fatal(err)
			}
			account := newAccount(t, name)
			for j, p := range all {
				if j != i {
					account.allow(t, p.verb, p.resource)
				}
			}
			// The list is needed where the initial stream fails, and for the audit.
			args := slices.Concat(quickLease, []string{"--kubeconfig", account.kubeconfig, "--lease-name", name, "--audit-interval=1s"})
			agent := startAgent(t, "agent", liveArgs(args...)...)
			refused := func() bool {
				return strings.Contains(agent.Stderr(), "cannot "+missing.verb+` resource \"`+missing.resource+`\"`)
			}
			if missing.verb == "" {
				waitScores(t, "scores", agent, leadTimeout, []string{namespace}, listed(t))
				waitFor(t, "an audit", leadTimeout, func() error {
					metrics, err := agent.Metrics()
					if err != nil {
						return err
					}
					if at, _ := metrics.Value("kube_devops_audit_last_success_timestamp_seconds"); at == 0 {
						return errors.New("none came to its end")
					}
					return nil
				})
				if strings.Contains(agent.Stderr(), "cannot ") {
					t.Errorf("it has all permissions, and is refused something: %s", agent.Stderr())
				}
				return
			}
			waitFor(t, "it complains", leadTimeout, func() error {
				if !refused() {
					return errors.New("it does not miss the permission")
				}
				return nil
			})
		})
	}
}

// allow lets an account do one thing: with pods in every namespace, with Leases in default.
func (a account) allow(t *testing.T, verb, resource string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	subject, name := "--serviceaccount="+env.installation.Name+":"+a.name, a.name+"-"+verb+"-"+resource
	role, binding, scope := "role", "rolebinding", []string{"-n", "default"}
	if resource == "pods" {
		role, binding, scope = "clusterrole", "clusterrolebinding", nil
	}
	for _, args := range [][]string{
		{"create", role, name, "--verb=" + verb, "--resource=" + resource},
		{"create", binding, name, "--" + role + "=" + name, subject},
	} {
		if _, err := env.Kubectl(ctx, nil, append(args, scope...)...); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, kind := range []string{binding, role} {
			if _, err := env.Kubectl(ctx, nil, append([]string{"delete", kind, name}, scope...)...); err != nil {
				t.Error(err)
			}
		}
	})
}
