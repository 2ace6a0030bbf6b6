package podwatch

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// An open watch is contact, even without events. Failed requests are not contact, and have a reason.
func TestContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"))
		b := newHarness(t, api)
		if !b.Contact().IsZero() {
			t.Error("contact before anything was asked")
		}
		b.run()
		b.await(time.Second)
		<-time.After(10 * time.Minute)
		if quiet := time.Since(b.Contact()); quiet > 0 || b.Failure() != nil {
			t.Errorf("a watch is open, and the last contact was %s ago: %v", quiet, b.Failure())
		}
		forbidden := fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden)
		api.Answer(func(fakeapi.Request) http.HandlerFunc { return forbidden })
		b.network.Drop()
		synctest.Wait()
		lost := time.Now()
		<-time.After(5 * time.Minute)
		if last := b.Contact(); last.Sub(lost).Abs() > time.Second || b.Failure() == nil {
			t.Errorf("all requests fail for 5m; the last contact was %s after their begin: %v", last.Sub(lost), b.Failure())
		}
		api.Heal()
		<-time.After(2 * time.Minute)
		if quiet := time.Since(b.Contact()); quiet > 0 || b.Failure() != nil {
			t.Errorf("a watch is open again, and the last contact was %s ago: %v", quiet, b.Failure())
		}
	})
}
