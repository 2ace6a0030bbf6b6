package cel

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// afterAll is a time after any expiry.
const afterAll = "9999-12-31T23:59:59Z"

// Now returns an expression of type timestamp for the time of an admission by the clock of the API server. For a new object, it is the creation
// time, which the API server sets. On an update, the API server sets the time of one entry of managedFields, unless the update only removes
// fields; the client writes the other entries. So the newest time counts only if it is later than all times of the old object. Otherwise the
// result is a time after any expiry. The arguments are the expressions for the object, the old object and the operation.
func Now(object, old, operation string) string {
	newest := func(object string) string {
		return object + `.metadata.?managedFields.orValue([]).map(m, m.?time.optMap(t, timestamp(string(t))).orValue(timestamp("` + afterAll + `")))`
	}
	return "(" + operation + ` == "CREATE" ? timestamp(string(` + object + ".metadata.creationTimestamp)) : " +
		"[(" + newest(object) + " + [timestamp(0)]).max()].map(t, t > (" + newest(old) + ` + [timestamp(0)]).max() ? t : timestamp("` + afterAll + `"))[0])`
}

// Workload returns an expression of type string for the workload of a pod as KIND/NAME. Like the engine, it uses the owner of the pod. The
// arguments are the expressions Options.Root and Options.Name.
func Workload(root, name string) string {
	owners := root + ".?metadata.?ownerReferences.orValue([])"
	hash := root + `.?metadata.?labels[?"pod-template-hash"].orValue("")`
	suffix := `("-" + string(` + hash + "))"
	owner := "(" + owners + `.filter(v1, v1.?controller.orValue(false) == true) + ` + owners + ")[?0]"
	return "(string(" + name + `).contains("/") ? string(` + name + ") : " + owner + ".optMap(v1, " +
		`v1.kind == "ReplicaSet" && ` + hash + ` != "" && v1.name.endsWith` + suffix + " && size(v1.name) > size" + suffix + " ? " +
		`"Deployment/" + v1.name.substring(0, size(v1.name) - size` + suffix + ") : " +
		`v1.kind == "Job" && v1.name.matches("^.+-[0-9]{8}$") ? "CronJob/" + v1.name.substring(0, size(v1.name) - 9) : ` +
		`string(v1.kind) + "/" + string(v1.name)).orValue("Pod/" + string(` + name + ")))"
}

// waived returns an expression that is true if a waiver accepts a violation of the subject.
func (x *Translator) waived(check *rules.Check, p *place) string {
	var accepted []string
	for _, w := range x.table.Waivers() {
		if len(w.CheckIDs) == 0 || slices.Contains(w.CheckIDs, check.ID) {
			accepted = append(accepted, x.accepts(w, x.waivers[w.ID], p))
		}
	}
	return joined(accepted, or)
}

// accepts returns an expression that is true if a waiver has not expired and accepts a violation of the subject.
func (x *Translator) accepts(w *rules.Waiver, node *yaml.Node, p *place) string {
	var namespaces []string
	for _, pattern := range w.Namespaces {
		namespaces = append(namespaces, glob(x.Namespace, pattern, false))
	}
	parts := []string{}
	if len(namespaces) > 0 {
		parts = append(parts, joined(namespaces, or))
	}
	if of := strictyaml.FieldValue(node, "workload"); of != "" {
		workload := x.Workload
		if workload == "" {
			workload = Workload(x.Root, x.Name)
		}
		parts = append(parts, glob(workload, of, true))
	}
	if w.Pod != "" {
		parts = append(parts, glob(x.Name, w.Pod, true))
	}
	if labels := strictyaml.Field(node, "labels"); labels != nil {
		for i := 0; i+1 < len(labels.Content); i += 2 {
			name, want := labels.Content[i].Value, labels.Content[i+1].Value
			parts = append(parts, x.Root+".?metadata.?labels"+member(name, false)+" == optional.of("+Quote(want)+")")
		}
	}
	if owner := strictyaml.Field(node, "owner"); owner != nil {
		var is []string
		if kind := strictyaml.FieldValue(owner, "kind"); kind != "" {
			is = append(is, "v1.kind == "+Quote(kind))
		}
		if name := strictyaml.FieldValue(owner, "name"); name != "" {
			is = append(is, glob("v1.name", name, true))
		}
		parts = append(parts, x.Root+".?metadata.?ownerReferences.orValue([]).exists(v1, "+bare(joined(is, and))+")")
	}
	if w.Container != "" {
		is := []string{x.subjectNamed(w, p, w.Container)}
		if p.container != "" {
			is = append(is, glob(p.container, w.Container, false))
		}
		if p.container == "" && p.name == "" {
			is = nil // the subject is the pod itself, which is in no container
		}
		parts = append(parts, joined(is, or))
	}
	if w.Subject != "" {
		parts = append(parts, x.subjectNamed(w, p, w.Subject))
	}
	expires := w.Expires.UTC().Format(time.RFC3339Nano)
	if w.Expires.UTC().Year() > 9999 { // possible for the last day of the year 9999 in a time zone behind UTC
		expires = afterAll
	}
	parts = append(parts, x.Now+" < timestamp("+Quote(expires)+")")
	return joined(parts, and)
}

// subjectNamed returns an expression that is true if a glob matches the name of a subject within its container or the pod. Wildcards match
// slashes, too.
func (x *Translator) subjectNamed(w *rules.Waiver, p *place, pattern string) string {
	if p.name == "" {
		return "false"
	}
	byName := joined([]string{"size(bytes(" + p.name + ")) <= 253", x.subjectGlob(w, p.name, pattern)}, and)
	if p.nameless == "false" {
		return byName
	}
	byPath := x.pathNamed(w, p, pattern)
	if p.nameless == "true" {
		return byPath
	}
	return "(" + p.nameless + " ? " + byPath + " : " + byName + ")"
}

// subjectGlob returns an expression that is true if a glob matches a whole name. Wildcards match slashes, too.
func (x *Translator) subjectGlob(w *rules.Waiver, expr, pattern string) string {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return expr + " == " + Quote(pattern)
	}
	for _, part := range globParts(pattern) {
		for _, r := range part.class {
			if r.low <= '/' && '/' <= r.high {
				x.unsupported("is waived by %s, whose glob %s has a slash in a class of characters", w.ID, pattern)
			}
		}
	}
	return expr + ".matches(" + Quote(globExpression(pattern, `(?s:.)`)) + ")"
}

// pathNamed returns "true" or "false" for whether a glob matches the path of a nameless subject. CEL does not know the indexes in the path, so
// the glob must match all paths or none.
func (x *Translator) pathNamed(w *rules.Waiver, p *place, pattern string) string {
	answer := ""
	for name := range p.paths {
		is := strconv.FormatBool(rules.MatchGlob(pattern, name))
		if answer != "" && answer != is {
			x.unsupported("is waived by %s for subjects without a name, by their position %s, which CEL does not know", w.ID, pattern)
			return "false"
		}
		answer = is
	}
	return answer
}
