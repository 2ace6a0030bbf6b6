package scan

import (
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// An owner is the workload that a pod belongs to; without a kind there is none. Its texts are parts of the pod's JSON.
type owner struct{ kind, name string }

// ownerPaths lead to what ownerOf reads, besides what names a pod.
var ownerPaths = []string{"metadata.ownerReferences.#.controller", "metadata.labels.pod-template-hash"}

// ownerOf finds the workload of a pod, given as JSON that was checked: of the controllers the outermost that its names
// tell. A Deployment has its pods through a ReplicaSet, a CronJob through a Job, and a recording of pods has neither.
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

// cutMinute takes off the end that a CronJob gives its Jobs: a dash and the minute since 1970, which has eight digits
// from 1989 to 2160.
func cutMinute(job string) (string, bool) {
	const digits = 8
	at := len(job) - digits - 1
	if at < 1 || job[at] != '-' || strings.Trim(job[at+1:], "0123456789") != "" {
		return "", false
	}
	return job[:at], true
}
