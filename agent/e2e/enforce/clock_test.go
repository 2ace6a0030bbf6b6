package enforce_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// expiry is the expiry in the table. The test replaces it in the exported policy, because a table has whole days.
	expiry     = "2099-06-30"
	expiryText = expiry + "T00:00:00Z"
)

// clockTable is the table of the scenario, with a waiver.
const clockTable = scenarioTable + `waivers:
  - {id: until, reason: a test of the clock, expires: ` + expiry + `, check: latest_tag, container: web}
`

// expireAt replaces the expiry in exported policies.
func expireAt(t *testing.T, policies string, at time.Time) string {
	t.Helper()
	if !strings.Contains(policies, expiryText) {
		t.Fatalf("the policy has no %s:\n%s", expiryText, policies)
	}
	return strings.ReplaceAll(policies, expiryText, at.UTC().Format(time.RFC3339))
}

// A clockRequest is a request with the violation that is waived until the expiry. It is a dry run, so that it can be repeated.
type clockRequest struct {
	name string
	send func(ctx context.Context) error
}

func clockRequests(t *testing.T, s *scenario) []clockRequest {
	t.Helper()
	badPod := newPod(s.namespace, "web", bad)
	deployment := workload("Deployment", s.namespace, "web", 0, good)
	for _, o := range []object{newPod(s.namespace, "web", good), deployment} {
		mustKubectl(t, text(t, o), "apply", "--server-side", "-f", "-")
	}
	stored := func(resource, name string) object {
		var o object
		if err := json.Unmarshal([]byte(mustKubectl(t, "", "--namespace", s.namespace, "get", resource, name, "-o", "json", "--show-managed-fields")), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	pod, web := stored("pod", "web"), stored("deployment", "web")
	spoil := func(containers any) { containers.([]any)[0].(object)["image"] = bad.image }
	spoil(pod["spec"].(object)["containers"])
	spoil(web["spec"].(object)["template"].(object)["spec"].(object)["containers"])

	// The client writes old times for all managers, and an old creation time.
	old := func(o object) object {
		o = clone(o).(object)
		for _, m := range list(o["metadata"].(object)["managedFields"]) {
			m.(object)["time"] = "2000-01-01T00:00:00Z"
		}
		o["metadata"].(object)["creationTimestamp"] = "2000-01-01T00:00:00Z"
		return o
	}
	write := func(verb, path string, body any) func(context.Context) error {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context) error {
			request := client().Verb(verb).AbsPath(path).SetHeader("Accept", "application/json").SetHeader("Content-Type", "application/json").Body(b)
			if verb == "PATCH" {
				request.SetHeader("Content-Type", string(types.StrategicMergePatchType))
			}
			return request.Param("dryRun", "All").Do(ctx).Error()
		}
	}
	apply := func(path string, o object) func(context.Context) error {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context) error {
			return client().Patch(types.ApplyYAMLPatchType).AbsPath(path).Param("dryRun", "All").Param("fieldManager", "kubectl").Body(b).Do(ctx).Error()
		}
	}
	pods, deployments := collection(pod), collection(web)
	image := object{"spec": object{"containers": []any{object{"name": "web", "image": bad.image}}}}
	fresh := newPod(s.namespace, "fresh", bad)
	freshOld := clone(fresh).(object)
	freshOld["metadata"].(object)["creationTimestamp"] = "2000-01-01T00:00:00Z"
	freshOld["metadata"].(object)["managedFields"] = []any{object{
		"manager": "liar", "operation": "Update", "apiVersion": "v1", "time": "2000-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": object{},
	}}
	return []clockRequest{
		{"create", write("POST", pods, fresh)},
		{"create with an old creation and old managers", write("POST", pods, freshOld)},
		{"create by server-side apply", apply(pods+"/applied", newPod(s.namespace, "applied", bad))},
		{"patch", write("PATCH", pods+"/web", image)},
		{"replace", write("PUT", pods+"/web", pod)},
		{"replace with old times", write("PUT", pods+"/web", old(pod))},
		{"server-side apply", apply(pods+"/web", badPod)},
		{"create of a Deployment", write("POST", deployments, workload("Deployment", s.namespace, "fresh", 0, bad))},
		{"patch of a Deployment", write("PATCH", deployments+"/web", object{"spec": object{"template": image}})},
		{"replace of a Deployment", write("PUT", deployments+"/web", web)},
		{"replace of a Deployment with old times", write("PUT", deployments+"/web", old(web))},
		{"server-side apply of a Deployment", apply(deployments+"/web", workload("Deployment", s.namespace, "web", 0, bad))},
	}
}

