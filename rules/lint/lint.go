package lint

import (
	"errors"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/internal/layers"
	"github.com/kube-devops/kube-devops/rules/lint/satisfy"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// A Warning is about something that a policy may say but hardly means.
type Warning strictyaml.Error

// String is the warning in one line: file, line, "warning", entry and message.
func (w Warning) String() string {
	at := "warning"
	if w.At != "" {
		at += ": " + w.At
	}
	return strictyaml.Error{File: w.File, Line: w.Line, At: at, Msg: w.Msg}.Error()
}

// Options are what policies are checked against.
type Options struct {
	// Pods is the schema of a Pod; nil to skip the warnings about paths and types.
	Pods *schema.Schema
	// Below are the tables that the table extends, lowest first.
	Below []rules.Source
	// LeftOut is what of the table is not exported for admission.
	LeftOut []LeftOut
	// Now is the moment at which waivers may have expired.
	Now time.Time
	// Recording names recorded pods, and Accepting has the ids of all waivers that accept a violation in them (see
	// Table.Accepting); nil without a recording.
	Recording string
	Accepting map[string]bool
}

// Warnings lists the warnings about a text in the order of its lines. The text is the one that the table was loaded from, or that of a
// file of waivers that it was loaded with.
func Warnings(table *rules.Table, file string, text []byte, options Options) []Warning {
	l := &linter{Reader: strictyaml.NewReader(file), Options: options, table: table}
	var root *yaml.Node
	if len(options.Below) == 0 {
		root = l.Parse(text)
	} else {
		reader, merged := layers.Merge(append(slices.Clone(options.Below), rules.Source{File: file, Text: text}), nil)
		l.Reader, root = reader, merged.Root
		if root != nil {
			reader.Prune(root)
		}
	}
	if root == nil || root.Kind != yaml.MappingNode {
		return nil
	}
	if strictyaml.FieldValue(root, "kind") == rules.Kind {
		l.octals(root)
		l.namespaces(strictyaml.Field(root, "namespaces"))
		l.lists(strictyaml.Field(root, "lists"))
		l.skips(strictyaml.Field(strictyaml.Field(root, "pods"), "skip"))
		l.checks(strictyaml.Entries(strictyaml.Field(root, "checks")))
		l.grades(strictyaml.Entries(strictyaml.Field(root, "grades")))
	}
	l.enforcedAnnotations(strictyaml.Field(root, "annotationWaivers"))
	l.waivers(strictyaml.Entries(strictyaml.Field(root, "waivers")))
	for _, w := range table.Warnings() {
		if w.File == file || len(options.Below) > 0 {
			l.Add(w)
		}
	}
	var found strictyaml.Errors
	_ = errors.As(l.Err(), &found) // the reader collects warnings as it collects errors
	var warnings []Warning
	for _, w := range found {
		warnings = append(warnings, Warning(w))
	}
	return warnings
}

// A linter adds its warnings to its Reader.
type linter struct {
	*strictyaml.Reader
	Options
	table  *rules.Table
	solver satisfy.Solver
	// notSkipped are the conditions of a pod that is not skipped, without those that have warnings.
	notSkipped []*satisfy.Expr
	skipsAll   bool // no pod remains
	levels     []levelUse
}

func (l *linter) namespaces(node *yaml.Node) {
	for _, glob := range strictyaml.Entries(strictyaml.Field(node, "exclude")) {
		if matchesAllNames(glob.Value) {
			l.Errorf(glob, "namespaces.exclude: %q excludes every namespace", glob.Value)
		}
		l.name(glob, "namespaces.exclude", namespaceNames)
	}
	for _, glob := range strictyaml.Entries(strictyaml.Field(node, "excludeAlso")) {
		l.name(glob, "namespaces.excludeAlso", namespaceNames)
	}
	for _, glob := range strictyaml.Entries(strictyaml.Field(node, "include")) {
		if l.name(glob, "namespaces.include", namespaceNames) {
			continue
		}
		if by := l.excludedBy(glob.Value); by != "" {
			l.Errorf(glob, "namespaces.include: %q has no effect: %q in namespaces.exclude excludes what it matches", glob.Value, by)
		}
	}
}

// matchesAllNames reports whether a glob matches every name, which has at least one character.
func matchesAllNames(glob string) bool {
	return strings.Contains(glob, "*") && strings.Trim(glob, "*?") == "" && strings.Count(glob, "?") <= 1
}

// excludedBy returns the glob by which the table excludes everything that another glob matches; "" when none is known to.
func (l *linter) excludedBy(glob string) string {
	_, exclude := l.table.Namespaces()
	for _, by := range exclude {
		if by == glob || matchesAllNames(by) || isLiteral(glob) && rules.MatchGlob(by, glob) {
			return by
		}
	}
	return ""
}

func isLiteral(glob string) bool { return !strings.ContainsAny(glob, `*?[\`) }

func (l *linter) skips(node *yaml.Node) {
	pod := scope{pod: true}
	if l.Pods != nil {
		pod.subjects = []*schema.Type{l.Pods.Root}
	}
	entries := strictyaml.Entries(node)
	for i, entry := range entries {
		l.At = "skip " + strictyaml.FieldValue(entry, "reason")
		when := strictyaml.Field(entry, "when")
		c := l.condition(when, pod)
		if !c.warned {
			c.warned = l.constant(c, "when can never be true: it skips no pod", "when is always true: it skips every pod")
		}
		for _, earlier := range entries[:i] {
			if equal(strictyaml.Field(earlier, "when"), when) {
				l.Errorf(entry, "the skip in %s has the same when", l.Place(earlier, entry))
				break
			}
		}
		l.advise(c)
		l.enforcedSkip(entry)
		if !c.warned {
			l.notSkipped = append(l.notSkipped, not(c.expr))
		}
	}
	l.At = ""
	if l.skipsAll = !l.solver.CanBe(all(l.notSkipped...), true); l.skipsAll {
		l.Errorf(node, "pods.skip skips every pod")
	}
}

func (l *linter) checks(entries []*yaml.Node) {
	for i, entry := range entries {
		l.At = "check " + strictyaml.FieldValue(entry, "id")
		for _, earlier := range entries[:i] {
			if sameCheck(earlier, entry) {
				l.Errorf(entry, "duplicate of check %s in %s", strictyaml.FieldValue(earlier, "id"), l.Place(earlier, entry))
				break
			}
		}
		l.check(entry)
	}
	l.otherLevel()
	l.At = ""
}

// sameCheck reports whether two checks find the same violations.
func sameCheck(a, b *yaml.Node) bool {
	return equal(strictyaml.Field(a, "violation"), strictyaml.Field(b, "violation")) &&
		equal(strictyaml.Field(a, "when"), strictyaml.Field(b, "when")) && slices.Equal(sortedPaths(a), sortedPaths(b))
}

func sortedPaths(check *yaml.Node) []string {
	var paths []string
	for _, entry := range strictyaml.Entries(strictyaml.Field(check, "forEach")) {
		paths = append(paths, entry.Value)
	}
	slices.Sort(paths)
	return paths
}

// equal reports whether two nodes have the same value, whatever their style and the order of fields.
func equal(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(a.Content); i += 2 {
			if !equal(a.Content[i+1], strictyaml.Field(b, a.Content[i].Value)) {
				return false
			}
		}
		return true
	}
	return a.Value == b.Value && a.ShortTag() == b.ShortTag() && slices.EqualFunc(a.Content, b.Content, equal)
}

func (l *linter) check(node *yaml.Node) {
	forEach := strictyaml.Entries(strictyaml.Field(node, "forEach"))
	l.overlaps(forEach)
	l.message(node)
	l.enforcedCheck(node)
	subject := l.scope(forEach)
	if subject.nothing {
		return
	}
	violation := l.condition(strictyaml.Field(node, "violation"), subject)
	if !violation.warned && onlyContainers(forEach) {
		l.override(violation)
	}
	when := &condition{expr: all()} // true
	whenNode := strictyaml.Field(node, "when")
	if whenNode != nil {
		when = l.condition(whenNode, subject)
		if !when.warned {
			when.warned = l.constant(when, "when can never be true: the check has no subjects", "when is always true: leave it out")
		}
	}
	if !violation.warned {
		violation.warned = l.constant(violation, "the violation can never be true: the check never fails", "the violation is always true: every subject fails")
	}
	l.advise(violation, when)
	l.noneHas(violation, true)
	l.noteLevels(violation, !violation.warned)
	l.noteLevels(when, false)
	if violation.warned || when.warned || l.skipsAll {
		return
	}
	subjects := all(append([]*satisfy.Expr{when.expr}, l.notSkipped...)...)
	if !l.solver.CanBe(subjects, true) {
		l.Errorf(whenNode, "pods.skip skips every pod for which when is true: the check has no subjects")
		return
	}
	var where []string
	if whenNode != nil {
		where = append(where, " where its when is true")
	}
	if len(l.notSkipped) > 0 {
		where = append(where, " in a pod that is not skipped")
	}
	if !l.solver.CanBe(all(subjects, violation.expr), true) {
		l.Errorf(violation.node, "the violation can never be true%s: the check never fails", strings.Join(where, ","))
	}
	if !l.solver.CanBe(all(subjects, not(violation.expr)), true) {
		l.Errorf(violation.node, "the violation is always true%s: every subject fails", strings.Join(where, ","))
	}
}

// subjectPaths parses a path of forEach, which has loaded without an error: several paths where it begins with an alias.
func subjectPaths(source string) []*fieldpath.SubjectPath {
	paths, _ := fieldpath.ParseSubjects(source)
	return paths
}

// onlyContainers reports whether all subjects of the paths are containers.
func onlyContainers(forEach []*yaml.Node) bool {
	for _, entry := range forEach {
		for _, p := range subjectPaths(entry.Value) {
			if p.Container != len(p.Steps) {
				return false
			}
		}
	}
	return len(forEach) > 0
}

// A pod has settings in podSettings that its containers may override in containerSettings.
const (
	podSettings       = "$.spec.securityContext."
	containerSettings = "securityContext."
)

// override warns when a condition on containers combines a setting of the container with the pod's setting of the same name so that the
// pod's matters even where the container has its own. Kubernetes ignores the pod's there.
func (l *linter) override(violation *condition) {
	for _, path := range violation.expr.Paths() {
		setting, ok := strings.CutPrefix(path, containerSettings)
		if !ok || !l.solver.DependsOn(violation.expr, podSettings+setting, path) {
			continue
		}
		l.Errorf(violation.leafOn(podSettings+setting).node, "a container's %[1]s overrides the pod's, but here the pod's also matters for containers that have their own; "+
			"combine the condition on the pod's with {path: %[1]s, operator: absent} under all", path)
	}
}

// A scope is what a condition is about.
type scope struct {
	subjects []*schema.Type // the types that a subject may have; none when they are not known
	pod      bool           // the subject is the pod
	nothing  bool           // there is no subject
}

// scope finds the subjects of a check.
func (l *linter) scope(forEach []*yaml.Node) scope {
	if l.Pods == nil {
		return scope{pod: len(forEach) == 0}
	}
	if len(forEach) == 0 {
		return scope{pod: true, subjects: []*schema.Type{l.Pods.Root}}
	}
	s := scope{nothing: true}
	for _, entry := range forEach {
		for _, p := range subjectPaths(entry.Value) {
			element := l.elementOf(entry, p)
			if element == nil {
				break // the lists of an alias have the same elements
			}
			s.nothing = false
			s.subjects = append(s.subjects, element)
		}
	}
	return s
}

// elementOf finds the type of the subjects of a path. It warns and returns nil when the path selects none.
func (l *linter) elementOf(entry *yaml.Node, p *fieldpath.SubjectPath) *schema.Type {
	steps := p.Steps
	each := steps[len(steps)-1].Kind == fieldpath.Each
	if each {
		steps = steps[:len(steps)-1]
	}
	to, wrong := l.Pods.Root.Find(steps)
	switch {
	case wrong != nil:
		l.unknownPath(entry, forEachPath, l.Pods.Root, &fieldpath.Path{Source: p.Source, Steps: steps}, wrong)
		return nil
	case each && to.Kinds()&schema.Array == 0:
		l.Errorf(entry, "forEach: path %q selects %s, not a list", entry.Value, to.Describe())
		return nil
	case !each || to.Items == nil:
		return to.Type
	}
	return to.Items
}

const forEachPath = "forEach: path"

func (l *linter) unknownPath(node *yaml.Node, what string, from *schema.Type, p *fieldpath.Path, wrong *schema.PathError) {
	hint := ""
	if what == forEachPath {
		hint = suggest.DidYouMean(p.Steps[0].FirstKey, fieldpath.Aliases())
	}
	if hint != "" {
		l.Errorf(node, "%s %q does not exist in a Pod, and is not a name for its containers%s", what, p.Source, hint)
		return
	}
	suggested := l.Pods.SuggestPath(from, p, wrong)
	switch isScalar := from.Kinds()&(schema.Object|schema.Array) == 0; {
	case isScalar && !p.Root && suggested != "$."+p.Source:
		_, kind, _ := strings.Cut(from.Describe(), " ")
		hint = "; leave out path: the subject is the " + kind + " itself"
	case suggested != "":
		hint = " (did you mean " + suggested + "?)"
	}
	l.Errorf(node, "%s %q does not exist in a Pod: %s%s", what, p.Source, wrong, hint)
}
