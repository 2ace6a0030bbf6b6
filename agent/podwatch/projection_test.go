package podwatch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// images is a projection that keeps the names and the images.
type images struct{}

func (images) AppendTo(dst, pod []byte) ([]byte, error) {
	var p struct {
		Metadata struct {
			Name            string `json:"name"`
			Namespace       string `json:"namespace"`
			UID             string `json:"uid"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Spec struct {
			Containers []struct {
				Image string `json:"image"`
			} `json:"containers"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(pod, &p); err != nil {
		return dst, err
	}
	text, err := json.Marshal(p)
	return append(dst, text...), err
}

func (images) ReadsVersion() bool { return false }

// newNarrowHarness makes a Watch that keeps names and images.
func newNarrowHarness(t *testing.T, api *fakeapi.Pods) *harness {
	t.Helper()
	b := newHarness(t, api)
	first, err := b.newProjectedCache(images{})
	if err != nil {
		t.Fatal(err)
	}
	b.current.Store(first)
	return b
}

func withStatus(pod fakeapi.Object, phase string) fakeapi.Object {
	pod["status"] = fakeapi.Object{"phase": phase}
	return pod
}

// panicky is a projection that panics for some pods.
type panicky struct{ images }

func (p panicky) AppendTo(dst, pod []byte) ([]byte, error) {
	if bytes.Contains(pod, []byte("poison")) {
		panic("a fault of the projection")
	}
	return p.images.AppendTo(dst, pod)
}

// A pod for which the projection panics is kept whole; the others are reduced.
func TestProjectionThatPanics(t *testing.T) {
	servers := map[string]func(fakeapi.Request) http.HandlerFunc{
		"by WatchList": nil,
		"by LIST":      only(fakeapi.KindWatchList, fakeapi.Status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid))(nil),
	}
	for name, script := range servers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("a", "two", "2", "poison:1"))
				api.Answer(script)
				b := newHarness(t, api)
				first, err := b.newProjectedCache(panicky{})
				if err != nil {
					t.Fatal(err)
				}
				b.current.Store(first)
				b.run()
				b.await(5 * time.Second)
				api.Put(pod("b", "three", "3", "poison:1"))
				api.Put(pod("b", "four", "4", "nginx:1"))
				synctest.Wait()
				for key, whole := range map[Key]bool{{"a", "one"}: false, {"a", "two"}: true, {"b", "three"}: true, {"b", "four"}: false} {
					pod, ok := b.Get(key)
					if !ok || bytes.Contains(pod.JSON, []byte(`"apiVersion"`)) != whole {
						t.Errorf("%v: kept %t, want it whole: %t", key, ok, whole)
					}
				}
			})
		})
	}
}

// A change of fields that the projection drops updates the cache and is not reported.
func TestStatusChange(t *testing.T) {
	servers := map[string]func(fakeapi.Request) http.HandlerFunc{
		"by an event": nil,
		"by a relist": only(fakeapi.KindWatch, fakeapi.Status(http.StatusGone, metav1.StatusReasonExpired))(nil),
	}
	for name, script := range servers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("a", "two", "2", "nginx:1"))
				b := newNarrowHarness(t, api)
				b.run()
				b.await(time.Second)
				key := Key{"a", "one"}
				steps := []struct {
					name   string
					change func()
					calls  int
				}{
					{"the status", func() { api.Put(withStatus(pod("a", "one", "1", "nginx:1"), "Failed")) }, 1},
					{"nothing", func() { api.Put(withStatus(pod("a", "one", "1", "nginx:1"), "Failed")) }, 1},
					{"the image", func() { api.Put(pod("a", "one", "1", "nginx:2")) }, 2},
					{"the UID", func() { api.Put(pod("a", "one", "3", "nginx:2")) }, 3},
					{"the status again", func() { api.Put(withStatus(pod("a", "one", "3", "nginx:2"), "Failed")) }, 3},
					{"all", func() { api.Remove(fakeapi.Key(key)) }, 4},
				}
				for i, step := range steps {
					api.Answer(script)
					if script != nil {
						b.network.Drop()
					}
					step.change()
					<-time.After(2 * time.Minute) // a relist waits
					api.Heal()
					<-time.After(2 * time.Minute)
					synctest.Wait()
					if got := b.handled.calls[key]; got != step.calls {
						t.Errorf("%s has changed: %d calls of Handle, want %d; requests: %s", step.name, got, step.calls, b.kinds())
					}
					if want := fmt.Sprint(103 + i); i < len(steps)-1 {
						if cached, ok := b.Get(key); !ok || cached.ResourceVersion != want {
							t.Errorf("%s has changed: the cache has %v, want version %s", step.name, cached, want)
						}
					}
					if got, want := b.metrics()["pod_events_total"], float64(3+i); got != want {
						t.Errorf("%s has changed: pod_events_total %v, want %v", step.name, got, want)
					}
				}
			})
		})
	}
}

