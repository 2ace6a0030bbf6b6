package rules_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The subjects of checks, read a second time: the aliases of forEach as the paths that they stand for.

type naiveSubjects struct {
	tokens      []naiveToken
	longRunning bool // not in a pod that runs to completion
}

func naiveSubjectsOf(path string) (of []naiveSubjects) {
	add := func(path string, longRunning bool) {
		tokens := naiveTokens(path)
		if tokens[len(tokens)-1].kind == "key" {
			tokens = append(tokens, naiveToken{kind: "each"})
		}
		of = append(of, naiveSubjects{tokens, longRunning})
	}
	containers := func(list string, longRunning bool, rest string) {
		if rest != "" && !strings.HasSuffix(list, "#") {
			list += ".#"
		}
		add(strings.TrimSuffix(list+"."+rest, "."), longRunning)
	}
	const sidecars = `spec.initContainers.#(restartPolicy=="Always")#`
	switch alias, rest, _ := strings.Cut(path, "."); alias {
	case "allContainers":
		containers("spec.containers", false, rest)
		containers("spec.initContainers", false, rest)
		containers("spec.ephemeralContainers", false, rest)
	case "mainContainers":
		containers("spec.containers", false, rest)
		containers(sidecars, false, rest)
	case "longRunningContainers":
		containers("spec.containers", true, rest)
		containers(sidecars, false, rest)
	default:
		add(path, false)
	}
	return of
}

func (t *naiveTable) subjects(of naiveSubjects, pod any) []naiveFound {
	if of.longRunning && t.fault != "all containers run long" {
		for _, f := range t.find(naiveTokens("spec.restartPolicy"), pod) {
			if f.value != nil && f.value != "Always" {
				return nil
			}
		}
	}
	var subjects []naiveFound
	for _, f := range t.find(of.tokens, pod) {
		isSubject := false
		switch f.value.(type) {
		case map[string]any:
			isSubject = true
		case string, bool, json.Number:
			isSubject = t.fault != "only objects are subjects"
		}
		if isSubject || t.fault == "anything is a subject" {
			subjects = append(subjects, f)
		}
	}
	return subjects
}

var naiveSecrets = []string{"env", "envFrom", "args", "command", "annotations", "data", "stringData", "httpHeaders", "volumeAttributes", "options"}

// names finds the container that a subject is, or is in, and what the subject is called there.
func (t *naiveTable) names(pod any, s naiveFound) (container, subject string) {
	text := func(of any, name string) string {
		object, _ := of.(map[string]any)
		value, _ := object[name].(string)
		return value
	}
	path := s.path
	if len(path) > 2 && path[0] == "spec" && slices.Contains([]string{"containers", "initContainers", "ephemeralContainers"}, path[1]) &&
		strings.Trim(path[2], "0123456789") == "" {
		for _, f := range t.find(naiveTokens(strings.Join(path[:3], ".")), pod) {
			container = text(f.value, "name")
		}
		if path = path[3:]; len(path) == 0 {
			return container, ""
		}
	}
	object, isObject := s.value.(map[string]any)
	port, isNumber := object["containerPort"].(json.Number)
	secret := slices.ContainsFunc(s.path, func(key string) bool { return slices.Contains(naiveSecrets, key) })
	switch {
	case !isObject && s.value != nil && (!secret || t.fault == "secrets are names") && t.fault != "scalars have no name":
		if own := fmt.Sprint(s.value); own != "" {
			return container, naiveClipped(own)
		}
	case text(object, "name") != "":
		return container, text(object, "name")
	case text(object, "key") != "":
		return container, text(object, "key")
	case isNumber && text(object, "protocol") != "" && t.fault != "all ports are TCP":
		return container, port.String() + "/" + text(object, "protocol")
	case isNumber:
		return container, port.String() + "/TCP"
	case t.fault == "what has no name has no word":
		return container, ""
	}
	return container, strings.Join(path, ".")
}

// naiveClipped keeps as many whole characters as fit into 200 bytes with an ellipsis.
func naiveClipped(text string) string {
	if len(text) <= 200 {
		return text
	}
	kept := ""
	for _, r := range text {
		if len(kept)+len(string(r))+len("…") > 200 {
			break
		}
		kept += string(r)
	}
	return kept + "…"
}
