package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

// withWaivers is waivedTable with a file of waivers beside it.
func withWaivers(t testing.TB, waivers ...string) *rules.Table {
	t.Helper()
	text := "apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers:\n"
	for _, w := range waivers {
		text += "  - {reason: R, " + w + "}\n"
	}
	table, err := load(t, waivedTable).WithWaivers("waivers.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestWaivers(t *testing.T) {
	table := withWaivers(t,
		`id: date, expires: 2030-12-31, pod: a`, `id: quoted-date, expires: "2031-02-28", pod: a`,
		`id: time, expires: 2030-12-31T18:00:00Z, pod: a`, `id: zone, expires: 2030-12-31T18:00:00.25+02:00, pod: a`,
		`id: quoted-time, expires: '2030-12-31T18:00:00-05:00', pod: a`,
	)
	var got []string
	for _, w := range table.Waivers() {
		got = append(got, fmt.Sprintf("%s: %s until %s", w.ID, w.Reason, w.Expires.UTC().Format(time.RFC3339Nano)))
	}
	want := []string{
		"of-the-table: The vendor has no other image (J. Doe) until 2030-06-30T00:00:00Z",
		"date: R until 2030-12-31T00:00:00Z",
		"quoted-date: R until 2031-02-28T00:00:00Z",
		"time: R until 2030-12-31T18:00:00Z",
		"zone: R until 2030-12-31T16:00:00.25Z",
		"quoted-time: R until 2030-12-31T23:00:00Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("waivers (-want +got):\n%s", diff)
	}
}

// TestWaiverActive goes to the moment at which a waiver expires.
func TestWaiverActive(t *testing.T) {
	w := withWaivers(t, `id: w, expires: 2030-12-31, pod: a`).Waivers()[1]
	end := time.Date(2030, 12, 31, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		at   time.Time
		want bool
	}{
		{time.Time{}, true}, {end.Add(-time.Nanosecond), true}, {end, false}, {end.Add(time.Nanosecond), false},
		{end.Add(-time.Nanosecond).In(time.FixedZone("", 7200)), true}, {end.In(time.FixedZone("", -7200)), false},
	} {
		if got := w.Active(tt.at); got != tt.want {
			t.Errorf("active at %v: %t, want %t", tt.at, got, tt.want)
		}
	}
}

// TestWithWaivers adds waivers to a table: the table itself does not change, and the hashes differ.
func TestWithWaivers(t *testing.T) {
	table := load(t, waivedTable)
	hash := table.Hash()
	one, other := withWaivers(t, `id: w, expires: 2030-12-31, pod: a`), withWaivers(t, `id: w, expires: 2030-12-31, pod: b`)
	hashes := map[string]bool{hash: true, one.Hash(): true, other.Hash(): true}
	if len(hashes) != 3 || len(one.Hash()) != len(hash) || !strings.HasPrefix(one.Hash(), "sha256:") {
		t.Errorf("hashes %v", hashes)
	}
	if again := withWaivers(t, `id: w, expires: 2030-12-31, pod: a`); again.Hash() != one.Hash() {
		t.Errorf("the same texts have the hashes %s and %s", one.Hash(), again.Hash())
	}
	if n := len(table.Waivers()); n != 1 || table.Hash() != hash {
		t.Errorf("the table itself has %d waivers and the hash %s by now", n, table.Hash())
	}
	if one.Name() != "waived" || len(one.Checks()) != 3 || !one.Includes("shop") {
		t.Error("the table with waivers is another one")
	}
	// A file of no waivers is one that somebody has not filled yet.
	if _, err := table.WithWaivers("w", []byte("apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers: []\n")); err != nil {
		t.Error(err)
	}
}

// TestWaiverMatches asks one waiver about pods: by each thing that it may ask for, and by several at once.
func TestWaiverMatches(t *testing.T) {
	const (
		web    = `{"metadata":{"namespace":"shop","name":"web-0","labels":{"app.kubernetes.io/name":"web","tier":"front","n":5},"ownerReferences":[{"kind":"ReplicaSet","name":"web"},{"kind":"Job","name":"night-2"}]},"spec":{"containers":[{"name":"main","image":"a:latest"},{"name":"proxy-1","image":"b:latest"},{"image":"c:latest"}]}}`
		silent = `{"spec":{"containers":[{"name":"main","image":"a"}]}}`
		odd    = `{"metadata":{"namespace":["shop"],"name":5,"labels":["tier"],"ownerReferences":{"kind":"Job"}},"spec":{"containers":[{"name":"main","image":"a"}]}}`
		broken = `{"metadata":"shop","spec":{"containers":[{"name":"main","image":"a"}]}}`
		owners = `{"metadata":{"ownerReferences":[null,"Job",["Job"],{"kind":["Job"]},{"name":"night"}],"name":"p"},"spec":{"containers":[{"name":"main","image":"a"}]}}`
	)
	const (
		live     = `{"metadata":{"name":"web-5d4-x","labels":{"pod-template-hash":"5d4"},"ownerReferences":[{"kind":"Node","name":"n"},{"kind":"ReplicaSet","name":"web-5d4","controller":true}]},"spec":{"containers":[{"name":"main","image":"a"}]}}`
		template = `{"metadata":{"name":"Deployment/web","ownerReferences":[{"kind":"ReplicaSet","name":"web","controller":true}]},"spec":{"containers":[{"name":"main","image":"a"}]}}`
		nightly  = `{"metadata":{"name":"p","ownerReferences":[{"kind":"Job","name":"night-28918140","controller":true}]},"spec":{"containers":[{"name":"main","image":"a"}]}}`
		alone    = `{"metadata":{"name":"alone","ownerReferences":[{"kind":"Job"}]},"spec":{"containers":[{"name":"main","image":"a"}]}}`
	)
	long := `{"metadata":{"name":"` + strings.Repeat("a", 254) + `"},"spec":{"containers":[{"name":"main","image":"a"}]}}`
	// The violations of latest_tag and missing_liveness, by container, and of no_name: w for waived, v for others.
	tests := []struct{ name, waiver, pod, want string }{
		{"a namespace", `namespace: shop`, web, "www www"},
		{"another namespace", `namespace: sho`, web, "vvv vvv"},
		{"a glob of namespaces", `namespace: "s*p"`, web, "www www"},
		{"no namespace is default", `namespace: default`, silent, "w w w"},
		{"a namespace that is not a string is default", `namespace: default`, odd, "w w"},
		{"metadata that is not an object", `namespace: default`, broken, "w w w"},
		{"a pod", `pod: web-0`, web, "www www"},
		{"a glob of pods", `pod: "web-[0-9]"`, web, "www www"},
		{"another pod", `pod: web`, web, "vvv vvv"},
		{"a pod without a name", `pod: "web*"`, silent, "v v v"},
		{"any name, and none", `pod: "*"`, silent, "w w w"},
		{"a name of 254 letters is none", `pod: "a*"`, long, "v v"},
		{"a container", `container: main`, web, "wvv wvv"},
		{"a glob of containers", `container: "proxy-?"`, web, "vwv vwv"},
		{"any container, also without a name, but not the pod", `container: "*"`, silent, "w w v"},
		{"a container without a name", `container: "*"`, web, "www www"},
		{"a label", `labels: {tier: front}`, web, "www www"},
		{"a label with dots and a slash", `labels: {app.kubernetes.io/name: web}`, web, "www www"},
		{"all labels", `labels: {tier: front, app.kubernetes.io/name: web}`, web, "www www"},
		{"all labels but one", `labels: {tier: front, app.kubernetes.io/name: api}`, web, "vvv vvv"},
		{"a label that is not there", `labels: {tier: front, team: ""}`, web, "vvv vvv"},
		{"a label that is not a string", `labels: {n: "5"}`, web, "vvv vvv"},
		{"labels that are not an object", `labels: {tier: front}`, odd, "v v"},
		{"an owner's kind", `owner: {kind: Job}`, web, "www www"},
		{"an owner's name", `owner: {name: "night-*"}`, web, "www www"},
		{"the kind of one owner and the name of another", `owner: {kind: Job, name: web}`, web, "vvv vvv"},
		{"an owner's kind and name", `owner: {kind: Job, name: "night-?"}`, web, "www www"},
		{"no owner", `owner: {kind: Job}`, silent, "v v v"},
		{"owners that are not a list", `owner: {kind: Job}`, odd, "v v"},
		{"owners that are not objects", `owner: {kind: Job}`, owners, "v v"},
		{"an owner without a kind", `owner: {name: night}`, owners, "w w"},
		{"one of the namespaces", `namespace: [other, "sh[!x]p"]`, web, "www www"},
		{"none of the namespaces", `namespace: [other, "sh[!o]p"]`, web, "vvv vvv"},
		{"a workload by the owner", `workload: ReplicaSet/web`, web, "www www"},
		{"another kind of workload", `workload: Deployment/web`, web, "vvv vvv"},
		{"another name of workload", `workload: ReplicaSet/w`, web, "vvv vvv"},
		{"a Deployment by the hash", `workload: Deployment/web`, live, "w w"},
		{"a ReplicaSet with a Deployment", `workload: "ReplicaSet/*"`, live, "v v"},
		{"the template of a Deployment", `workload: "Deployment/w*"`, template, "w w"},
		{"the owner that stands for a template", `workload: "ReplicaSet/*"`, template, "v v"},
		{"a CronJob by the minute", `workload: CronJob/night`, nightly, "w w"},
		{"a pod without an owner", `workload: Pod/alone`, alone, "w w"},
		{"a pod with an owner", `workload: Pod/web-0`, web, "vvv vvv"},
		{"a pod without a name", `workload: Pod/x*`, silent, "v v v"},
		{"a check", `check: latest_tag`, web, "www vvv"},
		{"checks", `check: [no_name, missing_liveness]`, silent, "v w w"},
		{"a check twice", `check: [latest_tag, latest_tag]`, web, "www vvv"},
		{"everything at once", `namespace: shop, pod: "web-*", container: main, labels: {tier: front}, owner: {kind: Job}, check: missing_liveness`, web, "vvv wvv"},
		{"everything at once but the owner", `namespace: shop, pod: "web-*", container: main, labels: {tier: front}, owner: {kind: DaemonSet}, check: missing_liveness`, web, "vvv vvv"},
		{"the waiver of the table", `pod: none`, strings.ReplaceAll(silent, `{"spec`, `{"metadata":{"name":"vendor"},"spec`), "w v"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := withWaivers(t, "id: w, expires: 2030-12-31, "+tt.waiver)
			verdict, err := table.Evaluate([]byte(tt.pod))
			if err != nil {
				t.Fatal(err)
			}
			got := make([]string, len(table.Checks()))
			for _, v := range verdict.Violations {
				got[v.Check] += map[bool]string{true: "w", false: "v"}[v.Waiver != nil]
			}
			if diff := cmp.Diff(tt.want, strings.TrimSpace(strings.Join(got, " "))); diff != "" {
				t.Errorf("waived (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWaiverOfSeveral shows which waiver governs where several match: the one that expires last, and the first of those.
func TestWaiverOfSeveral(t *testing.T) {
	table := withWaivers(t,
		`id: early, expires: 2030-01-01, check: latest_tag`,
		`id: late, expires: 2032-01-01, container: main`,
		`id: as-late, expires: 2032-01-01T01:00:00+01:00, container: main`,
		`id: latest, expires: 2033-01-01, pod: other`,
		`id: middle, expires: 2031-01-01, namespace: default`,
	)
	pod := `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"main","image":"a"},{"name":"side","image":"b"}]}}`
	want := naiveVerdict{
		Subjects: map[string]int{"latest_tag": 2, "missing_liveness": 2, "no_name": 1},
		Violations: []string{
			`latest_tag spec.containers.0 "main" waived by late`, `latest_tag spec.containers.1 "side" waived by middle`,
			`missing_liveness spec.containers.0 "main" waived by late`, `missing_liveness spec.containers.1 "side" waived by middle`,
		},
	}
	if diff := cmp.Diff(want, evaluateOrFail(t, table, pod)); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	// What is known of one pod must not be kept for the next.
	want.Violations = []string{
		`latest_tag spec.containers.0 "main" waived by latest`, `latest_tag spec.containers.1 "side" waived by latest`,
		`missing_liveness spec.containers.0 "main" waived by latest`, `missing_liveness spec.containers.1 "side" waived by latest`,
	}
	if diff := cmp.Diff(want, evaluateOrFail(t, table, strings.Replace(pod, `"p"`, `"other","namespace":"shop"`, 1))); diff != "" {
		t.Errorf("verdict of another pod (-want +got):\n%s", diff)
	}
}

// TestSkip leaves out pods: by the first reason that holds, before any check is asked.
func TestSkip(t *testing.T) {
	table := load(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: skip}
pods:
  skip:
    - {reason: job, when: {path: metadata.ownerReferences.#.kind, operator: equals, value: Job}}
    - {reason: finished, when: {path: $.status.phase, operator: in, value: [Succeeded, Failed]}}
    - {reason: job, when: {path: metadata.labels.job, operator: exists}}
    - {reason: long, when: {path: metadata.name, operator: matches, value: "^(?:a{100}){9}"}}
checks:
  - {id: latest_tag, weight: 5, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
  - {id: phase, weight: 5, violation: {path: $.status.phase, operator: absent}}
`)
	if diff := cmp.Diff([]string{"finished", "job", "long"}, table.SkipReasons()); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	const rest = `"spec":{"containers":[{"image":"a"}]}`
	tests := []struct {
		name, pod string
		want      naiveVerdict
	}{
		{"a pod that counts", `{"status":{"phase":"Running"},` + rest + `}`,
			naiveVerdict{Subjects: map[string]int{"latest_tag": 1, "phase": 1}, Violations: []string{`latest_tag spec.containers.0 ""`}}},
		{"the first reason", `{"metadata":{"ownerReferences":[{"kind":"X"},{"kind":"Job"}]},"status":{"phase":"Failed"},` + rest + `}`, naiveVerdict{Skip: "job"}},
		{"a path from the root", `{"status":{"phase":"Failed"},` + rest + `}`, naiveVerdict{Skip: "finished"}},
		{"a reason again", `{"metadata":{"labels":{"job":""}},` + rest + `}`, naiveVerdict{Skip: "job"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want.Subjects == nil {
				tt.want.Subjects = map[string]int{"latest_tag": 0, "phase": 0}
			}
			if diff := cmp.Diff(tt.want, evaluateOrFail(t, table, tt.pod)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
	// A skip that is unknown skips nothing: a long name does not exclude a pod from the counts.
	long := evaluateOrFail(t, table, `{"metadata":{"name":"`+strings.Repeat("a", 6000)+`"},`+rest+`}`)
	if want := []string{`latest_tag spec.containers.0 ""`, `phase  ""`}; long.Skip != "" || !slices.Equal(long.Violations, want) {
		t.Errorf("verdict %v of a name that is too long to match; want %v", long, want)
	}
	if got := defaultTable(t).SkipReasons(); len(got) != 0 {
		t.Errorf("reasons %v of a table that skips nothing", got)
	}
}

// TestWhen limits checks: a subject for which when is false is not a subject of the check.
func TestWhen(t *testing.T) {
	table := load(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: when}
checks:
  - {id: startup, weight: 1, forEach: [spec.containers, 'spec.initContainers.#(restartPolicy=="Always")#'], when: {path: livenessProbe, operator: exists}, violation: {path: startupProbe, operator: absent}}
  - {id: root, weight: 1, forEach: spec.containers, when: {path: $.spec.hostUsers, operator: notEquals, value: false}, violation: {path: securityContext.runAsUser, operator: equals, value: 0}}
  - {id: pending, weight: 1, when: {path: status.phase, operator: equals, value: Pending}, violation: {path: 'status.conditions.#(type=="PodScheduled").reason', operator: equals, value: Unschedulable}}
  - {id: all, weight: 1, forEach: spec.containers, violation: {path: nope, operator: absent}}
`)
	pod := `{"spec":{"containers":[{"name":"a","livenessProbe":{}},{"name":"b","securityContext":{"runAsUser":0}}],"initContainers":[{"name":"i","livenessProbe":{}},{"name":"s","restartPolicy":"Always","livenessProbe":{}}]}}`
	tests := []struct {
		name, pod string
		want      naiveVerdict
	}{
		{"some of the subjects", pod, naiveVerdict{
			Subjects:   map[string]int{"startup": 2, "root": 2, "pending": 0, "all": 2},
			Violations: []string{`startup spec.containers.0 "a"`, `startup spec.initContainers.1 "s"`, `root spec.containers.1 "b"`, `all spec.containers.0 "a"`, `all spec.containers.1 "b"`},
		}},
		{"by the pod", strings.Replace(pod, `{"spec":{`, `{"spec":{"hostUsers":false,`, 1), naiveVerdict{
			Subjects:   map[string]int{"startup": 2, "root": 0, "pending": 0, "all": 2},
			Violations: []string{`startup spec.containers.0 "a"`, `startup spec.initContainers.1 "s"`, `all spec.containers.0 "a"`, `all spec.containers.1 "b"`},
		}},
		{"of the pod itself", `{"status":{"phase":"Pending","conditions":[{"type":"Ready"},{"type":"PodScheduled","reason":"Unschedulable"}]}}`, naiveVerdict{
			Subjects: map[string]int{"startup": 0, "root": 0, "pending": 1, "all": 0}, Violations: []string{`pending  ""`},
		}},
		{"of the pod itself, that passes", `{"status":{"phase":"Pending"}}`, naiveVerdict{Subjects: map[string]int{"startup": 0, "root": 0, "pending": 1, "all": 0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, evaluateOrFail(t, table, tt.pod)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWaiverSubjects distinguishes containers from what is in them.
func TestWaiverSubjects(t *testing.T) {
	const pod = `{"spec":{"containers":[{"name":"app","ports":[{"containerPort":80},{"name":"app"}]}],"volumes":[{"name":"tmp"},{"name":"app"}]}}`
	tests := []struct {
		waiver string
		want   []string // what it accepts
	}{
		{`container: app`, []string{`containers spec.containers.0 "app"`, `ports spec.containers.0.ports.0 "app" "80/TCP"`, `ports spec.containers.0.ports.1 "app" "app"`, `volumes spec.volumes.1 "" "app"`}},
		{`subject: app`, []string{`ports spec.containers.0.ports.1 "app" "app"`, `volumes spec.volumes.1 "" "app"`}},
		{`container: app, subject: "*/TCP"`, []string{`ports spec.containers.0.ports.0 "app" "80/TCP"`}},
		{`subject: "8*"`, []string{`ports spec.containers.0.ports.0 "app" "80/TCP"`}}, // a slash is nothing special
		{`subject: "80/[!U]*"`, []string{`ports spec.containers.0.ports.0 "app" "80/TCP"`}},
		{`subject: "80/U*"`, nil},
		{`container: tmp`, []string{`volumes spec.volumes.0 "" "tmp"`}},
		{`subject: "*"`, []string{`ports spec.containers.0.ports.0 "app" "80/TCP"`, `ports spec.containers.0.ports.1 "app" "app"`, `volumes spec.volumes.0 "" "tmp"`, `volumes spec.volumes.1 "" "app"`}},
	}
	for _, tt := range tests {
		t.Run(tt.waiver, func(t *testing.T) {
			table := load(t, hostileHead+`checks:
  - {id: containers, weight: 1, forEach: spec.containers, violation: {path: nope, operator: absent}}
  - {id: ports, weight: 1, forEach: spec.containers.#.ports, violation: {path: nope, operator: absent}}
  - {id: volumes, weight: 1, forEach: spec.volumes, violation: {path: nope, operator: absent}}
waivers: [{id: w, reason: r, expires: 2030-01-01, `+tt.waiver+`}]
`)
			var got []string
			for _, v := range evaluateOrFail(t, table, pod).Violations {
				if accepted, ok := strings.CutSuffix(v, " waived by w"); ok {
					got = append(got, accepted)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAccepting has two waivers for one violation, one for another pod, one for another check, and one for nothing.
func TestAccepting(t *testing.T) {
	table := load(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: t}
checks:
  - {id: image, weight: 1, forEach: spec.containers, violation: {path: image, operator: absent}}
  - {id: probe, weight: 1, forEach: spec.containers, violation: {path: probe, operator: absent}}
waivers:
  - {id: early, reason: r, expires: 2020-01-01, pod: a, check: image}
  - {id: late, reason: r, expires: 2040-01-01, pod: a, container: "*"}
  - {id: other-pod, reason: r, expires: 2040-01-01, pod: b}
  - {id: other-check, reason: r, expires: 2040-01-01, check: probe}
  - {id: other-container, reason: r, expires: 2040-01-01, container: y}
`)
	pod := []byte(`{"metadata":{"name":"a"},"spec":{"containers":[{"name":"x","probe":1}]}}`)
	verdict, err := table.Evaluate(pod)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range table.Accepting(pod, verdict) {
		got = append(got, w.ID)
	}
	if diff := cmp.Diff([]string{"early", "late"}, got); diff != "" {
		t.Errorf("waivers (-want +got):\n%s", diff)
	}
	if got := table.Accepting(pod, rules.Verdict{}); got != nil {
		t.Errorf("waivers of no violation: %v", got)
	}
}

// TestWaiverOfOneCapability accepts one entry of a list. Another one that is added later counts.
func TestWaiverOfOneCapability(t *testing.T) {
	table := load(t, hostileHead+`checks:
  - {id: caps, weight: 8, forEach: allContainers.securityContext.capabilities.add, violation: {operator: notIn, value: [NET_BIND_SERVICE]}}
waivers: [{id: vpn, reason: r, expires: 2099-01-01, namespace: shop, workload: Pod/x, container: web, check: caps, subject: NET_ADMIN}]
`)
	const pod = `{"metadata":{"name":"x","namespace":"shop"},"spec":{"containers":[{"name":"web","securityContext":{"capabilities":{"add":["NET_ADMIN","SYS_ADMIN","NET_BIND_SERVICE"]}}}]}}`
	want := naiveVerdict{Subjects: map[string]int{"caps": 3}, Violations: []string{
		`caps spec.containers.0.securityContext.capabilities.add.0 "web" "NET_ADMIN" waived by vpn`,
		`caps spec.containers.0.securityContext.capabilities.add.1 "web" "SYS_ADMIN"`,
	}}
	if diff := cmp.Diff(want, evaluateOrFail(t, table, pod)); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}