// TestClock sends the same requests before, at and after the expiry of a waiver. A waiver must expire in the second that it names by the clock of
// the API server, whatever times a client writes.
func TestClock(t *testing.T) {
	s := newScenarioOf(t, "clock", clockTable)
	requests := clockRequests(t, s)
	// The API server loads a changed policy within about a second.
	expires := time.Now().Add(5 * time.Second).Truncate(time.Second)
	s.policies = expireAt(t, s.policies, expires)
	s.enforce(t)
	// A change in the same second as the creation does not have a later time.
	for _, request := range requests {
		if err := cluster.Eventually(t.Context(), 2*time.Second, 20*time.Millisecond, func() error { return request.send(t.Context()) }); err != nil {
			t.Fatalf("%s before the expiry: %v", request.name, err)
		}
	}
	if time.Until(expires) < 200*time.Millisecond {
		t.Fatalf("the policy was in force only %s before the expiry", time.Until(expires))
	}

	mustKubectl(t, text(t, newPod(s.namespace, "accepted", bad)), "apply", "-f", "-")
	// Without managers the time is unknown, so nothing is waived.
	emptied := func() error {
		patch := `[{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}, {"op": "replace", "path": "/spec/containers/0/image", "value": "` + bad.image + `"}]`
		return client().Patch(types.JSONPatchType).AbsPath(collection(newPod(s.namespace, "web"))+"/web").Param("dryRun", "All").
			Body([]byte(patch)).Do(t.Context()).Error()
	}
	if _, refused := isRefused(emptied()); !refused {
		t.Error("a client that empties managedFields before the expiry is not refused")
	}

	var mu sync.Mutex
	first := make(map[string]time.Duration) // the first refusal after the expiry
	last := make(map[string]time.Duration)  // the last pass before it
	group, ctx := errgroup.WithContext(t.Context())
	for _, request := range requests {
		group.Go(func() error {
			ticker := time.NewTicker(20 * time.Millisecond)
			defer ticker.Stop()
			for range ticker.C {
				began := time.Now()
				err := request.send(ctx)
				ended := time.Now()
				message, refused := isRefused(err)
				if err != nil && !refused {
					return fmt.Errorf("%s: %w", request.name, err)
				}
				switch {
				case ended.Before(expires) && refused:
					return fmt.Errorf("%s: refused %s before the expiry: %s", request.name, expires.Sub(ended), message)
				case !began.Before(expires) && !refused:
					return fmt.Errorf("%s: allowed %s after the expiry", request.name, began.Sub(expires))
				}
				mu.Lock()
				if ended.Before(expires) {
					last[request.name] = expires.Sub(ended)
				} else if !began.Before(expires) && first[request.name] == 0 {
					first[request.name] = began.Sub(expires)
				}
				mu.Unlock()
				if began.After(expires.Add(1200 * time.Millisecond)) {
					return nil
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, request := range requests {
		if last[request.name] == 0 || first[request.name] == 0 {
			t.Errorf("%s: there was no request before, or none after the expiry", request.name)
		}
		t.Logf("%-45s allowed until %6s before the expiry, refused from %6s after it", request.name,
			last[request.name].Round(time.Millisecond), first[request.name].Round(time.Millisecond))
	}
	if _, refused := isRefused(emptied()); !refused {
		t.Error("a client that empties managedFields after the expiry is not refused")
	}

	s.allowed(t, "a change of a pod that was accepted before the expiry", "", "label", "pod/accepted", "team=shop")
}

// TestClockOfRemovals removes a field whose absence a waiver accepts. The API server does not set a time for such an update. So the waiver must
// not apply, whatever times the client writes.
func TestClockOfRemovals(t *testing.T) {
	s := newScenarioOf(t, "removals", scenarioTable+"waivers:\n  - {id: until, reason: a test of the clock, expires: "+expiry+", check: missing_liveness}\n")
	apply := []string{"apply", "--server-side", "-f", "-"}
	unready := good
	unready.live = false
	const remove = `[{"op": "remove", "path": "/spec/template/spec/containers/0/livenessProbe"}]`
	const change = `{"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "registry.example.com/web:1.30", "livenessProbe": null}]}}}}`
	for _, name := range []string{"web", "other"} {
		mustKubectl(t, text(t, workload("Deployment", s.namespace, name, 0, good)), apply...)
	}
	var stored object
	if err := json.Unmarshal([]byte(mustKubectl(t, "", "--namespace", s.namespace, "get", "deployment", "web", "-o", "json", "--show-managed-fields")), &stored); err != nil {
		t.Fatal(err)
	}
	delete(stored["spec"].(object)["template"].(object)["spec"].(object)["containers"].([]any)[0].(object), "livenessProbe")
	forged := clone(stored).(object)
	for _, m := range list(forged["metadata"].(object)["managedFields"]) {
		m.(object)["time"] = "2000-01-01T00:00:00Z"
	}
	removals := []struct {
		name, stdin string
		args        []string
	}{
		{"JSON patch", "", []string{"patch", "deployment/web", "--type=json", "--patch", remove}},
		{"strategic merge patch", "", []string{"patch", "deployment/web", "--patch", `{"spec": {"template": {"spec": {"containers": [{"name": "web", "livenessProbe": null}]}}}}`}},
		{"replace", text(t, stored), []string{"replace", "-f", "-"}},
		{"replace with old times", text(t, forged), []string{"replace", "-f", "-"}},
	}
	refuse := func(when string) {
		t.Helper()
		for _, r := range removals {
			s.refused(t, r.name+" "+when, r.stdin, append(r.args, "--dry-run=server"), "missing_liveness/web")
		}
	}

	expires := time.Now().Add(6 * time.Second).Truncate(time.Second)
	s.policies = expireAt(t, s.policies, expires)
	s.enforce(t)
	// The times of two changes within one second are equal.
	err := cluster.Eventually(t.Context(), 3*time.Second, 100*time.Millisecond, func() error {
		if res := s.kubectl(t, "", "patch", "deployment/other", "--patch", change); res.code != 0 {
			return errors.New(res.stderr)
		}
		return nil
	})
	if err != nil {
		t.Errorf("a removal with another change before the expiry is refused: %v", err)
	}
	refuse("before the expiry")
	if !time.Now().Before(expires) {
		t.Fatal("the waiver expired before the requests ended")
	}
	created := []byte(text(t, workload("Deployment", s.namespace, "fresh", 0, unready)))
	err = cluster.Eventually(t.Context(), 20*time.Second, 100*time.Millisecond, func() error {
		err := client().Post().AbsPath(collection(stored)).Param("dryRun", "All").SetHeader("Content-Type", "application/json").Body(created).Do(t.Context()).Error()
		if _, refused := isRefused(err); !refused {
			return fmt.Errorf("a new Deployment is not refused: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	refuse("after the expiry")
	s.refused(t, "a removal with another change after the expiry", "", []string{"patch", "deployment/web", "--dry-run=server", "--patch", change}, "missing_liveness/web")
}
