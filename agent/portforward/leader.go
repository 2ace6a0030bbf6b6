package portforward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// defaultPort is that of an agent without a named port in its pod.
const defaultPort = 8080

// A leader is a pod to connect to.
type leader struct {
	holder         string // the identity in the Lease; empty if the user named the pod
	namespace, pod string
	port           int
	tls            bool
}

func (l *leader) String() string { return "pod " + l.namespace + "/" + l.pod }

// A finder finds the pod that leads.
type finder struct {
	options Options
	leases  coordinationv1client.LeasesGetter
	pods    corev1client.PodsGetter
}

func (f *finder) find(ctx context.Context) (*leader, error) {
	name, holder := f.options.Pod, ""
	if name == "" {
		var err error
		if holder, err = f.holder(ctx); err != nil {
			return nil, err
		}
		name = podOf(holder)
	}
	pod, err := f.pods.Pods(f.options.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && holder != "":
		return nil, &goneError{fmt.Errorf(
			"the leader %s has no pod in namespace %s: its pod is gone and another one takes over soon, or the agent runs in another namespace (--namespace), or its pod has another name (--pod)",
			name, f.options.Namespace)}
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no pod %s in namespace %s (--pod, --namespace)", name, f.options.Namespace)
	case err != nil:
		return nil, explained(err, fmt.Sprintf("get on pods in namespace %s", f.options.Namespace), "read the pod of the leader")
	}
	if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
		state := cmp.Or(string(pod.Status.Phase), "not started")
		if pod.DeletionTimestamp != nil {
			state = "terminating"
		}
		return nil, &goneError{fmt.Errorf("the pod %s/%s of the leader is %s: another one takes over soon, try again", pod.Namespace, pod.Name, strings.ToLower(state))}
	}
	port, err := f.port(pod)
	if err != nil {
		return nil, err
	}
	return &leader{holder: holder, namespace: pod.Namespace, pod: pod.Name, port: port, tls: servesTLS(pod, port)}, nil
}

// holder returns the identity in the Lease. An agent with --namespaces has its Lease in its own namespace.
func (f *finder) holder(ctx context.Context) (string, error) {
	namespaces := []string{f.options.LeaseNamespace}
	if f.options.LeaseNamespace == "" {
		namespaces = slices.Compact([]string{DefaultLeaseNamespace, f.options.Namespace})
	}
	var first error
	for _, namespace := range namespaces {
		lease, err := f.leases.Leases(namespace).Get(ctx, f.options.LeaseName, metav1.GetOptions{})
		if err == nil {
			return holderOf(lease)
		}
		if !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return "", explained(err, "", "read the Lease "+namespace+"/"+f.options.LeaseName)
		}
		// That the user may not read one Lease matters only where there is no other.
		if first == nil || apierrors.IsNotFound(first) {
			first = cmp.Or(forbiddenOnly(err), first, err)
		}
	}
	if apierrors.IsForbidden(first) {
		return "", explained(first, fmt.Sprintf("get on leases.coordination.k8s.io %s in namespace %s", f.options.LeaseName, strings.Join(namespaces, " or ")), "find the leader")
	}
	return "", fmt.Errorf("there is no Lease %s in namespace %s: install the agent, or name its Lease with --lease-namespace and --lease-name",
		f.options.LeaseName, strings.Join(namespaces, " or "))
}

func forbiddenOnly(err error) error {
	if apierrors.IsForbidden(err) {
		return err
	}
	return nil
}

func holderOf(lease *coordinationv1.Lease) (string, error) {
	if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" {
		return *holder, nil
	}
	return "", &goneError{fmt.Errorf("no agent leads now: the Lease %s/%s has no holder; see why the agents are not in sync: kubectl logs", lease.Namespace, lease.Name)}
}

// podOf returns the name of the pod in an identity, whose random part follows the last underscore.
func podOf(identity string) string {
	if i := strings.LastIndexByte(identity, '_'); i > 0 {
		return identity[:i]
	}
	return identity
}

// port returns the port of the agent: that of the options, or the one named http, or that of the scrape annotation.
func (f *finder) port(pod *corev1.Pod) (int, error) {
	if f.options.Port > 0 {
		return f.options.Port, nil
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == "http" {
				return int(port.ContainerPort), nil
			}
		}
	}
	text, ok := pod.Annotations["prometheus.io/port"]
	if !ok {
		return defaultPort, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("the annotation prometheus.io/port of pod %s/%s is not a port: name it with --port", pod.Namespace, pod.Name)
	}
	return int(port), nil
}

// servesTLS reports whether the agent in a pod serves TLS: by its flags, by how it is probed, or by how it is scraped.
func servesTLS(pod *corev1.Pod, port int) bool {
	if pod.Annotations["prometheus.io/scheme"] == "https" {
		return true
	}
	for _, container := range pod.Spec.Containers {
		for _, arg := range slices.Concat(container.Command, container.Args) {
			if strings.HasPrefix(strings.TrimLeft(arg, "-"), "tls-cert-file") {
				return true
			}
		}
		if probe := container.ReadinessProbe; probe != nil && probe.HTTPGet != nil && probe.HTTPGet.Scheme == corev1.URISchemeHTTPS {
			probed := probe.HTTPGet.Port
			return probed.IntValue() == port || probed.StrVal == "http"
		}
	}
	return false
}

// A goneError means that the leader changes: another try may find the next one.
type goneError struct{ error }

func (e *goneError) Unwrap() error { return e.error }

// explained is the error of a request to the API server, with the right that the user lacks.
func explained(err error, right, doing string) error {
	switch {
	case apierrors.IsForbidden(err) && right != "":
		return fmt.Errorf("%s: your user lacks the right: %s", doing, right)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the API server does not accept your credentials: log in again", doing)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: the API server did not answer in time", doing)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
