package celtest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// A tableWriter writes random tables of all forms.
type tableWriter struct {
	*Random
}

type object = map[string]any

// Table returns a random table as YAML.
func Table(r *Random, name string) string {
	w := &tableWriter{r}
	w.Texts = nil // tables have general texts, objects those of their table
	table := object{"apiVersion": "kube-devops.io/v1", "kind": "PolicyTable", "metadata": object{"name": name},
		"namespaces": object{"exclude": []string{"kube-*", "*-system", "[m-z]onit?ring"}},
		"lists":      object{"some_texts": w.list(6, true), "more_texts": w.list(20, true), "sources": w.sources(5)}}
	if w.IntN(4) == 0 {
		table["namespaces"].(object)["include"] = []string{"sho*", "default"}
	}
	if w.IntN(2) == 0 {
		table["pods"] = object{"skip": []object{
			{"reason": "random", "when": object{"all": []object{w.predicate(reflect.TypeFor[corev1.Pod](), nil, 1, 0), w.predicate(reflect.TypeFor[corev1.Pod](), nil, 1, 0)}}},
			{"reason": "status", "when": object{"path": "status.phase", "operator": "in", "value": []string{"Failed"}}},
		}}
	}
	var checks []object
	for i := range 8 {
		checks = append(checks, w.check(fmt.Sprintf("check_%d", i)))
	}
	table["checks"] = checks
	var waivers []object
	for i := range w.IntN(5) {
		waivers = append(waivers, w.waiver(i))
	}
	if len(waivers) > 0 {
		table["waivers"] = waivers
	}
	text, err := yaml.Marshal(table)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// aliases has the aliases for lists of containers.
var aliases = []string{"allContainers", "mainContainers", "longRunningContainers"}

// subjects has paths for forEach, with the types of their elements.
var subjects = []struct {
	path string
	kind reflect.Type
}{
	{"spec.containers", reflect.TypeFor[corev1.Container]()},
	{"spec.initContainers", reflect.TypeFor[corev1.Container]()},
	{"spec.containers.#.ports", reflect.TypeFor[corev1.ContainerPort]()},
	{"spec.containers.0.env", reflect.TypeFor[corev1.EnvVar]()},
	{"spec.containers.#.env", reflect.TypeFor[corev1.EnvVar]()},
	{"spec.containers.#.envFrom", reflect.TypeFor[corev1.EnvFromSource]()},
	{"spec.containers.#.args", reflect.TypeFor[string]()},
	{"spec.containers.#.securityContext.capabilities.add", reflect.TypeFor[string]()},
	{`spec.containers.#(image=="nginx")#.ports`, reflect.TypeFor[corev1.ContainerPort]()},
	{`spec.containers.#(image=="nginx").ports`, reflect.TypeFor[corev1.ContainerPort]()},
	{`spec.containers.#(image=="nginx")#`, reflect.TypeFor[corev1.Container]()},
	{"spec.volumes", reflect.TypeFor[corev1.Volume]()},
	{"spec.volumes.#.projected.sources", reflect.TypeFor[corev1.VolumeProjection]()},
	{"spec.tolerations", reflect.TypeFor[corev1.Toleration]()},
	{"spec.topologySpreadConstraints", reflect.TypeFor[corev1.TopologySpreadConstraint]()},
	{"spec.hostAliases", reflect.TypeFor[corev1.HostAlias]()},
	{"spec.hostAliases.#.hostnames", reflect.TypeFor[string]()},
	{"spec.securityContext.supplementalGroups", reflect.TypeFor[int64]()},
	{"metadata.ownerReferences", reflect.TypeFor[metav1.OwnerReference]()},
	{"metadata.labels", nil},
	{"spec.nodeName", nil},
	{"spec.unknown.field", nil},
}

func (w *tableWriter) check(id string) object {
	check := object{"id": id, "weight": 1}
	subject := reflect.TypeFor[corev1.Pod]()
	switch w.IntN(4) {
	case 0:
		w.addPredicates(check, subject, nil)
		return check
	case 1:
		alias := aliases[w.IntN(len(aliases))]
		switch w.IntN(3) {
		case 0:
			check["forEach"], subject = alias+".ports", reflect.TypeFor[corev1.ContainerPort]()
		case 1:
			check["forEach"], subject = alias+".securityContext.capabilities.drop", reflect.TypeFor[string]()
		default:
			check["forEach"], subject = alias, reflect.TypeFor[corev1.Container]()
		}
	default:
		of := subjects[w.IntN(len(subjects))]
		check["forEach"], subject = of.path, of.kind
		if other := subjects[w.IntN(len(subjects))]; other.kind == of.kind && other.path != of.path {
			check["forEach"] = []string{of.path, other.path}
		}
	}
	w.addPredicates(check, subject, subject)
	return check
}

func (w *tableWriter) addPredicates(check object, kind, element reflect.Type) {
	check["violation"] = w.predicate(kind, element, 0, 0)
	if _, isElement := check["forEach"]; isElement && element == nil {
		check["violation"] = w.predicate(reflect.TypeFor[string](), reflect.TypeFor[string](), 0, 0)
	}
	if w.IntN(3) == 0 {
		check["when"] = w.predicate(reflect.TypeFor[corev1.Pod](), nil, 1, 0)
		if element != nil {
			check["when"] = w.predicate(kind, element, 1, 0)
		}
	}
}

// predicate returns a predicate about a subject of a type. A leaf about an element of a list needs no path.
func (w *tableWriter) predicate(kind, element reflect.Type, depth, quantified int) object {
	of := func(n int) (all []object) {
		for range n {
			all = append(all, w.predicate(kind, element, depth+1, quantified))
		}
		return all
	}
	choice := w.IntN(10)
	if depth > 2 {
		choice = 9
	}
	switch {
	case choice == 0:
		return object{"all": of(1 + w.IntN(3))}
	case choice == 1:
		return object{"any": of(1 + w.IntN(3))}
	case choice == 2:
		return object{"not": of(1)[0]}
	case choice <= 5 && quantified < 2:
		word := []string{"some", "every"}[w.IntN(2)]
		if element != nil && w.IntN(3) == 0 {
			return object{word: object{"is": w.predicate(entryOf(element), entryOf(element), depth+1, quantified+1)}}
		}
		path, at := w.path(kind, true)
		if strings.HasSuffix(path, "#") {
			path, at = "spec.containers", reflect.TypeFor[[]corev1.Container]()
			if kind != reflect.TypeFor[corev1.Pod]() {
				path = "$." + path
			}
		}
		inner := elementOf(at)
		return object{word: object{"in": path, "is": w.predicate(inner, inner, depth+1, quantified+1)}}
	}
	return w.leaf(kind, element)
}

// An anEntry is the type of an entry of a map.
type anEntry struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

// elementOf returns the type of an element of a list, or of an entry of a map.
func elementOf(of reflect.Type) reflect.Type {
	if of != nil && of.Kind() == reflect.Slice {
		return plain(of.Elem())
	}
	return reflect.TypeFor[anEntry]()
}

func entryOf(of reflect.Type) reflect.Type { return elementOf(of) }

func plain(of reflect.Type) reflect.Type {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	return of
}

var isScalar = map[reflect.Type]bool{reflect.TypeFor[metav1.Time](): true, reflect.TypeFor[resource.Quantity](): true, reflect.TypeFor[intstr.IntOrString](): true,
	reflect.TypeFor[metav1.FieldsV1](): true}

// path returns a path from a type, and the type of its value. Some paths have no value.
func (w *tableWriter) path(from reflect.Type, several bool) (string, reflect.Type) {
	root := ""
	if from != reflect.TypeFor[corev1.Pod]() && (w.IntN(5) == 0 || from == nil) {
		root, from = "$.", reflect.TypeFor[corev1.Pod]()
	}
	for {
		path, at := w.steps(from, several)
		// What the status says is not known at admission.
		if path != "" && !regexp.MustCompile(`^(status|metadata\.(deletion|resourceVersion|managedFields|generateName|selfLink|finalizers|generation)|metadata$|apiVersion|kind)`).MatchString(path) {
			return root + path, at
		}
	}
}

var queried = []string{"name", "image", "type", "key", "kind"}

func (w *tableWriter) steps(at reflect.Type, several bool) (string, reflect.Type) {
	var steps []string
	hasQuery := false
	for len(steps) < 7 && (len(steps) == 0 || w.IntN(5) > 0) {
		at = plain(at)
		invalid := w.IntN(25) == 0
		switch {
		case isScalar[at] || at.Kind() != reflect.Struct && at.Kind() != reflect.Slice && at.Kind() != reflect.Map || invalid:
			if len(steps) > 0 && !invalid {
				return strings.Join(steps, "."), at
			}
			steps = append(steps, []string{"unknown", "0", "a-b", "name"}[w.IntN(4)])
			at = reflect.TypeFor[any]()
		case at.Kind() == reflect.Struct:
			name, of := w.field(at)
			steps, at = append(steps, name), of
		case at.Kind() == reflect.Slice:
			step := strconv.Itoa(w.IntN(2))
			if choice := w.IntN(6); several && choice < 3 {
				step = "#"
			} else if choice < 5 && !hasQuery {
				step, hasQuery = fmt.Sprintf(`#(%s=="%s")`, queried[w.IntN(len(queried))], []string{"app1", "nginx", "a", "Always"}[w.IntN(4)]), true
				if several && choice == 3 {
					step += "#"
				}
			}
			steps, at = append(steps, step), at.Elem()
		case at.Kind() == reflect.Map:
			keys := []string{"app", `app\.kubernetes\.io/name`, "cpu", "memory", "0", "pod-template-hash"}
			steps, at = append(steps, keys[w.IntN(len(keys))]), at.Elem()
		}
	}
	if len(steps) > 0 && steps[len(steps)-1] == "#" && !several {
		return "", nil
	}
	return strings.Join(steps, "."), plain(at)
}

// field returns a random field of a structure. It prefers fields that objects often have.
func (w *tableWriter) field(of reflect.Type) (string, reflect.Type) {
	for {
		f := of.Field(w.IntN(of.NumField()))
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			return w.field(plain(f.Type))
		}
		if likely[f.Name] || w.IntN(3) == 0 {
			return name, f.Type
		}
	}
}

