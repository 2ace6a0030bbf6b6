package rules_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-devops/kube-devops/rules"
)

// A shape says what the random pods are made of, and where the random tables look: fields, elements, or values.
type shape struct {
	fields  []field
	element *shape
	values  []string // JSON
	suits   []string // operators that have much to say about the values
	nested  int      // how many some and every are around
}

type field struct {
	name string
	of   shape
}

func object(fields ...field) shape { return shape{fields: fields} }
func array(element shape) shape    { return shape{element: &element} }
func values(json ...string) shape  { return shape{values: json} }

func (s shape) isContainer() bool { return len(s.fields) > 1 && s.fields[1].name == "image" }

func (s shape) isPod() bool { return len(s.fields) > 0 && s.fields[0].name == "metadata" }

func (s shape) suiting(operators ...string) shape {
	s.suits = operators
	return s
}

var (
	names   = values(`"app"`, `"app"`, `"app"`, `"web"`, `"\u0061pp"`, `""`, `"a]b"`, `"5"`, `5`)
	lengths = values(`0`, `1`, `2`, `3`)
	numbers = values(`0`, `-0`, `1`, `5`, `5.0`, `-1`, `0.1`, `100`, `1e2`, `1E400`, `-1e400`, `1e-400`, `9007199254740992`, `9007199254740993`, `9007199254740993.0`,
		`9223372036854775807`, `9223372036854775808`, `-9223372036854775808`, `-9223372036854775809`, `99999999999999999999999`)
	texts = values(`"Always"`, `"Never"`, `""`, `"nginx:latest"`, `"nginx:1.27"`, `"nginx:\u006catest"`, `"registry.example:5000\/a\/b@sha256:0"`, `"5"`, `"true"`, `"null"`,
		`"{\"image\":\"x\"}"`, `"[1]"`, `"["`, `"]}"`, `"\\"`, `"\\\\\""`, `"é\u00e9\ud83d\ude00"`, `"\ud800x"`, `"\u0000"`, `"\u2028"`)
	flags  = values(`true`, `false`)
	images = values(`"nginx"`, `"nginx:latest"`, `"nginx:1.25"`, `"reg:5000/app"`, `"reg:5000/app:latest"`, `"reg:5000\/app:v1"`, `"app@`+randomDigest+`"`, `"app:latest@`+randomDigest+`"`,
		`"app:v1@`+randomDigest+`"`, `"nginx:\u006catest"`, `"Nginx:latest"`, `"nginx:latest "`, `"localhost:5000"`, `"v1"`, `"a/"`, `""`,
		`"ghcr.io/org/app:v1"`, `"ghcr.io/org/app"`, `"ghcr.io/organic/app"`, `"org/app"`, `"org/application"`, `"nginx-debug"`, `"reg:50001/app"`, `"docker.io/org/app"`, `"docker.io/library/nginx:1"`, `"index.docker.io/nginx"`, `"Reg:5000/app"`, `"localhost/a"`, `"localhost"`,
		`"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"`).suiting("imageTag", "imageTag", "imageFrom", "imageFrom", "hasSuffix")
	quantities = values(`"500m"`, `"0.5"`, `0.5`, `"5e-1"`, `"1"`, `1`, `1e0`, `"64Mi"`, `"64Mi"`, `"64Mi"`, `"64M"`, `67108864`, `"65536Ki"`, `"65536Ki"`, `"65536Ki"`, `"1Ki"`, `"1E"`, `"1E3"`, `1E3`, `"1e3"`, `"1k"`, `"0"`, `-0`, `"-1"`, `"1 "`, `"1K"`, `".5"`, `"1."`,
		`"100n"`, `"2u"`, `"0.1n"`, `"1n"`, `"1n"`, `"0.5n"`, `1e400`, `"8Ei"`, `"9Ei"`, `"8Ei"`, `9223372036854775808`, `"1e101"`, `1e101`, `"`+strings.Repeat("7", 65)+`"`).suiting("quantityGreaterThan", "quantityLessThan", "quantityEquals")
	scripts    = values(`"\u00e9"`, `"é😀"`, `"\ud83d\ude00"`, `"e\u0301"`, `"abc"`, `""`).suiting("length")
	policies   = values(`"Always"`, `"Never"`, `"OnFailure"`)
	phases     = values(`"Pending"`, `"Running"`, `"Running"`, `"Succeeded"`, `"Failed"`)
	namespaces = values(`"default"`, `"shop"`, `"shop-test"`, `""`, `"a/b"`)
	owners     = values(`"app"`, `"app-5"`, `"a-12345678"`, `"-5"`, `"app"`, `""`, `5`)
	hashes     = values(`"5"`, `"5"`, `""`, `5`)
	kinds      = values(`"Job"`, `"ReplicaSet"`, `"DaemonSet"`)
	odd        = []string{`null`, `null`, `null`, `""`, `"x"`, `"[{\"name\":\"app\"}]"`, `0`, `5`, `true`, `false`, `[]`, `{}`, `[null]`, `[[]]`, `[{"name":"app"}]`,
		`{"0":{"name":"app"}}`, `{"name":null}`, `[5,"5",null,{"name":5},{"name":"app","image":"nginx:latest"}]`}
)

