package scan

import (
	"hash/maphash"

	"github.com/kube-devops/kube-devops/agent/state"
)

// files remember in which file each pod is, in a few bytes for each.
type files struct {
	seed  maphash.Seed
	at    map[uint64]int32 // index in names, by the hash of a pod's key
	names []string
}

func newFiles() *files { return &files{seed: maphash.MakeSeed(), at: make(map[uint64]int32)} }

func (f *files) hash(key state.Pod) uint64 {
	return maphash.Comparable(f.seed, [2]string{key.Namespace, key.Name})
}

// put notes in which file a pod is. Files come one after the other.
func (f *files) put(from *source, key state.Pod) {
	if f == nil {
		return
	}
	if len(f.names) == 0 || f.names[len(f.names)-1] != from.name {
		f.names = append(f.names, from.name)
	}
	f.at[f.hash(key)] = int32(len(f.names) - 1)
}

// of is the file in which a pod was; empty where that is not known.
func (f *files) of(key state.Pod) string {
	if f == nil {
		return ""
	}
	at, ok := f.at[f.hash(key)]
	if !ok {
		return ""
	}
	return f.names[at]
}
