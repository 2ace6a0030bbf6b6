package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

const (
	// leaderRelease is a release of the chart in addition to the installation of the other tests. No controller creates its pods: the test
	// starts the agents with its service account.
	leaderRelease = "leader-kube-devops"
	leaderSlice4  = leaderRelease + "-leader-ipv4"
	leaderSlice6  = leaderRelease + "-leader-ipv6"
)

// TestLeaderService installs the chart with Helm, and ends ten terms with SIGTERM, SIGKILL and SIGSTOP. A client that follows the EndpointSlice
// requests the report all the time. The slice must name each leader within a second after the opening of its gate, and no replica may serve data
// after the gate of another replica has opened. Upgrades with Helm must keep the slice, and a slice that was emptied must be repaired.
func TestLeaderService(t *testing.T) {
	if env.Own == nil {
		t.Skip("the chart is not installed into an existing cluster")
	}
	namespace := newNamespace(t, "e2e-leader-service")
	if err := env.CreatePods(t.Context(), cluster.NewPod(namespace, "web", cluster.Bad)); err != nil {
		t.Fatal(err)
	}
	release := installRelease(t, leaderRelease, "--set", "leaderService.enabled=true")
	f := &followers{addresses: map[string]string{}, seen: map[string]time.Time{}}
	f.start(t)

	leader := f.startReplica(t, release.kubeconfig)
	f.waitNamed(t, leader, leadTimeout)
	var slowest time.Duration
	signals := []syscall.Signal{
		syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSTOP, syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSTOP,
		syscall.SIGTERM,
	}
	for i, signal := range signals {
		next := f.startReplica(t, release.kubeconfig)
		waitReady(t, next.Agent, leadTimeout)
		switch i {
		case 3:
			release.upgrade(t, "logLevel=debug,commonLabels.team=core")
			f.checkNamed(t, leader, "after an upgrade")
		case 6:
			release.upgrade(t, "http.port=9090")
			f.checkNamed(t, leader, "after an upgrade to another port")
		}
		if signal == syscall.SIGTERM {
			stopAgent(t, leader.Agent, signal, 0)
		} else {
			leader.Signal(signal)
		}
		took := f.waitNamed(t, next, 15*time.Second)
		slowest = max(slowest, took)
		t.Logf("failover %d, %s: the slice named the next leader %s after its gate had opened", i+1, signal, round(took))
		if took > time.Second {
			t.Errorf("failover %d, %s: the slice named the next leader only %s after its gate had opened", i+1, signal, round(took))
		}
		if signal == syscall.SIGSTOP {
			leader.Signal(syscall.SIGCONT) // it learns that another leads, and must not write any more
			waitFor(t, "the stalled leader notices its loss", seeTimeout, func() error { return says(leader.Agent, "lease lost") })
			stopAgent(t, leader.Agent, syscall.SIGTERM, 0)
			f.checkNamed(t, next, "after the stalled leader went on")
		}
		leader = next
	}
	t.Logf("%d failovers: at most %s from the opening of the gate to the slice", len(signals), round(slowest))

	emptySlices(t)
	emptied := time.Now()
	waitFor(t, "the leader repairs the slices", seeTimeout, func() error { return f.named(t.Context(), leader) })
	t.Logf("repaired %s after the slices were emptied", round(time.Since(emptied)))

	stopAgent(t, leader.Agent, syscall.SIGTERM, 0)
	if slice := getSlice(t, leaderSlice4); len(slice.Endpoints) > 0 {
		t.Errorf("after the last leader has stopped, the slice has %v", slice.Endpoints)
	}
	f.stop(t)
	release.uninstall(t)
}

// A release is the chart, installed by Helm.
type release struct {
	helm, chart, name string
	flags             []string
	kubeconfig        string // of its account
}

