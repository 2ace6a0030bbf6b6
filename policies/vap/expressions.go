package vap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/cel"
)

// A named is a CEL expression with a name: a variable or a match condition.
type named struct {
	Name       string `yaml:"name"`
	Expression text   `yaml:"expression"`
}

// A policy generates one ValidatingAdmissionPolicy.
type policy struct {
	Options
	action rules.Enforce
	table  *rules.Table
	// exempted has the ids of the checks that apply only to objects that deny exempts. The other checks apply to every object.
	exempted map[string]bool
}

// The new and the old object, with the type dyn. With their own types, the API server's type check would report fields that another kind
// does not have.
const (
	objectOf    = "dyn(object)"
	oldObjectOf = "dyn(oldObject)"
	isPod       = `request.kind.kind == "Pod"`
)

// matchConditions returns the conditions under which the policy evaluates a request.
func (p *policy) matchConditions() []named {
	var conditions []named
	add := func(name, expression string) {
		if expression != "true" {
			conditions = append(conditions, named{name, text(format(expression))})
		}
	}
	add("namespaces", cel.Namespaces(p.table, "request.namespace"))
	if p.action == rules.Deny {
		add("not-exempt", "!("+p.exempt()+")")
	} else if len(p.exempted) == len(p.table.Checks()) {
		add("exempt", p.exempt())
	}
	add("changed", p.changed())
	return conditions
}

// exempt returns the condition under which deny does not apply to a request. It exempts controllers, because the API server has evaluated
// the template of their objects; exempt groups; and nodes, because their static pods run before they create the mirror pods.
func (p *policy) exempt() string {
	var parts []string
	for _, glob := range p.ControllerUsers {
		parts = append(parts, cel.Matches(`request.userInfo.?username.orValue("")`, glob))
	}
	const groups = "request.userInfo.?groups.orValue([])"
	if len(p.ExemptGroups) > 0 {
		parts = append(parts, fmt.Sprintf("%s.exists(g, g in [%s])", groups, quotedList(p.ExemptGroups)))
	}
	if !p.WithoutPods {
		parts = append(parts, "("+isPod+` && "system:nodes" in `+groups+")")
	}
	if len(parts) == 0 {
		return "false"
	}
	return strings.Join(parts, " || ")
}

// changed returns the condition that a request changes the spec of the pod, or the template. No other request is refused.
func (p *policy) changed() string {
	return `request.operation == "CREATE" || (` + p.byKind(
		objectOf+".spec != "+oldObjectOf+".spec",
		objectOf+".spec.jobTemplate.spec.template != "+oldObjectOf+".spec.jobTemplate.spec.template",
		objectOf+".spec.?template != "+oldObjectOf+".spec.?template") + ")"
}

// byKind returns an expression that selects between those for a pod, for a CronJob and for any other workload.
func (p *policy) byKind(pod, cronJob, workload string) string {
	if cronJob != workload {
		workload = `request.kind.kind == "CronJob" ? ` + cronJob + " : " + workload
	}
	switch {
	case p.WithoutWorkloads:
		return pod
	case p.WithoutPods:
		return workload
	}
	return isPod + " ? " + pod + " : " + workload
}

// variables returns the variables that the validation uses. The API server evaluates each of them at most once.
func (p *policy) variables() ([]named, error) {
	var variables []named
	add := func(name, expression string) {
		variables = append(variables, named{name, text(format(expression))})
	}
	translator := p.translator("pod")
	add("pods", p.pods())
	byWorkload := p.selectsBy("workload")
	if byWorkload || p.selectsBy("pod") {
		add("name", p.name())
	}
	if byWorkload {
		add("workload", p.workload())
	}
	annotated := len(annotatedChecks(p.table)) > 0
	if annotated || len(p.table.Waivers()) > 0 {
		add("now", cel.Now(objectOf, oldObjectOf, "request.operation"))
	}
	// A skipped pod has no violations. So the violations of a skipped old pod do not excuse the same violations of the new pod.
	skipped, err := translator.Skipped()
	if err != nil {
		return nil, err
	}
	if skipped != "false" {
		add("skipped", "variables.pods.map(pod, "+skipped+")")
	}
	if len(p.exempted) > 0 && len(p.exempted) < len(p.table.Checks()) {
		add("exempt", p.exempt())
	}
	for i := range p.table.Checks() {
		c := &p.table.Checks()[i]
		violations, err := translator.Violations(c)
		if err != nil {
			return nil, err
		}
		add("check_"+c.ID, judging(violations))
	}
	if annotated {
		add("annotation", annotation)
		add("accepted", p.accepted())
		add("waived", p.waived())
	}
	entries := p.entries()
	for _, e := range entries {
		add(e.Name, string(e.Expression))
	}
	add("failed", p.failed(entries, skipped != "false", annotated))
	add("lines", lines)
	add("message", message)
	return variables, tooLong(variables)
}

