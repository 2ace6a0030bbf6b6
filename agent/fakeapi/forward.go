package fakeapi

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// A Forwarder is a fake API server with a Lease, and with pods whose ports it forwards. Like older API servers, it supports only SPDY.
type Forwarder struct {
	Leases *Leases // of the namespace default

	mu     sync.Mutex
	others map[string]*Leases      // by namespace
	pods   map[string]forwardedPod // by namespace/name
	denied map[string]bool
	open   []httpstream.Connection
	opened int
}

type forwardedPod struct {
	pod  *corev1.Pod
	dial func(port string) (net.Conn, error)
}

// NewForwarder returns a server without pods and without a Lease.
func NewForwarder() *Forwarder {
	return &Forwarder{Leases: &Leases{}, others: make(map[string]*Leases), pods: make(map[string]forwardedPod), denied: make(map[string]bool)}
}

// LeasesIn returns the Leases of a namespace.
func (f *Forwarder) LeasesIn(namespace string) *Leases {
	if namespace == "default" {
		return f.Leases
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.others[namespace] == nil {
		f.others[namespace] = &Leases{}
	}
	return f.others[namespace]
}

// Put adds or replaces a pod. dial connects to a port of it.
func (f *Forwarder) Put(pod *corev1.Pod, dial func(port string) (net.Conn, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	f.pods[pod.Namespace+"/"+pod.Name] = forwardedPod{pod, dial}
}

// Remove deletes a pod, and closes all port-forwards.
func (f *Forwarder) Remove(namespace, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pods, namespace+"/"+name)
	f.closeAll()
}

// CloseAll closes all port-forwards.
func (f *Forwarder) CloseAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closeAll()
}

func (f *Forwarder) closeAll() {
	for _, connection := range f.open {
		_ = connection.Close()
	}
	f.open = nil
}

// Deny removes a permission: "leases", "pods" or "portforward".
func (f *Forwarder) Deny(rights ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.denied)
	for _, right := range rights {
		f.denied[right] = true
	}
}

// Opened returns the number of port-forwards that were opened.
func (f *Forwarder) Opened() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened
}

// ServeHTTP answers a request.
func (f *Forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path, ok := strings.CutPrefix(r.URL.Path, "/apis/coordination.k8s.io/v1/namespaces/"); ok {
		if f.denies("leases") {
			Status(http.StatusForbidden, metav1.StatusReasonForbidden)(w, r)
			return
		}
		namespace, _, _ := strings.Cut(path, "/")
		f.LeasesIn(namespace).ServeHTTP(w, r)
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/")
	if len(parts) < 3 || parts[1] != "pods" {
		Status(http.StatusNotFound, metav1.StatusReasonNotFound)(w, r)
		return
	}
	right := "pods"
	if len(parts) == 4 && parts[3] == "portforward" {
		right = "portforward"
	}
	f.mu.Lock()
	pod, ok := f.pods[parts[0]+"/"+parts[2]]
	f.mu.Unlock()
	switch {
	case f.denies(right):
		status := StatusOf(http.StatusForbidden, metav1.StatusReasonForbidden)
		status.Message = fmt.Sprintf("pods %q is forbidden: User \"u\" cannot use %s", parts[2], right)
		JSON(http.StatusForbidden, status)(w, r)
	case !ok:
		Status(http.StatusNotFound, metav1.StatusReasonNotFound)(w, r)
	case right == "pods":
		writeJSON(w, http.StatusOK, pod.pod)
	case r.Method != http.MethodPost: // a WebSocket
		Status(http.StatusBadRequest, metav1.StatusReasonBadRequest)(w, r)
	default:
		f.forward(w, r, pod)
	}
}

func (f *Forwarder) denies(right string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.denied[right]
}

// forward serves one port-forward until it is closed.
func (f *Forwarder) forward(w http.ResponseWriter, r *http.Request, pod forwardedPod) {
	if _, err := httpstream.Handshake(r, w, []string{"portforward.k8s.io"}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream)
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	})
	if connection == nil {
		return
	}
	f.mu.Lock()
	f.open = append(f.open, connection)
	f.opened++
	f.mu.Unlock()
	failures := make(map[string]httpstream.Stream)
	for {
		select {
		case <-connection.CloseChan():
			return
		case stream := <-streams:
			id := stream.Headers().Get(corev1.PortForwardRequestIDHeader)
			if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				failures[id] = stream
				continue
			}
			go carry(stream, failures[id], pod.dial)
		}
	}
}

// carry copies data between a stream and the pod, as a kubelet does.
func carry(stream, failure httpstream.Stream, dial func(port string) (net.Conn, error)) {
	defer func() { _ = failure.Close() }()
	port := stream.Headers().Get(corev1.PortHeader)
	conn, err := dial(port)
	if err != nil {
		_ = stream.Close() // as a kubelet does, before its error
		_, _ = fmt.Fprintf(failure, "failed to connect to port %s of the pod: %v", port, err)
		return
	}
	go func() {
		_, _ = io.Copy(conn, stream)
		_ = conn.Close()
	}()
	_, _ = io.Copy(stream, conn)
	_ = stream.Close()
}
