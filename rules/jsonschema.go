package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// The parts of a JSON Schema.
type (
	schemaObject = map[string]any
	schemaList   = []any
)

// The grammar of paths, as far as an expression can say it.
const (
	keyPattern   = `(?:[A-Za-z0-9_/-]|\\\.)+`
	queryPattern = `#\([A-Za-z0-9_/-]+=="[^"\\]*"\)`
	stepPattern  = `(?:` + keyPattern + `|#|` + queryPattern + `#?)`
	pathPattern  = `^(?:\$\.)?` + stepPattern + `(?:\.` + stepPattern + `)*$`
	eachPattern  = `^(?:` + stepPattern + `\.)*(?:` + keyPattern + `|` + queryPattern + `#)$`
)

// JSONSchema is the JSON Schema (draft 2020-12) of policy tables, files of waivers and policy tests. It accepts all that
// loads, and refuses what is wrong in itself: an editor tells the rest only when the file is loaded.
func JSONSchema() []byte {
	kinds := schemaList{Kind, WaiversKind, PolicyTestKind}
	var byKind schemaList
	for _, kind := range kinds {
		byKind = append(byKind, schemaObject{
			"if":   schemaObject{"properties": schemaObject{"kind": schemaObject{"const": kind}}, "required": schemaList{"kind"}},
			"then": schemaObject{"$ref": fmt.Sprintf("#/$defs/%s", kind)},
		})
	}
	schema := schemaObject{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "kube-devops policy",
		"description": "A policy table, a file of waivers, or a policy test of kube-devops.",
		"type":        "object",
		"required":    schemaList{"apiVersion", "kind"},
		"properties": schemaObject{
			"apiVersion": constant(APIVersion),
			"kind":       schemaObject{"enum": kinds, "description": "What the file is."},
		},
		"allOf": byKind,
		"$defs": schemaObject{
			Kind: closedObject("A policy table.", "apiVersion kind metadata checks", schemaObject{
				"apiVersion": constant(APIVersion),
				"kind":       constant(Kind),
				"metadata": closedObject("", "name", schemaObject{
					"name": pattern("The name of the table, a label of kube_devops_policy_info.", tableName.String()),
				}),
				"namespaces": reference("namespaces"),
				"pods": closedObject("Which pods are looked at.", "", schemaObject{
					"skip": listOf("Pods that are left out of all counts, and counted by reason. The first entry that a pod fulfils counts.", 0, 0, reference("skip")),
				}),
				"checks":  listOf("The rows of the table.", 1, maxChecks, reference("check")),
				"grades":  listOf("Names for compliance, best first; the last has min 0. Absent: Healthy, Stable, Degraded, Critical.", 1, 0, reference("grade")),
				"waivers": reference("waivers"),
			}),
			WaiversKind: closedObject("Waivers beside a policy table.", "apiVersion kind waivers", schemaObject{
				"apiVersion": constant(APIVersion),
				"kind":       constant(WaiversKind),
				"waivers":    reference("waivers"),
			}),
			PolicyTestKind: policyTestSchema(),
			"expectedViolation": closedObject("", "check", schemaObject{
				"check":     described(word, "The check's id."),
				"container": described(word, "The name of the container, or of the subject."),
				"subject":   described(word, "The name of the subject within its container or pod: of an environment variable, a port, a volume."),
				"path":      described(word, "The path of the subject, as spec.containers.0."),
			}),
			"namespaces": closedObject("Which namespaces are looked at.", "", schemaObject{
				"include": listOf("Shell globs of the namespaces that are looked at; absent: all.", 1, 0, text("")),
				"exclude": listOf("Shell globs of the namespaces that are left out, included or not. Absent: "+strings.Join(defaultExclude(), ", ")+".", 0, 0, text("")),
			}),
			"skip": closedObject("", "reason when", schemaObject{
				"reason": pattern("Why the pods are left out: a label of kube_devops_pods_skipped.", checkID.String()),
				"when":   reference("predicate"),
			}),
			"check":     checkSchema(),
			"predicate": predicateSchema(),
			"grade": closedObject("", "name min", schemaObject{
				"name": pattern("The name of the grade; no two have the same.", `\S`),
				"min":  schemaObject{"type": "number", "minimum": 0, "maximum": 100, "description": "The least compliance, in percent, that has this grade."},
			}),
			"waivers": listOf("Violations that somebody answers for, until a date.", 0, maxWaivers, reference("waiver")),
			"waiver":  waiverSchema(),
			"scalar":  schemaObject{"type": schemaList{"string", "number", "boolean"}},
			"date":    pattern("A date as 2030-12-31, which is its first moment in UTC, or a time as 2030-12-31T18:00:00Z.", `^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.+)?$`),
		},
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema); err != nil {
		panic("a schema of plain values that cannot be written: " + err.Error())
	}
	return b.Bytes()
}

