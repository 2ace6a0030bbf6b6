package podwatch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

// lister lists what the API server has, and not what it has told.
func (a *apiServer) lister() Lister {
	return func(context.Context) (map[Key]Version, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		listed := make(map[Key]Version)
		for key, pod := range a.pods {
			metadata := pod["metadata"].(object)
			listed[key] = Version{fmt.Sprint(metadata["uid"]), fmt.Sprint(metadata["resourceVersion"])}
		}
		return listed, nil
	}
}

// quietly changes the pods and tells no watch of it.
func (a *apiServer) quietly(change func(pods map[Key]object)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a.pods)
	clear(a.bare)
	for key, pod := range a.pods {
		a.bare[key] = withoutManagedFields(pod)
	}
}

// TestDifferences loses events on the way, and heals the cache by a list.
func TestDifferences(t *testing.T) {
	one, two, three := Key{"a", "one"}, Key{"a", "two"}, Key{"b", "three"}
	newer := func() object {
		pod := pod("a", "one", "1", "nginx:2")
		pod["metadata"].(object)["resourceVersion"] = "900"
		return pod
	}
	for _, test := range []struct {
		name string
		lose func(pods map[Key]object)
		want []Difference
	}{
		{"nothing", func(map[Key]object) {}, nil},
		{"a deletion", func(pods map[Key]object) { delete(pods, two) },
			[]Difference{{two, Version{"2", "102"}, Version{}}}},
		{"a change", func(pods map[Key]object) { pods[one] = newer() },
			[]Difference{{one, Version{"1", "101"}, Version{"1", "900"}}}},
		{"a new pod", func(pods map[Key]object) {
			pods[three] = pod("b", "three", "3", "nginx:1")
			pods[three]["metadata"].(object)["resourceVersion"] = "901"
		}, []Difference{{three, Version{}, Version{"3", "901"}}}},
		{"several", func(pods map[Key]object) {
			pods[one] = newer()
			delete(pods, two)
		}, []Difference{{one, Version{"1", "101"}, Version{"1", "900"}}, {two, Version{"2", "102"}, Version{}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newAPIServer(pod("a", "one", "1", "nginx:1"), pod("a", "two", "2", "nginx:1"))
				b := startBench(t, api)
				b.await(time.Second)
				api.quietly(test.lose)
				<-time.After(time.Minute)
				got, err := b.Differences(t.Context(), api.lister(), 10*time.Second)
				if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
					t.Fatalf("differences (-want +got): %v\n%s", err, diff)
				}
				b.Relist()
				b.Relist() // twice is as good as once
				b.awaitContent(5 * time.Second)
				if got, err := b.Differences(t.Context(), api.lister(), 10*time.Second); got != nil || err != nil {
					t.Errorf("after the list: %v %v, want no difference", got, err)
				}
				<-time.After(5 * time.Second)
				before := len(api.received())
				<-time.After(time.Minute)
				if after := len(api.received()); after != before {
					t.Errorf("%d more requests: one list is enough", after-before)
				}
			})
		})
	}
}

// TestDifferencesOfABusyCluster: what is on its way is no difference, however busy the cluster is.
func TestDifferencesOfABusyCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(many(50)...)
		b := startBench(t, api)
		b.await(time.Second)
		stop := touch(api)
		defer stop()
		behind := api.lister()
		late := func(ctx context.Context) (map[Key]Version, error) {
			listed, err := behind(ctx)
			<-time.After(3 * time.Second) // the cache goes on meanwhile
			return listed, err
		}
		for range 20 {
			if got, err := b.Differences(t.Context(), late, 10*time.Second); got != nil || err != nil {
				t.Fatalf("%v %v, want no difference", got, err)
			}
		}
	})
}

func TestDifferencesWithoutAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBench(t, newAPIServer(many(3)...))
		b.await(time.Second)
		failure := errors.New("no list")
		got, err := b.Differences(t.Context(), func(context.Context) (map[Key]Version, error) { return nil, failure }, time.Second)
		if got != nil || !errors.Is(err, failure) {
			t.Errorf("%v %v, want the failure of the list", got, err)
		}
	})
}

// TestLister reads pages, of metadata alone, and as they all were at one moment.
func TestLister(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if query.Get("limit") != "1000" || query.Has("resourceVersion") {
			t.Errorf("asked for %s: want pages of 1000, and the present", query.Encode())
		}
		next, name := "more", "one"
		if query.Get("continue") == "more" {
			next, name = "", "two"
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"9","continue":%q},
			"items":[{"metadata":{"namespace":"a","name":%q,"uid":"u","resourceVersion":"7"}}]}`, next, name)
	}))
	defer server.Close()
	list, err := NewLister(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	got, err := list(t.Context())
	want := map[Key]Version{{"a", "one"}: {"u", "7"}, {"a", "two"}: {"u", "7"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("pods (-want +got): %v\n%s", err, diff)
	}
	server.Close()
	if got, err := list(t.Context()); err == nil {
		t.Errorf("%v without a server, want an error", got)
	}
}
