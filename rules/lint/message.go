package lint

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// message warns about placeholders that never have a value.
func (l *linter) message(check *yaml.Node) {
	node := strictyaml.Field(check, "message")
	if node == nil {
		return
	}
	if strings.Contains(node.Value, "{value}") {
		if show := strictyaml.Field(check, "showValue"); show != nil && show.Value == "false" {
			l.Errorf(node, "message: {value} always prints (not shown), because of showValue: false")
		} else if !hasValue(strictyaml.Field(check, "violation")) {
			l.Errorf(node, "message: {value} always prints (none): the violation has no condition on a value, except under not or every; "+
				"combine it with {path: PATH, operator: exists} under all")
		}
	}
	var container, subject bool
	for _, entry := range strictyaml.Entries(strictyaml.Field(check, "forEach")) {
		for _, p := range subjectPaths(entry.Value) {
			container, subject = container || p.Container > 0, subject || p.Container < len(p.Steps)
		}
	}
	if strings.Contains(node.Value, "{container}") && !container {
		l.Errorf(node, "message: {container} always prints (none): the check looks at no containers")
	}
	if strings.Contains(node.Value, "{subject}") && !subject {
		l.Errorf(node, "message: {subject} always prints (none): the check looks at whole containers or pods, not at parts of them")
	}
}

// hasValue reports whether a violation may have a value that a report shows.
func hasValue(predicate *yaml.Node) bool {
	for _, word := range []string{"all", "any"} {
		if of := strictyaml.Field(predicate, word); of != nil {
			return slices.ContainsFunc(strictyaml.Entries(of), hasValue)
		}
	}
	if some := strictyaml.Field(predicate, "some"); some != nil {
		return hasValue(strictyaml.Field(some, "is"))
	}
	operator := strictyaml.FieldValue(predicate, "operator")
	return operator != "" && operator != "absent"
}