func checkSchema() schemaObject {
	each := schemaObject{"type": "string", "maxLength": maxPathBytes, "pattern": eachPattern}
	return closedObject("", "id weight violation", schemaObject{
		"id":          pattern("Names the check in metrics, logs and reports.", checkID.String()),
		"description": text("What is wrong when the check fails."),
		"remediation": text("What to do about it."),
		"severity": schemaObject{
			"enum": schemaList{Critical, High, Medium, Low}, "default": Medium,
			"description": "How much a violation matters to a reader; it has no part in the score.",
		},
		"weight": schemaObject{"type": "integer", "minimum": 1, "maximum": maxWeight, "description": "The penalty of one violation in points."},
		"forEach": described(schemaObject{"anyOf": schemaList{each, schemaObject{"type": "array", "items": each, "minItems": 1, "uniqueItems": true}}},
			"The paths of the lists whose elements are looked at; absent: the pod itself."),
		"when":      described(reference("predicate"), "Which subjects are looked at; absent: all."),
		"violation": described(reference("predicate"), "What is a violation."),
	})
}

// predicateSchema is an object of all fields; which of them go together is said beside it.
func predicateSchema() schemaObject {
	predicates := schemaObject{"type": "array", "minItems": 1, "maxItems": maxPredicates, "items": reference("predicate")}
	var meanings []string
	var names, rules schemaList
	for _, o := range operators {
		names = append(names, o.Name)
		meanings = append(meanings, o.Name+": "+o.Meaning)
		then := schemaObject{"properties": schemaObject{"value": false}}
		if o.compile != nil {
			then = schemaObject{"required": schemaList{"value"}, "properties": schemaObject{"value": operandSchema(o)}}
		}
		rules = append(rules, schemaObject{
			"if":   schemaObject{"properties": schemaObject{"operator": schemaObject{"const": o.Name}}, "required": schemaList{"operator"}},
			"then": then,
		})
	}
	alone := func(word string) schemaObject { return schemaObject{"required": schemaList{word}, "maxProperties": 1} }
	s := closedObject("True or false of a subject: a path with an operator, or all, any or not of predicates.", "", schemaObject{
		"all": described(predicates, "True when all of these are."),
		"any": described(predicates, "True when one of these is."),
		"not": described(reference("predicate"), "True when this is not."),
		"path": schemaObject{"type": "string", "maxLength": maxPathBytes, "pattern": pathPattern,
			"description": `Keys and indexes joined by dots, relative to the subject; $. in front: from the pod's root. # is every element, or the length where it comes last; #(key=="literal")# are all elements with that value. A dot in a key is \.`},
		"operator": schemaObject{"enum": names, "description": "True when:\n" + strings.Join(meanings, "\n")},
		"value":    schemaObject{"description": "What the operator compares with."},
	})
	s["oneOf"] = schemaList{alone("all"), alone("any"), alone("not"), schemaObject{
		"required":   schemaList{"path", "operator"},
		"properties": schemaObject{"all": false, "any": false, "not": false},
	}}
	s["allOf"] = rules
	return s
}

