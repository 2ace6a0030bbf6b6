package scan

import (
	"strings"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/state"
)

// workloads are the workloads of the input that have a template. At the end it is known which of them do not count because another
// one owns them, such as the ReplicaSets of a Deployment.
type workloads struct {
	all []*workload
	at  map[state.Pod]int
}

// workload is one object with a template.
type workload struct {
	workloadName
	key    state.Pod
	uid    string
	owners []dump.Owner
	from   *source
	title  string

	owns  []*workload
	owned bool // by another workload of the input
	left  bool // it does not count
}

// workloadName is what an owner reference has besides the UID.
type workloadName struct{ namespace, group, kind, name string }

func (w *workloads) put(key state.Pod, p *batchedPod) {
	kind, name, _ := strings.Cut(p.Name, "/")
	of := &workload{
		workloadName: workloadName{p.Namespace, groupOf(p.APIVersion), kind, name},
		key:          key, uid: p.UID, owners: p.Owners, from: p.from, title: p.title(),
	}
	if at, known := w.at[key]; known {
		w.all[at] = of
		return
	}
	if w.at == nil {
		w.at = make(map[state.Pod]int)
	}
	w.at[key] = len(w.all)
	w.all = append(w.all, of)
}

// remove removes a workload that was deleted.
func (w *workloads) remove(key state.Pod) {
	if at, known := w.at[key]; known {
		w.all[at] = new(workload)
		delete(w.at, key)
	}
}

// markOwned marks the workloads that do not count because another workload of the input owns them. Workloads that own one another
// all count: otherwise each could hide the others.
func (w *workloads) markOwned() {
	owners := w.owners()
	for _, of := range w.all {
		for _, reference := range of.owners {
			if owner := owners.find(of, reference); owner != nil {
				owner.owns = append(owner.owns, of)
				of.owned = true
			}
		}
	}
	var next []*workload
	for _, of := range w.all {
		if !of.owned {
			next = append(next, of)
		}
	}
	for len(next) > 0 {
		last := len(next) - 1
		owner := next[last]
		next = next[:last]
		for _, of := range owner.owns {
			if !of.left {
				of.left = true
				next = append(next, of)
			}
		}
	}
}

// owners are the workloads that references can refer to.
type owners struct {
	byName map[workloadName]*workload
	byUID  map[string]*workload
}

func (w *workloads) owners() owners {
	found := owners{make(map[workloadName]*workload), make(map[string]*workload)}
	for _, of := range w.all {
		if of.uid != "" {
			found.byUID[of.uid] = of
		}
		for _, name := range []workloadName{of.workloadName, {of.namespace, anyGroup, of.kind, of.name}} {
			// A workload without a UID may be the owner in any reference with its name.
			if known := found.byName[name]; known == nil || known.uid != "" && of.uid == "" {
				found.byName[name] = of
			}
		}
	}
	return found
}

// anyGroup is the group of an owner reference that has no apiVersion.
const anyGroup = "*"

// find returns the workload that an owner reference refers to, or nil if it is not in the input.
func (o owners) find(of *workload, reference dump.Owner) *workload {
	if reference.Kind == of.kind && reference.Name == of.name { // itself
		return nil
	}
	name := workloadName{of.namespace, groupOf(reference.APIVersion), reference.Kind, reference.Name}
	if reference.APIVersion == "" {
		name.group = anyGroup
	}
	owner := o.byName[name]
	if owner == nil || reference.UID == "" || owner.uid == "" || owner.uid == reference.UID {
		return owner
	}
	// Another object of that name has the UID, or none has: the reference is to an earlier object.
	exact := o.byUID[reference.UID]
	if exact == nil || exact.namespace != name.namespace || exact.kind != name.kind || exact.name != name.name {
		return nil
	}
	return exact
}

// removeOwned removes the workloads from the state that another workload of the input owns.
func (s *scan) removeOwned() {
	s.workloads.markOwned()
	for _, of := range s.workloads.all {
		if of.left && s.state.Remove(of.key) {
			if of.uid != "" { // the API server evaluates a manifest even if another object owns it
				s.removeAdmission(of.key)
			}
			s.result.Inputs.Templates--
			s.other(of.kind, 1)
			s.note(ownedWorkload, of.title, of.from)
		}
	}
}
