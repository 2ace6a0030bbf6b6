package report

import "github.com/kube-devops/kube-devops/agent/state"

// A Scan is what a scan of recordings and manifests found. Each printer of a scan writes one of its forms.
type Scan struct {
	// Snapshot has its violations.
	Snapshot *state.Snapshot
	// Origins tell where the pods that have violations, waived ones too, come from.
	Origins map[PodKey]Origin
	Inputs  Inputs
}

// A PodKey names a pod, or the workload whose template stands for a pod ("Deployment/web").
type PodKey struct{ Namespace, Name string }

// An Origin is where a pod comes from.
type Origin struct {
	// Workload is what the pod belongs to: its Deployment, StatefulSet and so on, or the pod itself where nothing owns it.
	Workload Workload
	// File and Line (1-based) say where a manifest stands; empty and 0 for a pod of a recording.
	File string
	Line int
}

// A Workload is what a team deploys and mends.
type Workload struct{ Kind, Name string }

// String is kind and name: "Deployment/web".
func (w Workload) String() string { return w.Kind + "/" + w.Name }

// Inputs counts what was read.
type Inputs struct {
	Files int
	Pods  int // recorded pods, of the same pod the last
	// Templates counts the pod templates of workload manifests, each of which was evaluated as one pod.
	Templates int
	// Others counts the objects without pods, by kind; they were left out.
	Others map[string]int
	// Repeated counts the pods that stood there again: the later one counts.
	Repeated int
	// LeftOut says, a line each, what could not be read and is missing from the scores. A report that has any is one on a
	// part of the data, and says so.
	LeftOut []string
}