// operandSchema is what an operator takes for a value.
func operandSchema(o operator) schemaObject {
	switch o.Name {
	case "imageTag":
		return pattern("", `^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	case "length":
		count := schemaObject{"type": "integer", "minimum": 0}
		both := closedObject("", "", schemaObject{"min": count, "max": count})
		both["minProperties"] = 1
		return schemaObject{"anyOf": schemaList{count, both}}
	case "matches":
		return schemaObject{"type": "string", "maxLength": maxRegexpBytes}
	}
	switch o.Value {
	case aString:
		return text("")
	case aNumber:
		return schemaObject{"type": "number"}
	case aQuantity:
		return schemaObject{"type": schemaList{"string", "number"}, "pattern": `^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$`}
	case oneValue:
		return reference("scalar")
	}
	return listOf("", 1, maxListValues, reference("scalar"))
}

func waiverSchema() schemaObject {
	owner := closedObject("An owner reference that the pod has.", "", schemaObject{
		"kind": text("The kind of the owner."),
		"name": text("A shell glob of its name."),
	})
	owner["minProperties"] = 1
	s := closedObject("What it says nothing of it does not ask for.", "id reason expires", schemaObject{
		"id":        pattern("Names the waiver in metrics and reports.", waiverID.String()),
		"reason":    schemaObject{"type": "string", "pattern": `\S`, "description": "Why the violations are accepted, and who answers for it."},
		"expires":   described(reference("date"), "From when the violations count again."),
		"namespace": text("A shell glob of namespaces."),
		"pod":       text("A shell glob of pods."),
		"container": text("A shell glob of containers; it matches the name of the subject as well."),
		"subject":   text("A shell glob of what is looked at within a container or pod: environment variables, ports, volumes."),
		"labels":    schemaObject{"type": "object", "additionalProperties": text(""), "propertyNames": schemaObject{"minLength": 1}, "description": "Labels that the pod has, with their values."},
		"owner":     owner,
		"check":     oneOrMore("The checks that may fail; absent: all.", text("")),
	})
	s["minProperties"] = 4 // a waiver of everything is none
	return s
}

// word is a string that is not empty.
var word = schemaObject{"type": "string", "minLength": 1}

func policyTestSchema() schemaObject {
	one := closedObject("", "name pod", schemaObject{
		"name":       described(word, "Unlike the names of the other cases."),
		"pod":        described(word, "A pod in YAML or JSON, beside this file."),
		"skipped":    described(word, "The reason for which the table leaves out the pod: one of pods.skip, or "+NamespaceReason+"."),
		"violations": listOf("All violations that the pod has; [] for none.", 0, 0, reference("expectedViolation")),
		"unknown":    listOf("All violations that count because their check could not be answered; absent: none.", 0, 0, reference("expectedViolation")),
	})
	one["anyOf"] = schemaList{schemaObject{"required": schemaList{"violations"}}, schemaObject{"required": schemaList{"skipped"}}}
	return closedObject("What a policy finds in pods.", "apiVersion kind policy cases", schemaObject{
		"apiVersion": constant(APIVersion),
		"kind":       constant(PolicyTestKind),
		"policy":     described(word, "The name of a table that ships, or a file beside this one."),
		"waivers":    described(word, "A file of waivers, beside this one."),
		"at":         described(reference("date"), "The moment for which waivers are judged; absent: the present one."),
		"checks":     listOf("The checks that are compared; absent: all.", 1, 0, word),
		"cases":      listOf("The pods, and what is found in them.", 1, maxCases, one),
	})
}

// closedObject is an object of these fields alone; the required ones are separated by spaces.
func closedObject(description, required string, properties schemaObject) schemaObject {
	s := schemaObject{"type": "object", "additionalProperties": false, "properties": properties}
	if required != "" {
		s["required"] = strings.Fields(required)
	}
	return described(s, description)
}

// described adds a description, unless it is empty, to a copy.
func described(schema schemaObject, description string) schemaObject {
	s := schemaObject{}
	for key, value := range schema {
		s[key] = value
	}
	if description != "" {
		s["description"] = description
	}
	return s
}

func reference(name string) schemaObject { return schemaObject{"$ref": "#/$defs/" + name} }

func constant(value string) schemaObject { return schemaObject{"const": value} }

func text(description string) schemaObject {
	return described(schemaObject{"type": "string"}, description)
}

func pattern(description, expression string) schemaObject {
	return described(schemaObject{"type": "string", "pattern": expression}, description)
}

// listOf bounds the number of entries where a bound is not 0.
func listOf(description string, least, most int, entry schemaObject) schemaObject {
	s := schemaObject{"type": "array", "items": entry}
	if least > 0 {
		s["minItems"] = least
	}
	if most > 0 {
		s["maxItems"] = most
	}
	return described(s, description)
}

// oneOrMore is one entry, or a list of them.
func oneOrMore(description string, entry schemaObject) schemaObject {
	return described(schemaObject{"anyOf": schemaList{entry, listOf("", 1, 0, entry)}}, description)
}
