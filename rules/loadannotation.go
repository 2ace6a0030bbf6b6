package rules

import (
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// maxDays is the greatest maxDays of annotationWaivers: who waives by an annotation has to do so again each year.
const maxDays = 366

// annotationWaivers reads what the annotations of pods may accept.
func (r *loader) annotationWaivers(node *yaml.Node, t *Table) *AnnotationWaivers {
	a := new(AnnotationWaivers)
	r.At = "annotationWaivers"
	defer func() { r.At = "" }()
	r.Fields(node, "annotationWaivers", []string{"checks", "maxDays"}, map[string]func(*yaml.Node){
		"checks": func(node *yaml.Node) {
			r.Each(node, "checks", func(_ int, entry *yaml.Node) { r.annotatedCheck(entry, a, t) })
			if node.Kind == yaml.SequenceNode && len(node.Content) == 0 {
				r.Errorf(node, "checks must not be empty; omit annotationWaivers to ignore annotations")
			}
		},
		"maxDays": func(node *yaml.Node) {
			days, err := strictyaml.ParseScalar(node)
			if err != nil || days.Kind != strictyaml.IntScalar || days.Int < 1 || days.Int > maxDays {
				r.Errorf(node, "maxDays must be an integer from 1 to %d, got %s", maxDays, strictyaml.Describe(node))
				return
			}
			a.MaxDays = int(days.Int)
		},
	})
	return a
}

func (r *loader) annotatedCheck(node *yaml.Node, a *AnnotationWaivers, t *Table) {
	id, ok := r.Text(node, "checks")
	if !ok {
		return
	}
	id, index := r.waivedCheck(node, id, t)
	if slices.Contains(a.CheckIDs, id) {
		r.Errorf(node, "duplicate check %q", id)
	}
	a.CheckIDs, a.checks = append(a.CheckIDs, id), append(a.checks, index)
}