var (
	probe = object(field{"periodSeconds", numbers}, field{"httpGet", object(field{"path", texts}, field{"port", numbers})})
	port  = object(field{"name", names}, field{"key", values(`5`, `5`, `true`, `""`, `"gpu"`)}, field{"containerPort", numbers}, field{"protocol", values(`"TCP"`, `"UDP"`)})

	containerShape = object(
		field{"name", names}, field{"image", images}, field{"livenessProbe", probe}, field{"ports", array(port).suiting("length", "contains")},
		field{"restartPolicy", policies}, field{"command", scripts},
		field{"args", array(texts).suiting("length", "oneOf", "contains", "contains")}, field{"sizes", array(numbers)}, field{"0", texts},
		field{"env", array(object(field{"name", names}, field{"value", texts}))},
		field{"resources", object(
			field{"limits", object(field{"cpu", quantities}, field{"memory", quantities}, field{"nvidia.com/gpu", numbers})},
			field{"requests", object(field{"cpu", quantities}, field{"memory", quantities}).suiting("length")},
			field{"size", quantities},
		)},
		field{"securityContext", object(field{"privileged", flags}, field{"runAsUser", numbers}, field{"capabilities", object(field{"add", array(names).suiting("contains", "contains", "oneOf")})})},
	)
	podShape = object(
		field{"metadata", object(field{"name", names}, field{"namespace", namespaces}, field{"deletionTimestamp", texts},
			field{"ownerReferences", array(object(field{"kind", kinds}, field{"name", owners}, field{"controller", flags}))}, field{"labels", object(field{"app", texts}, field{"pod-template-hash", hashes}, field{"app.kubernetes.io/name", texts}, field{"0", texts})})},
		field{"spec", object(
			field{"containers", array(containerShape)}, field{"initContainers", array(containerShape)}, field{"hostNetwork", flags}, field{"restartPolicy", policies},
			field{"priority", numbers}, field{"size", values(`"1e101"`, `"1"`, `"1e101"`, `"0"`)}, field{"matrix", array(array(object(field{"name", names}, field{"n", numbers})))}, field{"args", array(texts)},
		)},
		field{"status", object(field{"phase", phases}, field{"restarts", numbers}, field{"containerStatuses", array(object(
			field{"name", names}, field{"restartCount", lengths}, field{"state", object(field{"waiting", object(field{"reason", texts})})}))})},
	)
)

const randomDigest = "sha256:0123456789abcdef0123456789abcdef"

