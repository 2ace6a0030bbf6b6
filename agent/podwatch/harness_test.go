package podwatch

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

func TestMain(m *testing.M) {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard) // client-go logs the faults that the tests cause
	if seed := os.Getenv("SEED"); seed != "" {
		if err := flag.Set("rapid.seed", seed); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// A harness runs a Watch and an API server in one bubble of testing/synctest, and records what the Watch does.
type harness struct {
	t   *testing.T
	api *fakeapi.Pods
	// namespaces are the permitted ones of a Watch of some namespaces; nil for a Watch of the cluster.
	namespaces []string
	network    *fakeapi.Network
	config     *rest.Config
	*Watch
	registry *prometheus.Registry
	logs     *observer.ObservedLogs
	handled  *record
	started  time.Time

	cancel context.CancelFunc
	ended  chan error
}

// newHarness makes a Watch that does not run yet. It must be called in a bubble.
func newHarness(t *testing.T, api *fakeapi.Pods, namespaces ...string) *harness {
	t.Helper()
	return newHarnessThrough(t, api, func(transport http.RoundTripper) http.RoundTripper { return transport }, namespaces...)
}

// newHarnessThrough makes a Watch with a transport of the test.
func newHarnessThrough(t *testing.T, api *fakeapi.Pods, through func(http.RoundTripper) http.RoundTripper, namespaces ...string) *harness {
	t.Helper()
	w := fakeapi.NewNetwork()
	server := &http.Server{Handler: api}
	go func() { _ = server.Serve(w) }()
	transport := &http.Transport{DialContext: w.Dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	b := &harness{t: t, api: api, network: w, config: &rest.Config{Host: "http://pods.test", Transport: through(transport)}, registry: prometheus.NewRegistry(), handled: newRecord(), ended: make(chan error, 1)}
	core, logs := observer.New(zapcore.InfoLevel)
	b.logs = logs
	var err error
	b.Watch, err = New(b.config, Options{Log: zap.New(core), Registerer: b.registry, Workers: 4, Projection: all{}, Namespaces: namespaces})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// startHarness runs a Watch of an API server until the test ends.
func startHarness(t *testing.T, api *fakeapi.Pods) *harness {
	t.Helper()
	b := newHarness(t, api)
	b.run()
	return b
}

// run runs the Watch until the test ends.
func (b *harness) run() {
	ctx, cancel := context.WithCancel(b.t.Context())
	b.cancel, b.started = cancel, time.Now()
	go func() { b.ended <- b.Run(ctx, b.handled.handle) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-b.ended; err != nil {
			b.t.Errorf("Run returned %v, want nil", err)
		}
	})
}

// stop ends the Watch and returns how long that took.
func (b *harness) stop() time.Duration {
	b.t.Helper()
	before := time.Now()
	b.cancel()
	if err := <-b.ended; err != nil {
		b.t.Errorf("Run returned %v, want nil", err)
	}
	b.ended <- nil
	return time.Since(before)
}

func (b *harness) isSynced() bool {
	select {
	case <-b.Synced():
		return true
	default:
		return false
	}
}

// await waits until the cache is in sync, and returns how long that took.
func (b *harness) await(limit time.Duration) time.Duration {
	b.t.Helper()
	select {
	case <-b.Synced():
	case <-time.After(limit):
		b.t.Fatalf("not in sync after %s; requests: %s", limit, b.kinds())
	}
	synctest.Wait()
	return time.Since(b.started)
}

// awaitContent waits until cache and Handle agree with the API server.
func (b *harness) awaitContent(limit time.Duration) {
	b.t.Helper()
	if !b.agrees(limit) {
		b.check()
		b.t.Fatalf("no agreement after %s, requests %s", limit, b.kinds())
	}
}

// agrees reports whether cache and Handle agree with the API server in time.
func (b *harness) agrees(limit time.Duration) bool {
	for deadline := time.Now().Add(limit); ; <-time.After(500 * time.Millisecond) {
		synctest.Wait()
		if reflect.DeepEqual(b.want(), b.view()) {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// check compares the cache and the calls of Handle with the API server.
func (b *harness) check() {
	b.t.Helper()
	synctest.Wait()
	if diff := gocmp.Diff(b.want(), b.view()); diff != "" {
		b.t.Errorf("what is known differs from the API server (-want +got):\n%s", diff)
	}
}

// A view is the state of the pods by the cache and by the calls of Handle.
type view struct {
	All, Get, Handled map[Key]fakeapi.Object
	Broken            []string // promises
}

func (b *harness) want() view {
	content := map[Key]fakeapi.Object{}
	for key, pod := range b.api.Content() {
		if b.namespaces == nil || slices.Contains(b.namespaces, key.Namespace) {
			content[Key(key)] = pod
		}
	}
	return view{All: content, Get: content, Handled: content}
}

func (b *harness) view() view {
	v := view{map[Key]fakeapi.Object{}, map[Key]fakeapi.Object{}, map[Key]fakeapi.Object{}, b.handled.broken()}
	for pod := range b.All() {
		key := Key{pod.Namespace, pod.Name}
		if _, ok := v.All[key]; ok {
			v.Broken = append(v.Broken, fmt.Sprintf("All yields %v twice", key))
		}
		v.All[key] = decoded(pod)
	}
	for key, handled := range b.handled.latest() {
		if handled != nil {
			v.Handled[key] = decoded(handled)
		}
		if pod, ok := b.Get(key); ok {
			v.Get[key] = decoded(pod)
		}
	}
	return v
}

// kinds returns the requests so far: "watch-list@ list@0 watch@101".
func (b *harness) kinds() string {
	var kinds []string
	for _, r := range b.api.Received() {
		kind := r.Kind
		if r.Namespace != "" {
			kind += "(" + r.Namespace + ")"
		}
		kinds = append(kinds, kind+"@"+r.Version)
	}
	return strings.Join(kinds, " ")
}

// warnings returns the warnings so far: verb and error.
func (b *harness) warnings() []string {
	var lines []string
	for _, entry := range b.logs.FilterLevelExact(zapcore.WarnLevel).All() {
		fields := entry.ContextMap()
		lines = append(lines, fmt.Sprintf("%s: %s: %s", entry.Message, fields["verb"], fields["error"]))
	}
	return lines
}

// metrics returns the current samples.
func (b *harness) metrics() map[string]float64 {
	b.t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	samples := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.Metric {
			name := family.GetName()
			for _, label := range metric.Label {
				name += fmt.Sprintf("{%s=%q}", label.GetName(), label.GetValue())
			}
			samples[name] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return samples
}

// A record holds the calls of Handle.
type record struct {
	mu      sync.Mutex
	last    map[Key]*Pod
	calls   map[Key]int
	running map[Key]bool
	wrong   []string
	during  func(Key, *Pod) // is called within each call
}

func newRecord() *record {
	return &record{last: map[Key]*Pod{}, calls: map[Key]int{}, running: map[Key]bool{}}
}

func (r *record) handle(key Key, pod *Pod) {
	r.mu.Lock()
	if r.running[key] {
		r.wrong = append(r.wrong, fmt.Sprintf("Handle ran twice at the same time for %v", key))
	}
	if pod != nil && key != (Key{pod.Namespace, pod.Name}) {
		r.wrong = append(r.wrong, fmt.Sprintf("Handle was given %s/%s for %v", pod.Namespace, pod.Name, key))
	}
	r.running[key] = true
	during := r.during
	r.mu.Unlock()
	if during != nil {
		during(key, pod)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[key] = false
	r.last[key] = pod
	r.calls[key]++
}

func (r *record) latest() map[Key]*Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	latest := make(map[Key]*Pod, len(r.last))
	for key, pod := range r.last {
		latest[key] = pod
	}
	return latest
}

func (r *record) broken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}

// total returns the number of calls of Handle.
func (r *record) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := 0
	for _, n := range r.calls {
		total += n
	}
	return total
}

// all is a projection that removes only the managedFields.
type all struct{}

func (all) AppendTo(dst, pod []byte) ([]byte, error) {
	var o fakeapi.Object
	if err := json.Unmarshal(pod, &o); err != nil {
		return dst, err
	}
	if metadata, ok := o["metadata"].(fakeapi.Object); ok {
		delete(metadata, "managedFields")
	}
	text, err := json.Marshal(o)
	return append(dst, text...), err
}

func (all) ReadsVersion() bool { return true }

// Builders of pods.

// pod makes a pod of one container with complete metadata.
func pod(namespace, name, uid, image string) fakeapi.Object {
	return fakeapi.Object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": fakeapi.Object{
			"namespace": namespace, "name": name, "uid": uid,
			"labels":      fakeapi.Object{"app.kubernetes.io/name": name},
			"annotations": fakeapi.Object{"note": `quotes " and <angles> & a line` + "\n"},
			"managedFields": []any{
				fakeapi.Object{"manager": "kubectl", "operation": "Update", "fieldsV1": fakeapi.Object{"f:spec": fakeapi.Object{}}},
			},
		},
		"spec":   fakeapi.Object{"containers": []any{fakeapi.Object{"name": "main", "image": image, "ports": []any{fakeapi.Object{"containerPort": 8080.0}}}}},
		"status": fakeapi.Object{"phase": "Running"},
	}
}

// many makes pods of several namespaces.
func many(n int) []fakeapi.Object {
	pods := make([]fakeapi.Object, n)
	for i := range pods {
		pods[i] = pod(fmt.Sprintf("team-%d", i%7), fmt.Sprintf("pod-%d", i), fmt.Sprintf("uid-%d", i), "nginx:1")
	}
	return pods
}

func decoded(pod *Pod) fakeapi.Object {
	var o fakeapi.Object
	if err := json.Unmarshal(pod.JSON, &o); err != nil {
		return fakeapi.Object{"error": err.Error()}
	}
	return o
}