func installRelease(t *testing.T, name string, flags ...string) release {
	t.Helper()
	helm, err := binaries.Helm(t.Context(), env.dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := binaries.Root()
	if err != nil {
		t.Fatal(err)
	}
	r := release{helm: helm, chart: filepath.Join(root, "deploy", "chart"), name: name, flags: flags}
	r.run(t, append([]string{"install", name, r.chart}, flags...)...)
	t.Cleanup(func() { r.run(t, "uninstall", name, "--ignore-not-found") })
	r.kubeconfig, err = env.installation.Kubeconfig(t.Context(), t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs helm against the cluster, in the namespace of the installation.
func (r release) run(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), r.helm, append(args, "--namespace", env.installation.Name, "--kubeconfig", env.Kubeconfig())...)
	cmd.Env = []string{"HOME=" + env.dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("helm %q: %v\n%s", args, err, out)
	}
	return out
}

func (r release) upgrade(t *testing.T, set string) {
	t.Helper()
	before := getSlice(t, leaderSlice4)
	r.run(t, append([]string{"upgrade", r.name, r.chart, "--set", set}, r.flags...)...)
	after := getSlice(t, leaderSlice4)
	if strings.Contains(set, "commonLabels") && (after.ResourceVersion == before.ResourceVersion || after.Labels["team"] != "core") {
		t.Errorf("the upgrade did not reach the slice, so that nothing is shown: labels %v", after.Labels)
	}
}

// emptySlices removes the endpoints and the label of the Service from the slices, like another client.
func emptySlices(t *testing.T) {
	t.Helper()
	for _, name := range []string{leaderSlice4, leaderSlice6} {
		_, err := env.Kubectl(t.Context(), nil, "-n", env.installation.Name, "patch", "endpointslice", name, "--type=merge", "-p",
			`{"endpoints": [], "ports": [], "metadata": {"labels": {"kubernetes.io/service-name": null}}}`)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (r release) uninstall(t *testing.T) {
	t.Helper()
	r.run(t, "uninstall", r.name)
	waitFor(t, "the slice is gone", seeTimeout, func() error {
		_, err := env.Admin.DiscoveryV1().EndpointSlices(env.installation.Name).Get(t.Context(), leaderSlice4, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.New("the slice still exists")
	})
}

func getSlice(t *testing.T, name string) *discoveryv1.EndpointSlice {
	t.Helper()
	slice, err := env.Admin.DiscoveryV1().EndpointSlices(env.installation.Name).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return slice
}

// A leaderReplica is an agent with the addresses of a pod instead of its real address.
type leaderReplica struct {
	*blackbox.Agent
	ip4, ip6 string
}

// followers has two clients: one follows the slice, the other queries every replica. Both record which replicas served data.
type followers struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu        sync.Mutex
	replicas  []leaderReplica
	addresses map[string]string // from a pod's address and port to the real one: the network
	seen      map[string]time.Time
	answers   []leaderAnswer
}

type leaderAnswer struct {
	replica string // name of the agent
	asked   time.Time
	status  int
	slice   bool // found by the slice
}

// startReplica starts an agent with the environment of a pod.
func (f *followers) startReplica(t *testing.T, kubeconfig string) leaderReplica {
	t.Helper()
	f.mu.Lock()
	n := len(f.replicas) + 1
	f.mu.Unlock()
	r := leaderReplica{ip4: fmt.Sprint("192.0.2.", n), ip6: fmt.Sprintf("2001:db8::%x", n)}
	r.Agent = startAgent(t, fmt.Sprint("replica-", n),
		"agent", "--listen=127.0.0.1:0", "--kubeconfig="+kubeconfig, "--lease-name="+leaderRelease+"-leader",
		"--lease-duration=3s", "--renew-deadline=2s", "--retry-period=400ms",
		"--leader-service="+env.installation.Name+"/"+leaderRelease+"-leader", "--pod-ips="+r.ip4+","+r.ip6)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replicas = append(f.replicas, r)
	f.addresses[r.ip4] = r.Addr
	return r
}

func (f *followers) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f.cancel = cancel
	f.done.Go(func() { f.loop(ctx, f.followSlice) })
	f.done.Go(func() { f.loop(ctx, f.askAll) })
	t.Cleanup(func() { cancel(); f.done.Wait() })
}

func (f *followers) loop(ctx context.Context, do func(ctx context.Context)) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do(ctx)
		}
	}
}

// followSlice queries the replica that the slice names, to which a node would connect a client of the Service.
func (f *followers) followSlice(ctx context.Context) {
	slice, err := env.Admin.DiscoveryV1().EndpointSlices(env.installation.Name).Get(ctx, leaderSlice4, metav1.GetOptions{})
	if err != nil || len(slice.Endpoints) == 0 || len(slice.Ports) == 0 {
		return
	}
	ip := slice.Endpoints[0].Addresses[0]
	f.mu.Lock()
	if f.seen[ip].IsZero() {
		f.seen[ip] = time.Now()
	}
	real := f.addresses[ip]
	i := slices.IndexFunc(f.replicas, func(r leaderReplica) bool { return r.ip4 == ip })
	var replica leaderReplica
	if i >= 0 {
		replica = f.replicas[i]
	}
	f.mu.Unlock()
	if i >= 0 && strings.HasSuffix(real, fmt.Sprint(":", *slice.Ports[0].Port)) {
		f.ask(replica, true)
	}
}

