package rules_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-devops/kube-devops/rules"
)

const randomPods = 1000

// differentialTables is the number of random tables of the differential tests.
func differentialTables() int {
	if testing.Short() {
		return 30
	}
	return 120
}

// randomTables is the number of random tables that properties are tried on.
func randomTables() uint64 {
	if testing.Short() {
		return 8
	}
	return 50
}

// differentialPods is the number of random pods that the differential tests take: fewer under the race detector, which makes them ten
// times as slow, and under -short. TestDifferentialFindsFaults shows that the smaller sample still finds every planted fault.
func differentialPods() int {
	switch {
	case raceDetector:
		return randomPods / 10
	case testing.Short():
		return randomPods / 5
	}
	return randomPods
}

// generatedPods is the number of random pods that tests can choose from.
func generatedPods() int {
	if testing.Short() {
		return randomPods / 5
	}
	return randomPods
}

// TestDifferential evaluates many random pods under many random tables, with the engine and with the naive table. Not
// one verdict may differ.
func TestDifferential(t *testing.T) {
	pods := newRandomPods(t)
	var subjects, violations, waived, skipped atomic.Int64
	t.Run("tables", func(t *testing.T) {
		for seed := range uint64(differentialTables()) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				text := randomTable(newRand(seed))
				engine, naive := load(t, string(text)), loadNaive(t, text)
				for _, namespace := range []string{"", "default", "shop", "shop-test", "app", "a", "a]b", "web", "5", "a/b", "a-b-c", "kube-system"} {
					if got, want := engine.Includes(namespace), naive.includes(namespace); got != want {
						t.Fatalf("table:\n%s\nincludes %q: %t, want %t", text, namespace, got, want)
					}
				}
				for i, pod := range pods.decoded[:differentialPods()] {
					want := naive.evaluate(pod)
					got, err := evaluate(engine, pods.text[i])
					if err != nil {
						t.Fatalf("table:\n%s\npod:\n%s\nerror: %v", text, pods.text[i], err)
					}
					if diff := compareVerdicts(want, got); diff != "" {
						t.Fatalf("table:\n%s\npod:\n%s\nverdict (-naive +engine):\n%s", text, pods.text[i], diff)
					}
					violations.Add(int64(len(want.Violations)))
					for _, v := range want.Violations {
						if strings.Contains(v, " waived by ") {
							waived.Add(1)
						}
					}
					if want.Skip != "" {
						skipped.Add(1)
					}
					for _, n := range want.Subjects {
						subjects.Add(int64(n))
					}
				}
			})
		}
	})
	t.Logf("%d verdicts, %d pods skipped, %d subjects, %d violations, %d of them waived", differentialTables()*differentialPods(), skipped.Load(), subjects.Load(), violations.Load(), waived.Load())
	// Were nearly nothing or nearly everything a violation, the comparison would say little.
	if share := float64(violations.Load()) / float64(subjects.Load()); share < 0.2 || share > 0.8 {
		t.Errorf("%.2f of the subjects fail their check: the random pods and tables do not fit together", share)
	}
	for name, share := range map[string]float64{
		"violations are waived": float64(waived.Load()) / float64(violations.Load()),
		"pods are skipped":      float64(skipped.Load()) / float64(differentialTables()*differentialPods()),
	} {
		if share < 0.05 || share > 0.5 {
			t.Errorf("%.2f of the %s: the random pods and tables do not fit together", share, name)
		}
	}
}

