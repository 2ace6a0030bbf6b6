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

// defaultPort is the port of an agent whose pod does not declare one.
const defaultPort = 8080

// A leader is a pod to connect to.
type leader struct {
	holder         string // the identity in the Lease; empty if the user named the pod
	namespace, pod string
	node           string
	port           int
	tls            bool
}

func (l *leader) String() string { return "pod " + l.namespace + "/" + l.pod }

func (l *leader) nodeText() string {
	if l.node == "" {
		return "its node"
	}
	return "node " + l.node
}

// A finder finds the pod of the leader.
type finder struct {
	options Options
	leases  coordinationv1client.LeasesGetter
	pods    corev1client.PodsGetter
}

func (f *finder) find(ctx context.Context) (*leader, error) {
	if f.options.Pod != "" {
		return f.named(ctx)
	}
	// An agent with --namespaces has its Lease in its own namespace; other agents have it in the namespace default.
	namespaces := []string{f.options.LeaseNamespace}
	if f.options.LeaseNamespace == "" {
		namespaces = slices.Compact([]string{f.options.Namespace, DefaultLeaseNamespace})
	}
	var gone, denied error
	for _, namespace := range namespaces {
		to, err := f.holder(ctx, namespace)
		_, isGone := errors.AsType[*goneError](err)
		switch {
		case isGone:
			gone = cmp.Or(gone, err)
		case apierrors.IsForbidden(err):
			denied = cmp.Or(denied, err)
		case !apierrors.IsNotFound(err):
			return to, err
		}
	}
	in := strings.Join(namespaces, " or ")
	switch {
	case gone != nil:
		return nil, gone
	case denied != nil:
		// A missing permission for one Lease matters only if there is no other Lease.
		return nil, explained(denied, fmt.Sprintf("get on leases.coordination.k8s.io %s in namespace %s", f.options.LeaseName, in), "find the leader")
	}
	return nil, fmt.Errorf("there is no Lease %s in namespace %s: install the agent, or set the Lease with --lease-namespace and --lease-name", f.options.LeaseName, in)
}

// named returns the pod of Options.Pod.
func (f *finder) named(ctx context.Context) (*leader, error) {
	pod, err := f.pods.Pods(f.options.Namespace).Get(ctx, f.options.Pod, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no pod %s in namespace %s (--pod, --namespace)", f.options.Pod, f.options.Namespace)
	case err != nil:
		return nil, f.podError(err, "read pod "+f.options.Namespace+"/"+f.options.Pod)
	}
	switch state := stateOf(pod); state {
	case running:
		return f.leader(pod, "")
	case pending:
		return nil, fmt.Errorf("pod %s/%s is %s: try again when it is running", pod.Namespace, pod.Name, state)
	default:
		return nil, fmt.Errorf("pod %s/%s is %s: set another pod with --pod, or omit --pod for the leader", pod.Namespace, pod.Name, state)
	}
}

// holder returns the pod of the holder of the Lease in a namespace. It returns the API server's error unchanged if the Lease does not
// exist, or if the user may not read it.
func (f *finder) holder(ctx context.Context, namespace string) (*leader, error) {
	lease, err := f.leases.Leases(namespace).Get(ctx, f.options.LeaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsForbidden(err):
		return nil, err
	case err != nil:
		return nil, explained(err, "", "read the Lease "+namespace+"/"+f.options.LeaseName)
	}
	holder, err := holderOf(lease)
	if err != nil {
		return nil, err
	}
	name := podOf(holder)
	pod, err := f.pods.Pods(f.options.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, &goneError{fmt.Errorf(
			"cannot find the pod of the leader %s in namespace %s: the pod was deleted and another replica takes over soon, or the agent runs in "+
				"another namespace (--namespace), its pod has another name (--pod), or it runs outside the cluster (use its address: kube-devops fleet NAME=URL)",
			printable(name), f.options.Namespace)}
	case err != nil:
		return nil, f.podError(err, "read the pod of the leader")
	}
	if state := stateOf(pod); state != running {
		return nil, &goneError{fmt.Errorf("the leader's pod %s/%s is %s: try again when another replica has taken over", pod.Namespace, pod.Name, state)}
	}
	return f.leader(pod, holder)
}

// podError describes the error of a request for a pod. It does not wrap a Forbidden status, because find would take that for the Lease.
func (f *finder) podError(err error, doing string) error {
	return explained(err, "get on pods in namespace "+f.options.Namespace, doing)
}

func (f *finder) leader(pod *corev1.Pod, holder string) (*leader, error) {
	port, err := f.port(pod)
	if err != nil {
		return nil, err
	}
	return &leader{holder: holder, namespace: pod.Namespace, pod: pod.Name, node: pod.Spec.NodeName, port: port, tls: servesTLS(pod, port)}, nil
}

const running, pending = "running", "pending"

func stateOf(pod *corev1.Pod) string {
	if pod.DeletionTimestamp != nil {
		return "terminating"
	}
	return cmp.Or(strings.ToLower(string(pod.Status.Phase)), pending)
}

// printable escapes control characters and line breaks, which a Lease may contain, for output on a terminal.
func printable(text string) string {
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

func holderOf(lease *coordinationv1.Lease) (string, error) {
	if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" {
		return *holder, nil
	}
	return "", &goneError{fmt.Errorf("there is no leader at the moment: the Lease %s/%s has no holder; run kubectl logs to see why the agents are not in sync", lease.Namespace, lease.Name)}
}

// podOf returns the pod name in an identity of the form POD_RANDOM.
func podOf(identity string) string {
	if i := strings.LastIndexByte(identity, '_'); i > 0 {
		return identity[:i]
	}
	return identity
}

// port returns the port of the agent: from the options, the port named http, or the scrape annotation, in this order.
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
		return 0, fmt.Errorf("the annotation prometheus.io/port of pod %s/%s is not a valid port: set --port", pod.Namespace, pod.Name)
	}
	return int(port), nil
}

// servesTLS reports whether the agent in a pod serves TLS, according to its flags, its readiness probe or its scrape annotation.
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

// A goneError means that the leader is changing: a retry may find the next leader.
type goneError struct{ error }

func (e *goneError) Unwrap() error { return e.error }

// explained describes the error of a request to the API server, including the permission that the user lacks.
func explained(err error, permission, doing string) error {
	switch {
	case apierrors.IsForbidden(err) && permission != "":
		return fmt.Errorf("%s: your user lacks the permission: %s", doing, permission)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the API server rejects your credentials: log in again", doing)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: the API server did not answer in time", doing)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
