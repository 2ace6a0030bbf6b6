package scan

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/state"
)

// A reason says why a part of the input is left out, or is unusual.
type reason uint8

const (
	duplicatePod reason = iota
	duplicateWorkload
	equalManifest
	ownedWorkload
	withoutImage
	withoutName
	textAfterEnd
	template
	notManifest
	emptyFile
	danglingLink
	excludedFile
	emptyFolder
	reasons
)

// warnings are the texts of the reasons, in the order in which they are printed.
var warnings = [reasons]struct{ one, many, advice string }{
	duplicatePod:      {one: "duplicate pod; the last one wins", many: "duplicate pods; the last one wins"},
	duplicateWorkload: {one: "duplicate workload; the last one wins", many: "duplicate workloads; the last one wins"},
	equalManifest:     {one: "manifest is identical to another one and counts once", many: "manifests are identical to others and count once"},
	ownedWorkload: {one: "workload left out because another workload of the input owns it",
		many: "workloads left out because other workloads of the input own them"},
	withoutImage: {one: "manifest without a container image left out as a patch", many: "manifests without a container image left out as patches",
		advice: "render patches first (kustomize build . | kube-devops scan -), or check the spelling of spec.containers"},
	withoutName: {one: "manifest has no container with a name", many: "manifests have no container with a name", advice: "check the spelling of spec.containers"},
	textAfterEnd: {one: "file has text after a document end marker (...), which is not read", many: "files have text after a document end marker (...), which is not read",
		advice: "begin the next document with ---, as kubectl requires"},
	template: {one: "template left out", many: "templates left out",
		advice: "render templates first (helm template . | kube-devops scan -)"},
	notManifest:  {one: "file without apiVersion and kind left out", many: "files without apiVersion and kind left out"},
	emptyFile:    {one: "empty file left out", many: "empty files left out"},
	danglingLink: {one: "dangling link left out", many: "dangling links left out"},
	excludedFile: {one: "file left out by --exclude", many: "files left out by --exclude"},
	emptyFolder: {one: "folder without manifests or dumps", many: "folders without manifests or dumps",
		advice: "the names of files must end with .json, .jsonl, .ndjson, .yaml or .yml"},
}

// title is the name of a pod in messages.
func (p *batchedPod) title() string { return titleOf(&p.Event) }

func titleOf(e *dump.Event) string { return dump.OneLine(e.Namespace + "/" + e.Name) }

// note counts an object of a file for a reason.
func (s *scan) note(why reason, title string, from *source) {
	s.skipped[why].Add(title + " in " + dump.OneLine(from.name))
}

// noteDuplicate counts a pod that came before. The first warning names both files.
func (s *scan) noteDuplicate(p *batchedPod, key state.Pod, equal bool) {
	s.result.Inputs.Duplicates++
	why := duplicatePod
	switch {
	case equal:
		why = equalManifest
	case p.Template:
		why = duplicateWorkload
	}
	s.note(why, p.title(), p.from)
	if s.result.Inputs.Duplicates > 1 {
		return
	}
	if before := s.files.of(key); before != "" && before != p.from.name {
		s.skipped[why].First += " and " + dump.OneLine(before)
	}
	s.files = nil // only the first duplicate needs it
}

// podFiles remembers the file of each pod, in a few bytes a pod.
type podFiles struct {
	seed  maphash.Seed
	at    map[uint64]int32 // index in names, by the hash of a pod's key
	names []string
}

func newPodFiles() *podFiles { return &podFiles{seed: maphash.MakeSeed(), at: make(map[uint64]int32)} }

// put notes the file of a pod. Files come one after the other.
func (f *podFiles) put(from *source, key state.Pod) {
	if f == nil {
		return
	}
	if len(f.names) == 0 || f.names[len(f.names)-1] != from.name {
		f.names = append(f.names, from.name)
	}
	f.at[maphash.Comparable(f.seed, key)] = int32(len(f.names) - 1)
}

// of returns the file of a pod, or an empty text if it is not known.
func (f *podFiles) of(key state.Pod) string {
	if f == nil {
		return ""
	}
	if at, ok := f.at[maphash.Comparable(f.seed, key)]; ok {
		return f.names[at]
	}
	return ""
}