// TestDifferentialFindsFaults plants faults in the naive table, one at a time, and makes sure that each is found.
func TestDifferentialFindsFaults(t *testing.T) {
	faults := []string{
		"null is there", "nothing is not unequal", "nothing is not outside a list", "several values must all fulfil it",
		"numbers equal their text", "numbers are floats", "the length leaves null out", "first means all", "all means first",
		"the root is the subject", "only the first path counts", "the last path counts", "backslashes are letters", "indexes begin at 1", "queries compare the text of numbers",
		"anything is a subject", "only objects are subjects", "scalars have no name", "secrets are names", "all containers run long", "any holds when none holds",
		"every is some", "null is an element", "null is an entry", "maps have no entries", "scalars have no elements", "only the first list counts", "false does not exist", "lists contain nothing",
		"expressions match the whole text", "greaterThan or equal", "only the first entry of a list counts",
		"the last forEach counts",
		"no pod is skipped", "the last skip gives the reason", "when says nothing", "what when leaves out is a subject",
		"oneOf does not look into lists", "quantities are text", "a number is not a quantity", "Ki is a thousand",
		"the length of a text is in bytes", "an object has no length", "lengths have no max",
		"equal quantities are written the same",
		"what is not there is unequal to all", "lists contain nothing of the pod", "times counts for nothing", "anything is from anywhere", "library is not implied",
		"Docker Hub is not implied", "an image begins with its registry as text", "the index is another registry", "a tag wins over a digest", "no tag is not latest", "anything is an image",
		"the waiver that expires first counts", "the first waiver counts", "the last waiver counts",
		"a pod has no namespace by default", "waivers do not ask for containers", "waivers do not ask for subjects", "the pod is a container",
		"unknown is false", "unknown is true", "an unknown part decides all", "an unknown part decides any", "not of unknown is true",
		"an unknown when leaves out", "an unknown skip skips", "all ports are TCP", "what has no name has no word",
		"one label is enough", "a label that is not there is empty", "waivers do not ask for owners", "waivers do not ask for workloads", "only the first namespace counts", "ReplicaSets are workloads", "waivers do not ask for checks",
	}
	pods := newRandomPods(t)
	engines, naives := []*rules.Table{load(t, seldomTable)}, []*naiveTable{loadNaive(t, []byte(seldomTable))}
	for seed := range uint64(differentialTables()) {
		text := randomTable(newRand(seed))
		engines, naives = append(engines, load(t, string(text))), append(naives, loadNaive(t, text))
	}
	// The verdict of the engine is the same for each fault.
	verdicts := make(map[[2]int]naiveVerdict)
	verdict := func(t *testing.T, table, pod int) naiveVerdict {
		known, ok := verdicts[[2]int{table, pod}]
		if !ok {
			var err error
			if known, err = evaluate(engines[table], pods.text[pod]); err != nil {
				t.Fatal(err)
			}
			verdicts[[2]int{table, pod}] = known
		}
		return known
	}
	isFound := func(t *testing.T, fault string, tables, of int) bool {
		for i, pod := range pods.decoded[:differentialPods()] {
			for k, naive := range naives[tables:of] {
				naive.fault = fault
				if !sameVerdict(naive.evaluate(pod), verdict(t, tables+k, i)) {
					return true
				}
			}
		}
		return false
	}
	for _, fault := range faults {
		t.Run(fault, func(t *testing.T) {
			if !isFound(t, fault, 0, 1) && !isFound(t, fault, 1, len(naives)) {
				t.Errorf("%d verdicts and no difference", (1+differentialTables())*differentialPods())
			}
		})
	}
}

// seldomTable asks for what random tables seldom ask for, so that each fault is found soon.
const seldomTable = `{apiVersion: kube-devops.io/v1, kind: PolicyTable, metadata: {name: seldom}, checks: [
	{id: labels, weight: 1, violation: {path: nope, operator: absent}},
	{id: workloads, weight: 1, violation: {path: nope, operator: absent}},
	{id: number, weight: 1, forEach: allContainers, violation: {path: "args.#", operator: in, value: [1, 3, 5]}},
	{id: numbers, weight: 1, forEach: allContainers, violation: {path: "sizes.#", operator: in, value: [1, 3, 5]}},
	{id: index, weight: 1, forEach: allContainers, violation: {path: image, operator: imageFrom, value: docker.io/library}},
	{id: sources, weight: 1, forEach: allContainers, violation: {path: image, operator: imageFrom, value: [ghcr.io/org, "reg:5000", org/app]}},
	{id: equal, weight: 1, forEach: allContainers, violation: {any: [{path: resources.limits.memory, operator: quantityEquals, value: 64Mi}, {path: resources.limits.cpu, operator: quantityEquals, value: 500m}]}},
	{id: lists, weight: 1, violation: {some: {in: "spec.containers.#.args", is: {operator: equals, value: "5"}}}},
	{id: letters, weight: 1, forEach: allContainers, violation: {path: command, operator: length, value: 1}},
	{id: tag, weight: 1, forEach: allContainers, violation: {path: image, operator: imageTag, value: latest}},
	{id: memory, weight: 1, forEach: allContainers, violation: {path: resources.limits.memory, operator: quantityGreaterThan, value: 66M}},
	{id: args, weight: 1, forEach: allContainers, violation: {path: args, operator: contains, value: Always}},
	{id: text, weight: 1, forEach: allContainers.args, violation: {operator: equals, value: 5}},
	{id: queries, weight: 1, violation: {path: 'spec.containers.#(name=="5").image', operator: exists}},
	{id: dots, weight: 1, violation: {path: 'metadata.labels.app\.kubernetes\.io/name', operator: exists}},
	{id: priority, weight: 1, violation: {path: spec.priority, operator: greaterThan, value: 9007199254740992}},
	{id: digits, weight: 1, forEach: allContainers, violation: {path: name, operator: equals, value: 5}},
	{id: null_name, weight: 1, forEach: allContainers, violation: {path: name, operator: exists}},
	{id: nulls, weight: 1, violation: {any: [{every: {in: spec, is: {path: value, operator: exists}}}, {every: {in: spec.containers, is: {path: name, operator: exists}}}]}}],
  waivers: [
	{id: a, reason: r, expires: 2030-12-31, check: labels, labels: {app: Always, "0": "5"}},
	{id: b, reason: r, expires: 2030-12-31, check: labels, labels: {app: "true", "0": Never}},
	{id: c, reason: r, expires: 2030-12-31, check: workloads, workload: "Deployment/*"},
	{id: d, reason: r, expires: 2030-01-01, check: labels, container: "*"},
	{id: e, reason: r, expires: 2030-01-01, check: tag, container: app},
	{id: f, reason: r, expires: 2030-01-02, check: tag, container: "a*"},
	{id: g, reason: r, expires: 2030-01-02, check: [tag, text], container: "?*"},
	{id: h, reason: r, expires: 2030-01-01, check: text, owner: {kind: Job}}]}`

