package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// A namespaceSummary is one row of the list of namespaces.
type namespaceSummary struct {
	state.NamespaceSnapshot
	state.Scores
	hasScores  bool // there is data
	violations int  // of all checks
}

// worstNamespaces returns the namespaces, worst first, and how many others there are: by lowest compliance, then by highest
// score, then by name. Namespaces without data come last.
func (s *Scan) worstNamespaces(most int) (first []namespaceSummary, others int) {
	w := worst[namespaceSummary]{most: most, compare: func(a, b namespaceSummary) int {
		if a.hasScores != b.hasScores {
			return map[bool]int{true: -1, false: 1}[a.hasScores]
		}
		return cmp.Or(cmp.Compare(a.Compliance, b.Compliance), cmp.Compare(b.Score, a.Score), cmp.Compare(a.Name, b.Name))
	}}
	for _, ns := range s.Snapshot.Namespaces {
		row := namespaceSummary{NamespaceSnapshot: ns, violations: sum(ns.Violations)}
		row.Scores, row.hasScores = ns.LiveMetrics.Scores(s.Snapshot.Table)
		w.add(row)
	}
	return w.trim()
}

// A workloadSummary is the penalty points and violations of one workload.
type workloadSummary struct {
	namespace   string
	workloadKey workloadKey
	label       string // the workload for people
	pods        int    // that have violations
	points      int
	violations  []int // of each check
}

// worstWorkloads returns the workloads with the most penalty points, and how many others have violations. If namespace is
// not nil, only its workloads are considered.
func (s *Scan) worstWorkloads(most int, namespace *string) (first []workloadSummary, others int) {
	checks := s.Snapshot.Table.Checks()
	w := worst[workloadSummary]{most: most, compare: func(a, b workloadSummary) int {
		return cmp.Or(cmp.Compare(b.points, a.points), cmp.Compare(a.namespace, b.namespace), a.workloadKey.compare(b.workloadKey))
	}}
	byKey := make(map[workloadKey]*workloadSummary) // of the namespace at hand
	addAll := func() {
		names := labels(slices.Collect(maps.Keys(byKey)))
		for u, of := range byKey {
			of.label = names[u]
			w.add(*of)
		}
		clear(byKey)
	}
	var pod state.Pod
	for v := range s.Snapshot.Violations() {
		if v.Namespace != pod.Namespace {
			addAll()
		}
		another := v.Pod != pod
		pod = v.Pod
		if namespace != nil && *namespace != v.Namespace {
			continue
		}
		origin := originOf(v)
		of := byKey[origin.workloadKey()]
		if of == nil {
			of = &workloadSummary{namespace: v.Namespace, workloadKey: origin.workloadKey(), violations: make([]int, len(checks))}
			byKey[origin.workloadKey()] = of
		}
		if another {
			of.pods++
		}
		of.points += checks[v.Check].Weight
		of.violations[v.Check]++
	}
	addAll()
	return w.trim()
}

// A waiverSummary counts the violations that one waiver accepts in one namespace.
type waiverSummary struct {
	waiver     *rules.Waiver
	namespace  string
	violations []int // of each check
}

// waivers returns the waivers that accept violations, sorted by expiry, id and namespace.
func (s *Scan) waivers() []waiverSummary {
	type key struct {
		waiver    waiverKey
		namespace string
	}
	at := make(map[key]int)
	var rows []waiverSummary
	for v := range s.Snapshot.Waived() {
		k := key{keyOfWaiver(v.Waiver), v.Namespace}
		i, ok := at[k]
		if !ok {
			i = len(rows)
			at[k] = i
			rows = append(rows, waiverSummary{v.Waiver, v.Namespace, make([]int, len(s.Snapshot.Table.Checks()))})
		}
		rows[i].violations[v.Check]++
	}
	slices.SortStableFunc(rows, func(a, b waiverSummary) int {
		return cmp.Or(a.waiver.Expires.Compare(b.waiver.Expires), rules.CompareWaivers(a.waiver, b.waiver))
	})
	return rows
}

// waivedViolations counts the violations that a waiver accepts.
func (s *Scan) waivedViolations() int { return sum(s.Snapshot.Totals().Waived) }

// checkCounts lists the checks that have violations, as "latest_tag 3", those with the most points first.
func (s *Scan) checkCounts(counts []int) []string {
	checks := s.Snapshot.Table.Checks()
	order := make([]int, 0, len(checks))
	for i := range checks {
		if counts[i] > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(counts[b]*checks[b].Weight, counts[a]*checks[a].Weight)
	})
	words := make([]string, len(order))
	for i, check := range order {
		words[i] = checks[check].ID + " " + number(counts[check])
	}
	return words
}

// scoredNamespaces counts the namespaces that have data.
func (s *Scan) scoredNamespaces() int {
	n := 0
	for _, ns := range s.Snapshot.Namespaces {
		if ns.TotalPods > 0 {
			n++
		}
	}
	return n
}

