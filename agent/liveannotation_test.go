package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// TestAnnotationIsFollowed turns annotationWaivers on while the agent runs, and changes the annotation of a pod: each is seen, and the
// report says what the annotation accepts, and what it does not.
func TestAnnotationIsFollowed(t *testing.T) {
	t.Parallel()
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().UTC()
	day := func(days int) string { return now.AddDate(0, 0, days).Format(time.DateOnly) }
	annotated := func(lines string) fakeapi.Object {
		pod := livePod("one", "nginx:latest")
		metadata := pod["metadata"].(fakeapi.Object)
		metadata["creationTimestamp"] = now.Format(time.RFC3339)
		metadata["annotations"] = fakeapi.Object{"kube-devops.io/waive": lines}
		return pod
	}
	write(tableText("one", 5))
	api := fakeapi.New(annotated("latest_tag expires " + day(10) + ": Ada"))
	signals := make(chan os.Signal, 1)
	a := startLive(t, api, func(o *Options) { o.Policies, o.Reload, o.LeaderElect = []string{policy}, signals, false })
	eventually(t, "the violation counts", a.counts(1))
	write(tableText("two", 5) + "\nannotationWaivers: {checks: [latest_tag], maxDays: 30}\n")
	signals <- os.Interrupt
	eventually(t, "the annotation accepts it", a.counts(0))
	reports := func(parts ...string) func() bool {
		return func() bool {
			_, body := a.get("/api/v1/report")
			for _, part := range parts {
				if !strings.Contains(body, part) {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "the report has the waiver", reports(`"waiver":"kube-devops.io/waive"`, day(10)))
	if got, ok := a.value(`kube_devops_waived_violations{check="latest_tag",namespace="shop"}`); !ok || got != 1 {
		t.Errorf("%v waived violations, %t", got, ok)
	}
	if _, body := a.get("/metrics"); strings.Contains(body, "kube_devops_waiver_expiry_timestamp_seconds{") {
		t.Error("a waiver of an annotation has a series")
	}
	api.Pods.Put(annotated("latest_tag expires " + day(40) + ": Ada"))
	eventually(t, "a date that is too far away accepts nothing", a.counts(1))
	eventually(t, "the report says so", reports(fmt.Sprintf("%s is more than 30 days after the creation of the pod", day(40))))
	api.Pods.Put(annotated("latest_tag expires " + day(-1) + ": Ada"))
	eventually(t, "the report says that it expired", reports("The annotation kube-devops.io/waive of 1 pod expired: 1 violation counts again."))
	if err := a.end(); err != nil {
		t.Error(err)
	}
}
