package rules_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
)

// A naiveMerge merges tables as decoded YAML, by what the words mean and not as package layers does it.
type naiveMerge struct {
	table        map[string]any
	order        []string                  // all ids of checks that were ever in a table
	checks       map[string]map[string]any // those that remain
	reasons      []string
	skips        map[string][]any
	excludeAlso  []any
	waivers      []any
	namespaces   map[string]any
	lists        map[string]any
	invalid      bool
	fault        string // what this merge does wrongly on purpose
	defaultGlobs []any
}

// mergeNaively returns the one table that others are equivalent to; false if they are wrong.
func mergeNaively(t *testing.T, fault string, texts ...string) (map[string]any, bool) {
	t.Helper()
	m := &naiveMerge{
		table: map[string]any{}, checks: map[string]map[string]any{}, skips: map[string][]any{}, namespaces: map[string]any{}, lists: map[string]any{},
		fault: fault, defaultGlobs: []any{"kube-*", "*-system", "cert-manager", "monitoring", "observability", "argocd"},
	}
	for _, text := range texts {
		var layer map[string]any
		if err := yaml.Unmarshal([]byte(text), &layer); err != nil {
			t.Fatal(err)
		}
		m.add(layer)
	}
	return m.finish(), !m.invalid
}

func asList(value any) []any { list, _ := value.([]any); return list }

func asMap(value any) map[string]any { of, _ := value.(map[string]any); return of }

func (m *naiveMerge) add(layer map[string]any) {
	if m.fault != "disable last" {
		m.disable(asList(layer["disable"]))
	}
	for _, name := range []string{"metadata", "apiVersion", "kind"} {
		m.table[name] = layer[name]
	}
	if grades, stands := layer["grades"]; stands && m.fault == "grades add up" {
		m.table["grades"] = append(asList(m.table["grades"]), asList(grades)...)
	} else if stands {
		m.table["grades"] = grades
	}
	m.addNamespaces(layer)
	if pods, stands := layer["pods"]; stands {
		m.addPods(asMap(pods))
	}
	if lists, stands := layer["lists"]; stands {
		if lists == nil {
			m.lists = map[string]any{}
		}
		for name, list := range asMap(lists) {
			if m.lists[name] = list; list == nil {
				delete(m.lists, name)
			}
		}
	}
	if waivers, stands := layer["waivers"]; stands && waivers == nil {
		m.waivers = nil
	}
	m.waivers = append(m.waivers, asList(layer["waivers"])...)
	for _, check := range asList(layer["checks"]) {
		m.addCheck(asMap(check))
	}
	if m.fault == "disable last" {
		m.disable(asList(layer["disable"]))
	}
	// What a table is with those below must be valid, whatever a table above makes of it.
	m.invalid = m.invalid || len(m.checks) == 0
	ids := make(map[string]bool)
	for _, waiver := range m.waivers {
		w := asMap(waiver)
		m.invalid = m.invalid || ids[w["id"].(string)]
		ids[w["id"].(string)] = true
		for _, id := range asList(w["check"]) {
			m.invalid = m.invalid || !slices.Contains(m.order, id.(string))
		}
	}
}

func (m *naiveMerge) disable(entries []any) {
	for _, entry := range entries {
		if reason, isSkip := strings.CutPrefix(entry.(string), "skip:"); isSkip {
			m.invalid = m.invalid || !slices.Contains(m.reasons, reason)
			delete(m.skips, reason)
			continue
		}
		m.invalid = m.invalid || !slices.Contains(m.order, entry.(string))
		delete(m.checks, entry.(string))
	}
}

func (m *naiveMerge) addNamespaces(layer map[string]any) {
	namespaces, stands := layer["namespaces"]
	if stands && namespaces == nil {
		m.namespaces, m.excludeAlso = map[string]any{}, nil
	}
	of := asMap(namespaces)
	for _, name := range []string{"include", "exclude"} {
		value, stands := of[name]
		if stands && name == "exclude" && m.fault != "excludeAlso stays" {
			m.excludeAlso = nil
		}
		if stands {
			m.namespaces[name] = value
		}
	}
	if also, stands := of["excludeAlso"]; stands && also == nil {
		m.excludeAlso = nil
	}
	m.excludeAlso = append(m.excludeAlso, asList(of["excludeAlso"])...)
}

