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

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// lister lists the pods of the API server, including changes without an event.
func lister(api *fakeapi.Pods) Lister {
	return func(context.Context) (map[Key]Version, error) {
		listed := make(map[Key]Version)
		for key, pod := range api.Content() {
			metadata := pod["metadata"].(fakeapi.Object)
			listed[Key(key)] = Version{fmt.Sprint(metadata["uid"]), fmt.Sprint(metadata["resourceVersion"])}
		}
		return listed, nil
	}
}

// Lost events are found, and a list repairs the cache.
func TestDifferences(t *testing.T) {
	one, two, three := fakeapi.Key{Namespace: "a", Name: "one"}, fakeapi.Key{Namespace: "a", Name: "two"}, fakeapi.Key{Namespace: "b", Name: "three"}
	newer := func() fakeapi.Object {
		pod := pod("a", "one", "1", "nginx:2")
		pod["metadata"].(fakeapi.Object)["resourceVersion"] = "900"
		return pod
	}
	for _, test := range []struct {
		name string
		lose func(pods map[fakeapi.Key]fakeapi.Object)
		want []Difference
	}{
		{"nothing", func(map[fakeapi.Key]fakeapi.Object) {}, nil},
		{"a deletion", func(pods map[fakeapi.Key]fakeapi.Object) { delete(pods, two) },
			[]Difference{{Key(two), Version{"2", "102"}, Version{}}}},
		{"a change", func(pods map[fakeapi.Key]fakeapi.Object) { pods[one] = newer() },
			[]Difference{{Key(one), Version{"1", "101"}, Version{"1", "900"}}}},
		{"a new pod", func(pods map[fakeapi.Key]fakeapi.Object) {
			pods[three] = pod("b", "three", "3", "nginx:1")
			pods[three]["metadata"].(fakeapi.Object)["resourceVersion"] = "901"
		}, []Difference{{Key(three), Version{}, Version{"3", "901"}}}},
		{"several", func(pods map[fakeapi.Key]fakeapi.Object) {
			pods[one] = newer()
			delete(pods, two)
		}, []Difference{{Key(one), Version{"1", "101"}, Version{"1", "900"}}, {Key(two), Version{"2", "102"}, Version{}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("a", "two", "2", "nginx:1"))
				b := startHarness(t, api)
				b.await(time.Second)
				api.ChangeWithoutEvent(test.lose)
				<-time.After(time.Minute)
				got, err := b.Differences(t.Context(), lister(api), 10*time.Second)
				if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
					t.Fatalf("differences (-want +got): %v\n%s", err, diff)
				}
				b.Relist()
				b.Relist() // twice is as good as once
				b.awaitContent(5 * time.Second)
				if got, err := b.Differences(t.Context(), lister(api), 10*time.Second); got != nil || err != nil {
					t.Errorf("after the list: %v %v, want no difference", got, err)
				}
				<-time.After(5 * time.Second)
				before := len(api.Received())
				<-time.After(time.Minute)
				if after := len(api.Received()); after != before {
					t.Errorf("%d more requests: one list is enough", after-before)
				}
			})
		})
	}
}

// An event that has not arrived yet is not a difference, however busy the cluster is.
func TestDifferencesInBusyCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(many(50)...)
		b := startHarness(t, api)
		b.await(time.Second)
		stop := touch(api)
		defer stop()
		behind := lister(api)
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
		b := startHarness(t, fakeapi.NewPods(many(3)...))
		b.await(time.Second)
		failure := errors.New("no list")
		got, err := b.Differences(t.Context(), func(context.Context) (map[Key]Version, error) { return nil, failure }, time.Second)
		if got != nil || !errors.Is(err, failure) {
			t.Errorf("%v %v, want the failure of the list", got, err)
		}
	})
}

// A Lister reads pages of metadata, all at one version.
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
