package dump

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
	"github.com/kube-devops/kube-devops/rules/golden"
)

// dumps is the folder of the recordings that ship.
const dumps = "../../testdata/dumps"

const registry = "registry.example.com/"

// kept is a container that keeps every rule: pinned, with both probes.
func kept(name, image string) dumptest.Container {
	return dumptest.Container{Name: name, Image: registry + image, Liveness: true, Readiness: true, Port: 8080, Env: 1}
}

// unprobed is a container without probes.
func unprobed(name, image string) dumptest.Container {
	return dumptest.Container{Name: name, Image: registry + image, Port: 8080, Env: 1}
}

func with(c dumptest.Container, change func(*dumptest.Container)) dumptest.Container {
	change(&c)
	return c
}

// shopWorkload is a workload of the shop, and how many pods it has.
type shopWorkload struct {
	dumptest.Workload
	pods int
}

// shop is the cluster of a small shop: checkout in order, legacy as bad as it gets, the others between.
func shop() []shopWorkload {
	mesh := dumptest.Container{Name: "mesh-proxy", Image: registry + "mesh/proxy:1.27.1", Sidecar: true, Startup: true, Args: []string{"proxy", "sidecar"}}
	migrate := dumptest.Container{Name: "migrate", Image: registry + "shop/checkout:8.0.3", Args: []string{"migrate", "up"}}
	crash := func(c *dumptest.Container) { c.Waiting, c.Restarts, c.Unlimited = "CrashLoopBackOff", 214, true }
	unlive := func(c *dumptest.Container) { c.Liveness = false }
	unready := func(c *dumptest.Container) { c.Readiness = false }
	workload := func(pods int, namespace, kind, name string, containers ...dumptest.Container) shopWorkload {
		return shopWorkload{dumptest.Workload{Namespace: namespace, Kind: kind, Name: name, Part: namespace, Containers: containers, Plain: true}, pods}
	}
	init := func(w shopWorkload, containers ...dumptest.Container) shopWorkload {
		w.Init = containers
		return w
	}
	done := func(w shopWorkload) shopWorkload {
		w.Done = true
		return w
	}
	return []shopWorkload{
		init(workload(3, "checkout", "Deployment", "checkout", kept("checkout", "shop/checkout:8.0.3")), migrate, mesh),
		init(workload(1, "checkout", "Deployment", "tax-rates", kept("tax-rates", "shop/tax-rates@sha256:4f7c1f3f6c2d0a9d4a0c8e0f7f4bd1c0c5a1b8f1b0f6a5f8f3f1c6a7e2d9b0c4")), mesh),
		workload(2, "kube-system", "Deployment", "coredns", kept("coredns", "k8s/coredns:v1.12.3")),
		workload(1, "kube-system", "Node", "etcd", with(kept("etcd", "k8s/etcd:3.7.3-0"), unready)),
		workload(1, "kube-system", "Node", "kube-apiserver", kept("kube-apiserver", "k8s/kube-apiserver:v1.37.2")),
		workload(2, "kube-system", "DaemonSet", "kube-proxy", with(unprobed("kube-proxy", "k8s/kube-proxy:v1.37.2"), func(c *dumptest.Container) { c.Privileged = true })),
		workload(2, "legacy", "Deployment", "intranet", unprobed("intranet", "legacy/intranet:latest"), unprobed("log-tail", "legacy/tail:latest")),
		workload(2, "legacy", "Deployment", "reports", with(unprobed("reports", "legacy/reports:latest"), crash)),
		workload(1, "legacy", "", "ftp-import", with(unprobed("ftp-import", "legacy/ftp-import:latest"), func(c *dumptest.Container) {
			c.Waiting, c.Privileged, c.Unlimited = "ImagePullBackOff", true, true
		})),
		workload(2, "payments", "Deployment", "payments-api", kept("payments-api", "pay/api:2026.8.4")),
		workload(3, "payments", "Deployment", "payments-worker", unprobed("payments-worker", "pay/worker:2026.8.4")),
		done(workload(1, "payments", "Job", "settlement", unprobed("settlement", "pay/settlement:2026.8.4"))),
		workload(3, "search", "StatefulSet", "search-index", with(kept("search-index", "search/index:9.1.0"), unready)),
		workload(2, "search", "Deployment", "search-query", with(kept("search-query", "search/query:latest"), unlive)),
		init(workload(2, "storefront", "Deployment", "basket", with(kept("basket", "shop/basket:3.4.2"), unready)), mesh),
		init(workload(3, "storefront", "Deployment", "storefront", kept("storefront", "shop/storefront:5.21.0")), mesh),
		workload(1, "storefront", "Deployment", "banner", with(kept("banner", "shop/banner:latest"), unlive)),
	}
}

