package portforward

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// TestMain ignores goroutines of the SPDY library, which waits without a limit for the streams of a connection that the other side has closed.
func TestMain(m *testing.M) {
	const shutdown = "github.com/moby/spdystream.(*Connection).shutdown"
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(shutdown), goleak.IgnoreAnyFunction(shutdown+".func1"))
}

// A world is a fake API server with agents.
type world struct {
	api *fakeapi.Forwarder
	url string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	api := fakeapi.NewForwarder()
	server := httptest.NewServer(api)
	t.Cleanup(func() {
		api.CloseAll()
		server.Close()
	})
	return &world{api, server.URL}
}

// agent adds a pod whose requests a handler serves, with TLS if certified.
func (w *world) agent(t *testing.T, name string, certified bool, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: DefaultNamespace, Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 9090}}}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if certified {
		server.StartTLS()
		pod.Spec.Containers[0].Args = []string{"agent", "--tls-cert-file=/tls/tls.crt"}
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	w.api.Put(pod, func(port string) (net.Conn, error) {
		if port != "9090" {
			return nil, fmt.Errorf("nothing listens on port %s", port)
		}
		return net.Dial("tcp", server.Listener.Addr().String())
	})
	return server
}

// leads sets the holder of the Lease.
func (w *world) leads(t *testing.T, holder string) {
	t.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: DefaultLeaseNamespace, Name: DefaultLeaseName}}
	lease.Spec.HolderIdentity = &holder
	if _, err := w.api.Leases.Create(lease); err != nil {
		w.api.Leases.Edit(func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &holder })
	}
}

