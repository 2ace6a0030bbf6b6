package enforce_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A previewed is a workload that a preview lists.
type previewed struct{ Action, When, Workload, Check string }

// preview runs a command that prints refusals as JSON, and returns the refusals of deny.
func preview(t *testing.T, args ...string) (refused []previewed) {
	t.Helper()
	res := kubeDevops(t, args...)
	var document struct{ Refusals []previewed }
	if err := json.Unmarshal([]byte(res.stdout), &document); err != nil || res.code == 2 {
		t.Fatalf("%v: exit code %d, %v: %s", args, res.code, err, res.stderr)
	}
	for _, r := range document.Refusals {
		if r.Action == "deny" {
			refused = append(refused, r)
		}
	}
	return refused
}

// checksOf returns the workloads with the checks that refuse them.
func checksOf(refused []previewed) []string {
	var names []string
	for _, r := range refused {
		names = append(names, r.Workload+" "+r.Check)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// listOf writes a list of objects.
func listOf(t *testing.T, objects []object) string {
	t.Helper()
	var items []any
	for _, o := range objects {
		items = append(items, o)
	}
	return writeFile(t, "list.json", text(t, object{"apiVersion": "v1", "kind": "List", "items": items}))
}

// TestPreviewIsWhatIsRefused compares the workloads that scan --enforce and policy diff --enforce list with those that the API server
// refuses, for random pods and templates.
func TestPreviewIsWhatIsRefused(t *testing.T) {
	s := newSample(t, seed(t), 150, 80)
	space := namespace(t, "e2e-preview", nil)
	table := fmt.Sprintf("apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: e2e-preview}\nextends: recommended\nnamespaces: {include: [%s], exclude: []}\nchecks:\n", space)
	for _, id := range []string{"latest_tag", "privileged", "host_namespaces", "host_path", "docker_socket"} { // others hold for nearly no random pod
		table += "  - {id: " + id + ", enforce: deny}\n"
	}
	table += "  - {id: default_volume, weight: 1, enforce: deny, forEach: spec.volumes, violation: {path: emptyDir, operator: exists}}\n" +
		"  - {id: default_port, weight: 1, enforce: deny, forEach: spec.containers.#.ports, violation: {path: hostPort, operator: exists}}\n" +
		"  - {id: default_account, weight: 1, enforce: deny, violation: {path: spec.serviceAccount, operator: equals, value: web}}\n" +
		"  - {id: quantity, weight: 1, enforce: deny, forEach: spec.containers, violation: {path: resources.requests.cpu, operator: equals, value: \"1\"}}\n" +
		"  - {id: default_policy, weight: 1, enforce: deny, forEach: spec.initContainers, violation: {path: imagePullPolicy, operator: equals, value: Always}}\n"
	file := writeFile(t, "table.yaml", table)
	install(t, export(t, file).stdout)
	inForce(t)

	requests := slices.Concat(in(space, s.pods), in(space, s.workloads))
	for _, o := range requests {
		remove(o["metadata"].(object), []string{"ownerReferences"})
	}
	var mu sync.Mutex
	var want []string
	workloads := 0
	err := dryRunAll(t.Context(), requests, func(i int, _ []byte, err error) error {
		message, refused := isRefused(err)
		if !refused {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		workloads++
		for _, v := range violationsOf(t, message) {
			check, _, _ := strings.Cut(v, "/")
			want = append(want, fmt.Sprintf("%s/%s %s", requests[i]["kind"], nameOf(requests[i]), check))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	want = slices.Compact(want)
	if workloads < 20 || workloads > len(requests)-20 {
		t.Errorf("%d of %d are refused, so the comparison shows little", workloads, len(requests))
	}
	list := listOf(t, requests) // as a client sends them: the preview knows the defaults of the API server
	for _, args := range [][]string{{"scan", list, "--policy", file, "--enforce", "-o", "json", "-q"}, {"policy", "diff", "default", file, list, "--enforce", "-o", "json"}} {
		if diff := differ(want, checksOf(preview(t, args...))); diff != "" {
			t.Errorf("kube-devops %s (-refused +previewed):\n%s", args[0], diff)
		}
	}
	t.Logf("%d of %d are refused, by %d checks", workloads, len(requests), len(want))
}

// TestPreviewOfRecording previews the objects of a namespace, and then updates them and creates them again. Updates must be admitted, and the listed
// objects must be refused at the moment that the preview names.
func TestPreviewOfRecording(t *testing.T) {
	s := newScenario(t, "recording")
	owned := func(o object, kind string) object {
		o["metadata"].(object)["ownerReferences"] = []any{object{"apiVersion": "example.com/v1", "kind": kind, "name": "owner", "uid": "0d3a8f0e-6a7e-4c5c-9f52-000000000000", "controller": true}}
		return o
	}
	objects := func(suffix string) map[string]object {
		return map[string]object{
			"Deployment/web":        workload("Deployment", s.namespace, "web"+suffix, 0, bad),
			"Deployment/fine":       workload("Deployment", s.namespace, "fine"+suffix, 0, good),
			"CronJob/nightly":       workload("CronJob", s.namespace, "nightly"+suffix, 0, bad),
			"Pod/alone":             newPod(s.namespace, "alone"+suffix, bad),
			"Broker/owner":          owned(newPod(s.namespace, "broker"+suffix, bad), "Broker"),
			"ReplicaSet/canary":     owned(workload("ReplicaSet", s.namespace, "canary"+suffix, 0, bad), "Canary"),
			"StatefulSet/operators": owned(workload("StatefulSet", s.namespace, "operators"+suffix, 0, bad), "Database"),
		}
	}
	var all []string
	for _, o := range objects("") {
		all = append(all, text(t, o))
	}
	mustKubectl(t, strings.Join(all, "\n"), "create", "-f", "-")
	recording := writeFile(t, "all.json", mustKubectl(t, "", "--namespace", s.namespace, "get", "pods,deploy,rs,sts,cronjobs", "-o", "json"))
	want := map[string]string{
		"Deployment/web": "create", "CronJob/nightly": "create", "Pod/alone": "create", "StatefulSet/operators": "create", "Broker/owner": "restart", "ReplicaSet/canary": "rollout",
	}
	got := map[string]string{}
	for _, r := range preview(t, "policy", "diff", "default", s.table, recording, "--enforce", "--action", "deny", "-o", "json") {
		if r.Check == "latest_tag" {
			got[r.Workload] = r.When
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the preview has %v, want %v", got, want)
	}

	s.enforce(t)
	for workload, o := range objects("") {
		patch := `{"spec":{"template":{"metadata":{"annotations":{"rolled":"out"}}}}}`
		switch o["kind"] {
		case "CronJob":
			patch = `{"spec":{"jobTemplate":` + patch + `}}`
		case "Pod":
			patch = `{"spec":{"activeDeadlineSeconds":60}}`
		}
		s.allowed(t, "an update of "+workload, "", "patch", strings.ToLower(o["kind"].(string)), nameOf(o), "--patch", patch)
	}
	for workload, o := range objects("-again") {
		if want[workload] == "" {
			s.allowed(t, "creating "+workload, text(t, o), "create", "-f", "-")
		} else {
			s.refused(t, "creating "+workload, text(t, o), []string{"create", "-f", "-"}, "latest_tag/web")
		}
	}
}