func (w *tableWriter) leaf(kind, element reflect.Type) object {
	leaf := object{}
	switch {
	case element != nil && w.IntN(3) == 0 || kind != nil && kind.Kind() != reflect.Struct && w.IntN(3) > 0:
		kind = element
	case w.IntN(4) == 0:
		var paths []string
		for range 2 + w.IntN(2) {
			path, at := w.path(kind, true)
			if !strings.Contains(strings.Join(paths, " ")+" ", path+" ") {
				paths, kind = append(paths, path), at
			}
		}
		leaf["path"] = paths
	default:
		leaf["path"], kind = w.path(kind, true)
	}
	if w.IntN(8) == 0 {
		w.valueFrom(leaf, kind)
		return leaf
	}
	w.operator(leaf, kind)
	return leaf
}

// valueFrom returns a comparison with a value of the pod.
func (w *tableWriter) valueFrom(leaf object, _ reflect.Type) {
	operators := []string{"equals", "notEquals", "greaterThan", "lessThan", "quantityGreaterThan", "quantityLessThan", "quantityEquals", "hasPrefix", "hasSuffix", "contains"}
	operator := operators[w.IntN(len(operators))]
	if strings.HasPrefix(operator, "quantity") {
		leaf["path"] = []string{"$.spec.containers.0.resources.limits.cpu", "$.spec.containers.#.resources.limits.memory", "$.spec.containers.1.resources.requests.cpu",
			"$.metadata.labels.app"}[w.IntN(4)]
	}
	leaf["operator"] = operator
	path := "$.spec.containers.0.resources.requests.cpu"
	if w.IntN(3) > 0 {
		path, _ = w.path(reflect.TypeFor[corev1.Pod](), false)
		path = "$." + path
	}
	leaf["valueFrom"] = path
	if w.IntN(2) == 0 && (strings.HasSuffix(operator, "Than") || strings.HasPrefix(operator, "quantity")) {
		leaf["times"] = []any{2, 4, 1.5, 0.1, 3.25, 1000000, 7}[w.IntN(7)]
	}
}