// askAll queries each replica, including standbys.
func (f *followers) askAll(context.Context) {
	f.mu.Lock()
	all := f.replicas[max(0, len(f.replicas)-2):]
	f.mu.Unlock()
	for _, r := range all {
		f.ask(r, false)
	}
}

func (f *followers) ask(r leaderReplica, slice bool) {
	answer := leaderAnswer{replica: r.Name(), asked: time.Now(), slice: slice}
	client := &http.Client{Timeout: 500 * time.Millisecond} // a stalled process does not answer
	response, err := client.Get("http://" + r.Addr + "/api/v1/report")
	if err != nil {
		return
	}
	defer func() { _ = response.Body.Close() }()
	answer.status = response.StatusCode
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers = append(f.answers, answer)
}

// waitNamed waits until both slices name a replica. It returns the time from the opening of its gate until a client detects that.
func (f *followers) waitNamed(t *testing.T, r leaderReplica, timeout time.Duration) time.Duration {
	t.Helper()
	waitFor(t, "the slices name "+r.Name(), timeout, func() error {
		f.mu.Lock()
		seen := f.seen[r.ip4]
		f.mu.Unlock()
		if seen.IsZero() {
			return fmt.Errorf("the client has not seen it\n%s", r.Tail())
		}
		return f.named(t.Context(), r)
	})
	opened := opening(t, r.Agent)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[r.ip4].Sub(opened)
}

// checkNamed checks that the slices name a replica now.
func (f *followers) checkNamed(t *testing.T, r leaderReplica, when string) {
	t.Helper()
	if err := f.named(t.Context(), r); err != nil {
		t.Errorf("%s: %v", when, err)
	}
}

// named checks both slices for a replica's address and port.
func (f *followers) named(ctx context.Context, r leaderReplica) error {
	for name, ip := range map[string]string{leaderSlice4: r.ip4, leaderSlice6: r.ip6} {
		slice, err := env.Admin.DiscoveryV1().EndpointSlices(env.installation.Name).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(slice.Endpoints) != 1 || slice.Endpoints[0].Addresses[0] != ip || !*slice.Endpoints[0].Conditions.Ready {
			return fmt.Errorf("%s has %v, want %s", name, slice.Endpoints, ip)
		}
		if len(slice.Ports) != 1 || *slice.Ports[0].Name != "http" || !strings.HasSuffix(r.Addr, fmt.Sprint(":", *slice.Ports[0].Port)) {
			return fmt.Errorf("%s has the ports %v, want http at that of %s", name, slice.Ports, r.Addr)
		}
		if slice.Labels[discoveryv1.LabelServiceName] != leaderRelease+"-leader" || slice.Labels[discoveryv1.LabelManagedBy] != "kube-devops" {
			return fmt.Errorf("%s has the labels %v", name, slice.Labels)
		}
	}
	return nil
}

// stop stops the clients, and checks that they got data only from the replica whose gate was the last to open.
func (f *followers) stop(t *testing.T) {
	t.Helper()
	f.cancel()
	f.done.Wait()
	type open struct {
		replica string
		at      time.Time
	}
	var opens []open
	for _, r := range f.replicas {
		opens = append(opens, open{r.Name(), opening(t, r.Agent)})
	}
	counts := map[string]int{}
	for _, a := range f.answers {
		way := "asked directly"
		if a.slice {
			way = "by the slice"
		}
		counts[fmt.Sprint(way, ", ", a.status)]++
		switch a.status {
		case http.StatusServiceUnavailable:
			continue
		case http.StatusOK:
		default:
			t.Errorf("%s answered %d", a.replica, a.status)
			continue
		}
		last := ""
		for _, o := range opens {
			if o.at.Before(a.asked) {
				last = o.replica
			}
		}
		// A gate may open between the question and the answer.
		if a.replica != last && !slices.ContainsFunc(opens, func(o open) bool {
			return o.replica == a.replica && o.at.After(a.asked) && o.at.Before(a.asked.Add(time.Second))
		}) {
			t.Errorf("%s served data at %s, when %s led", a.replica, a.asked.Format(time.StampMilli), last)
		}
	}
	t.Logf("answers: %v", counts)
	for _, want := range []string{"by the slice, 200", "asked directly, 200", "asked directly, 503"} {
		if counts[want] < 20 {
			t.Errorf("%d answers %s: too few to show anything", counts[want], want)
		}
	}
}

// opening returns when the gate of an agent opened, according to its log.
func opening(t *testing.T, agent *blackbox.Agent) time.Time {
	t.Helper()
	lines, err := agent.Log()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if line["msg"] == "gate opened" {
			at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(line["ts"]))
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
	}
	t.Fatalf("%s has not opened its gate:\n%s", agent.Name(), agent.Tail())
	return time.Time{}
}
