package scan

import (
	"strconv"
	"strings"

	"github.com/kube-devops/kube-devops/agent/state"
)

// identities decides which pods and workloads of the input are the same.
//
// Recorded objects are the same if namespace, name and API group are. Each manifest is a workload of its own, except for those that
// are equal as JSON, and those with the same UID and name. The state knows pods by namespace and name only, so the second workload
// of a name gets an unused key. It is looked up and not derived, so that no name can be chosen to replace another workload.
type identities struct {
	state *state.ClusterState
	keys  map[identity]state.Pod // of manifests with a UID, and of recorded pods whose name was taken
	taken map[state.Pod]bool     // the keys of manifests, and all keys that are not names
	tried map[state.Pod]int      // how many keys were tried for a name
	seen  map[uint64]state.Pod   // the keys of manifests by digest
	group map[state.Pod]string   // the API group, if not empty, of a recorded workload whose key is its name
}

// identity is equal for two objects that are the same.
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

// key returns the key of a pod in the state. It is equal if an equal manifest came before.
func (ids *identities) key(p *batchedPod) (key state.Pod, equal bool) {
	name := state.Pod{Namespace: p.Namespace, Name: p.Name}
	if p.Recorded {
		return ids.recorded(p, name), false
	}
	distinct := p.Digest == 0 || p.Generated // the API server creates another object for each generateName
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

// recorded returns the key of what a cluster recorded: its name, unless something else has it.
func (ids *identities) recorded(p *batchedPod, name state.Pod) state.Pod {
	group := ""
	if p.Template { // all pods have the same group
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

// free returns an unused key that is as similar to the name as possible.
func (ids *identities) free(name state.Pod) state.Pod {
	key := name
	for ids.taken[key] || ids.state.Has(key) {
		ids.tried[name]++
		key.Name = name.Name + "\x00" + strconv.Itoa(ids.tried[name])
	}
	return key
}

// groupOf returns the API group of an apiVersion, empty for v1.
func groupOf(apiVersion string) string {
	group, _, found := strings.Cut(apiVersion, "/")
	if !found {
		return ""
	}
	return group
}