func (m *naiveMerge) addPods(pods map[string]any) {
	skips, stands := pods["skip"]
	if pods == nil || stands && skips == nil {
		m.skips = map[string][]any{}
	}
	here := make(map[string]bool)
	for _, entry := range asList(skips) {
		reason := asMap(entry)["reason"].(string)
		if !slices.Contains(m.reasons, reason) {
			m.reasons = append(m.reasons, reason)
		}
		if !here[reason] {
			m.skips[reason] = nil
		}
		here[reason] = true
		m.skips[reason] = append(m.skips[reason], entry)
	}
}

func (m *naiveMerge) addCheck(check map[string]any) {
	id := check["id"].(string)
	before := m.checks[id]
	if before == nil {
		before = map[string]any{}
		m.invalid = m.invalid || check["weight"] == nil || check["violation"] == nil
	} else if m.fault == "checks are replaced" && check["violation"] != nil {
		before = map[string]any{}
	}
	if !slices.Contains(m.order, id) {
		m.order = append(m.order, id)
	}
	for name, value := range check {
		if before[name] = value; value == nil && m.fault != "null stays" {
			delete(before, name)
		}
	}
	m.checks[id] = before
}

func (m *naiveMerge) finish() map[string]any {
	var checks, skips, waivers []any
	for _, id := range m.order {
		if c := m.checks[id]; c != nil {
			checks = append(checks, c)
		}
	}
	for _, reason := range m.reasons {
		skips = append(skips, m.skips[reason]...)
	}
	for _, waiver := range m.waivers {
		w := asMap(waiver)
		var about []any
		for _, id := range asList(w["check"]) {
			if m.checks[id.(string)] != nil {
				about = append(about, id)
			}
		}
		if w["check"] = about; len(about) > 0 {
			waivers = append(waivers, w)
		}
	}
	if len(m.excludeAlso) > 0 {
		exclude := asList(m.namespaces["exclude"])
		if m.namespaces["exclude"] == nil {
			exclude = m.defaultGlobs
		}
		exclude = slices.Clone(exclude)
		for _, glob := range m.excludeAlso {
			if !slices.Contains(exclude, glob) {
				exclude = append(exclude, glob)
			}
		}
		m.namespaces["exclude"] = exclude
	}
	for _, name := range []string{"include", "exclude"} {
		if m.namespaces[name] == nil {
			delete(m.namespaces, name)
		}
	}
	t := m.table
	t["checks"], t["pods"], t["waivers"], t["namespaces"] = checks, map[string]any{"skip": skips}, waivers, m.namespaces
	if t["grades"] == nil {
		delete(t, "grades")
	}
	if len(skips) == 0 {
		delete(t, "pods")
	}
	if len(waivers) == 0 {
		delete(t, "waivers")
	}
	if len(m.lists) > 0 {
		t["lists"] = m.lists
	}
	return t
}

// randomLayers are the texts of tables; each extends those before it. Most are valid.
func randomLayers(r *rand.Rand) []string {
	var texts []string
	for i := range 2 + r.IntN(3) {
		var b strings.Builder
		fmt.Fprintf(&b, "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t%d}\n", i)
		upper := i > 0
		null := func() bool { return upper && oneIn(r, 5) }
		ids := func() []string {
			all := []string{"a", "b", "c", "d", "e"}
			r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			return all[:1+r.IntN(3)]
		}
		if upper && oneIn(r, 3) {
			fmt.Fprintf(&b, "disable: [%s]\n", pick(r, []string{"a", "b, c", "skip:job", "skip:mirror, a", "d", "skip:none"}))
		}
		if oneIn(r, 2) {
			words := pick(r, []string{"{exclude: [x]}", "{exclude: [], excludeAlso: [y]}", "{excludeAlso: [z, x]}", "{include: [i]}", "{include: [j], exclude: [x, y]}"})
			if null() {
				words = pick(r, []string{"null", "{exclude: null}", "{include: null}", "{excludeAlso: null}", "{exclude: null, excludeAlso: [q]}"})
			}
			b.WriteString("namespaces: " + words + "\n")
		}
		if oneIn(r, 2) {
			words := "{skip: ["
			for range r.IntN(3) {
				words += fmt.Sprintf("{reason: %s, when: {path: p%d, operator: exists}}, ", pick(r, []string{"job", "mirror", "done"}), r.IntN(9))
			}
			words += "]}"
			if null() {
				words = pick(r, []string{"null", "{skip: null}", "{}"})
			}
			b.WriteString("pods: " + words + "\n")
		}
		fmt.Fprintf(&b, "lists: {l: [v%d]", r.IntN(9)) // always there, so that each predicate finds it
		if oneIn(r, 3) {
			b.WriteString(", m: [w]")
		} else if null() {
			b.WriteString(", m: null")
		}
		b.WriteString("}\n")
		if !upper || oneIn(r, 4) {
			b.WriteString(randomLayerChecks(r, ids(), true, upper))
		} else if oneIn(r, 2) {
			b.WriteString(randomLayerChecks(r, ids(), oneIn(r, 2), upper))
		}
		if oneIn(r, 4) {
			words := pick(r, []string{"[{name: A, min: 50}, {name: B, min: 0}]", "[{name: C, min: 0}]"})
			if null() {
				words = "null"
			}
			b.WriteString("grades: " + words + "\n")
		}
		if oneIn(r, 4) {
			words := fmt.Sprintf("[{id: w%d, reason: r, expires: 2030-01-01, check: [%s]}]", r.IntN(6), pick(r, ids()))
			if null() {
				words = "null"
			}
			b.WriteString("waivers: " + words + "\n")
		}
		texts = append(texts, b.String())
	}
	return texts
}

