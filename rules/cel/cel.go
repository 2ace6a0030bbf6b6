package cel

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// Options has the CEL expressions for the inputs of a check. They must not fail for any object that the policy matches. Where Root is compiled
// against types, it must be wrapped in dyn().
type Options struct {
	// Root is the pod: an object with the fields metadata and spec, of type dyn. For the template of a workload it has the labels and the
	// annotations of the template.
	Root string
	// Name is the name by which waivers select the pod, of type string or dyn. It is KIND/NAME for the template of a workload.
	Name string
	// Namespace is the namespace of the pod, of type string or dyn.
	Namespace string
	// Now is the time at which waivers must not have expired, of type timestamp. See the function Now.
	Now string
	// Workload is the workload of the pod as KIND/NAME, of type string or dyn. If it is empty, expressions contain the result of the function
	// Workload wherever they need it.
	Workload string
	// Pods has the types of the fields of a Pod, which make the expressions shorter. It may be nil.
	Pods *schema.Schema
}

// Unsupported is the error for a check that CEL cannot express at admission.
type Unsupported struct {
	Check  string // the id of the check; empty for an entry of pods.skip
	Reason string // a predicate for the subject "the check", such as "reads status.phase"
}

func (e *Unsupported) Error() string {
	if e.Check == "" {
		return e.Reason
	}
	return "check " + e.Check + " " + e.Reason
}

// A Translator translates the checks of one table to CEL.
type Translator struct {
	Options
	table     *rules.Table
	root      *yaml.Node            // the encoded table
	checks    map[string]*yaml.Node // by id
	waivers   map[string]*yaml.Node // by id
	variables int                   // the number of the last variable in the current expression
	reason    string                // why the current expression is not supported; empty if it is
	later     bool                  // the first reason is a field that the API server sets after admission
}

// New returns a translator for a table with all its waivers. The caller must remove the parts that must not be exported.
func New(t *rules.Table, o Options) *Translator {
	x := &Translator{Options: o, table: t, checks: make(map[string]*yaml.Node), waivers: make(map[string]*yaml.Node)}
	x.root = parse(t)
	for _, node := range entries(x.root, "checks") {
		x.checks[strictyaml.FieldValue(node, "id")] = node
	}
	for _, node := range entries(x.root, "waivers") {
		x.waivers[strictyaml.FieldValue(node, "id")] = node
	}
	return x
}

// parse returns the YAML of the table, with its defaults and without references to other tables.
func parse(t *rules.Table) *yaml.Node {
	var document yaml.Node
	if err := yaml.Unmarshal(t.YAML(), &document); err != nil {
		panic("an encoded table: " + err.Error())
	}
	return document.Content[0]
}

func entries(node *yaml.Node, field string) []*yaml.Node {
	if list := strictyaml.Field(node, field); list != nil {
		return list.Content
	}
	return nil
}

// Violations returns an expression of type list(string), with one entry for each violation of the check that no waiver accepts, in the order of
// the engine. An entry is the name of the subject:
//
//	""               the pod itself
//	"app"            the container app
//	"app/LOG_LEVEL"  LOG_LEVEL within the container app: an environment variable, a port, a capability
//	"/data"          data within the pod: a volume, a toleration
//
// A subject without a name has the name of its list: "app/args". The error is an *Unsupported if CEL cannot express the check.
func (x *Translator) Violations(check *rules.Check) (string, error) {
	node := x.checks[check.ID]
	if node == nil {
		return "", fmt.Errorf("the table has no check %q", check.ID)
	}
	x.variables, x.reason = 0, ""
	x.annotated(check)
	expression := x.violations(check, node)
	if x.reason != "" {
		return "", &Unsupported{check.ID, x.reason}
	}
	return expression, nil
}

// annotated rejects a check whose violations can be waived by annotations of pods.
func (x *Translator) annotated(check *rules.Check) {
	if a := x.table.AnnotationWaivers(); a != nil && slices.Contains(a.CheckIDs, check.ID) {
		x.unsupported("is waived by an annotation of the pod (annotationWaivers), which any user may write")
	}
}

// Skipped returns an expression of type bool that is true if pods.skip excludes the pod. An entry is false if it reads a field that the API
// server sets after admission, such as the status. The error is an *Unsupported.
func (x *Translator) Skipped() (string, error) {
	var skips []string
	pods := strictyaml.Field(x.root, "pods")
	for _, node := range entries(pods, "skip") {
		x.variables, x.reason = 0, ""
		when := strictyaml.Field(node, "when")
		if x.readsLater(when) {
			continue
		}
		skips = append(skips, x.predicate(when, x.pod(), true))
		if x.reason != "" {
			return "", &Unsupported{Reason: "the entry " + strictyaml.FieldValue(node, "reason") + " of pods.skip " + x.reason}
		}
	}
	return joined(skips, or), nil
}

// unsupported records why an expression is not supported. It keeps the first reason.
func (x *Translator) unsupported(format string, arguments ...any) {
	if x.reason == "" {
		x.reason = fmt.Sprintf(format, arguments...)
	}
}

// unknownAtAdmission records that an expression reads a field that the API server sets after admission.
func (x *Translator) unknownAtAdmission(path string) {
	x.later = x.later || x.reason == ""
	x.unsupported("reads %s, which is not known at admission", path)
}

// variable returns a new variable name for the current expression.
func (x *Translator) variable() string {
	x.variables++
	return fmt.Sprintf("v%d", x.variables)
}

// Operators that join expressions.
const (
	and = " && "
	or  = " || "
)

// joined joins expressions of type bool with an operator, and simplifies constants and duplicates.
func joined(parts []string, operator string) string {
	neutral, decisive := "false", "true"
	if operator == and {
		neutral, decisive = decisive, neutral
	}
	if slices.Contains(parts, decisive) {
		return decisive
	}
	var all []string
	for _, part := range parts {
		if part != neutral && !slices.Contains(all, part) {
			all = append(all, part)
		}
	}
	switch len(all) {
	case 0:
		return neutral
	case 1:
		return all[0]
	}
	return "(" + strings.Join(all, operator) + ")"
}

// not negates an expression of type bool.
func not(expression string) string {
	switch {
	case expression == "true":
		return "false"
	case expression == "false":
		return "true"
	}
	return "!(" + expression + ")"
}
