package lint

import (
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/lint/satisfy"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// quantified reads some or every, and warns about what is wrong inside. The search for constant conditions takes it for one that may have
// any answer.
func (l *linter) quantified(c *condition, word string, node *yaml.Node, about scope) {
	c.expr.Op = satisfy.Free
	before := l.Count()
	elements, found := l.elements(word, strictyaml.Field(node, "in"), about)
	if is := strictyaml.Field(node, "is"); found {
		part := l.condition(is, elements)
		c.is = part
		if !part.warned && !l.solver.CanBe(part.expr, true) {
			l.Errorf(is, "this part is true for no element of a list, and for no entry of a map")
		}
	}
	c.warned = l.Count() > before
}

// elements finds the types of the elements that some or every looks at. It warns and returns false when there are none.
func (l *linter) elements(word string, in *yaml.Node, about scope) (scope, bool) {
	path := fieldpath.Self
	if in != nil {
		path, _ = fieldpath.Parse(in.Value) // loaded without an error
	}
	from := about.subjects
	if path.Root && l.Pods != nil {
		from = []*schema.Type{l.Pods.Root}
	}
	var wrong *schema.PathError
	var elements scope
	words := ""
	for _, subject := range from {
		to, err := subject.Find(path.Steps)
		if err != nil {
			wrong = err
			continue
		}
		if element := to.Element(); element != nil {
			elements.subjects = append(elements.subjects, element)
		} else {
			words = to.Describe()
		}
	}
	switch {
	case len(from) == 0 || len(elements.subjects) > 0:
		return elements, true
	case wrong != nil:
		l.unknownPath(in, "path", from[0], path, wrong)
	case in != nil:
		l.Errorf(in, "path %q selects %s, not a list or a map: %s is unknown, which counts as a violation", in.Value, words, word)
	default:
		return elements, true // the subject is a scalar: other types of elements may follow in a newer Kubernetes
	}
	return elements, false
}
