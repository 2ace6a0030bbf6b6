package podwatch

import (
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// A stopped stream ends and leaves nothing behind, whatever it does.
func TestStreamStops(t *testing.T) {
	tests := []struct {
		name   string
		before func(*watch.FakeWatcher)
	}{
		{name: "while nothing happens", before: func(*watch.FakeWatcher) {}},
		{name: "while an event is not received", before: func(w *watch.FakeWatcher) { w.Add(&unstructured.Unstructured{}) }},
		{name: "after its end", before: func(w *watch.FakeWatcher) { w.Stop() }},
	}
	for _, test := range tests {
		for _, initial := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newHarness(t, fakeapi.NewPods())
					upstream, cancelled := watch.NewFake(), false
					s := newStream(upstream, newSource(newTestClient(t, b), newScope(metav1.NamespaceAll), b.log, b.Watch.metrics), initial)
					go s.run(t.Context(), func() { cancelled = true })
					test.before(upstream)
					synctest.Wait()
					s.Stop()
					s.Stop()
					synctest.Wait()
					if _, open := <-s.ResultChan(); open {
						t.Error("the events did not end")
					}
					if !upstream.IsStopped() || !cancelled {
						t.Errorf("stopped: %v, context cancelled: %v; want both", upstream.IsStopped(), cancelled)
					}
				})
			})
		}
	}
}
