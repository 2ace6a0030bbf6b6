package rules_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

type naiveWaiver struct {
	ID, Expires, Pod, Workload, Container, Subject string

	Namespace naiveStrings

	Labels map[string]string
	Owner  *struct{ Kind, Name string }
	Check  naiveStrings
}

type naiveViolation struct {
	check, container, subject string

	element bool // the subject is an element and not the pod
}

// waiver is the waiver that governs a violation: of those that match the first of the latest.
func (t *naiveTable) waiver(pod any, v naiveViolation) *naiveWaiver {
	var governing *naiveWaiver
	annotated, _ := t.annotated(pod)
	for _, w := range slices.Concat(t.Waivers, annotated) {
		if !t.accepts(w, pod, v) {
			continue
		}
		if governing == nil {
			governing = &w
			continue
		}
		order := w.expires().Compare(governing.expires())
		if t.fault == "the waiver that expires first counts" {
			order = -order
		}
		if order > 0 && t.fault != "the first waiver counts" || t.fault == "the last waiver counts" {
			governing = &w
		}
	}
	return governing
}

func (w *naiveWaiver) expires() time.Time {
	text := w.Expires
	if !strings.Contains(text, "T") {
		text += "T00:00:00Z"
	}
	expires, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return expires
}

func (t *naiveTable) accepts(w naiveWaiver, pod any, v naiveViolation) bool {
	field := func(of any, name string) any {
		object, _ := of.(map[string]any)
		return object[name]
	}
	text := func(of any, name string) string {
		value, _ := field(of, name).(string)
		return value
	}
	metadata := field(pod, "metadata")
	namespace := text(metadata, "namespace")
	if namespace == "" && t.fault != "a pod has no namespace by default" {
		namespace = "default"
	}
	if !slices.Equal(w.Namespace, naiveStrings{""}) && len(w.Namespace) > 0 {
		globs := w.Namespace
		if t.fault == "only the first namespace counts" {
			globs = globs[:1]
		}
		if !slices.ContainsFunc(globs, func(glob string) bool { return t.glob(glob, namespace) }) {
			return false
		}
	}
	if w.Pod != "" && !t.glob(w.Pod, text(metadata, "name")) {
		return false
	}
	if w.Workload != "" && t.fault != "waivers do not ask for workloads" {
		kind, glob, _ := strings.Cut(w.Workload, "/")
		if of := t.workload(metadata); of[0] != kind || !t.glob(glob, of[1]) {
			return false
		}
	}
	if w.Container != "" && t.fault != "waivers do not ask for containers" &&
		(!v.element && t.fault != "the pod is a container" || !t.glob(w.Container, v.container) && !t.globOfSubject(w.Container, v.subject)) {
		return false
	}
	if w.Subject != "" && t.fault != "waivers do not ask for subjects" && (v.subject == "" || !t.globOfSubject(w.Subject, v.subject)) {
		return false
	}
	for name, want := range w.Labels {
		value, ok := field(field(metadata, "labels"), name).(string)
		if t.fault == "one label is enough" && ok && value == want {
			break
		}
		if !ok && t.fault != "a label that is not there is empty" || value != want {
			return false
		}
	}
	if w.Owner != nil && t.fault != "waivers do not ask for owners" {
		references, _ := field(metadata, "ownerReferences").([]any)
		if !slices.ContainsFunc(references, func(reference any) bool {
			_, isObject := reference.(map[string]any)
			return isObject && (w.Owner.Kind == "" || w.Owner.Kind == text(reference, "kind")) &&
				(w.Owner.Name == "" || t.glob(w.Owner.Name, text(reference, "name")))
		}) {
			return false
		}
	}
	return len(w.Check) == 0 || slices.Contains(w.Check, v.check) || t.fault == "waivers do not ask for checks"
}

