package scan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/state"
)

// title is the name of a pod for people.
func (p *batchedPod) title() string { return titleOf(&p.Event) }

func titleOf(e *dump.Event) string { return dump.OneLine(e.Namespace + "/" + e.Name) }

// warnings count what is odd and was read all the same, and name the first.
type warnings struct{ dump.Skipped }

func (w *warnings) add(p *batchedPod) { w.note(p.title(), p.from) }

func (w *warnings) note(title string, from *source) {
	if w.Count++; w.Count == 1 {
		w.First = title + " in " + dump.OneLine(from.name)
	}
}

// duplicates are the pods and workloads of recordings that came twice, and the manifests that are equal to others.
type duplicates struct {
	pods, workloads, equal warnings
}

// repeat notes a pod that comes again.
func (s *scan) repeat(p *batchedPod, key state.Pod, equal bool) {
	s.result.Inputs.Duplicates++
	of := &s.duplicates.pods
	switch {
	case equal:
		of = &s.duplicates.equal
	case p.Template:
		of = &s.duplicates.workloads
	}
	if of.add(p); s.result.Inputs.Duplicates > 1 {
		return
	}
	if before := s.files.of(key); before != "" && before != p.from.name {
		of.First += " and " + dump.OneLine(before)
	}
	s.files = nil // only the first one is asked for
}

// warn reports what is odd and what is left out, a line for each reason.
func (s *scan) warn() {
	if s.options.Warn == nil {
		return
	}
	found := &s.options.Found
	for _, reason := range []struct {
		dump.Skipped
		one, many, advice string
	}{
		{s.duplicates.pods.Skipped, "duplicate pod; the last one wins", "duplicate pods; the last one wins", ""},
		{s.duplicates.workloads.Skipped, "duplicate workload; the last one wins", "duplicate workloads; the last one wins", ""},
		{s.duplicates.equal.Skipped, "manifest is equal to another one and counts once", "manifests are equal to others and count once", ""},
		{s.owned.Skipped, "workload left out because another workload of the input owns it", "workloads left out because other workloads of the input own them", ""},
		{s.patches.Skipped, "manifest without an image left out as a patch", "manifests without an image left out as patches",
			"render patches first (kustomize build . | kube-devops scan -), or check the spelling of spec.containers"},
		{s.unnamed.Skipped, "manifest has no container with a name", "manifests have no container with a name", "check the spelling of spec.containers"},
		{s.textAfterEnd, "file has text behind the end of a document (...), which is not read", "files have text behind the end of a document (...), which is not read",
			"begin the next document with ---, as kubectl reads no other"},
		{s.templates, "template left out", "templates left out", "render templates first (helm template . | kube-devops scan -)"},
		{s.notManifests, "file without apiVersion and kind left out", "files without apiVersion and kind left out", ""},
		{s.empty, "empty file left out", "empty files left out", ""},
		{found.DanglingLinks, "dangling link left out", "dangling links left out", ""},
		{found.Excluded, "file left out by --exclude", "files left out by --exclude", ""},
	} {
		s.warnOf(reason.Skipped, reason.one, reason.many, reason.advice)
	}
	if n := len(found.EmptyFolders); n > 0 {
		s.warnOf(dump.Skipped{Count: n, First: found.EmptyFolders[0]}, "folder without a file that can be read", "folders without a file that can be read", "")
	}
	if len(found.UnusedPatterns) > 0 {
		s.options.Warn(fmt.Sprintf("--exclude %s matches nothing", dump.OneLine(strings.Join(found.UnusedPatterns, ", "))))
	}
	if namespaces, pods := s.excluded.byPolicy(&s.options); pods > 0 {
		s.options.Warn(s.excluded.text(namespaces, pods))
	}
}

func (s *scan) warnOf(of dump.Skipped, one, many, advice string) {
	if of.Count == 0 {
		return
	}
	line := fmt.Sprintf("%d %s; the first is %s", of.Count, many, dump.OneLine(of.First))
	if of.Count == 1 {
		line = fmt.Sprintf("1 %s: %s", one, dump.OneLine(of.First))
	}
	if advice != "" {
		line += ": " + advice
	}
	s.options.Warn(line)
}

// warnOfNamespaces reports which of several patterns of namespaces match nothing that counts.
func (s *scan) warnOfNamespaces() {
	if s.options.Warn == nil {
		return
	}
	for _, glob := range s.options.Namespaces {
		if !slices.ContainsFunc(s.result.Snapshot.Namespaces, func(ns state.NamespaceSnapshot) bool { return matchesAny([]string{glob}, ns.Name) }) {
			s.options.Warn(s.missing(glob))
		}
	}
}

// missing says why a pattern of --namespace finds no pods.
func (s *scan) missing(glob string) string {
	line := fmt.Sprintf("--namespace %s matches no pods that count", dump.OneLine(glob))
	var namespaces []string
	pods := 0
	all, _ := s.excluded.byPolicy(&s.options)
	for _, name := range all {
		if matchesAny([]string{glob}, name) {
			namespaces = append(namespaces, name)
			pods += s.excluded.in[name].Pods
		}
	}
	if pods > 0 {
		line += ": " + s.excluded.text(namespaces, pods)
	}
	return line
}