// oneIn is true once in n times.
func oneIn(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

func pick[E any](r *rand.Rand, from []E) E { return from[r.IntN(len(from))] }

// -- pods

// randomPod writes a pod: mostly of the shape, with fields left out, odd values, spaces and escapes.
func randomPod(r *rand.Rand) []byte {
	var b strings.Builder
	w := podWriter{r, &b}
	for b.Len() == 0 || b.String()[0] != '{' {
		b.Reset()
		w.write(podShape)
	}
	return []byte(b.String())
}

type podWriter struct {
	r *rand.Rand
	b *strings.Builder
}

func (w podWriter) write(s shape) {
	if oneIn(w.r, 25) {
		w.b.WriteString(pick(w.r, odd))
		return
	}
	switch {
	case s.fields != nil:
		w.list('{', '}', w.r.Perm(len(s.fields)), func(i int) {
			if i == 0 && oneIn(w.r, 8) {
				fmt.Fprintf(w.b, `"odd\n\"]}":%s,`, pick(w.r, odd))
			}
			w.key(s.fields[i].name)
			w.write(s.fields[i].of)
		})
	case s.element != nil:
		w.list('[', ']', make([]int, w.r.IntN(6)), func(int) { w.write(*s.element) })
	default:
		w.b.WriteString(pick(w.r, s.values))
	}
}

// list writes about four of five of the entries.
func (w podWriter) list(open, end byte, entries []int, write func(entry int)) {
	w.b.WriteByte(open)
	first := true
	for _, entry := range entries {
		if oneIn(w.r, 5) {
			continue
		}
		if !first {
			w.b.WriteByte(',')
		}
		first = false
		w.space()
		write(entry)
		w.space()
	}
	w.b.WriteByte(end)
}

func (w podWriter) key(name string) {
	if oneIn(w.r, 10) {
		name = fmt.Sprintf(`\u%04x`, name[0]) + name[1:]
	}
	w.b.WriteString(`"` + name + `":`)
}

func (w podWriter) space() {
	if oneIn(w.r, 10) {
		w.b.WriteString(pick(w.r, []string{" ", "\n", "\t", "\r\n  "}))
	}
}

// -- tables

// randomTable writes a table of 5 to 9 checks, as JSON, which is YAML.
func randomTable(r *rand.Rand) []byte {
	var checks []any
	for i := range 5 + r.IntN(5) {
		check := map[string]any{"id": fmt.Sprintf("c%d", i), "weight": 1 + r.IntN(1000)}
		subject := podShape
		if !oneIn(r, 4) {
			var paths []string
			for range 1 + r.IntN(3) {
				var path string
				if path, subject = randomSubjects(r); !contains(paths, path) {
					paths = append(paths, path)
				}
			}
			check["forEach"] = paths
			if len(paths) == 1 {
				check["forEach"] = paths[0]
			}
		}
		if oneIn(r, 3) {
			check["when"] = randomPredicate(r, subject, 2)
		}
		check["violation"] = randomPredicate(r, subject, 1)
		maps.Copy(check, textFields[i%len(textFields)])
		checks = append(checks, check)
	}
	table := map[string]any{
		"apiVersion": "kube-devops.io/v1", "kind": "PolicyTable", "metadata": map[string]any{"name": "random"}, "checks": checks, "lists": randomLists,
	}
	if oneIn(r, 2) {
		table["pods"] = map[string]any{"skip": randomSkips(r)}
	}
	if oneIn(r, 2) {
		table["waivers"] = randomWaivers(r, len(checks))
	}
	if oneIn(r, 2) {
		table["namespaces"] = map[string]any{"include": randomGlobs(r), "exclude": randomGlobs(r)}
	}
	text, err := json.Marshal(table)
	if err != nil {
		panic(err)
	}
	return text
}

// textFields are fields of checks that change no verdict.
var textFields = []map[string]any{
	{"category": "security", "severity": "critical"},
	{"message": "{subject} of {container}: {value}", "showValue": false},
	{"category": "hygiene", "message": "{value}", "showValue": true},
	{"enforce": "deny"},
	{"enforce": "audit", "severity": "low"},
	{},
}

// mayBeUnknown asks for a quantity that random pods often have too large to be compared.
var mayBeUnknown = map[string]any{"path": "$.spec.size", "operator": "quantityGreaterThan", "value": 1}

// randomLists are the lists that random predicates name.
var randomLists = map[string]any{
	"scalars": []any{"app", "Always", "", 5, json.Number("9007199254740993"), true, "nginx:latest", "TCP"},
	"sources": []any{"ghcr.io/org/app", "docker.io/library/nginx", "registry.example:5000", "org"},
}

// randomSkips are few, and mostly about what few pods have.
func randomSkips(r *rand.Rand) (skips []any) {
	for i := range 1 + r.IntN(3) {
		when := pick(r, []map[string]any{
			{"path": "metadata.ownerReferences.#.kind", "operator": "equals", "value": "Job"},
			{"path": "$.status.phase", "operator": "in", "value": []any{"Succeeded", "Failed"}},
			{"path": "metadata.deletionTimestamp", "operator": "exists"},
			mayBeUnknown,
			{"all": []any{randomPredicate(r, podShape, 2), map[string]any{"path": "status.phase", "operator": "equals", "value": "Pending"}}},
		})
		skips = append(skips, map[string]any{"reason": fmt.Sprintf("r%d", i), "when": when})
	}
	return skips
}

func randomGlob(r *rand.Rand) string {
	return pick(r, []string{"default", "shop", "shop-*", "*", "?hop", "[a-e]*", "[^s]*", "[!s]*", "[!a-e]*", "app", "a*", "*p", "web", "5", `a\]b`, "a]b", "[z-a]", "", "*-*-*"})
}

func randomGlobs(r *rand.Rand) []string {
	var globs []string
	for range 1 + r.IntN(3) {
		globs = append(globs, randomGlob(r))
	}
	return globs
}

// randomWaivers each ask for one to three things; some expire at the same moment.
func randomWaivers(r *rand.Rand, checks int) (waivers []any) {
	for i := range 1 + r.IntN(6) {
		w := map[string]any{
			"id": fmt.Sprintf("w%d", i), "reason": "random",
			"expires": pick(r, []string{"2030-01-01", "2030-01-01T00:00:00Z", "2030-01-01T02:00:00+02:00", "2030-01-01T00:00:01Z", "2029-12-31T23:59:59.999Z", "2031-06-30", "0001-01-01"}),
		}
		for range 1 + r.IntN(3) {
			switch r.IntN(8) {
			case 6:
				w["workload"] = pick(r, []string{"Deployment/a*", "Deployment/app", "ReplicaSet/*", "CronJob/*", "Job/[!a]*", "DaemonSet/app", "Pod/*", "Pod/app", "Pod/[!a]*"})
			case 5:
				w["subject"] = pick(r, []string{"app", "*/TCP", "?*", "a*", "*"})
			case 0:
				w["namespace"] = randomGlob(r) + pick(r, []string{"", "*"})
				if oneIn(r, 2) {
					w["namespace"] = []string{pick(r, []string{"shop-*", "app"}), pick(r, []string{"default", "shop", "[!s]*"})}
				}
			case 1:
				w["pod"] = randomGlob(r) + pick(r, []string{"", "*"})
			case 2:
				w["container"] = pick(r, []string{"app", "*", "*", "?*"})
			case 3:
				w["labels"] = pick(r, []map[string]string{{"app": "Always"}, {"app": ""}, {"0": "5", "app": "true"}, {"app.kubernetes.io/name": "Never"}, {"app": "", "0": ""}})
			case 4:
				w["owner"] = pick(r, []map[string]string{{"kind": "Job"}, {"kind": "ReplicaSet", "name": "a*"}, {"name": "*"}, {"name": "app"}})
			default:
				w["check"] = fmt.Sprintf("c%d", r.IntN(checks))
				if oneIn(r, 2) {
					w["check"] = []string{fmt.Sprintf("c%d", r.IntN(checks)), fmt.Sprintf("c%d", r.IntN(checks))}
				}
			}
		}
		if w["pod"] == "" && w["namespace"] == nil || w["namespace"] == "" && w["pod"] == nil || len(w) == 3 {
			w["check"] = "c0" // or it might ask for nothing
		}
		waivers = append(waivers, w)
	}
	return waivers
}

func contains(list []string, s string) bool {
	for _, entry := range list {
		if entry == s {
			return true
		}
	}
	return false
}

// randomSubjects returns a forEach path and the shape of its subjects.
func randomSubjects(r *rand.Rand) (string, shape) {
	if oneIn(r, 5) {
		alias := pick(r, []string{"allContainers", "mainContainers", "longRunningContainers"})
		switch r.IntN(4) {
		case 0:
			return alias + ".ports", port
		case 1:
			list := pick(r, []field{{".args", texts}, {".sizes", numbers}, {".securityContext.capabilities.add", names}})
			return alias + list.name, list.of
		}
		return alias, containerShape
	}
	if oneIn(r, 2) {
		return pick(r, []string{"spec.containers", "spec.containers", "spec.initContainers", `spec.initContainers.#(restartPolicy=="Always")#`, `spec.containers.#(name=="app")#`}), containerShape
	}
	if oneIn(r, 4) {
		return pick(r, []string{"spec.containers.#.ports", "spec.containers.0.ports", "spec.initContainers.#.ports"}), port
	}
	for {
		path, at := randomPath(r, podShape)
		switch {
		case strings.HasSuffix(path, "#") && !strings.HasSuffix(path, ")#"), strings.HasSuffix(path, ")"):
			continue // a length, or one element
		case strings.HasSuffix(path, "#"):
			return path, at
		case at.element != nil:
			return path, *at.element
		case oneIn(r, 10):
			return path, at
		}
	}
}

// randomPath walks down a shape and returns the path and the shape that it leads to. Now and then it goes astray.
func randomPath(r *rand.Rand, from shape) (string, shape) {
	var steps []string
	for queries := 0; ; {
		if len(steps) > 0 && (from.values != nil || oneIn(r, 8) || from.element != nil && from.element.values != nil && oneIn(r, 4)) {
			if oneIn(r, 15) {
				steps = append(steps, pick(r, []string{"0", "name", "#"})) // into a value, as it may be
			}
			break
		}
		if oneIn(r, 30) {
			steps = append(steps, pick(r, []string{"name", "0", "1", "nope", `no\.pe`, "-1", "a/b_c"}))
			continue
		}
		switch {
		case from.fields != nil:
			f := pick(r, from.fields)
			if f.of.element == nil {
				f = pick(r, from.fields) // arrays are where a path has most to get wrong
			}
			steps, from = append(steps, strings.ReplaceAll(f.name, ".", `\.`)), f.of
		case from.element != nil:
			step := pick(r, []string{"0", "1", "9", "#", "#", "#"})
			if queries == 0 && from.element.fields != nil && oneIn(r, 3) {
				queries++
				step = randomQuery(r, *from.element)
			}
			steps, from = append(steps, step), *from.element
			if step == "#" && oneIn(r, 5) {
				return strings.Join(steps, "."), lengths
			}
		default:
			steps = append(steps, "name")
		}
	}
	if steps[len(steps)-1] == "#" {
		from = lengths
	}
	return strings.Join(steps, "."), from
}

// randomQuery asks for an element by a text that one of its fields is likely to have.
func randomQuery(r *rand.Rand, element shape) string {
	for {
		f := pick(r, element.fields)
		if f.of.values == nil {
			continue
		}
		var literal string
		if err := json.Unmarshal([]byte(pick(r, f.of.values)), &literal); err == nil && !strings.ContainsAny(f.name+literal, `.\"`) {
			return fmt.Sprintf(`#(%s=="%s")%s`, f.name, literal, pick(r, []string{"", "#"}))
		}
	}
}

// randomQuantified asks for some or every element of a list, or entry of a map.
func randomQuantified(r *rand.Rand, subject shape, depth int) map[string]any {
	quantified := make(map[string]any)
	at := subject
	if subject.isPod() || subject.values != nil || !oneIn(r, 5) {
		prefix, from := "", subject
		if oneIn(r, 4) || subject.values != nil {
			prefix, from = "$.", podShape
		}
		var path string
		for path == "" || strings.HasSuffix(path, ".#") || path == "#" {
			path, at = randomPath(r, from)
			if at.values != nil && !oneIn(r, 20) {
				path = "" // neither a list nor a map
			}
		}
		quantified["in"] = prefix + path
	}
	element := values(`"app"`)
	switch {
	case at.element != nil:
		element = *at.element
	case at.fields != nil:
		f := pick(r, at.fields)
		element = object(field{"key", values(strconv.Quote(f.name))}, field{"value", f.of})
	}
	element.nested = subject.nested + 1
	quantified["is"] = randomPredicate(r, element, depth+1)
	return map[string]any{pick(r, []string{"some", "every"}): quantified}
}

// rarelyTried are predicates about containers that chance seldom makes, and that have much to say about them.
var rarelyTried = []map[string]any{
	{"path": "image", "operator": "imageTag", "value": "latest"},
	{"path": "args", "operator": "contains", "value": "Always"},
	{"path": "sizes", "operator": "contains", "value": 5},
	{"path": "resources.limits.memory", "operator": "quantityGreaterThan", "value": "66M"},
	{"path": "securityContext.capabilities.add", "operator": "oneOf", "value": []any{"app", "web"}},
	{"path": "resources.limits.memory", "operator": "quantityGreaterThan", "valueFrom": "resources.requests.memory", "times": 1.5},
	{"path": "resources.limits.cpu", "operator": "quantityLessThan", "valueFrom": "resources.requests.cpu", "times": 2},
	{"path": []any{"args", "$.spec.args"}, "operator": "contains", "valueFrom": "$.metadata.labels.app"},
	{"path": "name", "operator": "notEquals", "valueFrom": "ports.0.name"},
}

// randomPredicate makes a predicate about a subject, which is an element of a list unless it is the pod.
func randomPredicate(r *rand.Rand, subject shape, depth int) map[string]any {
	if depth < 4 && oneIn(r, 3) {
		several := func() (of []any) {
			if oneIn(r, 3) {
				of = append(of, mayBeUnknown)
			}
			for range 1 + r.IntN(3) {
				of = append(of, randomPredicate(r, subject, depth+1))
			}
			return of
		}
		switch r.IntN(3) {
		case 0:
			return map[string]any{"all": several()}
		case 1:
			return map[string]any{"any": several()}
		default:
			return map[string]any{"not": randomPredicate(r, subject, depth+1)}
		}
	}
	if subject.nested < 2 && depth < 6 && oneIn(r, 6) {
		return randomQuantified(r, subject, depth)
	}
	if subject.isContainer() && oneIn(r, 10) {
		return pick(r, rarelyTried)
	}
	prefix := ""
	isPod := subject.isPod()
	if oneIn(r, 5) {
		nested := subject.nested
		prefix, subject = "$.", podShape
		subject.nested = nested
	}
	path, at := randomPath(r, subject)
	if prefix == "" && hasImage(subject) && oneIn(r, 8) {
		path, at = "image", images // most operators for images are about few of them
	}
	p := map[string]any{"path": prefix + path, "operator": pick(r, rules.Operators()).Name}
	if oneIn(r, 6) {
		p["path"], at = randomPaths(r, subject)
	} else if !isPod && prefix == "" && (subject.fields == nil || oneIn(r, 15)) && !oneIn(r, 10) {
		delete(p, "path")
		at = subject
	}
	if at.suits != nil && oneIn(r, 2) {
		p["operator"] = pick(r, at.suits)
	}
	if oneIn(r, 10) && randomValueFrom(r, p, subject) {
		return p
	}
	switch p["operator"] {
	case "exists", "absent":
	case "hasPrefix", "hasSuffix":
		p["value"] = pick(r, []string{"", ":latest", "nginx", "A", "s", "5", "[", "]}", "a", "pp", "é", "\x00", "\U0001F600"})
	case "matches":
		p["value"] = pick(r, []string{"^nginx", ":latest$", "^$", ".", "A.*s", "[0-9]+", "(?i)ALWAYS", `^\[`, "é"})
	case "greaterThan", "lessThan":
		p["value"] = randomNumber(r)
	case "quantityEquals":
		p["value"] = pick(r, []any{"500m", 0.5, "1000m", 1, "64Mi", "65536Ki", "1e18", "1000", "0", "1n", "1n", "8Ei", "8Ei"})
	case "quantityGreaterThan", "quantityLessThan":
		p["value"] = pick(r, []any{"500m", "0.5", 0.5, "501m", 1, "1", "63Mi", "64500k", "65M", "66M", "65M", "66M", "65M", "66M", 66e6, "1Ki", "999P", json.Number("1e3"), "1E", -1, "0", "1n", "1.0000000001"})
	case "length":
		least, most := r.IntN(4), r.IntN(8)
		p["value"] = pick(r, []any{least, map[string]any{"min": least}, map[string]any{"max": most}, map[string]any{"min": least, "max": least + most}})
	case "imageTag":
		p["value"] = pick(r, []string{"latest", "latest", "latest", "v1", "1.25", "5000"})
	case "imageFrom":
		sources := []any{"docker.io", "docker.io/library", "ghcr.io/org", "reg:5000", "nginx", "org/app", "localhost", "index.docker.io/org", "docker.io/nginx"}
		p["value"] = pick(r, append(sources, []any{pick(r, sources), pick(r, sources)}, map[string]any{"list": "sources"}))
	case "in", "notIn", "oneOf":
		if oneIn(r, 4) {
			p["value"] = map[string]any{"list": pick(r, []string{"scalars", "sources"})}
			break
		}
		var list []any
		for range 1 + r.IntN(4) {
			list = append(list, randomScalar(r, at))
		}
		p["value"] = list
	default:
		p["value"] = randomScalar(r, at)
	}
	return p
}

// randomValueFrom makes a predicate compare with another value of the pod, if its operator can.
func randomValueFrom(r *rand.Rand, p map[string]any, subject shape) bool {
	operator := p["operator"].(string)
	if !contains([]string{"equals", "notEquals", "greaterThan", "lessThan", "quantityGreaterThan", "quantityLessThan", "quantityEquals", "hasPrefix", "hasSuffix", "contains"}, operator) {
		return false
	}
	from := pick(r, []string{"$.metadata.name", "$.metadata.labels.app", "$.spec.priority", "$.status.restarts", "$.spec.size", "$.spec.args.0", "$.spec.containers.#", `$.spec.containers.#(name=="app").name`})
	if oneIn(r, 2) {
		path, _ := randomPath(r, subject)
		if strings.Contains(path, "#.") || strings.HasSuffix(path, ")#") {
			return false // several values
		}
		from = path
	}
	p["valueFrom"] = from
	if strings.HasSuffix(operator, "Than") || operator == "quantityEquals" {
		if oneIn(r, 2) {
			p["times"] = pick(r, []any{1, 2, 0.5, json.Number("1.0000000001"), json.Number("1000"), json.Number("0.000000001")})
		}
	}
	return true
}

func hasImage(subject shape) bool {
	return slices.ContainsFunc(subject.fields, func(f field) bool { return f.name == "image" })
}

// randomPaths are paths, where the first that leads to a value counts, and the shape of one of their ends.
func randomPaths(r *rand.Rand, subject shape) (paths []string, at shape) {
	for range 2 + r.IntN(2) {
		prefix, from := "", subject
		if oneIn(r, 3) {
			prefix, from = "$.", podShape
		}
		path, end := randomPath(r, from)
		if path = prefix + path; !contains(paths, path) {
			paths, at = append(paths, path), end
		}
	}
	return paths, at
}

// randomScalar is a value that is likely to stand in a place of the shape.
func randomScalar(r *rand.Rand, at shape) any {
	if at.element != nil {
		at = *at.element
	}
	if at.values == nil || oneIn(r, 6) {
		at = pick(r, []shape{names, texts, flags})
	}
	var scalar any
	if err := json.Unmarshal([]byte(pick(r, at.values)), &scalar); err != nil {
		return randomNumber(r) // beyond float64
	}
	if n, isNumber := scalar.(float64); isNumber && (n < 0 || n > 3 || oneIn(r, 2)) {
		return randomNumber(r)
	}
	return scalar
}

func randomNumber(r *rand.Rand) json.Number {
	return pick(r, []json.Number{"0", "-0", "1", "5", "5.0", "-1", "0.1", "100", "1e2", "2", "3", "4", "9007199254740992", "9007199254740993", "9007199254740993.0",
		"9223372036854775807", "-9223372036854775808", "1e300", "-1e300"})
}