func (p *policy) translator(root string) *cel.Translator { return translator(p.table, root, p.Options) }

// translator returns a translator for the checks of a table, without annotation waivers. Package vap translates those, because they apply to
// all subjects of a check.
func translator(t *rules.Table, root string, o Options) *cel.Translator {
	return cel.New(t.Keeping(everySkip, everyWaiver, false), cel.Options{
		Root: root, Name: "variables.name", Namespace: "request.namespace", Now: "variables.now", Workload: "variables.workload", Pods: o.Pods,
	})
}

// pods returns the expression for the list of the pod and, on an update, the old pod. The pod of a template gets the name and the owner that
// the engine gives it.
func (p *policy) pods() string {
	objects := `request.operation == "UPDATE" ? [` + objectOf + ", " + oldObjectOf + "] : [" + objectOf + "]"
	if p.WithoutWorkloads {
		return objects
	}
	// The template of a ReplicationController may be null.
	templates := p.byKind("o", "o.spec.jobTemplate.spec.template", "o.spec.?template.orValue(dyn({}))")
	pods := "(" + objects + ").map(o, " + templates + ")"
	var metadata []string
	reads := func(keys ...string) bool { return p.reads(append([]string{"metadata"}, keys...)...) }
	if reads("name") {
		metadata = append(metadata, `"name": dyn(request.kind.kind + "/" + string(`+objectOf+`.metadata.name))`)
	}
	if reads("namespace") {
		metadata = append(metadata, `"namespace": dyn(request.namespace)`)
	}
	if reads("ownerReferences") || p.selectsBy("owner") {
		metadata = append(metadata, `"ownerReferences": dyn([{"apiVersion": dyn(`+objectOf+`.apiVersion), "kind": dyn(`+
			`request.kind.kind == "Deployment" ? "ReplicaSet" : request.kind.kind == "CronJob" ? "Job" : request.kind.kind), "name": dyn(`+
			objectOf+`.metadata.name), "controller": dyn(true)}])`)
	}
	for _, field := range []string{"labels", "annotations"} {
		if reads(field) || field == "labels" && p.selectsBy("labels") || field == "annotations" && len(annotatedChecks(p.table)) > 0 {
			metadata = append(metadata, `?"`+field+`": t.?metadata.?`+field)
		}
	}
	if len(metadata) == 0 {
		return pods
	}
	made := `dyn({"metadata": dyn({` + strings.Join(metadata, ", ") + `}), ?"spec": t.?spec})`
	if !p.WithoutPods {
		made = isPod + " ? t : " + made
	}
	return pods + ".map(t, " + made + ")"
}

// reads reports whether a check or a skip reads a field of the pod.
func (p *policy) reads(keys ...string) bool {
	for _, c := range p.table.Checks() {
		if c.Reads(keys...) {
			return true
		}
	}
	for i := range p.table.Skips() {
		if p.table.SkipReads(i, keys...) {
			return true
		}
	}
	return false
}

// selectsBy reports whether a waiver selects violations by a field.
func (p *policy) selectsBy(field string) bool {
	return slices.ContainsFunc(p.table.Waivers(), func(w *rules.Waiver) bool { return selects(w, field) })
}

// name returns the expression for the name by which waivers select the pod. It is KIND/NAME for a template.
func (p *policy) name() string {
	name := "string(" + objectOf + ".metadata.name)"
	if p.WithoutWorkloads {
		return name
	}
	template := `request.kind.kind + "/" + ` + name
	if p.WithoutPods {
		return template
	}
	return isPod + " ? " + name + " : " + template
}

// workload returns the expression for the workload by which waivers select the pod. With deny, a pod has no workload, because any user may
// write its owner references. With other actions, the template of a ReplicaSet or a Job belongs to the workload that owns it.
func (p *policy) workload() string {
	if p.action == rules.Deny {
		return p.byKind(`""`, "variables.name", "variables.name")
	}
	owner := objectOf + `.metadata.?ownerReferences.orValue([]).filter(r, r.?controller.orValue(false) == true)[?0]` +
		`.optMap(r, string(r.kind) + "/" + string(r.name)).orValue(variables.name)`
	return p.byKind(cel.Workload(objectOf, "variables.name"), "variables.name", owner)
}

func quotedList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = cel.Quote(t)
	}
	return strings.Join(quoted, ", ")
}
