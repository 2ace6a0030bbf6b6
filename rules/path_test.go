package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPaths(t *testing.T) {
	tests := []struct {
		name      string
		predicate string
		pod       string
		want      bool
	}{
		{"a key", `{path: a, operator: equals, value: 1}`, `{"a":1}`, true},
		{"a key behind others", `{path: b, operator: equals, value: 1}`, `{"ab":5,"x":{"b":5},"y":[{"b":5}],"b":1}`, true},
		{"keys are whole words", `{path: a, operator: exists}`, `{"ab":1,"A":1,"":1}`, false},
		{"keys of all letters", `{path: aZ/0_9-.b, operator: exists}`, `{"aZ/0_9-":{"b":1}}`, true},
		{"a key that is written with escapes", `{path: spec.a, operator: exists}`, `{"\u0073pec":{"\u0061":1}}`, true},
		{"a dot in a key", `{path: 'a.example\.com/b', operator: equals, value: x}`, `{"a":{"example.com/b":"x"}}`, true},
		{"a dot in a key is not a step", `{path: 'a.example\.com/b', operator: exists}`, `{"a":{"example":{"com/b":"x"}}}`, false},
		{"a step is not a dot in a key", `{path: 'a.b', operator: exists}`, `{"a.b":1}`, false},
		{"only dots", `{path: '\.\.', operator: exists}`, `{"..":1}`, true},
		{"a dot and an index in a key", `{path: 'a.0\.5', operator: exists}`, `{"a":["x"],"0.5":1}`, false},
		{"one key of an object fits alone", `{path: a.b, operator: exists}`, `{"a":{"c":{"b":1}},"b":1}`, false},

		{"an index", `{path: a.1.b, operator: equals, value: 2}`, `{"a":[{"b":1},{"b":2}]}`, true},
		{"an index beyond the end", `{path: a.2, operator: exists}`, `{"a":[1,2]}`, false},
		{"an index of an array in an array", `{path: a.1.0, operator: equals, value: 3}`, `{"a":[[1],[3]]}`, true},
		{"a huge index", `{path: a.999999999999999999, operator: exists}`, `{"a":[1]}`, false},
		{"no index from the end", `{path: a.-1, operator: exists}`, `{"a":[1]}`, false},
		{"a number as a key", `{path: a.0, operator: equals, value: x}`, `{"a":{"0":"x"}}`, true},
		{"a key of an array", `{path: a.b, operator: exists}`, `{"a":[{"b":1}]}`, false},

		{"each element", `{path: 'a.#.b', operator: equals, value: 2}`, `{"a":[{"b":1},{},null,5,"x",[],{"b":2}]}`, true},
		{"each element of none", `{path: 'a.#.b', operator: absent}`, `{"a":[{"c":1},{"b":null}]}`, true},
		{"each element of each array", `{path: 'a.#.#.b', operator: equals, value: 3}`, `{"a":[[{"b":1}],5,[{"b":3}]]}`, true},
		{"each element of an object", `{path: 'a.#.b', operator: exists}`, `{"a":{"c":{"b":1}}}`, false},
		{"each element of the pod", `{path: '#.a', operator: exists}`, `{"a":1}`, false},

		{"a length", `{path: 'a.#', operator: equals, value: 3}`, `{"a":[1,[2,3],{"a":[]}]}`, true},
		{"a length counts null", `{path: 'a.#', operator: equals, value: 2}`, `{"a":[null,null]}`, true},
		{"the length of an empty array", `{path: 'a.#', operator: lessThan, value: 1}`, `{"a":[ ]}`, true},
		{"the length of an object", `{path: 'a.#', operator: absent}`, `{"a":{"b":1}}`, true},
		{"the length of a text", `{path: 'a.#', operator: absent}`, `{"a":"[1,2]"}`, true},
		{"the length of null", `{path: 'a.#', operator: absent}`, `{"a":null}`, true},
		{"the length of the pod", `{path: '#', operator: absent}`, `{"a":1}`, true},
		{"the length of any array", `{path: 'a.#.#', operator: equals, value: 2}`, `{"a":[[1],[1,2],5]}`, true},

		{"the first that", `{path: 'a.#(n=="x").v', operator: equals, value: 1}`, `{"a":[{"n":"y","v":0},{"n":"x","v":1},{"n":"x","v":2}]}`, true},
		{"the first that and no other", `{path: 'a.#(n=="x").v', operator: equals, value: 2}`, `{"a":[{"n":"x","v":1},{"n":"x","v":2}]}`, false},
		{"the first that, though it lacks the key", `{path: 'a.#(n=="x").v', operator: exists}`, `{"a":[{"n":"x"},{"n":"x","v":2}]}`, false},
		{"all that", `{path: 'a.#(n=="x")#.v', operator: equals, value: 2}`, `{"a":[{"n":"x","v":1},{"n":"x","v":2}]}`, true},
		{"all that and no other", `{path: 'a.#(n=="x")#.v', operator: equals, value: 3}`, `{"a":[{"n":"x","v":1},{"n":"y","v":3}]}`, false},
		{"the element itself", `{path: 'a.#(n=="x")', operator: exists}`, `{"a":[{"n":"x"}]}`, true},
		{"elements themselves", `{path: 'a.#(n=="x")#', operator: exists}`, `{"a":[{"n":"y"}]}`, false},
		{"a query of an escaped text", `{path: 'a.#(n=="x").v', operator: exists}`, `{"a":[{"\u006e":"\u0078","v":1}]}`, true},
		{"a query compares text alone", `{path: 'a.#(n=="5").v', operator: exists}`, `{"a":[{"n":5,"v":1},{"n":[5],"v":1},"5",{"n":null,"v":1},{"v":1}]}`, false},
		{"a query on an object", `{path: 'a.#(n=="x").v', operator: exists}`, `{"a":{"n":"x","v":1}}`, false},
		{"a query for brackets, dots and marks", `{path: 'a.#(n=="@[0].{*}|#(?) ").v', operator: exists}`, `{"a":[{"n":"@[0].{*}|#(?) ","v":1}]}`, true},
		{"a query for nothing", `{path: 'a.#(n=="").v', operator: exists}`, `{"a":[{"n":"","v":1}]}`, true},
		{"a query on a numeric key", `{path: 'a.#(0=="x").v', operator: exists}`, `{"a":[["x"],{"0":"x","v":1}]}`, true},

		{"null in the middle", `{path: a.b.c, operator: absent}`, `{"a":{"b":null}}`, true},
		{"null in an array", `{path: 'a.#.b', operator: notEquals, value: 1}`, `{"a":[null,{"b":null},{"b":1}]}`, false},
		{"a number in the middle", `{path: a.b, operator: exists}`, `{"a":5}`, false},
		{"brackets in a string are not an object", `{path: a.b, operator: exists}`, `{"a":"{\"b\":1}"}`, false},
		{"brackets in a string are not an array", `{path: a.0, operator: exists}`, `{"a":"[1]"}`, false},
		{"brackets in the texts of an array", `{path: 'a.#.b', operator: exists}`, `{"a":["{\"b\":1}","[{\"b\":1}]"]}`, false},
		{"brackets in the texts of an array, by index", `{path: 'a.#.0', operator: exists}`, `{"a":["[1]","[[1]]"]}`, false},
		{"brackets in the text of an element that", `{path: 'a.#(n=="x").v.0', operator: exists}`, `{"a":[{"n":"x","v":"[1]"}]}`, false},
		{"brackets in a text that is asked", `{path: 'a.#(b=="c")', operator: exists}`, `{"a":["{\"b\":\"c\"}"]}`, false},
		{"brackets in texts before", `{path: b, operator: equals, value: 1}`, `{"a":"}]\"{","x":["\\\\","]"],"y":{"b":"\\\"}"},"b":1}`, true},
		{"parentheses in texts before", `{path: b, operator: equals, value: 1}`, `{"a":"((","x":["(",{"(":")"}],"b":1}`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := holds(t, tableOf(t, "", tt.predicate), tt.pod) == "T"; got != tt.want {
				t.Errorf("%s holds for %s: %v, want %v", tt.predicate, tt.pod, got, tt.want)
			}
		})
	}
}

