package scan

import (
	"fmt"
	"slices"
	"testing"
)

// TestWarningOfPodsBesideTheirWorkload: a recording with workloads and their pods counts both, and says so once. Pods of other workloads,
// of other namespaces and without a workload are not meant, nor are manifests, which have no pods.
func TestWarningOfPodsBesideTheirWorkload(t *testing.T) {
	pod := func(namespace, name, kind, owner, labels string) string {
		return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q,"namespace":%q,"uid":%[1]q,"labels":{%[3]s},"ownerReferences":[{"kind":%[4]q,"name":%[5]q,"controller":true}]},"spec":{"containers":[{"name":"c","image":"i:1"}]}}`,
			name, namespace, labels, kind, owner)
	}
	const hash = `"pod-template-hash":"6f"`
	pods := []string{
		pod("shop", "web-6f-1", "ReplicaSet", "web-6f", hash), pod("shop", "web-6f-2", "ReplicaSet", "web-6f", hash), pod("shop", "db-0", "StatefulSet", "db", ""),
		pod("shop", "nightly-29000000-x", "Job", "nightly-29000000", ""),
		pod("docs", "web-6f-1", "ReplicaSet", "web-6f", hash), pod("shop", "other-0", "StatefulSet", "other", ""), small("alone", ""),
	}
	workloads := []string{
		deploymentOf("web", `,"uid":"1"`, "i:1"), workloadOf("apps/v1", "StatefulSet", "db", `,"uid":"2"`, "i:1"), deploymentOf("idle", `,"uid":"3"`, "i:1"),
	}
	listOf := func(items ...string) string {
		text := ""
		for i, item := range items {
			if i > 0 {
				text += ","
			}
			text += item
		}
		return `{"kind":"List","apiVersion":"v1","items":[` + text + `]}`
	}
	const warning = "the input has workloads and their pods (2 workloads, 3 pods), and both count: for scores, record either pods or workloads"
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"pods, then workloads":   {listOf(slices.Concat(pods, workloads)...), []string{warning}},
		"workloads, then pods":   {listOf(slices.Concat(workloads, pods)...), []string{warning}},
		"two lists":              {listOf(workloads...) + listOf(pods...), []string{warning}},
		"one pod":                {listOf(pods[2], workloads[1]), []string{"the input has workloads and their pods (1 workload, 1 pod), and both count: for scores, record either pods or workloads"}},
		"pods alone":             {listOf(pods...), nil},
		"workloads alone":        {listOf(workloads...), nil},
		"of others":              {listOf(slices.Concat(pods[3:], workloads)...), nil},
		"manifest of a workload": {listOf(pods...) + deploymentOf("web", "", "i:1"), nil},
	} {
		var got []string
		found, err := scanned(t, tt.text, func(o *Options) { o.Warn = func(line string) { got = append(got, line) } })
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: error %v, warnings %q, want %q", name, err, got, tt.want)
		}
		if found != nil && name == "two lists" && found.Inputs.Pods+found.Inputs.Templates != len(pods)+len(workloads) {
			t.Errorf("%+v: not all count", found.Inputs)
		}
	}
}