// recordedPod is one pod of the shop.
type recordedPod struct {
	namespace, name string
	json            []byte
}

func (w shopWorkload) recorded(t *testing.T, seed uint64) []recordedPod {
	t.Helper()
	var out []recordedPod
	for i := range w.pods {
		var p struct {
			Metadata struct{ Namespace, Name string }
		}
		b := w.JSON(seed, i)
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		out = append(out, recordedPod{p.Metadata.Namespace, p.Metadata.Name, b})
	}
	return out
}

// shopPods are all pods of the shop, in the order in which the API server lists them.
func shopPods(t *testing.T) []recordedPod {
	t.Helper()
	var out []recordedPod
	for _, w := range shop() {
		out = append(out, w.recorded(t, 1)...)
	}
	slices.SortFunc(out, func(a, b recordedPod) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	return out
}

// shopList is the shop as `kubectl get pods -A -o json` prints it.
func shopList(t *testing.T) []byte {
	t.Helper()
	items := []json.RawMessage{}
	for _, p := range shopPods(t) {
		items = append(items, p.json)
	}
	// A map, so that its keys are sorted as kubectl sorts them.
	b, err := json.MarshalIndent(map[string]any{
		"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""}, "items": items,
	}, "", "    ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// shopWatch is a day at the shop as `kubectl get pods -A -o json --watch --output-watch-events` prints it: what there
// is, then a roll-out that adds probes, an image that is pinned and one that no longer is, pods that go, and two that
// come back under the same name.
func shopWatch(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	event := func(kind string, object []byte) {
		out.WriteString(`{"type":"` + kind + `","object":`)
		if err := json.Compact(&out, object); err != nil {
			t.Fatal(err)
		}
		out.WriteString("}\n")
	}
	named := map[string]shopWorkload{}
	for _, w := range shop() {
		named[w.Name] = w
	}
	for _, p := range shopPods(t) {
		event("ADDED", p.json)
	}
	version := 10_000
	// changed is a workload with another first container, and a later resourceVersion.
	changed := func(name string, change func(*dumptest.Container)) shopWorkload {
		w := named[name]
		version += 100
		w.Version = version
		w.Containers = append([]dumptest.Container{with(w.Containers[0], change)}, w.Containers[1:]...)
		return w
	}
	same := func(*dumptest.Container) {}

	banner := changed("banner", func(c *dumptest.Container) { c.Image = registry + "shop/banner:2.3.1" })
	event("MODIFIED", banner.recorded(t, 1)[0].json)
	storefront := changed("storefront", func(c *dumptest.Container) { c.Image = registry + "shop/storefront:latest" })
	event("MODIFIED", storefront.recorded(t, 1)[1].json)
	event("BOOKMARK", fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"%d"}}`, 81_000_000+version))

	old := named["payments-worker"].recorded(t, 1)
	rollout := changed("payments-worker", func(c *dumptest.Container) { c.Liveness, c.Readiness = true, true })
	rollout.Revision = "probes"
	for i, p := range rollout.recorded(t, 2) {
		event("ADDED", p.json)
		event("DELETED", old[i].json)
	}

	reports := changed("reports", func(c *dumptest.Container) { c.Restarts = 215 })
	event("MODIFIED", reports.recorded(t, 1)[0].json)
	event("DELETED", changed("settlement", same).recorded(t, 1)[0].json)

	// Another seed gives the same name another uid: the pod was deleted and created again.
	event("DELETED", changed("ftp-import", same).recorded(t, 1)[0].json)
	ftp := changed("ftp-import", func(c *dumptest.Container) { c.Image, c.Waiting = registry+"legacy/ftp-import:0.9.2", "" })
	event("ADDED", ftp.recorded(t, 2)[0].json)
	event("DELETED", changed("search-index", same).recorded(t, 1)[1].json)
	index := changed("search-index", func(c *dumptest.Container) { c.Readiness = true })
	event("ADDED", index.recorded(t, 2)[1].json)
	return out.Bytes()
}

func TestRecordingsAreUpToDate(t *testing.T) {
	for name, want := range map[string][]byte{"shop.json": shopList(t), "shop-watch.json": shopWatch(t)} {
		path := filepath.Join(dumps, name)
		if len(want) > 300<<10 {
			t.Errorf("%s is %d bytes: too large for a repository", name, len(want))
		}
		golden.Compare(t, path, string(want))
	}
}

// contents is what a recording comes to.
type contents struct {
	Stats      Stats
	Namespaces map[string]tally // of the pods that are left in the end
	Again      []string         // names that came back with another uid
}

// tally counts pods, their containers, and what the default policy table asks of a container.
type tally struct{ Pods, Containers, Latest, NoLiveness, NoReadiness int }

// add counts one pod, of whatever shape.
func (n *tally) add(t *testing.T, pod string) {
	t.Helper()
	var p struct{ Spec any }
	if err := json.Unmarshal([]byte(pod), &p); err != nil {
		t.Fatal(err)
	}
	n.Pods++
	spec, _ := p.Spec.(map[string]any)
	containers, _ := spec["containers"].([]any)
	for _, c := range containers {
		c, _ := c.(map[string]any)
		n.Containers++
		if image, _ := c["image"].(string); strings.HasSuffix(image, ":latest") {
			n.Latest++
		}
		if c["livenessProbe"] == nil {
			n.NoLiveness++
		}
		if c["readinessProbe"] == nil {
			n.NoReadiness++
		}
	}
}

func TestRecordingsRead(t *testing.T) {
	for _, tt := range []struct {
		name string
		want contents
	}{
		{"shop.json", contents{Stats: Stats{Applied: 32}, Namespaces: map[string]tally{
			"checkout":    {Pods: 4, Containers: 4},
			"kube-system": {Pods: 6, Containers: 6, NoLiveness: 2, NoReadiness: 3},
			"legacy":      {Pods: 5, Containers: 7, Latest: 7, NoLiveness: 7, NoReadiness: 7},
			"payments":    {Pods: 6, Containers: 6, NoLiveness: 4, NoReadiness: 4},
			"search":      {Pods: 5, Containers: 5, Latest: 2, NoLiveness: 2, NoReadiness: 3},
			"storefront":  {Pods: 6, Containers: 6, Latest: 1, NoLiveness: 1, NoReadiness: 2},
		}}},
		{"shop-watch.json", contents{Stats: Stats{Applied: 40, Deleted: 6, Bookmarks: 1}, Namespaces: map[string]tally{
			"checkout":    {Pods: 4, Containers: 4},
			"kube-system": {Pods: 6, Containers: 6, NoLiveness: 2, NoReadiness: 3},
			"legacy":      {Pods: 5, Containers: 7, Latest: 6, NoLiveness: 7, NoReadiness: 7},
			"payments":    {Pods: 5, Containers: 5},
			"search":      {Pods: 5, Containers: 5, Latest: 2, NoLiveness: 2, NoReadiness: 2},
			"storefront":  {Pods: 6, Containers: 6, Latest: 1, NoLiveness: 1, NoReadiness: 2},
		}, Again: []string{"legacy/ftp-import", "search/search-index-1"}}},
		{"edge.json", contents{Stats: Stats{Applied: 30, Others: map[string]int{"AllowList": 1, "Pod": 1, "Service": 1}}, Namespaces: map[string]tally{
			"default": {Pods: 3, Containers: 3, Latest: 1, NoLiveness: 3, NoReadiness: 3},
			"odd":     {Pods: 25, Containers: 25, Latest: 4, NoLiveness: 21, NoReadiness: 21},
			"other":   {Pods: 1, Containers: 1, Latest: 1, NoLiveness: 1, NoReadiness: 1},
		}, Again: []string{"odd/twice"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			type pod struct{ uid, json string }
			type name struct{ namespace, name string }
			pods := map[name]pod{}
			uids := map[name]string{}
			got := contents{Namespaces: map[string]tally{}}
			stats, err := ReadPath(t.Context(), filepath.Join(dumps, tt.name), nil, func(e Event) error {
				at := name{e.Namespace, e.Name}
				if e.Op == Delete {
					delete(pods, at)
					return nil
				}
				if uid, ok := uids[at]; ok && uid != e.UID {
					got.Again = append(got.Again, e.Namespace+"/"+e.Name)
				}
				uids[at] = e.UID
				pods[at] = pod{e.UID, string(e.JSON)}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for at, p := range pods {
				n := got.Namespaces[at.namespace]
				n.add(t, p.json)
				got.Namespaces[at.namespace] = n
			}
			stats.First = "" // see TestContinuation
			got.Stats = stats
			got.Stats.Bytes = 0 // the golden test has every byte
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("what it comes to (-want +got):\n%s", diff)
			}
		})
	}
}