func (w *tableWriter) operator(leaf object, kind reflect.Type) {
	operators := []string{"exists", "absent", "equals", "notEquals", "in", "notIn", "oneOf", "contains", "length"}
	if w.IntN(6) == 0 {
		kind = reflect.TypeFor[any]()
	}
	switch {
	case kind == reflect.TypeFor[resource.Quantity]():
		operators = []string{"quantityGreaterThan", "quantityLessThan", "quantityEquals"}
	case kind != nil && kind.Kind() == reflect.String:
		operators = append(operators, "hasPrefix", "hasSuffix", "matches", "imageTag", "imageFrom", "quantityLessThan")
	case kind != nil && (kind.Kind() == reflect.Int32 || kind.Kind() == reflect.Int64) || kind == reflect.TypeFor[intstr.IntOrString]():
		operators = append(operators, "greaterThan", "lessThan", "greaterThan", "lessThan", "quantityGreaterThan", "quantityEquals")
	case kind == nil || kind == reflect.TypeFor[any]():
		operators = append(operators, "hasPrefix", "hasSuffix", "matches", "imageTag", "imageFrom", "greaterThan", "lessThan", "quantityGreaterThan", "quantityLessThan", "quantityEquals")
	}
	operator := operators[w.IntN(len(operators))]
	leaf["operator"] = operator
	switch operator {
	case "exists", "absent":
	case "equals", "notEquals", "contains":
		leaf["value"] = w.scalar()
	case "in", "notIn", "oneOf":
		leaf["value"] = w.list(1+w.IntN(5), false)
		if w.IntN(3) == 0 {
			leaf["value"] = object{"list": []string{"some_texts", "more_texts"}[w.IntN(2)]}
		}
	case "hasPrefix", "hasSuffix":
		leaf["value"] = w.Text()
	case "matches":
		leaf["value"] = []string{`^a`, `(?i)^ALL$`, `[0-9]+$`, `.`, `\\`, `"`, `^$`, "(?s)a.b", `^é`, `:latest$|/nginx`}[w.IntN(10)]
	case "greaterThan", "lessThan":
		leaf["value"] = []any{0, 1, 5, 1000, -1, 1.5, 9223372036854775807}[w.IntN(7)]
	case "length":
		leaf["value"] = []any{0, 1, 2, object{"min": 1}, object{"max": 2}, object{"min": 1, "max": 3}, object{"min": 0}}[w.IntN(7)]
	case "imageTag":
		leaf["value"] = []string{"latest", "1.27", "v1"}[w.IntN(3)]
	case "imageFrom":
		leaf["value"] = w.sources(1 + w.IntN(3))
		if w.IntN(3) == 0 {
			leaf["value"] = object{"list": "sources"}
		}
	default: // quantities
		leaf["value"] = quantities[w.IntN(len(quantities))]
	}
}

