package scan

import (
	"strconv"
	"strings"

	"github.com/kube-devops/kube-devops/agent/state"
)

// identities say which pods and workloads of the input are the same.
//
// What was recorded is the same where namespace, name and API group are. Each manifest is a workload of its own, but for
// those that are equal as JSON, and those that have one uid under one name. The state knows pods by namespace and name
// alone: whoever comes second to a name gets a key that is not in use. That is looked up and not made likely, so that no
// name can be chosen to replace another workload.
type identities struct {
	state *state.ClusterState
	keys  map[identity]state.Pod // of manifests with a uid, and of recorded pods whose name was taken
	taken map[state.Pod]bool     // the keys of manifests, and all keys that are not names
	tried map[state.Pod]int      // how many keys were tried of a name
	seen  map[uint64]state.Pod   // the keys of manifests by digest
	group map[state.Pod]string   // the API group of a recorded workload that has its name as its key, where it is not empty
}

// An identity is what makes two objects the same.
type identity struct {
	name     state.Pod
	group    string
	uid      string // of a manifest
	recorded bool
}

func newIdentities(s *state.ClusterState) *identities {
	return &identities{
		state: s, keys: make(map[identity]state.Pod), taken: make(map[state.Pod]bool), tried: make(map[state.Pod]int),
		seen: make(map[uint64]state.Pod), group: make(map[state.Pod]string),
	}
}

// key is that of a pod in the state. It is equal to one that came before where there is nothing to do.
func (ids *identities) key(p *batchedPod) (key state.Pod, equal bool) {
	name := state.Pod{Namespace: p.Namespace, Name: p.Name}
	if p.Recorded {
		return ids.recorded(p, name), false
	}
	distinct := p.Digest == 0 || p.Generated // of a generated name the API server makes another object each time
	if key, equal = ids.seen[p.Digest]; equal && !distinct {
		return key, true
	}
	is := identity{name: name, group: groupOf(p.APIVersion), uid: p.UID}
	key, known := ids.keys[is]
	if !known || p.UID == "" {
		key = ids.free(name)
		ids.taken[key] = true
	}
	if p.UID != "" {
		ids.keys[is] = key
	}
	if !distinct {
		ids.seen[p.Digest] = key
	}
	return key, false
}

// recorded is the key of what a cluster printed: its name, where nothing else has that.
func (ids *identities) recorded(p *batchedPod, name state.Pod) state.Pod {
	group := ""
	if p.Template { // all pods are of one group
		group = groupOf(p.APIVersion)
	}
	if group == "" && len(ids.taken) == 0 && len(ids.group) == 0 { // a recording of pods
		return name
	}
	is := identity{name: name, group: group, recorded: true}
	if p.UID != "" {
		if key, ok := ids.keys[identity{name: name, group: groupOf(p.APIVersion), uid: p.UID}]; ok { // printed alone before
			return key
		}
	}
	if key, ok := ids.keys[is]; ok {
		return key
	}
	if !ids.taken[name] && (ids.group[name] == group || !ids.state.Has(name)) {
		if group != "" {
			ids.group[name] = group
		} else {
			delete(ids.group, name)
		}
		return name
	}
	key := ids.free(name)
	ids.taken[key] = true
	ids.keys[is] = key
	return key
}

// free is a key that is not in use, as like the name as possible.
func (ids *identities) free(name state.Pod) state.Pod {
	key := name
	for ids.taken[key] || ids.state.Has(key) {
		ids.tried[name]++
		key.Name = name.Name + "\x00" + strconv.Itoa(ids.tried[name])
	}
	return key
}

// groupOf is the API group of an apiVersion: empty for v1.
func groupOf(apiVersion string) string {
	group, _, found := strings.Cut(apiVersion, "/")
	if !found {
		return ""
	}
	return group
}
