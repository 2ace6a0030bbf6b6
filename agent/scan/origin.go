package scan

import (
	"path"
	"path/filepath"
	"strings"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
)

// A source is one input.
type source struct {
	name string // for people: a path, or stdin
	file string // for a report: a path that is clean, with slashes; empty where nothing can be fixed, as on stdin
}

func sourceOf(file dump.File) *source {
	switch {
	case file.Path == "-":
		return &source{name: "stdin"}
	case isOpenAlready(file.Path):
		return &source{name: file.Path}
	}
	return &source{name: file.Path, file: path.Clean(filepath.ToSlash(file.Path))}
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

// origin is where a pod comes from, as a *report.Origin; nil where nothing is known but the pod, and where nothing is
// asked, as the pod has no violations.
func (s *scan) origin(p *batchedPod, key state.Pod) any {
	if len(p.verdict.Violations) == 0 {
		return nil
	}
	if p.Recorded {
		return s.originRecorded(p, key)
	}
	o := &report.Origin{Workload: p.workload(), Document: p.Item, Details: s.details.of(p)}
	if p.from.file != "" {
		o.File, o.Line = p.from.file, p.Line
	}
	if key.Name != p.Name {
		o.Pod = p.Name
	}
	return o
}

// workload is what a pod belongs to: of a template and of a manifest that has no owner, it is the object itself.
func (p *batchedPod) workload() report.Workload {
	if p.Template {
		kind, name, _ := strings.Cut(p.Name, "/")
		return report.Workload{Kind: kind, Name: name}
	}
	if p.owner.kind == "" && !p.Recorded {
		return report.Workload{Kind: "Pod", Name: p.Name}
	}
	return report.Workload{Kind: p.owner.kind, Name: p.owner.name}
}

// originRecorded is the origin that pods of one workload in one file share where their violations look alike.
func (s *scan) originRecorded(p *batchedPod, key state.Pod) any {
	shared := sharedOrigin{workload: p.workload(), details: s.details.of(p)}
	if key.Name != p.Name {
		shared.pod = p.Name
	}
	if shared == (sharedOrigin{}) && p.from.file == "" {
		return nil
	}
	if s.originsOf != p.from { // files come one after the other
		clear(s.origins)
		s.originsOf = p.from
	}
	if known, ok := s.origins[shared]; ok {
		return known
	}
	shared.workload = cloned(shared.workload)
	o := &report.Origin{Workload: shared.workload, Dump: p.from.file, Pod: shared.pod, Details: shared.details}
	s.origins[shared] = o
	return o
}

// A sharedOrigin is what the origins of recorded pods of one file differ in.
type sharedOrigin struct {
	workload report.Workload
	pod      string
	details  *[]report.Detail
}

// cloned is a workload whose names are no part of a batch, which is used again.
func cloned(w report.Workload) report.Workload {
	return report.Workload{Kind: strings.Clone(w.Kind), Name: strings.Clone(w.Name)}
}