// TestSeveralValues shows that a leaf is true when any of the values fulfils it, and that only no value at all is absent.
func TestSeveralValues(t *testing.T) {
	predicates := []string{
		`exists}`, `absent}`, `equals, value: 1}`, `notEquals, value: 1}`, `in, value: [1, 2]}`, `notIn, value: [1, 2]}`, `greaterThan, value: 1}`, `lessThan, value: 1}`,
	}
	pods := []string{`{}`, `{"a":[]}`, `{"a":[{"b":null}]}`, `{"a":[{"b":1}]}`, `{"a":[{"b":1},{"b":2}]}`, `{"a":[{"b":1},{"b":"1"}]}`, `{"a":[{},{"b":3},{"b":0}]}`}
	for i, p := range predicates {
		predicates[i] = `{path: "a.#.b", operator: ` + p
	}
	table := tableOf(t, "", append(predicates, `{not: {path: "a.#.b", operator: equals, value: 1}}`)...)
	var got strings.Builder
	for _, pod := range pods {
		fmt.Fprintf(&got, "%s %s\n", holds(t, table, pod), pod)
	}
	want := `` +
		// exists, absent, =1, !=1, in 1 2, not in 1 2, >1, <1, not =1
		`.T.T.T..T {}
.T.T.T..T {"a":[]}
.T.T.T..T {"a":[{"b":null}]}
T.T.T.... {"a":[{"b":1}]}
T.TTT.T.. {"a":[{"b":1},{"b":2}]}
T.TTTT... {"a":[{"b":1},{"b":"1"}]}
T..T.TTTT {"a":[{},{"b":3},{"b":0}]}
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("truth table (-want +got):\n%s", diff)
	}
}

// TestRootPaths looks at the pod from within its containers.
func TestRootPaths(t *testing.T) {
	table := tableOf(t, "spec.containers",
		`{path: $.spec.hostNetwork, operator: equals, value: true}`,
		`{path: spec.hostNetwork, operator: exists}`,
		`{all: [{path: name, operator: equals, value: b}, {path: $.metadata.name, operator: equals, value: p}]}`,
		`{path: '$.spec.containers.#', operator: greaterThan, value: 2}`,
		`{not: {path: '$.spec.containers.#.name', operator: equals, value: c}}`,
	)
	got := evaluateOrFail(t, table, `{"metadata":{"name":"p"},"spec":{"hostNetwork":true,"containers":[{"name":"a"},{"name":"b"}]}}`)
	want := naiveVerdict{
		Subjects: map[string]int{"c0": 2, "c1": 2, "c2": 2, "c3": 2, "c4": 2},
		Violations: []string{
			`c0 spec.containers.0 "a"`, `c0 spec.containers.1 "b"`,
			`c2 spec.containers.1 "b"`,
			`c4 spec.containers.0 "a"`, `c4 spec.containers.1 "b"`,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	// The answer for one pod must not be kept for the next.
	want = naiveVerdict{Subjects: map[string]int{"c0": 1, "c1": 1, "c2": 1, "c3": 1, "c4": 1}}
	got = evaluateOrFail(t, table, `{"spec":{"containers":[{"name":"c"}]}}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdict of the second pod (-want +got):\n%s", diff)
	}
}

