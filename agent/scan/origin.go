package scan

import (
	"path"
	"path/filepath"
	"strings"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
)

// source is one input.
type source struct {
	name string // for messages: a path, or stdin
	file string // for reports: a clean path with slashes; empty if it cannot be edited, like stdin
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

// isOpenAlready reports whether a path is that of an open file of this process, which means nothing to the reader of a report.
func isOpenAlready(name string) bool {
	name = filepath.Clean(name)
	for _, folder := range []string{"/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/"} {
		if strings.HasPrefix(name, folder) {
			return true
		}
	}
	return name == "/dev/stdin"
}

// origin returns where a pod comes from, as a *report.Origin. It is nil if only the pod is known, or if the verdict has no violations.
func (s *scan) origin(p *batchedPod, j *judged, key state.Pod) any {
	if !j.violates() {
		return nil
	}
	if p.Recorded {
		return s.originRecorded(p, j, key)
	}
	o := &report.Origin{
		Workload: p.workload(), Document: p.Item, AnnotationLine: p.waiveLine, Details: s.details.of(p, j), Stored: p.isStored(), Template: p.Template,
	}
	if p.from.file != "" {
		o.File, o.Line = p.from.file, p.Line
	}
	if key.Name != p.Name {
		o.Pod = p.Name
	}
	return o
}

// workload returns the workload of a pod: of a template, and of a manifest without an owner, the object itself.
func (p *batchedPod) workload() report.Workload {
	if p.Template {
		kind, name, _ := strings.Cut(p.Name, "/")
		return report.Workload{Kind: kind, Name: name}
	}
	if p.owner.Kind == "" && !p.Recorded {
		return report.Workload{Kind: "Pod", Name: p.Name}
	}
	return report.Workload(p.owner)
}

// originRecorded returns the origin that pods of one workload in one file share if their violations have the same details.
func (s *scan) originRecorded(p *batchedPod, j *judged, key state.Pod) any {
	shared := sharedOrigin{workload: p.workload(), details: s.details.of(p, j)}
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

// sharedOrigin is what the origins of recorded pods of one file differ in.
type sharedOrigin struct {
	workload report.Workload
	pod      string
	details  *[]report.Detail
}

// cloned returns a workload whose names share no memory with a batch.
func cloned(w report.Workload) report.Workload {
	return report.Workload{Kind: strings.Clone(w.Kind), Name: strings.Clone(w.Name)}
}
