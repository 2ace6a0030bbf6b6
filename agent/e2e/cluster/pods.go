package cluster

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Container is what the default policy table looks at.
type Container struct {
	Image     string
	Liveness  bool
	Readiness bool
}

// Containers of the two ends: Bad fails all three checks of the default table, Good none.
var (
	Bad  = Container{Image: "nginx:latest"}
	Good = Container{Image: "nginx:1.29", Liveness: true, Readiness: true}
)

// NewPod builds a pod that no scheduler will take, so that it stays as it is written in any cluster.
func NewPod(namespace, name string, containers ...Container) *corev1.Pod {
	grace, token := int64(0), false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			SchedulerName:                 "none",
			TerminationGracePeriodSeconds: &grace,
			AutomountServiceAccountToken:  &token,
		},
	}
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	for i, c := range containers {
		container := corev1.Container{Name: fmt.Sprintf("c%d", i), Image: c.Image}
		if c.Liveness {
			container.LivenessProbe = probe
		}
		if c.Readiness {
			container.ReadinessProbe = probe
		}
		pod.Spec.Containers = append(pod.Spec.Containers, container)
	}
	return pod
}

// CreateNamespace makes a namespace whose name begins with prefix and ends in a random part.
func (c *Cluster) CreateNamespace(ctx context.Context, prefix string) (string, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}
	made, err := c.Admin.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("create a namespace: %w", err)
	}
	// Where a controller makes the default account of each namespace, no pod is accepted before it has.
	if _, err := c.Admin.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{}); apierrors.IsNotFound(err) {
		return made.Name, nil
	}
	return made.Name, Eventually(ctx, 30*time.Second, 50*time.Millisecond, func() error {
		_, err := c.Admin.CoreV1().ServiceAccounts(made.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// EmptyNamespace deletes every pod of a namespace, and in an existing cluster the namespace. On a control plane of our own
// nothing would finish that, and the name would stay in the way of no one.
func (c *Cluster) EmptyNamespace(ctx context.Context, namespace string) error {
	if err := c.DeletePods(ctx, namespace); err != nil {
		return err
	}
	if c.Own != nil {
		return nil
	}
	if err := c.Admin.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete namespace %s: %w", namespace, err)
	}
	return nil
}

// CreatePods writes pods through the API, several at a time: some 200 a second.
func (c *Cluster) CreatePods(ctx context.Context, pods ...*corev1.Pod) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, pod := range pods {
		group.Go(func() error {
			_, err := c.Admin.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("create pod %s/%s: %w", pod.Namespace, pod.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// SetImage changes the image of a pod's first container, the one thing a policy looks at that may change in place.
func (c *Cluster) SetImage(ctx context.Context, namespace, name, image string) error {
	patch := fmt.Sprintf(`[{"op": "replace", "path": "/spec/containers/0/image", "value": %q}]`, image)
	return c.PatchPod(ctx, namespace, name, patch)
}

// PatchPod applies a JSON patch to a pod.
func (c *Cluster) PatchPod(ctx context.Context, namespace, name, patch string) error {
	_, err := c.Admin.CoreV1().Pods(namespace).Patch(ctx, name, "application/json-patch+json", []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

// DeletePod deletes a pod at once.
func (c *Cluster) DeletePod(ctx context.Context, namespace, name string) error {
	grace := int64(0)
	err := c.Admin.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
	if err != nil {
		return fmt.Errorf("delete pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

// DeletePods deletes every pod of a namespace at once.
func (c *Cluster) DeletePods(ctx context.Context, namespace string) error {
	grace := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &grace}
	if err := c.Admin.CoreV1().Pods(namespace).DeleteCollection(ctx, options, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("delete the pods of %s: %w", namespace, err)
	}
	return nil
}

// ListPods returns the raw JSON of GET /api/v1/pods.
func (c *Cluster) ListPods(ctx context.Context) ([]byte, error) {
	b, err := c.Admin.CoreV1().RESTClient().Get().Resource("pods").SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return b, nil
}