// workload is the kind and the name of what made a pod.
func (t *naiveTable) workload(metadata any) [2]string {
	object, _ := metadata.(map[string]any)
	own, _ := object["name"].(string)
	if found := naiveExpression(`(?s)^([^/]*)/(.*)$`).FindStringSubmatch(own); found != nil {
		return [2]string{found[1], found[2]}
	}
	var of *struct {
		kind, name string
		controls   bool
	}
	references, _ := object["ownerReferences"].([]any)
	for _, reference := range references {
		owner, isObject := reference.(map[string]any)
		if !isObject || of != nil && (of.controls || owner["controller"] != true && of.kind != "") {
			continue
		}
		of = &struct {
			kind, name string
			controls   bool
		}{controls: owner["controller"] == true}
		of.kind, _ = owner["kind"].(string)
		of.name, _ = owner["name"].(string)
	}
	if of == nil || of.kind == "" || of.name == "" {
		return [2]string{"Pod", own}
	}
	labels, _ := object["labels"].(map[string]any)
	hash, _ := labels["pod-template-hash"].(string)
	if end := "-" + hash; of.kind == "ReplicaSet" && hash != "" && len(of.name) > len(end) && strings.HasSuffix(of.name, end) && t.fault != "ReplicaSets are workloads" {
		return [2]string{"Deployment", of.name[:len(of.name)-len(end)]}
	}
	if found := naiveExpression(`(?s)^(.+)-[0-9]{8}$`).FindStringSubmatch(of.name); of.kind == "Job" && found != nil {
		return [2]string{"CronJob", found[1]}
	}
	return [2]string{of.kind, of.name}
}

// glob makes an expression of a shell glob and matches a name by it.
func (t *naiveTable) glob(glob, name string) bool {
	return naiveGlob(glob).MatchString(name) && len(name) <= 253
}

// globOfSubject is glob where a slash is nothing special.
func (t *naiveTable) globOfSubject(glob, name string) bool {
	expression := strings.ReplaceAll(naiveGlob(glob).String(), `[^/]`, `.`)
	return naiveExpression(expression).MatchString(name) && len(name) <= 253
}

func naiveGlob(glob string) *regexp.Regexp {
	expression := `(?s)^`
	rest := []rune(glob)
	next := func() rune {
		r := rest[0]
		if rest = rest[1:]; r == '\\' {
			r, rest = rest[0], rest[1:]
		}
		return r
	}
	for len(rest) > 0 {
		switch rest[0] {
		case '*':
			expression, rest = expression+`[^/]*`, rest[1:]
		case '?':
			expression, rest = expression+`[^/]`, rest[1:]
		case '[':
			class, not := "", ""
			if rest = rest[1:]; rest[0] == '^' || rest[0] == '!' {
				not, rest = "^", rest[1:]
			}
			for rest[0] != ']' || class == "" {
				from := next()
				to := from
				if rest[0] == '-' {
					rest = rest[1:]
					to = next()
				}
				if from <= to {
					class += fmt.Sprintf(`\x{%x}-\x{%x}`, from, to)
				} else {
					class += `\x{ffff}-\x{ffff}` // no name has it
				}
			}
			expression, rest = expression+"["+not+class+"]", rest[1:]
		default:
			expression += regexp.QuoteMeta(string(next()))
		}
	}
	return naiveExpression(expression + `$`)
}

var naiveExpressions sync.Map

// naiveExpression compiles each expression once: to compile it takes longer than everything else.
func naiveExpression(text string) *regexp.Regexp {
	if known, ok := naiveExpressions.Load(text); ok {
		return known.(*regexp.Regexp)
	}
	compiled := regexp.MustCompile(text)
	naiveExpressions.Store(text, compiled)
	return compiled
}

// includes reports whether a namespace is looked at.
func (t *naiveTable) includes(namespace string) bool {
	any := func(globs []string) bool {
		return slices.ContainsFunc(globs, func(glob string) bool { return naiveGlob(glob).MatchString(namespace) })
	}
	exclude := []string{"kube-*", "*-system", "cert-manager", "monitoring", "observability", "argocd"}
	if t.Namespaces.Exclude != nil {
		exclude = *t.Namespaces.Exclude
	}
	return !any(exclude) && (t.Namespaces.Include == nil || any(*t.Namespaces.Include))
}