// TestAliases has each alias, alone and with a field behind it, in pods that run on and pods that run to completion.
func TestAliases(t *testing.T) {
	const containers = `"containers":[{"name":"app","args":[1],"ports":[{"containerPort":80}]}],"ephemeralContainers":[{"name":"debug"}],` +
		`"initContainers":[{"name":"init","ports":[{"name":"p"}]},{"name":"proxy","restartPolicy":"Always","ports":[{"name":"q"},{"name":"r"}]},{"restartPolicy":"always"}]`
	all := []string{`spec.containers.0 "app"`, `spec.initContainers.0 "init"`, `spec.initContainers.1 "proxy"`, `spec.initContainers.2 ""`, `spec.ephemeralContainers.0 "debug"`}
	main := []string{`spec.containers.0 "app"`, `spec.initContainers.1 "proxy"`}
	ports := []string{`spec.containers.0.ports.0 "app" "80/TCP"`, `spec.initContainers.1.ports.0 "proxy" "q"`, `spec.initContainers.1.ports.1 "proxy" "r"`}
	tests := []struct {
		forEach, spec string
		want          []string
	}{
		{"allContainers", ``, all},
		{"mainContainers", ``, main},
		{"mainContainers", `"restartPolicy":"Never",`, main},
		{"longRunningContainers", ``, main},
		{"longRunningContainers", `"restartPolicy":null,`, main},
		{"longRunningContainers", `"restartPolicy":"Always",`, main},
		{"longRunningContainers", `"restartPolicy":"OnFailure",`, main[1:]},
		{"longRunningContainers", `"restartPolicy":"Never",`, main[1:]},
		{"allContainers.ports", ``, append([]string{ports[0], `spec.initContainers.0.ports.0 "init" "p"`}, ports[1:]...)},
		{"mainContainers.ports", ``, ports},
		{"longRunningContainers.ports", `"restartPolicy":"Never",`, ports[1:]},
		{`'mainContainers.ports.#(name=="q")#'`, ``, ports[1:2]},
		{"[longRunningContainers.args, spec.ephemeralContainers]", ``, []string{`spec.containers.0.args.0 "app" "args.0"`, `spec.ephemeralContainers.0 "debug"`}},
	}
	for _, tt := range tests {
		t.Run(tt.forEach+tt.spec, func(t *testing.T) {
			want := naiveVerdict{Subjects: map[string]int{"c0": len(tt.want)}}
			for _, w := range tt.want {
				want.Violations = append(want.Violations, "c0 "+w)
			}
			table := tableOf(t, tt.forEach, `{path: nope, operator: absent}`)
			pod := `{"spec":{` + tt.spec + containers + `}}`
			got := evaluateOrFail(t, table, pod)
			sameOfProjection(t, table, table.Projection(), []byte(pod))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
			roundTrip(t, table)
		})
	}
}

