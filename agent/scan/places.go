package scan

import "hash/maphash"

// places are the files in which pods stand, in a few bytes of each pod.
type places struct {
	seed  maphash.Seed
	at    map[uint64]int32 // index in names, by the hash of a pod's name
	names []string
}

func newPlaces() *places { return &places{seed: maphash.MakeSeed(), at: make(map[uint64]int32)} }

func (p *places) hash(pod *batched) uint64 {
	return maphash.Comparable(p.seed, [2]string{pod.Namespace, pod.Name})
}

// put notes where a pod stands. Files come one after the other.
func (p *places) put(from source, pod *batched) {
	if p == nil {
		return
	}
	if len(p.names) == 0 || p.names[len(p.names)-1] != from.name {
		p.names = append(p.names, from.name)
	}
	p.at[p.hash(pod)] = int32(len(p.names) - 1)
}

// of is the file in which a pod stood; empty where that is not known.
func (p *places) of(pod *batched) string {
	if p == nil {
		return ""
	}
	at, ok := p.at[p.hash(pod)]
	if !ok {
		return ""
	}
	return p.names[at]
}
