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

// Options are the CEL expressions of what the expressions of a table are about. All of them must be free of errors for every object that
// the policy matches. Where Root is compiled against types, it must be wrapped in dyn().
type Options struct {
	// Root is the pod: an object with the fields metadata and spec, of type dyn. For the template of a workload it has the labels and the
	// annotations of the template.
	Root string
	// Name is the name by which waivers select the pod, of type string or dyn: KIND/NAME for the template of a workload.
	Name string
	// Namespace is the namespace of the pod, of type string or dyn.
	Namespace string
	// Now is the moment at which waivers must not have expired, of type timestamp. See Now.
	Now string
	// Workload is the text KIND/NAME of the workload of the pod, of type string or dyn; empty to write it out wherever it is used. See
	// Workload.
	Workload string
	// Pods has the types of the fields of a Pod, which shorten the expressions; nil for none.
	Pods *schema.Schema
}

// Unsupported is the error for what CEL cannot say at admission.
type Unsupported struct {
	Check  string // its id; empty for an entry of pods.skip
	Reason string // continues a sentence that begins with the check
}

func (e *Unsupported) Error() string {
	if e.Check == "" {
		return e.Reason
	}
	return "check " + e.Check + " " + e.Reason
}

// A Translator writes the checks of one table as CEL.
type Translator struct {
	Options
	table     *rules.Table
	root      *yaml.Node            // the encoded table
	checks    map[string]*yaml.Node // by id
	waivers   map[string]*yaml.Node // by id
	variables int                   // the number of the last variable of the expression
	reason    string                // why the expression cannot be written; empty for none
}

// New prepares a table, with all its waivers. What must not be exported has to be removed from it before.
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

// parse returns the encoded table, which has its defaults and no reference to another table.
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

// Violations is an expression of type list(string): one entry for each violation of the check that no waiver accepts, in the order of the
// engine. An entry names the subject:
//
//	""               the pod itself
//	"app"            the container app
//	"app/LOG_LEVEL"  LOG_LEVEL within the container app: an environment variable, a port, a capability
//	"/data"          data within the pod: a volume, a toleration
//
// A subject without a name has that of its list: "app/args". The error is an *Unsupported.
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

// annotated refuses a check whose violations annotations of pods may waive.
func (x *Translator) annotated(check *rules.Check) {
	if a := x.table.AnnotationWaivers(); a != nil && slices.Contains(a.CheckIDs, check.ID) {
		x.unsupported("is waived by an annotation of the pod (annotationWaivers), which any user may write")
	}
}

// Skipped is an expression of type bool: whether pods.skip excludes the pod. An entry that reads what the API server sets only later, such
// as the status, is false. The error is an *Unsupported.
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

// unsupported notes why an expression cannot be written. The first reason counts.
func (x *Translator) unsupported(format string, arguments ...any) {
	if x.reason == "" {
		x.reason = fmt.Sprintf(format, arguments...)
	}
}

// variable returns a name that no other variable of the expression has.
func (x *Translator) variable() string {
	x.variables++
	return fmt.Sprintf("v%d", x.variables)
}

// Operators that join expressions.
const (
	and = " && "
	or  = " || "
)

// joined joins expressions of type bool by and or or, and drops constants.
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