// TestPathlessLeaves asks for the subject itself.
func TestPathlessLeaves(t *testing.T) {
	table := tableOf(t, "c", `{operator: notIn, value: [a, 1]}`, `{operator: exists}`, `{operator: absent}`, `{operator: length, value: 1}`,
		`{any: [{operator: equals, value: true}, {path: x, operator: exists}]}`)
	got := evaluateOrFail(t, table, `{"c":["a","b",1,true,null,{"x":1},{}]}`)
	want := naiveVerdict{Subjects: map[string]int{"c0": 6, "c1": 6, "c2": 6, "c3": 6, "c4": 6}, Violations: []string{
		`c0 c.1 "" "b"`, `c0 c.3 "" "true"`, `c0 c.5 "" "c.5"`, `c0 c.6 "" "c.6"`,
		`c1 c.0 "" "a"`, `c1 c.1 "" "b"`, `c1 c.2 "" "1"`, `c1 c.3 "" "true"`, `c1 c.5 "" "c.5"`, `c1 c.6 "" "c.6"`,
		`c3 c.0 "" "a"`, `c3 c.1 "" "b"`, `c3 c.5 "" "c.5"`,
		`c4 c.3 "" "true"`, `c4 c.5 "" "c.5"`,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	roundTrip(t, table)
	if got := table.Checks()[0].Violation(); got != "the value is none of a, 1" {
		t.Errorf("described as %q", got)
	}
}

func TestSubjects(t *testing.T) {
	tests := []struct {
		name    string
		forEach string
		pod     string
		want    []string // the violations: all subjects
	}{
		{"containers", `spec.containers`, `{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}`, []string{`spec.containers.0 "a"`, `spec.containers.1 "b"`}},
		{"the names of subjects", `c`, `{"c":[{"name":"\u0061\n\"]"},{"name":5},{"name":null},{}]}`, []string{`c.0 "" "a\n\"]"`, `c.1 "" "c.1"`, `c.2 "" "c.2"`, `c.3 "" "c.3"`}},
		{"no null and no list in a list", `c`, `{"c":[null,1.50,"{\"name\":\"x\"}",[{"name":"x"}],true,{"name":"a"},""]}`,
			[]string{`c.1 "" "1.50"`, `c.2 "" "{\"name\":\"x\"}"`, `c.4 "" "true"`, `c.5 "" "a"`, `c.6 "" "c.6"`}},
		{"strings", `"spec.containers.#.securityContext.capabilities.add"`, `{"spec":{"containers":[{"name":"app","securityContext":{"capabilities":{"add":["NET_ADMIN",null,"SYS_PTRACE"]}}}]}}`,
			[]string{`spec.containers.0.securityContext.capabilities.add.0 "app" "NET_ADMIN"`, `spec.containers.0.securityContext.capabilities.add.2 "app" "SYS_PTRACE"`}},
		{"strings that may be secrets", `"spec.containers.#.args"`, `{"spec":{"containers":[{"name":"app","args":["--token=x"]}]}}`, []string{`spec.containers.0.args.0 "app" "args.0"`}},
		{"a long string", `c`, `{"c":["` + strings.Repeat("é", 101) + `"]}`, []string{`c.0 "" "` + strings.Repeat("é", 98) + `…"`}},
		{"no array", `c`, `{"c":{"name":"a"}}`, nil},
		{"a text", `c`, `{"c":"[{}]"}`, nil},
		{"brackets in texts", `"c.#.0"`, `{"c":["[[{}]]","[{\"name\":\"x\"}]",[[{"name":"a"}]]]}`, []string{`c.2.0.0 "" "a"`}},
		{"two lists", `[spec.initContainers, spec.containers]`, `{"spec":{"containers":[{"name":"a"}],"initContainers":[{"name":"i"}]}}`, []string{`spec.initContainers.0 "i"`, `spec.containers.0 "a"`}},
		{"arrays in elements", `"c.#.ports"`, `{"c":[{"ports":[{"name":"a"},{"name":"b"}]},{},{"ports":[{"name":"c"}]}]}`, []string{`c.0.ports.0 "" "a"`, `c.0.ports.1 "" "b"`, `c.2.ports.0 "" "c"`}},
		{"arrays in arrays in elements", `"a.#.b.#.c"`, `{"a":[{"b":[{"c":[{}]},{"c":[{},{}]}]}]}`, []string{`a.0.b.0.c.0 "" "a.0.b.0.c.0"`, `a.0.b.1.c.0 "" "a.0.b.1.c.0"`, `a.0.b.1.c.1 "" "a.0.b.1.c.1"`}},
		{"an index", `c.1.ports`, `{"c":[{"ports":[{"name":"a"}]},{"ports":[{"name":"b"}]}]}`, []string{`c.1.ports.0 "" "b"`}},
		{"the first that", `'c.#(name=="b").ports'`, `{"c":[{"name":"a"},{"name":"b","ports":[{"name":"p"}]},{"name":"b","ports":[{"name":"q"}]}]}`, []string{`c.1.ports.0 "" "p"`}},
		{"all that", `'c.#(name=="b")#'`, `{"c":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"b"}]}`, []string{`c.1 "" "b"`, `c.3 "" "b"`}},
		{"a dot in a key", `'a\.b/c'`, `{"a.b/c":[{"name":"x"}],"a":{"b/c":[{"name":"y"}]}}`, []string{`a\.b/c.0 "" "x"`}},
		{"an environment variable", `"spec.containers.#.env"`, `{"spec":{"containers":[{"name":"app","env":[{"name":"A"},{}]}]}}`, []string{`spec.containers.0.env.0 "app" "A"`, `spec.containers.0.env.1 "app" "env.1"`}},
		{"ports", `"spec.containers.#.ports"`, `{"spec":{"containers":[{"name":"app","ports":[{"containerPort":80,"name":"web"},{"containerPort":80},{"containerPort":53,"protocol":"UDP"},{"containerPort":"80"}]}]}}`,
			[]string{`spec.containers.0.ports.0 "app" "web"`, `spec.containers.0.ports.1 "app" "80/TCP"`, `spec.containers.0.ports.2 "app" "53/UDP"`, `spec.containers.0.ports.3 "app" "ports.3"`}},
		{"a part of one container", `spec.initContainers.1.volumeMounts`, `{"spec":{"initContainers":[{"name":"a"},{"volumeMounts":[{"name":"v"}],"name":"b"}]}}`, []string{`spec.initContainers.1.volumeMounts.0 "b" "v"`}},
		{"a part of a container that is asked for", `'spec.containers.#(name=="b").env'`, `{"spec":{"containers":[{"name":"a"},{"name":"b","env":[{"name":"A"}]}]}}`, []string{`spec.containers.1.env.0 "b" "A"`}},
		{"a part of a container without a name", `"spec.containers.#.env"`, `{"spec":{"containers":[{"env":[{"name":"A"}]},{"name":5,"env":[{"name":"B"}]}]}}`, []string{`spec.containers.0.env.0 "" "A"`, `spec.containers.1.env.0 "" "B"`}},
		{"the list of one container", `spec.containers.0`, `{"spec":{"containers":[[{"name":"a"}]]}}`, []string{`spec.containers.0.0 "" "a"`}},
		{"a toleration", `spec.tolerations`, `{"spec":{"tolerations":[{"key":"gpu"},{"operator":"Exists"}]}}`, []string{`spec.tolerations.0 "" "gpu"`, `spec.tolerations.1 "" "spec.tolerations.1"`}},
		{"a volume", `spec.volumes`, `{"spec":{"volumes":[{"name":"tmp"}]}}`, []string{`spec.volumes.0 "" "tmp"`}},
		{"a status", `status.containerStatuses`, `{"status":{"containerStatuses":[{"name":"app"}]}}`, []string{`status.containerStatuses.0 "" "app"`}},
		{"lists in turn", `["spec.containers.#.env", spec.volumes]`, `{"spec":{"containers":[{"name":"app","env":[{"name":"A"}]}],"volumes":[{"name":"tmp"}]}}`, []string{`spec.containers.0.env.0 "app" "A"`, `spec.volumes.0 "" "tmp"`}},
		{"many", `c`, `{"c":[` + strings.Repeat("null,", 40) + `{"name":"a"}]}`, []string{`c.40 "" "a"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := naiveVerdict{Subjects: map[string]int{"c0": len(tt.want)}}
			for _, w := range tt.want {
				want.Violations = append(want.Violations, "c0 "+w)
			}
			table := tableOf(t, tt.forEach, `{path: nope, operator: absent}`)
			got := evaluateOrFail(t, table, tt.pod)
			sameOfProjection(t, table, table.Projection(), []byte(tt.pod))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}
