package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/golden"
)

// mixedTable has checks that are not in the order of the alphabet, one of them of the pod itself.
const mixedTable = `
apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata:
  name: mixed
namespaces:
  exclude: [left-out]
checks:
  - id: zeta
    description: 'The image ends with ":latest" & that is <bad>'
    severity: critical
    weight: 7
    forEach: spec.containers
    violation: {path: image, operator: hasSuffix, value: ":latest"}
  - id: alpha
    severity: low
    weight: 3
    violation: {path: spec.hostNetwork, operator: equals, value: true}
grades: [{name: Healthy, min: 80}, {name: Stable, min: 60}, {name: Degraded, min: 40}, {name: Critical, min: 0}]
`

// accepting is a table whose waivers accept what the pods of a test violate, until they expire.
const accepting = mixedTable + `
waivers:
  - {id: vendor, reason: The vendor has no other image, expires: 2030-06-30, container: two, check: zeta}
  - {id: network, reason: An agent of the node, expires: 2030-12-31T18:00:00+02:00, pod: b, check: alpha}
  - {id: unused, reason: r, expires: 2031-01-01, pod: none}
`

func loadTable(t *testing.T, text string) *rules.Table {
	t.Helper()
	table, err := rules.Load("table.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func defaultTable(t *testing.T) *rules.Table {
	t.Helper()
	table, err := policies.Open(policies.Default)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// A pod is one of a test: its names, and its JSON.
type pod struct{ namespace, name, json string }

// observed is the state after all pods were seen.
func observed(table *rules.Table, pods ...pod) *state.ClusterState {
	s := state.New(table)
	for _, p := range pods {
		// A pod that cannot be evaluated is counted as that.
		_, _ = s.Observe(state.Pod{Namespace: p.namespace, Name: p.name}, []byte(p.json))
	}
	return s
}

// nginx is the pod of the example in the design.
const nginx = `{"spec": {"containers": [{"name": "nginx", "image": "nginx:latest", "readinessProbe": {}}]}}`

func TestJSON(t *testing.T) {
	mixed := loadTable(t, mixedTable)
	hostile := "q\"uote <tag> & \\back\nline \u2028 \x00 \U0001F600"
	waived := func(now time.Time) *state.Snapshot {
		s := observed(loadTable(t, accepting),
			pod{"web", "b", `{"metadata": {"namespace": "web", "name": "b"}, "spec": {"hostNetwork": true, "containers": [{"name": "two", "image": "a:latest"}, {"name": "one", "image": "b:latest"}]}}`},
			pod{"api", "z", `{"metadata": {"namespace": "api", "name": "z"}, "spec": {"containers": [{"name": "two", "image": "a:latest"}]}}`},
		)
		s.ExpireWaivers(now)
		return s.SnapshotWithViolations()
	}
	tests := []struct {
		name   string // and that of the golden file
		golden string
		snap   *state.Snapshot
	}{
		{
			name: "the example of the design", golden: "example.json",
			snap: observed(defaultTable(t), pod{"default", "nginx", nginx}).SnapshotWithViolations(),
		},
		{name: "no pods", golden: "empty.json", snap: observed(defaultTable(t)).SnapshotWithViolations()},
		{
			name: "namespaces, pods and checks in order", golden: "mixed.json",
			snap: observed(mixed,
				pod{"web", "b", `{"spec": {"hostNetwork": true, "containers": [{"name": "two", "image": "a:latest"}, {"name": "one", "image": "b:latest"}]}}`},
				pod{"web", "a", `{"spec": {"containers": [{"image": "nameless:latest"}]}}`},
				pod{"web", "clean", `{"spec": {"containers": [{"name": "main", "image": "a:1"}]}}`},
				pod{"api", "z", `{"spec": {"hostNetwork": true}}`},
				pod{"api", "broken", `{"spec": `},
				pod{"batch", "broken", `not JSON`},
				pod{"left-out", "bad", nginx},
				pod{"empty", "nothing", `{}`},
			).SnapshotWithViolations(),
		},
		{
			name: "violations that are waived", golden: "waived.json",
			snap: waived(time.Date(2030, 6, 29, 23, 59, 59, 0, time.UTC)),
		},
		{
			name: "one waiver has expired", golden: "waived-less.json",
			snap: waived(time.Date(2030, 6, 30, 0, 0, 0, 0, time.UTC)),
		},
		{
			name: "all waivers have expired", golden: "waived-none.json",
			snap: waived(time.Date(2030, 12, 31, 16, 0, 0, 0, time.UTC)),
		},
		{
			name: "names that are hostile", golden: "hostile.json",
			snap: observed(mixed, pod{hostile, hostile,
				`{"spec": {"containers": [{"name": ` + quoted(hostile) + `, "image": ":latest"}]}}`}).SnapshotWithViolations(),
		},
		{
			name: "a snapshot without violations", golden: "counts.json",
			snap: observed(defaultTable(t), pod{"default", "nginx", nginx}).Snapshot(),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := JSON(&out, test.snap, nil, nil); err != nil {
				t.Fatal(err)
			}
			if !json.Valid(out.Bytes()) {
				t.Errorf("this is not JSON:\n%s", out.String())
			}
			// The hash is another one after each change of the table, be it to a comment.
			golden.Compare(t, filepath.Join("testdata", test.golden), strings.Replace(out.String(), test.snap.Table.Hash(), "sha256:...", 1))
		})
	}
}

func quoted(text string) string {
	q, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(q)
}

// design is the shape that other people's scripts depend on, with the hash and the message filled in.
const design = `{"policy": {"name": "default", "hash": "sha256:..."},
 "cluster": {"namespaces": 1, "pods": 1, "score": 8, "compliance": 20, "grade": "Critical",
             "violations": {"latest_tag": 1, "missing_liveness": 1, "missing_readiness": 0}},
 "namespaces": [{"namespace": "default", "pods": 1, "score": 8, "compliance": 20, "grade": "Critical",
                 "violations": {"latest_tag": 1, "missing_liveness": 1, "missing_readiness": 0}}],
 "version": 1,
 "violations": [{"namespace": "default", "pod": "nginx", "check": "latest_tag", "severity": "high", "weight": 5,
                 "container": "nginx", "path": "spec.containers.0", "value": "nginx:latest",
                 "message": "The image ends with :latest: nginx:latest", "remediation": "Pin the image to a version or a digest."},
                {"namespace": "default", "pod": "nginx", "check": "missing_liveness", "severity": "medium", "weight": 3,
                 "container": "nginx", "path": "spec.containers.0", "message": "The container has no liveness probe",
                 "remediation": "Add a livenessProbe, so that the kubelet restarts the container when it hangs."}]}`

// The same keys and values in the same order as in the design: only the spaces between them are free.
func TestShapeOfTheDesign(t *testing.T) {
	table := defaultTable(t)
	var out bytes.Buffer
	details := func(v state.PodViolation) rules.Detail {
		if table.Checks()[v.Check].ID == "latest_tag" {
			return rules.Detail{Value: "nginx:latest"}
		}
		return rules.Detail{Withheld: true}
	}
	if err := JSON(&out, observed(table, pod{"default", "nginx", nginx}).SnapshotWithViolations(), details, nil); err != nil {
		t.Fatal(err)
	}
	want := compacted(t, strings.Replace(design, "sha256:...", table.Hash(), 1))
	if diff := cmp.Diff(want, compacted(t, out.String())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func compacted(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The scope of an agent stands before the cluster whose meaning it changes, and is absent where the whole cluster is watched.
func TestScope(t *testing.T) {
	snap := observed(defaultTable(t), pod{"a", "nginx", nginx}).SnapshotWithViolations()
	for want, scope := range map[string]*Scope{
		`"scope":{"namespaces":["a","b"],"forbidden":["b"]},"cluster":`: {Namespaces: []string{"a", "b"}, Forbidden: []string{"b"}},
		`"scope":{"namespaces":["a"],"forbidden":[]},"cluster":`:        {Namespaces: []string{"a"}, Forbidden: []string{}},
		`"},"cluster":`: nil,
	} {
		var out bytes.Buffer
		if err := JSON(&out, snap, nil, scope); err != nil {
			t.Fatal(err)
		}
		if text := compacted(t, out.String()); !strings.Contains(text, want) || strings.Contains(text, `"scope"`) != (scope != nil) {
			t.Errorf("no %s in:\n%s", want, text)
		}
		if _, err := LoadBaseline("report.json", &out); err != nil {
			t.Errorf("the report is not read as a baseline: %v", err)
		}
	}
}

// limited is a writer that takes so many bytes and then fails.
type limited struct{ left int }

var errFull = errors.New("no space left")

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		n := l.left
		l.left = 0
		return n, errFull
	}
	l.left -= len(p)
	return len(p), nil
}

// Wherever the writer fails, its error is returned.
func TestErrorOfTheWriter(t *testing.T) {
	var pods []pod
	for i := range 30 { // more than fits into a buffer
		pods = append(pods, pod{"default", fmt.Sprintf("nginx-%d", i), nginx})
	}
	snap := observed(defaultTable(t), pods...).SnapshotWithViolations()
	var whole bytes.Buffer
	if err := JSON(&whole, snap, nil, nil); err != nil {
		t.Fatal(err)
	}
	for room := 0; room < whole.Len(); room += 97 {
		if err := JSON(&limited{room}, snap, nil, nil); !errors.Is(err, errFull) {
			t.Errorf("room for %d of %d bytes: error %v, want %v", room, whole.Len(), err, errFull)
		}
	}
	if err := JSON(&limited{whole.Len()}, snap, nil, nil); err != nil {
		t.Errorf("room for all bytes: error %v, want nil", err)
	}
	if err := JSON(short{}, snap, nil, nil); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a writer that writes too little: error %v, want %v", err, io.ErrShortWrite)
	}
}

// short is a writer that writes less than it is given, and calls that a success.
type short struct{}

func (short) Write(p []byte) (int, error) { return len(p) / 2, nil }

// decoded is the report as a reader sees it.
type decoded struct {
	Policy     struct{ Name, Hash string }
	Cluster    scores
	Namespaces []scores
	Version    int
	Violations []violationJSON
	Waived     []waivedJSON
	Warnings   []string
}

type scores struct {
	Namespace  string
	Namespaces int
	Pods       int
	Score      *float64
	Compliance *float64
	Grade      *string
	Violations map[string]int
}

// Whatever the cluster holds: a reader gets every number back as it was, to the last bit.
func TestNumbersAreNotRounded(t *testing.T) {
	table := loadTable(t, strings.NewReplacer("pod: b, ", "", "container: two", "container: side").Replace(accepting))
	rapid.Check(t, func(t *rapid.T) {
		snap := observed(table, rapid.SliceOfN(rapid.Custom(drawPod), 0, 12).Draw(t, "pods")...).SnapshotWithViolations()
		var out bytes.Buffer
		if err := JSON(&out, snap, nil, nil); err != nil {
			t.Fatal(err)
		}
		var got decoded
		reader := json.NewDecoder(&out)
		reader.DisallowUnknownFields()
		if err := reader.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Token(); err != io.EOF {
			t.Fatalf("after the report comes more: %v", err)
		}
		if diff := cmp.Diff(expected(snap), got, cmp.AllowUnexported(waivedJSON{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func drawPod(t *rapid.T) pod {
	containers := rapid.SliceOfN(rapid.SampledFrom([]string{
		`{"name": "main", "image": "a:1"}`, `{"name": "side", "image": "a:latest"}`, `{"image": ":latest"}`,
	}), 0, 4).Draw(t, "containers")
	return pod{
		namespace: rapid.SampledFrom([]string{"a", "b", "c", "left-out"}).Draw(t, "namespace"),
		name:      rapid.StringMatching(`[a-c"<&\\\n]{1,3}`).Draw(t, "name"),
		json: rapid.SampledFrom([]string{
			`{"spec": {"containers": [` + strings.Join(containers, ",") + `]}}`,
			`{"spec": {"hostNetwork": true, "containers": [` + strings.Join(containers, ",") + `]}}`,
			`{`,
		}).Draw(t, "json"),
	}
}

// expected is what a reader must see of a snapshot.
func expected(snap *state.Snapshot) decoded {
	d := decoded{Namespaces: []scores{}, Version: 1, Violations: []violationJSON{}, Warnings: (&Scan{Snapshot: snap}).warnings()}
	d.Policy.Name, d.Policy.Hash = snap.Table.Name(), snap.Table.Hash()
	totals := snap.Totals()
	cluster, ok := snap.Cluster()
	d.Cluster = scoresOf(snap.Table, totals, cluster, ok)
	for _, ns := range snap.Namespaces {
		of, ok := ns.Scores(snap.Table)
		row := scoresOf(snap.Table, ns.LiveMetrics, of, ok)
		row.Namespace = ns.Name
		d.Namespaces = append(d.Namespaces, row)
		if ns.TotalPods > 0 {
			d.Cluster.Namespaces++
		}
	}
	for v := range snap.Violations() {
		d.Violations = append(d.Violations, expectedViolation(snap.Table, v))
	}
	for v := range snap.Waived() {
		d.Waived = append(d.Waived, waivedJSON{expectedViolation(snap.Table, v), v.Waiver.ID, v.Waiver.Expires.UTC().Format(time.RFC3339Nano)})
	}
	return d
}

func expectedViolation(table *rules.Table, v state.PodViolation) violationJSON {
	check := table.Checks()[v.Check]
	return violationJSON{
		Namespace: v.Namespace, Pod: v.Pod.Name, Check: check.ID, Severity: check.Severity, Weight: check.Weight,
		Container: v.Container, Subject: v.Subject, Path: v.Path, Message: check.Message(), Remediation: check.Remediation, Unknown: v.Unknown,
	}
}

func scoresOf(table *rules.Table, m state.LiveMetrics, of state.Scores, ok bool) scores {
	s := scores{Pods: m.TotalPods, Violations: map[string]int{}}
	for i, check := range table.Checks() {
		s.Violations[check.ID] = m.Violations[i]
	}
	if ok {
		s.Score, s.Compliance, s.Grade = &of.Score, &of.Compliance, &of.Grade
	}
	return s
}