func randomLayerChecks(r *rand.Rand, ids []string, whole, nulls bool) string {
	text := "checks:\n"
	for _, id := range ids {
		fields := []string{"id: " + id}
		if whole {
			fields = append(fields, fmt.Sprintf("weight: %d", 1+r.IntN(9)), fmt.Sprintf("violation: {path: v%d, operator: exists}", r.IntN(9)))
		} else if oneIn(r, 2) {
			fields = append(fields, fmt.Sprintf("weight: %d", 1+r.IntN(9)))
		}
		for _, field := range []string{"description: d%d", "remediation: r%d", "severity: low", "forEach: spec.f%d", "when: {path: w%d, operator: in, value: {list: l}}", "category: security", "message: m%d", "enforce: warn"} {
			name, _, _ := strings.Cut(field, ":")
			switch {
			case nulls && oneIn(r, 5):
				fields = append(fields, name+": null")
			case oneIn(r, 3) && strings.Contains(field, "%d"):
				fields = append(fields, fmt.Sprintf(field, r.IntN(9)))
			case oneIn(r, 3) && !strings.Contains(field, "%d"):
				fields = append(fields, field)
			}
		}
		text += "  - {" + strings.Join(fields, ", ") + "}\n"
	}
	return text
}

// compareMerges merges tables in both ways. It returns how they differ, and whether the tables are valid.
func compareMerges(t *testing.T, fault string, texts []string) (difference string, valid bool) {
	t.Helper()
	var sources []rules.Source
	for i, text := range texts {
		sources = append(sources, rules.Source{File: fmt.Sprintf("%d.yaml", i), Text: []byte(text)})
	}
	got, err := rules.LoadAll(sources...)
	flat, valid := mergeNaively(t, fault, texts...)
	if !valid || err != nil {
		if valid != (err == nil) {
			return fmt.Sprintf("valid %t, error %v", valid, err), valid
		}
		return "", valid
	}
	text, err := yaml.Marshal(flat)
	if err != nil {
		t.Fatal(err)
	}
	want, err := rules.Load("flat.yaml", text)
	if err != nil {
		return fmt.Sprintf("the flat table does not load: %v\n%s", err, text), valid
	}
	return cmp.Diff(string(want.YAML()), string(got.YAML())), valid
}

func mergeSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	return seed
}

func mergesTried() int {
	if testing.Short() {
		return 300
	}
	return 10_000
}

// TestMergeAgainstNaive merges random tables.
func TestMergeAgainstNaive(t *testing.T) {
	r := newRand(mergeSeed(t))
	valid := 0
	for i := range mergesTried() {
		texts := randomLayers(r)
		difference, ok := compareMerges(t, "", texts)
		if difference != "" {
			t.Fatalf("merge %d (-naive +ours):\n%s\n%s", i, difference, strings.Join(texts, "---\n"))
		}
		if ok {
			valid++
		}
	}
	if tried := mergesTried(); valid < tried/4 || valid > tried*9/10 {
		t.Errorf("%d of %d merges are valid: the random tables no longer try both", valid, tried)
	}
}

// TestMergeAgainstNaiveFindsFaults: the random tables of a short run find each wrong merge.
func TestMergeAgainstNaiveFindsFaults(t *testing.T) {
	for _, fault := range []string{"disable last", "grades add up", "excludeAlso stays", "checks are replaced", "null stays"} {
		r := newRand(mergeSeed(t))
		found := false
		for range 300 {
			if difference, _ := compareMerges(t, fault, randomLayers(r)); difference != "" {
				found = true
				break
			}
		}
		if !found {
			t.Errorf("%s: not found", fault)
		}
	}
}
