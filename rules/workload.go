package rules

import (
	"strings"

	"github.com/tidwall/gjson"
)

// A Workload is the object that creates a pod: its Deployment, StatefulSet and so on. It is the zero value where nothing does.
type Workload struct{ Kind, Name string }

// WorkloadPaths are the paths that WorkloadOf reads beside the names and owners that every projection keeps.
func WorkloadPaths() []string {
	return []string{"metadata.ownerReferences.#.controller", "metadata.labels.pod-template-hash"}
}

// WorkloadOf finds the workload of a pod, which is valid JSON. Its texts are parts of the pod. The pod of a template has the name of its
// workload, such as Deployment/web. A live pod has neither the ReplicaSet between it and its Deployment nor the Job between it and its
// CronJob, but their names say what owns them.
func WorkloadOf(pod []byte) Workload {
	return workloadOf(parsed(pod).Get("metadata"))
}

func workloadOf(metadata gjson.Result) Workload {
	if !metadata.IsObject() {
		return Workload{}
	}
	if kind, name, isTemplate := strings.Cut(textOf(metadata, "name"), "/"); isTemplate {
		return Workload{kind, name}
	}
	of := controllerOf(metadata)
	switch of.Kind {
	case "ReplicaSet":
		hash := ""
		if labels := metadata.Get("labels"); labels.IsObject() {
			hash = textOf(labels, "pod-template-hash")
		}
		if name, ok := strings.CutSuffix(of.Name, "-"+hash); ok && hash != "" && name != "" {
			return Workload{"Deployment", name}
		}
	case "Job":
		if name, ok := cutMinute(of.Name); ok {
			return Workload{"CronJob", name}
		}
	}
	return of
}

// controllerOf returns the owner that is the controller, or the first one.
func controllerOf(metadata gjson.Result) Workload {
	var of Workload
	references := metadata.Get("ownerReferences")
	if !references.IsArray() {
		return of
	}
	references.ForEach(func(_, reference gjson.Result) bool {
		if !reference.IsObject() {
			return true
		}
		controls := reference.Get("controller").Type == gjson.True
		if of.Kind == "" || controls {
			of = Workload{textOf(reference, "kind"), textOf(reference, "name")}
		}
		return !controls
	})
	if of.Kind == "" || of.Name == "" {
		return Workload{}
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
