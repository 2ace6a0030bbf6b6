package scan

import (
	"bytes"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// templatedField returns the field of a manifest that has an action of a template, such as one of Helm; empty if there is
// none. What a cluster recorded is not a template, and annotations may have templates for other programs.
func templatedField(e *dump.Event) string {
	switch {
	case e.Recorded || e.Op == dump.Delete:
		return ""
	case hasAction(e.Name):
		return "name"
	case hasAction(e.Namespace):
		return "namespace"
	case !bytes.Contains(e.JSON, []byte("{{")):
		return ""
	}
	for _, containers := range []string{"containers", "initContainers", "ephemeralContainers"} {
		if hasAction(gjson.GetBytes(e.JSON, "spec."+containers+".#.image").Raw) {
			return "image"
		}
	}
	return ""
}

func hasAction(text string) bool { return strings.Contains(text, "{{") }

// isPatch reports whether a pod, which is valid JSON, is a part that Kustomize merges into another manifest: nothing with
// containers can be applied without an image. What was recorded, or has a UID, is not a patch.
func (p *batchedPod) isPatch(pod []byte) bool {
	if p.UID != "" || p.Recorded || p.Listed && !p.Template {
		return false
	}
	patch := true
	gjson.GetBytes(pod, "spec.containers").ForEach(func(_, container gjson.Result) bool {
		patch = container.Get("image").String() == ""
		return patch
	})
	return patch
}

// owner is the workload that a pod belongs to; the kind is empty if there is none. Its texts are parts of the pod's JSON.
type owner struct{ kind, name string }

// ownerPaths are the paths that ownerOf reads.
var ownerPaths = []string{"metadata.ownerReferences.#.controller", "metadata.labels.pod-template-hash"}

// ownerOf finds the workload of a pod, which is valid JSON. A recording of pods has neither the ReplicaSet between a pod and
// its Deployment nor the Job between a pod and its CronJob, but their names say what owns them.
func ownerOf(pod []byte) owner {
	metadata := gjson.Get(unsafe.String(unsafe.SliceData(pod), len(pod)), "metadata")
	var of owner
	controlled := false
	metadata.Get("ownerReferences").ForEach(func(_, reference gjson.Result) bool {
		if of.kind == "" || reference.Get("controller").Type == gjson.True {
			of = owner{reference.Get("kind").Str, reference.Get("name").Str}
			controlled = reference.Get("controller").Type == gjson.True
		}
		return !controlled
	})
	if of.name == "" {
		return owner{}
	}
	switch of.kind {
	case "ReplicaSet":
		hash := metadata.Get("labels.pod-template-hash").Str
		if name, ok := strings.CutSuffix(of.name, "-"+hash); ok && hash != "" && name != "" {
			return owner{"Deployment", name}
		}
	case "Job":
		if name, ok := cutMinute(of.name); ok {
			return owner{"CronJob", name}
		}
	}
	return of
}

// cutMinute removes the suffix that a CronJob gives its Jobs: a dash and the minute since 1970, which has eight digits from
// 1989 to 2160.
func cutMinute(job string) (string, bool) {
	const digits = 8
	at := len(job) - digits - 1
	if at < 1 || job[at] != '-' || strings.Trim(job[at+1:], "0123456789") != "" {
		return "", false
	}
	return job[:at], true
}
