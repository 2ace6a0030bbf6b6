package scan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// nothing says why there is nothing to report on; nil where that is allowed.
func (s *scan) noWorkloads() error {
	if len(s.excluded.in) > 0 {
		return s.allExcluded()
	}
	if s.options.AllowEmpty {
		return nil
	}
	found := &s.options.Found
	in := english.Plural(len(found.Files), "file", "")
	if len(found.Files) == 1 {
		in = dump.OneLine(found.Files[0].Path)
		if in == "-" && s.options.StdinName != "" {
			in = s.options.StdinName
		}
	}
	text := ""
	if parts := s.leftOutParts(); len(parts) > 0 {
		text = ": " + strings.Join(parts, ", ")
	}
	return fmt.Errorf("%w and no workloads in %s%s; --allow-empty accepts that", dump.ErrNoPods, in, text)
}

// leftOutParts count what there is instead of workloads.
func (s *scan) leftOutParts() []string {
	var parts []string
	for _, part := range []struct {
		n         int
		one, many string
	}{
		{s.templates.Count, "template", ""}, {s.options.Found.Excluded.Count, "excluded file", ""},
		{s.notManifests.Count, "file without apiVersion and kind", "files without apiVersion and kind"},
		{s.empty.Count, "empty file", ""}, {s.options.Found.DanglingLinks.Count, "dangling link", ""},
	} {
		if part.n > 0 {
			parts = append(parts, english.Plural(part.n, part.one, part.many))
		}
	}
	if others := s.others(); others != "" {
		parts = append(parts, others)
	}
	return parts
}

// others counts the objects of other kinds: "12 objects of other kinds (Service 8, ConfigMap 4)".
func (s *scan) others() string {
	const most = 5
	kinds := slices.SortedFunc(maps.Keys(s.result.Inputs.OtherKinds), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.result.Inputs.OtherKinds[b], s.result.Inputs.OtherKinds[a]), cmp.Compare(a, b))
	})
	total := 0
	var named []string
	for i, kind := range kinds {
		total += s.result.Inputs.OtherKinds[kind]
		if i < most {
			named = append(named, fmt.Sprintf("%s %d", dump.OneLine(kind), s.result.Inputs.OtherKinds[kind]))
		}
	}
	if total == 0 {
		return ""
	}
	if len(kinds) > most {
		named = append(named, "...")
	}
	return fmt.Sprintf("%s of other kinds (%s)", english.Plural(total, "object", ""), strings.Join(named, ", "))
}

// allExcluded says which namespaces are left out, all of them.
func (s *scan) allExcluded() error {
	if namespaces, pods := s.excluded.byPolicy(&s.options); pods > 0 && len(namespaces) == len(s.excluded.in) {
		return fmt.Errorf("%w: %s", ErrAllExcluded, s.excluded.text(namespaces, pods))
	}
	var missing []string
	for _, glob := range s.options.Namespaces {
		missing = append(missing, s.missing(glob))
	}
	const most = 5
	names := slices.Sorted(maps.Keys(s.excluded.in))
	others := ""
	if len(names) > most {
		names, others = names[:most], ", ..."
	}
	return fmt.Errorf("%w: %s (the input has pods in %s%s)", ErrAllExcluded, strings.Join(missing, "; "), dump.OneLine(strings.Join(names, ", ")), others)
}
