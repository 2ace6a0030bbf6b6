package scan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
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
	if r := s.raw; r.count > 0 {
		s.options.Warn(fmt.Sprintf("%s a template where a name or an image should be, the first of them %s: render them first (helm template . | kube-devops scan -)",
			have(r.count, "manifest"), r.first))
	}
	if r := s.bare; r.count > 0 {
		s.options.Warn(fmt.Sprintf("%s no container that has a name, the first of them %s: see whether spec.containers is spelt right", have(r.count, "manifest"), r.first))
	}
}

// warnOfNamespaces tells which of several patterns of namespaces found none.
func (s *scan) warnOfNamespaces() {
	if s.options.Warn == nil {
		return
	}
	for _, glob := range s.options.Namespaces {
		if !slices.ContainsFunc(s.result.Snapshot.Namespaces, func(ns state.NamespaceSnapshot) bool {
			return rules.MatchGlob(glob, ns.Name)
		}) {
			s.options.Warn(fmt.Sprintf("--namespace %s finds no pods that count", dump.OneLine(glob)))
		}
	}
}

func have(n int, what string) string {
	if n == 1 {
		return plural(n, what) + " has"
	}
	return plural(n, what) + " have"
}