type podTexts struct {
	text    [][]byte
	decoded []any
}

// newRandomPods returns the same pods each time. The caller must not change them.
func newRandomPods(t *testing.T) podTexts {
	t.Helper()
	pods, err := randomPodsOnce()
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

var randomPodsOnce = sync.OnceValues(func() (pods podTexts, err error) {
	r := newRand(1)
	for range generatedPods() {
		text := randomPod(r)
		decoded, err := decodeNaive(text)
		if err != nil {
			return podTexts{}, fmt.Errorf("the random pod is not JSON: %w\n%s", err, text)
		}
		pods.text = append(pods.text, text)
		pods.decoded = append(pods.decoded, decoded)
	}
	return pods, nil
})

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func load(t testing.TB, text string) *rules.Table {
	t.Helper()
	table, err := rules.Load("table.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return table
}

func loadNaive(t testing.TB, text []byte) *naiveTable {
	t.Helper()
	table, err := parseNaive(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return table
}

// evaluate is the engine's verdict in the words of the naive one.
func evaluate(table *rules.Table, pod []byte) (naiveVerdict, error) {
	verdict, err := table.Evaluate(pod)
	if err != nil {
		return naiveVerdict{}, err
	}
	return inWords(table, verdict), nil
}

func evaluateOrFail(t testing.TB, table *rules.Table, pod string) naiveVerdict {
	t.Helper()
	verdict, err := evaluate(table, []byte(pod))
	if err != nil {
		t.Fatalf("%v: %s", err, pod)
	}
	return verdict
}

func inWords(table *rules.Table, verdict rules.Verdict) naiveVerdict {
	words := naiveVerdict{Subjects: make(map[string]int), Skip: verdict.SkipReason, Mistakes: len(verdict.Mistakes)}
	for i, c := range table.Checks() {
		words.Subjects[c.ID] = verdict.Subjects[i]
	}
	for _, v := range verdict.Violations {
		line := fmt.Sprintf("%s %s %q", table.Checks()[v.Check].ID, v.Path, v.Container)
		if v.Subject != "" {
			line += fmt.Sprintf(" %q", v.Subject)
		}
		if v.Unknown {
			line += " unknown"
		}
		if v.Waiver != nil {
			line += " waived by " + v.Waiver.ID
		}
		words.Violations = append(words.Violations, line)
	}
	return words
}

func sameVerdict(a, b naiveVerdict) bool {
	return a.Skip == b.Skip && a.Mistakes == b.Mistakes && slices.Equal(a.Violations, b.Violations) && maps.Equal(a.Subjects, b.Subjects)
}

func compareVerdicts(want, got naiveVerdict) string {
	if sameVerdict(want, got) {
		return ""
	}
	return cmp.Diff(want, got, cmpopts.EquateEmpty())
}

// TestManyFields evaluates pods that have more fields than are known by their names: at the root, in the spec, in both.
func TestManyFields(t *testing.T) {
	more := func(n int, object string) string {
		var b strings.Builder
		b.WriteString("{")
		for i := range n {
			fmt.Fprintf(&b, `"x%d":{"containers":[1]},`, i)
		}
		return b.String() + object[1:]
	}
	const spec = `{"hostNetwork":true,"containers":[{"name":"app","image":"nginx"}],"initContainers":[{"name":"init","image":"a:1","restartPolicy":"Always"}],` +
		`"securityContext":{"runAsUser":0}}`
	text := readFile(t, "../policies/recommended.yaml")
	table, naive := load(t, string(text)), loadNaive(t, text)
	var pods [][]byte
	for _, root := range []int{0, 61, 62, 63, 64, 500} {
		for _, inSpec := range []int{0, 59, 60, 61, 500} {
			pods = append(pods, []byte(more(root, `{"metadata":{"name":"a"},"spec":`+more(inSpec, spec)+`}`)))
		}
	}
	sameVerdicts(t, table, naive, text, pods)
	for _, pod := range pods {
		if verdict, err := table.Evaluate(pod); err != nil || len(verdict.Violations) < 8 {
			t.Errorf("%d violations (%v) of %.100s", len(verdict.Violations), err, pod)
		}
	}
}