// notes are sentences about the inputs: what was read, what was left out and why, and what is excluded from the scores.
func (s *Scan) notes() []string {
	in := s.Inputs
	var notes []string
	note := func(n int, text string) {
		if n > 0 {
			notes = append(notes, text)
		}
	}
	read := english.Plural(in.Files, "file", "")
	if in.Cluster != "" {
		read = display(in.Cluster, 200)
	}
	read = "Read " + read + ": " + english.Plural(in.Pods, "pod", "")
	if in.Templates > 0 {
		read += " and " + english.Plural(in.Templates, "pod template", "")
	}
	note(in.Files, read+".")
	note(in.Duplicates, english.Plural(in.Duplicates, "duplicate", "")+" of pods or manifests: each counts once; of recorded pods, the last one wins.")
	note(in.Ignored.count(), "Left out of folders: "+in.Ignored.String()+".")
	notes = append(notes, s.excluded()...)
	others := 0
	for _, n := range in.OtherKinds {
		others += n
	}
	note(others, "Left out "+english.Plural(others, "object", "")+": "+listed(byCount(in.OtherKinds), 8)+".")
	skipped := 0
	for _, n := range s.Snapshot.Skipped {
		skipped += n
	}
	note(skipped, "The policy skips "+english.Plural(skipped, "pod", "")+": "+listed(byCount(s.Snapshot.Skipped), 8)+".")
	if n := s.Snapshot.Totals().Unevaluated; n > 0 {
		notes = append(notes, english.Plural(n, "pod", "")+" could not be evaluated: excluded from all scores.")
	}
	notes = append(notes, s.gradeNotes()...)
	if n := s.unknown(); n > 0 {
		notes = append(notes, "Unknown: "+english.Plural(n, "violation", "")+", because a check could not be answered. They count as violations.")
	}
	if note := s.enforcementNote(); note != "" {
		notes = append(notes, note)
	}
	if in.Cluster != "" && len(s.Admission) > 0 {
		notes = append(notes, "Admission is evaluated for pods only, not for pod templates such as those of CronJobs without running pods. "+
			"To include templates, scan a recording of pods and workloads (kubectl get pods,deploy,sts,ds,jobs,cronjobs -A -o json).")
	}
	for _, warning := range s.warnings() {
		notes = append(notes, prose(warning, 400))
	}
	return notes
}

// unknown counts the violations that are assumed because a check could not be answered.
func (s *Scan) unknown() int {
	n := 0
	for v := range s.Snapshot.Violations() {
		if v.Unknown {
			n++
		}
	}
	return n
}

func (p Ignored) count() int {
	return p.ChartTemplates + p.NotManifests + p.Excluded + p.DanglingLinks + p.Empty
}

// String counts the ignored files by reason: "3 chart templates, 1 empty file".
func (p Ignored) String() string {
	var words []string
	for _, reason := range []struct {
		n         int
		one, many string
	}{
		{p.ChartTemplates, "chart template", ""}, {p.NotManifests, "file that is not a manifest", "files that are not manifests"},
		{p.Excluded, "file that --exclude matches", "files that --exclude matches"}, {p.DanglingLinks, "dangling link", ""},
		{p.Empty, "empty file", ""},
	} {
		if reason.n > 0 {
			words = append(words, english.Plural(reason.n, reason.one, reason.many))
		}
	}
	return strings.Join(words, ", ")
}

// excluded names the excluded namespaces: those that a pattern of the policy matches, and those that a flag does not select.
func (s *Scan) excluded() []string {
	byPolicy, byFlag := make(map[string]int), make(map[string]int)
	policyPods, flagPods := 0, 0
	for namespace, e := range s.Inputs.ExcludedNamespaces {
		if e.Pattern == "" {
			byFlag[namespace] = e.Pods
			flagPods += e.Pods
			continue
		}
		text := namespace
		if e.Pattern != namespace {
			text += " (" + e.Pattern + ")"
		}
		byPolicy[text] = e.Pods
		policyPods += e.Pods
	}
	var notes []string
	if policyPods > 0 {
		notes = append(notes, "The policy excludes "+english.Plural(policyPods, "pod", "")+" of "+english.Plural(len(byPolicy), "namespace", "")+": "+listed(byCount(byPolicy), 8)+".")
	}
	if flagPods > 0 {
		notes = append(notes, "Not selected: "+english.Plural(flagPods, "pod", "")+" of "+english.Plural(len(byFlag), "namespace", "")+": "+listed(byCount(byFlag), 8)+".")
	}
	return notes
}

// bySeverity counts the violations by severity, worst first: "2 critical, 14 high". It is empty if there are none.
func (s *Scan) bySeverity() string {
	counts := make([]int, len(rules.Severities()))
	totals := s.Snapshot.Totals().Violations
	for i, check := range s.Snapshot.Table.Checks() {
		counts[check.Severity.Rank()] += totals[i]
	}
	var words []string
	for i, n := range counts {
		if n > 0 {
			words = append(words, number(n)+" "+string(rules.Severities()[i]))
		}
	}
	return strings.Join(words, ", ")
}

// byCategory counts the violations by category: "12 security, 5 reliability". It is empty if no check has a category, or if there are none.
func (s *Scan) byCategory() string {
	var order []int
	totals := s.Snapshot.Totals().Violations
	for i, n := range totals {
		if n > 0 {
			order = append(order, i)
		}
	}
	var words []string
	for _, group := range byCategory(s.Snapshot.Table, order) {
		n := 0
		for _, i := range group.Checks {
			n += totals[i]
		}
		if group.Name != "" {
			words = append(words, number(n)+" "+group.Name)
		}
	}
	return strings.Join(words, ", ")
}

// listed joins the first words, and counts the others.
func listed(words []string, most int) string {
	text := ""
	for i, word := range words {
		if i == most {
			return text + ", " + number(len(words)-most) + " more"
		}
		if i > 0 {
			text += ", "
		}
		text += word
	}
	return text
}

func sum(counts []int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

// expiry formats the end of a waiver in UTC: the day, and the time unless it is midnight.
func expiry(w *rules.Waiver) string {
	at := w.Expires.UTC()
	if at.Equal(at.Truncate(24 * time.Hour)) {
		return at.Format(time.DateOnly)
	}
	return at.Format("2006-01-02 15:04 MST")
}