func (w *world) client(t *testing.T, config rest.Config, o Options) *Client {
	t.Helper()
	config.Host = w.url
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.LeaseName == "" {
		o.LeaseName = DefaultLeaseName
	}
	o.Timeout = 10 * time.Second
	c, err := NewClient(&config, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// ask requests a page, and returns its text, or the error.
func ask(t *testing.T, c *Client) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://agent/page", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.RoundTrip(r)
	if err != nil {
		return "error: " + err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "error: " + err.Error()
	}
	return strconv.Itoa(response.StatusCode) + " " + string(text)
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// TestLeaderAnswers checks that requests reach the holder of the Lease over one port-forward. The fake API server has no WebSockets, so the client
// falls back to SPDY.
func TestLeaderAnswers(t *testing.T) {
	w := newWorld(t)
	w.agent(t, "one", false, says("from one"))
	w.agent(t, "two_x", false, says("from two"))
	w.leads(t, "two_x_ab12")
	c := w.client(t, rest.Config{}, Options{})
	for range 3 {
		if got := ask(t, c); got != "200 from two" {
			t.Errorf("got %q", got)
		}
	}
	if opened := w.api.Opened(); opened != 1 {
		t.Errorf("%d port-forwards were opened, want 1", opened)
	}
	if name, err := c.Leader(t.Context()); err != nil || name != "kube-devops/two_x" {
		t.Errorf("leader %q, %v", name, err)
	}
	named := w.client(t, rest.Config{}, Options{Pod: "one"})
	if got := ask(t, named); got != "200 from one" {
		t.Errorf("the named pod: got %q", got)
	}
}

// TestLeaderChanges checks that the client sends a request once more to the next leader after a standby, a lost port-forward or a deleted pod.
func TestLeaderChanges(t *testing.T) {
	w := newWorld(t)
	var standby atomic.Bool
	var asked atomic.Int32
	w.agent(t, "one", false, func(to http.ResponseWriter, r *http.Request) {
		if asked.Add(1); standby.Load() {
			http.Error(to, "this replica does not hold the lease", http.StatusServiceUnavailable)
			return
		}
		says("from one")(to, r)
	})
	w.agent(t, "two", false, says("from two"))
	w.leads(t, "one_a")
	c := w.client(t, rest.Config{}, Options{})
	if got := ask(t, c); got != "200 from one" {
		t.Fatalf("got %q", got)
	}
	w.api.CloseAll()
	if got := ask(t, c); got != "200 from one" {
		t.Errorf("after the port-forward was lost: %q", got)
	}
	standby.Store(true)
	before := asked.Load()
	if got := ask(t, c); got != "503 this replica does not hold the lease\n" || asked.Load() != before+1 {
		t.Errorf("a leader without data: %q after %d requests", got, asked.Load()-before)
	}
	w.leads(t, "two_b")
	if got := ask(t, c); got != "200 from two" {
		t.Errorf("after a standby answered: %q", got)
	}
	w.api.Remove(DefaultNamespace, "two")
	if got := ask(t, c); !strings.Contains(got, "cannot find the pod of the leader two in namespace kube-devops") {
		t.Errorf("the pod is gone, and no other leads: %q", got)
	}
	w.leads(t, "one_c")
	standby.Store(false)
	if got := ask(t, c); got != "200 from one" {
		t.Errorf("after the pod was gone: %q", got)
	}
}

// TestErrors checks that each error explains the problem in one line.
func TestErrors(t *testing.T) {
	tests := map[string]struct {
		change  func(t *testing.T, w *world)
		options Options
		want    string
	}{
		"no Lease": {
			change: func(_ *testing.T, w *world) { w.api.Leases.Delete() },
			want:   "there is no Lease kube-devops-leader in namespace kube-devops or default: install the agent, or set the Lease with --lease-namespace and --lease-name",
		},
		"no holder": {
			change: func(t *testing.T, w *world) { w.leads(t, "") },
			want:   "there is no leader at the moment: the Lease default/kube-devops-leader has no holder; run kubectl logs to see why the agents are not in sync",
		},
		"no pod": {
			change: func(t *testing.T, w *world) { w.leads(t, "other_a") },
			want:   "cannot find the pod of the leader other in namespace kube-devops: the pod was deleted and another replica takes over soon, or the agent runs in another namespace (--namespace), its pod has another name (--pod), or it runs outside the cluster (use its address: kube-devops fleet NAME=URL)",
		},
		"a holder of two lines": {
			change: func(t *testing.T, w *world) { w.leads(t, "other\n\x1b[31m_a") },
			want:   `cannot find the pod of the leader other\n\x1b[31m in namespace kube-devops: the pod was deleted and another replica takes over soon, or the agent runs in another namespace (--namespace), its pod has another name (--pod), or it runs outside the cluster (use its address: kube-devops fleet NAME=URL)`,
		},
		"pending pod": {
			change:  phase(corev1.PodPending, false),
			options: Options{Pod: "one"}, want: "pod kube-devops/one is pending: try again when it is running",
		},
		"ended pod": {
			change:  phase(corev1.PodSucceeded, false),
			options: Options{Pod: "one"}, want: "pod kube-devops/one is succeeded: set another pod with --pod, or omit --pod for the leader",
		},
		"terminating pod": {
			change:  phase(corev1.PodRunning, true),
			options: Options{Pod: "one"}, want: "pod kube-devops/one is terminating: set another pod with --pod, or omit --pod for the leader",
		},
		"pod that is pending": {
			change: phase(corev1.PodPending, false),
			want:   "the leader's pod kube-devops/one is pending: try again when another replica has taken over",
		},
		"named pod denied": {change: deny("pods"), options: Options{Pod: "one"}, want: "read pod kube-devops/one: your user lacks the permission: get on pods in namespace kube-devops"},
		"no such pod":      {options: Options{Pod: "three"}, want: "there is no pod three in namespace kube-devops (--pod, --namespace)"},
		"lease denied":     {change: deny("leases"), want: "find the leader: your user lacks the permission: get on leases.coordination.k8s.io kube-devops-leader in namespace kube-devops or default"},
		"pods denied":      {change: deny("pods"), want: "read the pod of the leader: your user lacks the permission: get on pods in namespace kube-devops"},
		"forward denied":   {change: deny("portforward"), want: "forward a port to pod kube-devops/one: your user lacks the permission: create and get on pods/portforward in namespace kube-devops"},
		"wrong port":       {options: Options{Port: 1}, want: "query pod kube-devops/one on port 1: failed to connect to port 1 of the pod: nothing listens on port 1"},
		"pod that has failed": {
			change: phase(corev1.PodFailed, false),
			want:   "the leader's pod kube-devops/one is failed: try again when another replica has taken over",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.agent(t, "one", false, says("from one"))
			w.leads(t, "one_a")
			if test.change != nil {
				test.change(t, w)
			}
			if got := ask(t, w.client(t, rest.Config{}, test.options)); got != "error: "+test.want {
				t.Errorf("got  %s\nwant error: %s", got, test.want)
			}
		})
	}
}

// phase replaces the pod of the leader with one that has a phase.
func phase(phase corev1.PodPhase, terminating bool) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: DefaultNamespace, Name: "one"}, Status: corev1.PodStatus{Phase: phase}}
		if terminating {
			pod.DeletionTimestamp = new(metav1.Now())
		}
		w.api.Put(pod, nil)
	}
}

func deny(right string) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) { w.api.Deny(right) }
}

// guarded requires a token, like an agent with --metrics-auth.
func guarded(token string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "this page needs a bearer token", http.StatusUnauthorized)
			return
		}
		says("welcome")(w, r)
	}
}

