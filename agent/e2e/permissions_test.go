package e2e_test

import (
	"bytes"
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
)

// TestPermissions asks the API server for everything that the agent's account may do, beyond what an account without any
// role may. That it is enough, the other tests show: they run the agent as that account.
func TestPermissions(t *testing.T) {
	newAccount(t, "nobody")
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
			everybody := rules(t, "nobody", namespace)
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

// TestManifests has the API server check every manifest, and the pod of the Deployment against the Pod Security standard of
// its namespace.
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
