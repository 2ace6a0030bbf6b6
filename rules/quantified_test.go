package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

// quantifiedTable has each form of some and every.
const quantifiedTable = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: quantified}
checks:
  - {id: host_path, weight: 1, violation: {some: {in: spec.volumes, is: {path: hostPath, operator: exists}}}}
  - {id: capabilities, weight: 1, forEach: allContainers, violation: {some: {in: securityContext.capabilities.add, is: {operator: notEquals, value: NET_BIND_SERVICE}}}}
  - {id: drop_all, weight: 1, forEach: allContainers, violation: {every: {in: securityContext.capabilities.drop, is: {operator: notEquals, value: ALL}}}}
  - {id: volume_types, weight: 1, forEach: spec.volumes, violation: {some: {is: {path: key, operator: notIn, value: [name, configMap, emptyDir]}}}}
  - {id: labels, weight: 1, violation: {some: {in: metadata.labels, is: {all: [{path: key, operator: hasPrefix, value: team}, {path: value, operator: equals, value: none}]}}}}
  - {id: nested, weight: 1, forEach: spec.containers, when: {every: {in: $.spec.tolerations, is: {path: key, operator: exists}}},
     violation: {some: {in: $.spec.containers, is: {every: {in: env.#.valueFrom, is: {all: [{path: value.name, operator: matches, value: "^a"}, {path: $.spec.hostNetwork, operator: absent}]}}}}}}
`

func TestQuantified(t *testing.T) {
	tests := []struct{ name, predicate, pod, want string }{
		{"some of a list", `{some: {in: a, is: {path: b, operator: equals, value: 1}}}`, `{"a":[{"b":2},{"b":1}]}`, "true"},
		{"none of a list", `{some: {in: a, is: {path: b, operator: equals, value: 1}}}`, `{"a":[{"b":2},{}]}`, "false"},
		{"some of no list", `{some: {in: a, is: {operator: exists}}}`, `{}`, "false"},
		{"some of an empty list", `{some: {in: a, is: {operator: exists}}}`, `{"a":[]}`, "false"},
		{"some of an empty map", `{some: {in: a, is: {operator: exists}}}`, `{"a":{}}`, "false"},
		{"some of null", `{some: {in: a, is: {operator: exists}}}`, `{"a":null}`, "false"},
		{"some of nulls", `{some: {in: a, is: {path: b, operator: absent}}}`, `{"a":[null,null]}`, "false"},
		{"some of entries that are null", `{some: {in: a, is: {path: b, operator: absent}}}`, `{"a":{"x":null}}`, "false"},
		{"every of a list", `{every: {in: a, is: {path: b, operator: exists}}}`, `{"a":[{"b":2},null,{"b":1}]}`, "true"},
		{"not every of a list", `{every: {in: a, is: {path: b, operator: exists}}}`, `{"a":[{"b":2},{}]}`, "false"},
		{"every of nothing", `{every: {in: a, is: {path: b, operator: exists}}}`, `{}`, "true"},
		{"every of an empty list", `{every: {in: a, is: {path: b, operator: exists}}}`, `{"a":[]}`, "true"},
		{"some of a string", `{some: {in: a, is: {operator: exists}}}`, `{"a":"[1]"}`, "unknown"},
		{"every of a number", `{every: {in: a, is: {operator: exists}}}`, `{"a":5}`, "unknown"},
		{"not some of a boolean", `{not: {some: {in: a, is: {operator: exists}}}}`, `{"a":true}`, "unknown"},
		{"strings", `{some: {in: a, is: {operator: notIn, value: [x, y]}}}`, `{"a":["x","y","z"]}`, "true"},
		{"strings that are all in a list", `{some: {in: a, is: {operator: notIn, value: [x, y]}}}`, `{"a":["x","y"]}`, "false"},
		{"brackets in strings", `{some: {in: a, is: {path: b, operator: exists}}}`, `{"a":["{\"b\":1}"]}`, "false"},
		{"a field of a number", `{some: {in: a, is: {path: b, operator: absent}}}`, `{"a":[5]}`, "true"},
		{"lists in a list", `{some: {in: a, is: {path: "#", operator: equals, value: 2}}}`, `{"a":[[1],[1,2]]}`, "true"},
		{"keys", `{some: {in: a, is: {path: key, operator: equals, value: x.y}}}`, `{"a":{"b":1,"\u0078.y":2}}`, "true"},
		{"values", `{every: {in: a, is: {path: value, operator: greaterThan, value: 1}}}`, `{"a":{"b":2,"c":3}}`, "true"},
		{"below values", `{some: {in: a, is: {path: 'value.b\.c.#(n=="x").m', operator: equals, value: 1}}}`, `{"a":{"z":{"b.c":[{"n":"x","m":1}]},"y":"{}"}}`, "true"},
		{"a key and its value", `{some: {in: a, is: {all: [{path: key, operator: equals, value: x}, {path: value, operator: equals, value: 1}]}}}`, `{"a":{"x":2,"y":1}}`, "false"},
		{"an entry has no other fields", `{some: {in: a, is: {any: [{path: b, operator: exists}, {path: key.b, operator: exists}, {path: "#", operator: exists}, {path: "key.#", operator: exists}]}}}`, `{"a":{"b":{"b":1}}}`, "false"},
		{"an entry itself", `{some: {in: a, is: {all: [{operator: exists}, {operator: length, value: 2}, {operator: notEquals, value: b}, {not: {operator: contains, value: b}}]}}}`, `{"a":{"b":1}}`, "true"},
		{"the entries of an entry", `{some: {in: a, is: {every: {is: {any: [{path: value, operator: equals, value: x}, {path: value.c, operator: equals, value: 1}]}}}}}`, `{"a":{"x":{"c":1},"y":{"c":1}}}`, "true"},
		{"the elements of an element", `{some: {in: a, is: {some: {is: {operator: equals, value: 2}}}}}`, `{"a":[[1],[1,2]]}`, "true"},
		{"the keys of an element", `{some: {in: a, is: {some: {is: {path: key, operator: equals, value: c}}}}}`, `{"a":[{"b":1},{"c":1}]}`, "true"},
		{"the elements of an element that is a string", `{some: {in: a, is: {some: {is: {operator: exists}}}}}`, `{"a":["b"]}`, "unknown"},
		{"a decided element", `{some: {in: a, is: {some: {is: {operator: exists}}}}}`, `{"a":["b",["c"]]}`, "true"},
		{"an undecided element", `{every: {in: a, is: {path: b, operator: quantityGreaterThan, value: 1}}}`, `{"a":[{"b":"2"},{"b":"1e101"}]}`, "unknown"},
		{"a decided element behind an undecided one", `{every: {in: a, is: {path: b, operator: quantityGreaterThan, value: 1}}}`, `{"a":[{"b":"1e101"},{"b":"1"}]}`, "false"},
		{"several lists", `{some: {in: "a.#.b", is: {operator: equals, value: 3}}}`, `{"a":[{"b":[1]},{},{"b":[2,3]}]}`, "true"},
		{"a list and a string", `{some: {in: "a.#.b", is: {operator: equals, value: 3}}}`, `{"a":[{"b":"x"},{"b":[2]}]}`, "unknown"},
		{"a string and a list that decides", `{some: {in: "a.#.b", is: {operator: equals, value: 3}}}`, `{"a":[{"b":"x"},{"b":[3]}]}`, "true"},
		{"the element that a query finds", `{some: {in: 'a.#(n=="x")', is: {path: key, operator: equals, value: m}}}`, `{"a":[{"m":1},{"n":"x"}]}`, "false"},
		{"the root inside", `{some: {in: a, is: {all: [{path: b, operator: exists}, {path: $.c, operator: exists}]}}}`, `{"a":[{"b":1}],"c":1}`, "true"},
		{"the root around", `{some: {in: $.a, is: {path: b, operator: exists}}}`, `{"a":[{"b":1}]}`, "true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := tableOf(t, "", tt.predicate)
			verdict, err := table.Evaluate([]byte(tt.pod))
			if err != nil {
				t.Fatal(err)
			}
			got := "false"
			if len(verdict.Violations) > 0 {
				got = "true"
				if verdict.Violations[0].Unknown {
					got = "unknown"
				}
			}
			if got != tt.want {
				t.Errorf("%s is %s of %s, want %s", tt.predicate, got, tt.pod, tt.want)
			}
			sameOfProjection(t, table, table.Projection(), []byte(tt.pod))
			sameAsNaive(t, table, table.YAML(), [][]byte{[]byte(tt.pod)})
			roundTrip(t, table)
		})
	}
}

// TestQuantifiedSubjects looks into the subjects of forEach.
func TestQuantifiedSubjects(t *testing.T) {
	table := load(t, quantifiedTable)
	got := evaluateOrFail(t, table, `{"metadata":{"labels":{"team":"a","team-b":"none"}},"spec":{"containers":[
		{"name":"a","securityContext":{"capabilities":{"add":["NET_BIND_SERVICE"],"drop":["ALL"]}}},
		{"name":"b","securityContext":{"capabilities":{"add":["NET_BIND_SERVICE","NET_RAW"],"drop":["NET_RAW"]}},"env":[{"valueFrom":{"secretKeyRef":{"name":"b"}}}]}],
		"volumes":[{"name":"c","hostPath":{"path":"/"}},{"name":"d","emptyDir":{}}]}}`)
	want := []string{`host_path  ""`, `capabilities spec.containers.1 "b"`, `drop_all spec.containers.1 "b"`, `volume_types spec.volumes.0 "" "c"`, `labels  ""`,
		`nested spec.containers.0 "a"`, `nested spec.containers.1 "b"`}
	if diff := cmp.Diff(want, got.Violations); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
	roundTrip(t, table)
	var described []string
	for _, c := range table.Checks() {
		described = append(described, c.Violation())
	}
	want = []string{"one of spec.volumes: hostPath is set", "one of securityContext.capabilities.add is not NET_BIND_SERVICE",
		"each of securityContext.capabilities.drop is not ALL", "one of its elements: key is none of name, configMap, emptyDir",
		"one of metadata.labels: key starts with team and value is none",
		"one of the pod's spec.containers: each of env.#.valueFrom: value.name matches ^a and the pod's spec.hostNetwork is not set"}
	if diff := cmp.Diff(want, described); diff != "" {
		t.Errorf("descriptions (-want +got):\n%s", diff)
	}
}

// TestQuantifiedProjection keeps what some and every look at, and little else.
func TestQuantifiedProjection(t *testing.T) {
	tests := []struct{ name, forEach, predicate, pod, want string }{
		{"elements", "", `{some: {in: spec.a, is: {path: b, operator: equals, value: x}}}`, `{"spec":{"a":[{"b":"x","c":1},null,5,{"c":1}],"d":1}}`, `{"spec":{"a":[{"b":"x"},null,0,{}]}}`},
		{"scalars", "", `{some: {in: spec.a, is: {operator: equals, value: x}}}`, `{"spec":{"a":["x",null,5,{"c":1}]}}`, `{"spec":{"a":["x",null,5,{"c":1}]}}`},
		{"keys", "spec.volumes", `{some: {is: {path: key, operator: in, value: [x]}}}`, `{"spec":{"volumes":[{"name":"v","secret":{"secretName":"x","items":[1]},"x":"long","y":null}]}}`,
			`{"spec":{"volumes":[{"name":"v","secret":{},"x":""}]}}`},
		{"values", "", `{some: {in: metadata.labels, is: {path: value, operator: equals, value: x}}}`, `{"metadata":{"labels":{"a":"x","b":"y"}}}`, `{"metadata":{"labels":{"a":"x","b":"y"}}}`},
		{"below values", "", `{every: {in: spec.a, is: {path: value.b, operator: equals, value: x}}}`, `{"spec":{"a":{"c":{"b":"x","d":1},"e":[1],"f":"long"}}}`, `{"spec":{"a":{"c":{"b":"x"},"e":[],"f":""}}}`},
		{"values and a field", "", `{any: [{every: {in: spec.a, is: {path: value.b, operator: equals, value: x}}}, {path: spec.a.c.d, operator: equals, value: 1}]}`,
			`{"spec":{"a":{"c":{"b":"x","d":1},"e":{"b":"x","d":1}}}}`, `{"spec":{"a":{"c":{"b":"x","d":1},"e":{"b":"x"}}}}`},
		{"values that must be there", "", `{some: {in: spec.a, is: {path: value, operator: exists}}}`, `{"spec":{"a":{"b":"shown","data":"secret"}}}`, `{"spec":{"a":{"b":"shown","data":""}}}`},
		{"values that must be there, of every", "", `{every: {in: spec.a, is: {path: value, operator: exists}}}`, `{"spec":{"a":{"b":"long"}}}`, `{"spec":{"a":{"b":""}}}`},
		{"elements that must be there", "", `{some: {in: spec.a, is: {operator: exists}}}`, `{"spec":{"a":["shown"]}}`, `{"spec":{"a":["shown"]}}`},
		{"elements that may be secrets", "spec.containers", `{some: {in: args, is: {operator: exists}}}`, `{"spec":{"containers":[{"name":"app","args":["secret"]}]}}`, `{"spec":{"containers":[{"name":"app","args":[""]}]}}`},
		{"the root inside", "", `{some: {in: spec.a, is: {path: $.spec.b, operator: equals, value: x}}}`, `{"spec":{"a":[{"b":1}],"b":"x"}}`, `{"spec":{"a":[{}],"b":"x"}}`},
		{"entries of entries", "", `{some: {in: spec.a, is: {some: {is: {path: value.b, operator: equals, value: 1}}}}}`, `{"spec":{"a":{"x":{"b":1,"c":1}}}}`, `{"spec":{"a":{"x":{"b":1}}}}`},
		{"counted entries", "", `{all: [{some: {in: spec.a, is: {path: value.b, operator: exists}}}, {path: spec.a, operator: length, value: 2}]}`, `{"spec":{"a":{"x":{"c":1},"y":null}}}`, `{"spec":{"a":{"x":{},"y":null}}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := tableOf(t, tt.forEach, tt.predicate)
			if got := string(sameOfProjection(t, table, table.Projection(), []byte(tt.pod))); got != tt.want {
				t.Errorf("reduced to\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestQuantifiedDetail shows the element for which some is true.
func TestQuantifiedDetail(t *testing.T) {
	value := func(text string) rules.Detail { return rules.Detail{Value: text} }
	withheld := rules.Detail{Withheld: true}
	tests := []struct {
		name, forEach, predicate, pod string
		want                          rules.Detail
	}{
		{"the first true element", "", `{some: {in: spec.a, is: {operator: notEquals, value: x}}}`, `{"spec":{"a":["x","y","z"]}}`, value("y")},
		{"the path of an element", "", `{some: {in: spec.a, is: {all: [{path: b, operator: equals, value: 1}, {path: c, operator: exists}]}}}`, `{"spec":{"a":[{"b":2,"c":"no"},{"b":1,"c":"yes"}]}}`, value("1")},
		{"an element without a scalar, and a leaf behind", "", `{all: [{some: {in: spec.a, is: {path: b, operator: absent}}}, {path: spec.c, operator: exists}]}`, `{"spec":{"a":[{}],"c":"x"}}`, value("x")},
		{"a key", "", `{some: {in: spec.a, is: {path: key, operator: notIn, value: [x]}}}`, `{"spec":{"a":{"x":1,"hostPath":{}}}}`, value("hostPath")},
		{"a value", "", `{some: {in: metadata.labels, is: {path: value, operator: equals, value: x}}}`, `{"metadata":{"labels":{"a":"x"}}}`, value("x")},
		{"a value by its presence", "", `{some: {in: metadata.labels, is: {path: value, operator: exists}}}`, `{"metadata":{"labels":{"a":"x"}}}`, value("x")},
		{"every", "", `{every: {in: spec.a, is: {operator: exists}}}`, `{"spec":{"a":["x"]}}`, rules.Detail{}},
		{"not some", "", `{not: {some: {in: spec.a, is: {operator: absent}}}}`, `{"spec":{"a":["x"]}}`, rules.Detail{}},
		{"an argument", "spec.containers", `{some: {in: args, is: {operator: exists}}}`, `{"spec":{"containers":[{"args":["secret"]}]}}`, withheld},
		{"an environment variable", "spec.containers", `{some: {in: env, is: {path: value, operator: exists}}}`, `{"spec":{"containers":[{"env":[{"value":"secret"}]}]}}`, withheld},
		{"an annotation", "", `{some: {in: metadata.annotations, is: {path: value, operator: matches, value: sec}}}`, `{"metadata":{"annotations":{"a":"secret"}}}`, withheld},
		{"the key of an annotation", "", `{some: {in: metadata.annotations, is: {path: key, operator: matches, value: sec}}}`, `{"metadata":{"annotations":{"secret":"a"}}}`, withheld},
		{"the entry of annotations", "", `{some: {in: metadata, is: {path: value.a, operator: exists}}}`, `{"metadata":{"annotations":{"a":"secret"}}}`, withheld},
		{"the key of annotations", "", `{some: {in: metadata, is: {path: key, operator: exists}}}`, `{"metadata":{"annotations":{"a":"secret"}}}`, value("annotations")},
		{"the entries of the entry of annotations", "", `{some: {in: metadata, is: {some: {in: value, is: {path: value, operator: exists}}}}}`, `{"metadata":{"annotations":{"a":"secret"}}}`, withheld},
		{"the entries of an entry", "", `{some: {in: metadata, is: {some: {is: {path: value.a, operator: exists}}}}}`, `{"metadata":{"annotations":{"a":"secret"}}}`, withheld},
		{"a subject below env", "spec.containers.#.env", `{some: {is: {path: value, operator: equals, value: secret}}}`, `{"spec":{"containers":[{"env":[{"value":"secret"}]}]}}`, withheld},
		{"the pod's list for a subject below env", "spec.containers.#.env", `{some: {in: $.spec.a, is: {operator: exists}}}`, `{"spec":{"a":["x"],"containers":[{"env":[{"value":"secret"}]}]}}`, value("x")},
		{"the pod inside", "spec.containers", `{some: {in: args, is: {path: $.spec.a, operator: exists}}}`, `{"spec":{"a":"x","containers":[{"args":["secret"]}]}}`, value("x")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff([]rules.Detail{tt.want}, detailsOf(t, tableOf(t, tt.forEach, tt.predicate), []byte(tt.pod))); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDetailsOfManyViolations: many violations with many elements each show their values, and never say that a value is absent because the
// search for it ended early.
func TestDetailsOfManyViolations(t *testing.T) {
	repeat := func(n int, part string) string { return strings.Repeat(part+",", n) }
	value, withheld := rules.Detail{Value: "bad"}, rules.Detail{Withheld: true}
	for _, tt := range []struct {
		name, predicate, pod string
		want                 []rules.Detail
	}{
		{"elements of the pod", `{some: {in: $.spec.a, is: {path: b, operator: equals, value: bad}}}`,
			`{"spec":{"a":[` + repeat(9_999, "{}") + `{"b":"bad"}],"containers":[{},{},{},{}]}}`, []rules.Detail{value, value, value, value}},
		{"elements of each subject, which the evaluation did not look at", `{any: [{path: image, operator: absent}, {some: {in: a, is: {path: b, operator: equals, value: bad}}}]}`,
			`{"spec":{"containers":[` + repeat(2, `{"a":[`+repeat(9_999, "{}")+`{"b":"bad"}]}`) + `{"a":[{"b":"bad"}]}]}}`, []rules.Detail{value, value, withheld}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table, pod := tableOf(t, "spec.containers", tt.predicate), []byte(tt.pod)
			verdict, err := table.Evaluate(pod)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, table.Details(nil, pod, verdict.Violations)); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHostileElements has many elements, for many subjects and checks: the answer is unknown where it would cost too much.
func TestHostileElements(t *testing.T) {
	const most = 20_000
	repeat := func(n int, part string) string { return strings.TrimSuffix(strings.Repeat(part+",", n), ",") }
	var labels strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&labels, `,"a%d":{"b":[1,2]}`, i)
	}
	var predicates []string
	for _, in := range []string{"", "in: env, ", "in: $.spec.volumes, ", "in: $.metadata.labels, "} {
		for word, never := range map[string]string{"some": "{path: nope, operator: exists}", "every": "{path: nope, operator: absent}"} {
			predicates = append(predicates, fmt.Sprintf("{%s: {%sis: %s}}", word, in, never),
				fmt.Sprintf("{%s: {%sis: {%s: {in: $.spec.volumes, is: %s}}}}", word, in, word, never), fmt.Sprintf("{%s: {%sis: {%s: {is: %s}}}}", word, in, word, never))
		}
	}
	all := tableOf(t, "spec.containers", predicates...)
	root := tableOf(t, "spec.containers", "{some: {in: $.spec.volumes, is: {path: nope, operator: exists}}}")
	some := tableOf(t, "spec.containers", "{some: {in: env, is: {path: nope, operator: exists}}}")
	tests := []struct {
		name    string
		table   *rules.Table
		pod     string
		unknown int
	}{
		{"as many elements as are allowed", some, `{"spec":{"containers":[{"env":[` + repeat(most, "{}") + `,null]}]}}`, 0},
		{"one more", some, `{"spec":{"containers":[{"env":[` + repeat(most+1, "{}") + `]}]}}`, 1},
		{"one more, in three containers", some, `{"spec":{"containers":[` + repeat(3, `{"env":[`+repeat(most/2, "{}")+`,null]}`) + `]}}`, 1},
		{"a list of the pod, for three containers", root, `{"spec":{"containers":[{},{},{}],"volumes":[` + repeat(most/2, "{}") + `]}}`, 0},
		{"many everywhere", all, `{"metadata":{"labels":{` + labels.String()[1:] + `}},"spec":{"volumes":[` + repeat(100_000, "{}") + `],"containers":[` +
			repeat(100, `{"env":[`+repeat(1000, "{}")+`]}`) + `]}}`, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var verdict rules.Verdict
			began := time.Now()
			bytes := allocated(func() {
				if err := tt.table.EvaluateInto(&verdict, []byte(tt.pod)); err != nil {
					t.Fatal(err)
				}
			})
			t.Logf("%d bytes in %v, %d allocated", len(tt.pod), time.Since(began), bytes)
			if bytes > 32*megabyte {
				t.Errorf("%d bytes are allocated for %d bytes, want at most 32 MB", bytes, len(tt.pod))
			}
			unknown := 0
			for _, v := range verdict.Violations {
				if v.Unknown {
					unknown++
				}
			}
			if tt.unknown >= 0 && unknown != tt.unknown || tt.unknown < 0 && unknown == 0 {
				t.Errorf("%d unknown violations of %d, want %d", unknown, len(verdict.Violations), tt.unknown)
			}
			began = time.Now()
			tt.table.Details(nil, []byte(tt.pod), verdict.Violations)
			t.Logf("details in %v", time.Since(began))
		})
	}
}