// TestToken checks that an agent that requires a token gets that of the kubeconfig or of a file, and only over TLS.
func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		config    rest.Config
		options   Options
		plain     bool
		want      string
		different bool // the want is only a part
	}{
		"kubeconfig":      {config: rest.Config{BearerToken: "mine"}, want: "200 welcome"},
		"kubeconfig file": {config: rest.Config{BearerTokenFile: file}, want: "200 welcome"},
		"flag":            {config: rest.Config{BearerToken: "other"}, options: Options{TokenFile: file}, want: "200 welcome"},
		"wrong":           {config: rest.Config{BearerToken: "other"}, want: "401 this page needs a bearer token\n"},
		"none":            {want: "error: " + errNoToken.Error()},
		"password":        {config: rest.Config{Username: "u", Password: "p"}, want: "error: " + errNoToken.Error()},
		"without TLS":     {config: rest.Config{BearerToken: "mine"}, plain: true, want: "error: pod kube-devops/one requires a token, but does not serve TLS: the token is not sent unencrypted"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.agent(t, "one", !test.plain, guarded("mine"))
			w.leads(t, "one_a")
			c := w.client(t, test.config, test.options)
			for range 2 {
				if got := ask(t, c); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			}
		})
	}
}

// TestNoTokenUnasked checks that an agent that does not require a token gets no credentials.
func TestNoTokenUnasked(t *testing.T) {
	w := newWorld(t)
	w.agent(t, "one", true, func(to http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(to, "%q", r.Header.Get("Authorization"))
	})
	w.leads(t, "one_a")
	if got := ask(t, w.client(t, rest.Config{BearerToken: "mine"}, Options{})); got != `200 ""` {
		t.Errorf("got %s", got)
	}
}

// TestCA checks that the client verifies the certificate of the agent if a CA is set.
func TestCA(t *testing.T) {
	w := newWorld(t)
	server := w.agent(t, "one", true, says("welcome"))
	w.leads(t, "one_a")
	own := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(own, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, w.client(t, rest.Config{}, Options{CAFile: own, ServerName: "example.com"})); got != "200 welcome" {
		t.Errorf("the CA and the name of the certificate: %q", got)
	}
	if got := ask(t, w.client(t, rest.Config{}, Options{CAFile: own})); !strings.Contains(got, "not kube-devops.kube-devops.svc") {
		t.Errorf("another name: %q", got)
	}
	if _, err := NewClient(&rest.Config{}, Options{CAFile: filepath.Join(t.TempDir(), "none")}); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestTwoLeases checks which Lease counts if an agent with --namespaces has one in its own namespace, and another agent has one in the namespace
// default: that whose holder has a pod in the namespace of the options.
func TestTwoLeases(t *testing.T) {
	const stale = "gone_a"
	for name, test := range map[string]struct {
		own, other string // the holders of the Leases in kube-devops and in default
		options    Options
		want       string
	}{
		"both":                       {"one_a", "two_a", Options{}, "200 from one"},
		"the own is stale":           {stale, "two_a", Options{}, "200 from two"},
		"the own has no holder":      {"", "two_a", Options{}, "200 from two"},
		"the other is elsewhere":     {"one_a", stale, Options{}, "200 from one"},
		"both are stale":             {stale, "other_a", Options{}, "error: cannot find the pod of the leader gone in namespace kube-devops"},
		"the flag names the other":   {"one_a", "two_a", Options{LeaseNamespace: "default"}, "200 from two"},
		"the flag names a stale one": {"one_a", stale, Options{LeaseNamespace: "default"}, "error: cannot find the pod of the leader gone"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.agent(t, "one", false, says("from one"))
			w.agent(t, "two", false, says("from two"))
			w.leads(t, test.other)
			own := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: DefaultNamespace, Name: DefaultLeaseName}}
			own.Spec.HolderIdentity = &test.own
			if _, err := w.api.LeasesIn(DefaultNamespace).Create(own); err != nil {
				t.Fatal(err)
			}
			if got := ask(t, w.client(t, rest.Config{}, test.options)); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestHungKubelet checks that the error names the kubelet that does not respond.
func TestHungKubelet(t *testing.T) {
	api := fakeapi.NewForwarder()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/portforward") {
			fakeapi.NeverAnswer(w, r)
			return
		}
		api.ServeHTTP(w, r)
	}))
	defer server.Close()
	defer server.CloseClientConnections()
	api.Put(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "one"}, Spec: corev1.PodSpec{NodeName: "worker-1"}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}, nil)
	c, err := NewClient(&rest.Config{Host: server.URL}, Options{Namespace: "n", Pod: "one", Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := "error: forward a port to pod n/one: the kubelet of node worker-1 did not answer the API server in time (--request-timeout)"
	if got := ask(t, c); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestTimeout checks that a call ends if the API server does not respond.
func TestTimeout(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(fakeapi.NeverAnswer))
	defer server.Close()
	c, err := NewClient(&rest.Config{Host: server.URL}, Options{Namespace: "n", LeaseName: "l", Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := ask(t, c); got != "error: read the Lease n/l: the API server did not answer in time" {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Leader(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
