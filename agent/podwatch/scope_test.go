package podwatch

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// forbid rejects the requests for some namespaces, and those for the whole cluster.
func forbid(namespaces ...string) func(fakeapi.Request) http.HandlerFunc {
	return func(r fakeapi.Request) http.HandlerFunc {
		if r.Namespace == "" || slices.Contains(namespaces, r.Namespace) {
			return fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden)
		}
		return nil
	}
}

func permitted(b *harness, namespace string) float64 {
	return b.metrics()[`kube_devops_watched_namespace_permitted{namespace="`+namespace+`"}`]
}

// Two of three namespaces are watched: the third is neither requested nor cached.
func TestWatchNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("b", "one", "2", "nginx:1"), pod("c", "one", "3", "nginx:1"))
		api.Answer(forbid("c"))
		b := newHarness(t, api, "a", "b")
		b.namespaces = []string{"a", "b"}
		b.run()
		b.await(time.Second)
		b.check()
		api.Put(pod("a", "two", "4", "nginx:1"))
		api.Put(pod("c", "two", "5", "nginx:1"))
		api.Remove(fakeapi.Key{Namespace: "b", Name: "one"})
		b.check()
		kinds := slices.Sorted(strings.SplitSeq(b.kinds(), " "))
		if diff := gocmp.Diff([]string{"watch-list(a)@", "watch-list(b)@"}, kinds); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if pod, ok := b.Get(Key{"c", "one"}); ok {
			t.Errorf("Get returns %v of a namespace that is not watched", pod)
		}
		if permitted(b, "a") != 1 || permitted(b, "b") != 1 {
			t.Errorf("the namespaces are exported as not permitted: %v", b.metrics())
		}
		b.Relist()
		<-time.After(10 * time.Second)
		b.check()
	})
}

// A forbidden namespace does not delay the others, and is watched once it is permitted.
func TestForbiddenNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("b", "one", "2", "nginx:1"))
		api.Answer(forbid("b"))
		b := newHarness(t, api, "a", "b")
		b.namespaces = []string{"a"}
		b.run()
		b.await(5 * time.Second)
		b.check()
		if permitted(b, "a") != 1 || permitted(b, "b") != 0 {
			t.Errorf("a is exported as permitted: %v, b: %v; want 1 and 0", permitted(b, "a"), permitted(b, "b"))
		}
		if diff := gocmp.Diff([]string{"b"}, b.Forbidden()); diff != "" {
			t.Errorf("forbidden namespaces (-want +got):\n%s", diff)
		}
		if !slices.ContainsFunc(b.warnings(), func(line string) bool { return strings.Contains(line, "the test answers 403") }) {
			t.Errorf("the log does not have the refusal: %q", b.warnings())
		}
		api.Heal()
		b.namespaces = []string{"a", "b"}
		b.awaitContent(65 * time.Second)
		if permitted(b, "b") != 1 || len(b.Forbidden()) != 0 {
			t.Error("b is not exported as permitted")
		}
	})
}

func TestAllNamespacesForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("b", "one", "2", "nginx:1"))
		api.Answer(forbid("a", "b"))
		b := newHarness(t, api, "a", "b")
		b.namespaces = []string{}
		b.run()
		<-time.After(10 * time.Minute)
		synctest.Wait()
		if b.isSynced() {
			t.Error("in sync though no namespace is permitted")
		}
		b.checkRequests()
		api.Answer(forbid("b"))
		b.namespaces = []string{"a"}
		b.await(10*time.Minute + 65*time.Second)
		b.check()
	})
}

// After a Role is deleted, the pods of its namespace stay for a while, because it may be replaced, and are then hidden.
// They come back with the Role. The other namespace is not affected.
func TestNamespaceBecomesForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("b", "one", "2", "nginx:1"))
		b := newHarness(t, api, "a", "b")
		b.namespaces = []string{"a", "b"}
		b.run()
		b.await(time.Second)
		api.Answer(forbid("b"))
		b.network.Drop()
		<-time.After(time.Minute)
		b.check()
		api.Put(pod("a", "two", "3", "nginx:1"))
		b.check()
		<-time.After(hideAfter)
		b.namespaces = []string{"a"}
		b.check()
		api.Put(pod("b", "two", "4", "nginx:1"))
		api.Remove(fakeapi.Key{Namespace: "a", Name: "one"})
		b.check()
		api.Heal()
		b.namespaces = []string{"a", "b"}
		b.awaitContent(65 * time.Second)
	})
}

// Another projection is adopted while a namespace is forbidden, and has that namespace once it is permitted.
func TestReprojectWithForbiddenNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("b", "one", "2", "nginx:1"))
		api.Answer(forbid("b"))
		b := newHarness(t, api, "a", "b")
		b.namespaces = []string{"a"}
		b.run()
		b.await(5 * time.Second)
		if err := b.Reproject(t.Context(), all{}, func(swap func()) { swap() }); err != nil {
			t.Fatal(err)
		}
		b.check()
		api.Heal()
		b.namespaces = []string{"a", "b"}
		b.awaitContent(65 * time.Second)
	})
}