// warn prints a line for each reason.
func (s *scan) warn() {
	for why, w := range warnings {
		skipped := s.skipped[why]
		line := fmt.Sprintf("%d %s; the first is %s", skipped.Count, w.many, dump.OneLine(skipped.First))
		if skipped.Count == 1 {
			line = fmt.Sprintf("1 %s: %s", w.one, dump.OneLine(skipped.First))
		}
		if w.advice != "" {
			line += ": " + w.advice
		}
		if skipped.Count > 0 {
			s.options.Warn(line)
		}
	}
	if unused := s.options.Found.UnusedPatterns; len(unused) > 0 {
		s.options.Warn(fmt.Sprintf("--exclude %s matches nothing", dump.OneLine(strings.Join(unused, ", "))))
	}
	if namespaces, pods := s.excluded.byPolicy(&s.options); pods > 0 {
		s.options.Warn(s.excluded.text(namespaces, pods))
	}
}

// warnOfNamespaces prints a line for each pattern of --namespace that matches no namespace of the result.
func (s *scan) warnOfNamespaces() {
	for _, glob := range s.options.Namespaces {
		if !slices.ContainsFunc(s.result.Snapshot.Namespaces, func(ns state.NamespaceSnapshot) bool { return matchesAny([]string{glob}, ns.Name) }) {
			s.options.Warn(s.missing(glob))
		}
	}
}

// missing says why a pattern of --namespace matches no pods.
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

// ErrAllExcluded says that there are pods, and that all of them are in excluded namespaces.
var ErrAllExcluded = errors.New("no pods that count")

// noWorkloads returns the error of an input without pods and workloads, or nil if --allow-empty is set.
func (s *scan) noWorkloads() error {
	if len(s.excluded.in) > 0 {
		return s.allExcluded()
	}
	if s.options.AllowEmpty {
		return nil
	}
	in := english.Plural(len(s.options.Found.Files), "file", "")
	if files := s.options.Found.Files; len(files) == 1 {
		in = dump.OneLine(files[0].Path)
		if in == "-" && s.options.StdinName != "" {
			in = s.options.StdinName
		}
	}
	var parts []string
	for _, why := range []reason{template, excludedFile, notManifest, emptyFile, danglingLink} {
		if n := s.skipped[why].Count; n > 0 {
			parts = append(parts, strings.TrimSuffix(english.Plural(n, warnings[why].one, warnings[why].many), " left out"))
		}
	}
	if others := s.others(); others != "" {
		parts = append(parts, others)
	}
	text := ""
	if len(parts) > 0 {
		text = ": " + strings.Join(parts, ", ")
	}
	return fmt.Errorf("%w and no workloads in %s%s; --allow-empty accepts that", dump.ErrNoPods, in, text)
}

// others counts the objects of other kinds: "12 objects of other kinds (Service 8, ConfigMap 4)".
func (s *scan) others() string {
	kinds := s.result.Inputs.OtherKinds
	total := 0
	var counts []string
	for _, kind := range slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		return cmp.Or(cmp.Compare(kinds[b], kinds[a]), cmp.Compare(a, b))
	}) {
		total += kinds[kind]
		counts = append(counts, fmt.Sprintf("%s %d", dump.OneLine(kind), kinds[kind]))
	}
	if total == 0 {
		return ""
	}
	return fmt.Sprintf("%s of other kinds (%s)", english.Plural(total, "object", ""), firstFive(counts))
}

// allExcluded returns the error of an input whose namespaces are all excluded.
func (s *scan) allExcluded() error {
	if namespaces, pods := s.excluded.byPolicy(&s.options); pods > 0 && len(namespaces) == len(s.excluded.in) {
		return fmt.Errorf("%w: %s", ErrAllExcluded, s.excluded.text(namespaces, pods))
	}
	var missing []string
	for _, glob := range s.options.Namespaces {
		missing = append(missing, s.missing(glob))
	}
	names := dump.OneLine(firstFive(slices.Sorted(maps.Keys(s.excluded.in))))
	return fmt.Errorf("%w: %s (the input has pods in %s)", ErrAllExcluded, strings.Join(missing, "; "), names)
}

// firstFive joins at most five texts, and says how many more there are.
func firstFive(texts []string) string {
	if len(texts) > 5 {
		texts = append(slices.Clip(texts[:5]), fmt.Sprintf("%d more", len(texts)-5))
	}
	return strings.Join(texts, ", ")
}