// kept returns the images in the cache by pod; "whole" for a pod that is kept whole.
func (b *harness) kept() map[Key]string {
	images := map[Key]string{}
	for pod := range b.All() {
		o := decoded(pod)
		if _, whole := o["apiVersion"]; whole {
			images[Key{pod.Namespace, pod.Name}] = "whole"
			continue
		}
		images[Key{pod.Namespace, pod.Name}] = o["spec"].(fakeapi.Object)["containers"].([]any)[0].(fakeapi.Object)["image"].(string)
	}
	return images
}

// Another projection lists all pods again. The current cache follows the cluster until the list is complete,
// and is then replaced in one step.
func TestReproject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("a", "two", "2", "nginx:1"))
		b := newNarrowHarness(t, api)
		b.run()
		b.await(time.Second)
		held := make(chan struct{})
		api.Answer(streams(fakeapi.Streaming{Hold: held})(api))
		ended := make(chan error, 1)
		var before, after map[Key]string
		go func() {
			ended <- b.Reproject(t.Context(), all{}, func(swap func()) {
				before = b.kept()
				swap()
				after = b.kept()
			})
		}()
		<-time.After(10 * time.Second)
		api.Put(pod("a", "one", "1", "nginx:2"))
		api.Put(pod("a", "three", "3", "nginx:3"))
		api.Remove(fakeapi.Key{Namespace: "a", Name: "two"})
		synctest.Wait()
		want := map[Key]string{{"a", "one"}: "nginx:2", {"a", "three"}: "nginx:3"}
		if diff := gocmp.Diff(want, b.kept()); diff != "" {
			t.Errorf("while the list is on its way (-want +got):\n%s", diff)
		}
		close(held)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, before); diff != "" {
			t.Errorf("before the swap (-want +got):\n%s", diff)
		}
		for key, kept := range after {
			if kept != "whole" {
				t.Errorf("after the swap %v is kept as %q", key, kept)
			}
		}
		calls := b.handled.total()
		b.awaitCache(t)
		api.Put(pod("a", "one", "1", "nginx:4"))
		synctest.Wait()
		b.awaitCache(t)
		// The first form and two changes; and the first change again if it comes with the new list after the swap.
		if got := b.handled.calls[Key{"a", "one"}]; got < 3 || got > 4 || b.handled.total() <= calls {
			t.Errorf("%d calls of Handle for a pod that has changed twice, %d of %d behind the swap", got, b.handled.total()-calls, b.handled.total())
		}
		if got := len(api.Received()); got != 2 {
			t.Errorf("%d requests, want 2: %s", got, b.kinds())
		}
	})
}

// awaitCache waits until the cache equals the API server.
func (b *harness) awaitCache(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(100 * time.Millisecond) {
		synctest.Wait()
		diff := gocmp.Diff(b.want().All, b.view().All)
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the cache (-want +got):\n%s", diff)
		}
	}
}

// Without a response from the API server nothing changes.
func TestReprojectGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"))
		b := newNarrowHarness(t, api)
		unused := func(func()) { t.Error("adopted a list that is not complete") }
		cancelled, stop := context.WithCancel(t.Context())
		stop()
		if err := b.Reproject(cancelled, all{}, unused); err == nil {
			t.Error("no error before Run")
		}
		b.run()
		b.await(time.Second)
		api.Answer(only(fakeapi.KindWatchList, fakeapi.NeverAnswer)(api))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute/2)
		defer cancel()
		if err := b.Reproject(ctx, all{}, unused); err == nil {
			t.Error("no error when time is up")
		}
		api.Put(pod("a", "one", "1", "nginx:2"))
		synctest.Wait()
		if got := b.kept()[Key{"a", "one"}]; got != "nginx:2" {
			t.Errorf("the cache has %q, want nginx:2", got)
		}
		ended := make(chan error, 1)
		go func() { ended <- b.Reproject(t.Context(), all{}, unused) }()
		synctest.Wait()
		b.stop()
		if err := <-ended; err == nil {
			t.Error("no error when Run ends")
		}
	})
}

// The list of another projection makes the Watch in sync if the initial list does not come.
func TestReprojectBeforeTheInitialList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(many(20)...)
		api.Answer(streams(fakeapi.Streaming{NoEnd: true})(api))
		b := newNarrowHarness(t, api)
		b.run()
		<-time.After(time.Second)
		api.Heal()
		if err := b.Reproject(t.Context(), all{}, func(swap func()) { swap() }); err != nil {
			t.Fatal(err)
		}
		b.await(time.Second)
		b.check()
	})
}
