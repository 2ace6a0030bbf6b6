package scan

import (
	"path"
	"path/filepath"
	"strings"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
)

// A source is one input.
type source struct {
	name string // for people: a path, or stdin
	file string // for a report: a path that is clean, with slashes; empty where nothing can be mended, as on stdin
}

func sourceOf(file dump.File) source {
	switch {
	case file.Path == "-":
		return source{name: "stdin"}
	case isOpenAlready(file.Path):
		return source{name: file.Path}
	}
	return source{name: file.Path, file: path.Clean(filepath.ToSlash(file.Path))}
}

// isOpenAlready says that a path is one of those under which a system shows standard input and other open files: nobody
// else finds what is behind it.
func isOpenAlready(name string) bool {
	name = filepath.Clean(name)
	for _, folder := range []string{"/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/"} {
		if strings.HasPrefix(name, folder) {
			return true
		}
	}
	return name == "/dev/stdin"
}

// origin is where a pod comes from, as a *report.Origin; nil where nothing is known but the pod, and where nobody asks,
// as the pod has no violations.
func (s *scan) origin(from source, p *batched) any {
	if len(p.verdict.Violations) == 0 {
		return nil
	}
	line := p.Line
	if from.file == "" {
		line = 0
	}
	if p.Template {
		kind, name, _ := strings.Cut(p.Name, "/")
		return &report.Origin{Workload: report.Workload{Kind: kind, Name: name}, File: from.file, Line: line}
	}
	workload := report.Workload{Kind: p.owner.kind, Name: p.owner.name}
	if p.UID == "" { // it does not exist yet: this is where it can be mended
		if workload.Kind == "" {
			workload = report.Workload{Kind: "Pod", Name: p.Name}
		}
		return &report.Origin{Workload: cloned(workload), File: from.file, Line: line}
	}
	if workload.Kind == "" && from.file == "" {
		return nil
	}
	if s.originsOf != from { // files come one after the other
		clear(s.origins)
		s.originsOf = from
	}
	if known, ok := s.origins[workload]; ok {
		return known
	}
	o := &report.Origin{Workload: cloned(workload), Dump: from.file}
	s.origins[o.Workload] = o
	return o
}

// cloned is a workload whose names are no part of a batch, which is used again.
func cloned(w report.Workload) report.Workload {
	return report.Workload{Kind: strings.Clone(w.Kind), Name: strings.Clone(w.Name)}
}
