package scan

import (
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// title is the name of a pod for people.
func (p *batched) title() string { return dump.OneLine(p.Namespace + "/" + p.Name) }

// remarks count what is odd and was read all the same, and remember the first.
type remarks struct {
	count int
	first string
}

func (r *remarks) add(from source, p *batched) {
	if r.count++; r.count == 1 {
		r.first = p.title() + " in " + dump.OneLine(from.name)
	}
}

// repeats are the remarks of pods and workloads that stood there again.
type repeats struct {
	remarks
	workloads int // of the count
	before    string
}

// repeated notes a pod that stands there again.
func (s *scan) repeated(from source, p *batched) {
	if s.again.add(from, p); s.again.count == 1 {
		if before := s.places.of(p); before != "" && before != from.name {
			s.again.before = dump.OneLine(before)
		}
		s.places = nil // nobody asks again
	}
	if p.Template {
		s.again.workloads++
	}
}

// warn tells the remarks.
func (s *scan) warn() {
	if s.options.Warn == nil {
		return
	}
	if r := s.again; r.count > 0 {
		var what []string
		if n := r.count - r.workloads; n > 0 {
			what = append(what, plural(n, "pod"))
		}
		if r.workloads > 0 {
			what = append(what, plural(r.workloads, "workload"))
		}
		before := ""
		if r.before != "" {
			before = " and before in " + r.before
		}
		s.options.Warn(fmt.Sprintf("%s stood there again, the first of them %s%s: the later counts", strings.Join(what, " and "), r.first, before))
	}
	if r := s.patches; r.count > 0 {
		leftOut := "and is left out as a patch"
		if r.count > 1 {
			leftOut = "and are left out as patches"
		}
		s.options.Warn(fmt.Sprintf("%s no image %s, the first of them %s: render them first (kustomize build . | kube-devops scan -), or see whether spec.containers is spelt right",
			have(r.count, "manifest"), leftOut, r.first))
	}
	if r := s.bare; r.count > 0 {
		s.options.Warn(fmt.Sprintf("%s no container that has a name, the first of them %s: see whether spec.containers is spelt right", have(r.count, "manifest"), r.first))
	}
}

func have(n int, what string) string {
	if n == 1 {
		return plural(n, what) + " has"
	}
	return plural(n, what) + " have"
}

// mayBePatch says that nothing but the missing images tells a manifest from a part of one, as Kustomize merges them. What
// was recorded is whole.
func (p *batched) mayBePatch() bool { return p.UID == "" && !p.Watched && (p.Template || !p.Listed) }

// hasImage says whether a container of a pod, given as JSON that was checked, has an image: without one nothing can be
// applied.
func hasImage(pod []byte) bool {
	found := false
	gjson.GetBytes(pod, "spec.containers").ForEach(func(_, container gjson.Result) bool {
		found = container.Get("image").String() != ""
		return !found
	})
	return found
}

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