func (w *tableWriter) scalar() any {
	switch w.IntN(5) {
	case 0:
		return integers[w.IntN(len(integers))]
	case 1:
		return w.IntN(2) == 0
	case 2:
		return []float64{1.5, -0.25, 1e10}[w.IntN(3)]
	}
	return w.Text()
}

func (w *tableWriter) list(n int, onlyTexts bool) (list []any) {
	for range n {
		if onlyTexts {
			list = append(list, w.Text())
		} else {
			list = append(list, w.scalar())
		}
	}
	return list
}

var registries = []string{"docker.io", "index.docker.io", "docker.io/library", "library", "library/nginx", "nginx", "docker.io/org", "org/app", "localhost", "localhost:5000",
	"registry.example.com", "registry.example.com/team", "ghcr.io/org", "REGISTRY.example.com/team", "docker.io/org/app.name", "a.b", "a.b/c", "a_b/c", "docker.io/nginx"}

func (w *tableWriter) sources(n int) (list []string) {
	for range n {
		list = append(list, registries[w.IntN(len(registries))])
	}
	return list
}

func (w *tableWriter) waiver(i int) object {
	expires := w.Now.Add(time.Duration(w.IntN(3)-1) * time.Second)
	waiver := object{"id": fmt.Sprintf("waiver-%d", i), "reason": "random", "expires": expires.Format(time.RFC3339)}
	if w.IntN(2) == 0 {
		waiver["check"] = []string{fmt.Sprintf("check_%d", w.IntN(8)), fmt.Sprintf("check_%d", w.IntN(8))}
	}
	globs := []string{"a*", "*1", "[a-d]*", "[!a]*", "?*", "web*", "x", "*e*", "*/TCP", "*/*", "80/*", `\a*`}
	glob := func() string { return globs[w.IntN(len(globs))] }
	for len(waiver) < 5 {
		switch w.IntN(7) {
		case 0:
			waiver["pod"] = []string{"web*", "*1", "Deployment/*", "[a-w]*"}[w.IntN(4)]
		case 1:
			waiver["container"] = glob()
		case 2:
			waiver["subject"] = glob()
		case 3:
			waiver["namespace"] = []string{"shop*", "default"}
		case 4:
			waiver["labels"] = object{"app": w.Text()}
		case 5:
			waiver["owner"] = object{"kind": "Job", "name": "*e*"}
		case 6:
			waiver["workload"] = []string{"Deployment/web", "ReplicaSet/*", "CronJob/rep*", "Job/once", "Pod/*", "StatefulSet/*", "Deployment/*", "Node/*"}[w.IntN(8)]
		}
	}
	return waiver
}

// Seeded returns a source of random numbers.
func Seeded(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }
