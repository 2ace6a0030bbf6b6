package page

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

func ptr[T any](x T) *T { return &x }

// moment is the time of all examples.
var moment = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func head() Head {
	return Head{
		Time: moment, Cluster: "prod-eu-1", Policy: PolicyRef{"recommended", "sha256:3f9a0c5be2d14c7788aa00f1b2c3d4e5f60718293a4b5c6d7e8f901122334455"},
		Grades: []string{"Healthy", "Stable", "Degraded", "Critical"}, HistoryURL: "https://grafana.example.com/d/governance", Version: "v1.4.0",
	}
}

var checks = []Check{
	{"latest_tag", "images", "high", 5, "The image has the tag :latest or none.", "Pin the image to a version or a digest."},
	{"missing_liveness", "probes", "medium", 3, "The container has no liveness probe.", "Add a livenessProbe to the container."},
	{"missing_readiness", "probes", "medium", 3, "The container has no readiness probe.", "Add a readinessProbe to the container."},
	{"missing_limits", "resources", "medium", 2, "The container has no memory limit.", "Set resources.limits.memory."},
	{"privileged", "security", "critical", 10, "The container is privileged.", "Remove securityContext.privileged, and add the capabilities that it needs."},
	{"host_network", "security", "high", 8, "The pod uses the network of the node.", "Remove hostNetwork."},
	{"run_as_root", "security", "high", 5, "The container may run as root.", "Set securityContext.runAsNonRoot: true."},
	{"writable_root", "security", "low", 1, "The root file system of the container is writable.", "Set securityContext.readOnlyRootFilesystem: true."},
}

func gradeOf(compliance float64) string {
	switch {
	case compliance >= 80:
		return "Healthy"
	case compliance >= 60:
		return "Stable"
	case compliance >= 40:
		return "Degraded"
	}
	return "Critical"
}

// row returns the row of namespace i of the examples.
func row(i int) NamespaceRow {
	random := rand.New(rand.NewPCG(uint64(i), 7))
	teams := []string{"payments", "checkout", "search", "identity", "media", "billing", "logistics", "ml-platform", "data-warehouse", "edge"}
	stages := []string{"prod", "staging", "dev", "preview"}
	r := NamespaceRow{Name: fmt.Sprintf("%s-%s", teams[i%len(teams)], stages[i/len(teams)%len(stages)])}
	if i >= 40 {
		r.Name = fmt.Sprintf("%s-%d", r.Name, i)
	}
	pods := 1 + random.IntN(60)
	compliance := 100 - 75*math.Pow(random.Float64(), 2.5)
	r.Pods, r.Violations = pods, int((100-compliance)*float64(pods)/12)
	if random.IntN(4) == 0 {
		r.Waived = random.IntN(9)
	}
	if random.IntN(15) == 0 {
		r.Unknown = 1 + random.IntN(3)
	}
	r.Score, r.Compliance, r.Grade = ptr((100-compliance)*0.31), ptr(compliance), ptr(gradeOf(compliance))
	trend := make(Trend, 96)
	value := compliance
	for at := len(trend) - 1; at >= 0; at-- {
		trend[at] = float32(value)
		if random.IntN(9) == 0 {
			value = min(100, max(0, value+random.NormFloat64()*3))
		}
	}
	if i%11 == 5 { // a namespace that is new
		for at := range 60 {
			trend[at] = float32(math.NaN())
		}
	}
	if day := float64(trend[0]); !math.IsNaN(day) {
		r.DayChange = ptr(compliance - day)
	}
	r.HourChange, r.Trend = ptr(compliance-float64(trend[91])), trend
	return r
}

// overview returns a page of the overview of n namespaces.
func overview(n, perPage, page int) *Overview {
	o := &Overview{Head: head()}
	all := make([]NamespaceRow, n)
	sum, score := 0.0, 0.0
	o.Total.ByGrade = make([]int, len(o.Grades))
	for i := range all {
		all[i] = row(i)
		o.Total.Pods += all[i].Pods
		o.Total.Violations += all[i].Violations
		o.Total.Waived += all[i].Waived
		o.Total.Unknown += all[i].Unknown
		sum, score = sum+*all[i].Compliance, score+*all[i].Score
		o.Total.ByGrade[slices.Index(o.Grades, *all[i].Grade)]++
	}
	slices.SortFunc(all, func(a, b NamespaceRow) int {
		if *a.Compliance != *b.Compliance {
			return int(math.Copysign(1, *a.Compliance-*b.Compliance))
		}
		return strings.Compare(a.Name, b.Name)
	})
	o.Total.Namespaces = n
	o.Query = Query{Page: page, PerPage: perPage, All: n}
	start, end := o.Query.Slice(n)
	o.Namespaces = all[start:end]
	if n > 0 {
		mean := sum / float64(n)
		o.Total.Compliance, o.Total.Score, o.Total.Grade = &mean, ptr(score/float64(n)), ptr(gradeOf(mean))
		o.Total.HourChange, o.Total.DayChange, o.Total.Trend = ptr(0.3), ptr(-1.4), row(3).Trend
		v := o.Total.Violations
		o.Total.BySeverity = []SeverityCount{{"critical", v / 30}, {"high", v / 4}, {"medium", v / 2}, {"low", v - v/30 - v/4 - v/2}}
	}
	o.Uncounted = Uncounted{
		Unevaluated: 2, Skipped: []PodCount{{"completed Jobs", 148}, {"mirror pods of the node", 24}},
		Excluded:    []PodCount{{"kube-system", 61}, {"kube-public", 1}},
		Unavailable: []Unavailable{{"vault", "The agent may not list the pods of this namespace: grant list and watch on pods."}},
	}
	return o
}

// namespace returns the view of a namespace with n workloads.
func namespace(n int) *Namespace {
	v := &Namespace{Head: head(), NamespaceRow: row(2)}
	v.Name = "search-prod"
	v.Waived, v.Unknown = 3, 1
	for i, c := range checks {
		v.Checks = append(v.Checks, CheckCount{c, 12 - i, 40, i % 3, i % 2})
	}
	kinds := []string{"Deployment", "StatefulSet", "DaemonSet", "CronJob"}
	names := []string{"query-router", "indexer", "ranker", "suggest", "crawler", "synonyms", "log-shipper", "reindex-nightly"}
	for i := range n {
		w := Workload{Kind: kinds[i%len(kinds)], Name: names[i%len(names)], Pods: 1 + i%5, Cells: make([]Cell, len(checks))}
		if i >= len(names) {
			w.Name += fmt.Sprint("-", i)
		}
		for j, c := range checks {
			if (i*7+j*5)%3 != 0 {
				continue
			}
			f := Finding{
				Check: c.ID, Category: c.Category, Severity: c.Severity, Weight: c.Weight, Container: "main", Message: c.Message, Remediation: c.Remediation,
				Violations: w.Pods, Points: w.Pods * c.Weight, Gain: ptr(float64(w.Pods*c.Weight) / 9),
			}
			f.PodCount = w.Pods
			for p := range w.Pods {
				f.Pods = append(f.Pods, fmt.Sprintf("%s-7d9f8b6c5-%05d", w.Name, p*1711+i))
			}
			w.Cells[j].Violations = w.Pods
			switch {
			case c.ID == "latest_tag":
				f.Value, f.Path = "registry.example.com/search/"+w.Name+":latest", "image"
			case c.ID == "host_network":
				f.Container = ""
			case j == 3:
				f.Unknown, w.Cells[j].Unknown = true, 1
			case j == 7:
				f.Waiver, f.Expires, w.Cells[j] = "SEC-118", ptr(moment.AddDate(0, 2, 0)), Cell{Waived: w.Pods}
			}
			if c.ID == "run_as_root" {
				f.Enforce = "warn"
			}
			if c.ID == "privileged" {
				f.GradeAfter, f.Enforce = "Healthy", "deny"
			}
			if f.Waiver == "" {
				w.Points += f.Points
			}
			w.Findings = append(w.Findings, f)
		}
		v.Workloads = append(v.Workloads, w)
	}
	slices.SortStableFunc(v.Workloads, func(a, b Workload) int { return b.Points - a.Points })
	v.Query = Query{Page: 1, PerPage: PerPage, All: n}
	v.Query.Slice(n)
	v.Waivers = waivers().Waivers[:2]
	v.Uncounted = Uncounted{Skipped: []PodCount{{"completed Jobs", 3}}}
	return v
}

func waivers() *Waivers {
	v := &Waivers{Head: head(), Waived: 30, CountAgain: 12, Mistakes: []string{"search-prod/Deployment/indexer: line 1: the check latest-tag does not exist; did you mean latest_tag?"}}
	for i, days := range []int{-3, 5, 60, 90, 170, 200} {
		w := Waiver{
			ID: fmt.Sprintf("SEC-%d", 117+i), Reason: "The vendor ships this image with root; ticket VENDOR-3310, accepted by the security team.", Source: "waivers.yaml",
			Expires: moment.AddDate(0, 0, days), Expired: days < 0, Days: days, Violations: 12 - 2*i,
			Selects: []Condition{{"namespace", "search-*"}, {"check", "writable_root"}, {"workload", "Deployment/ranker"}},
		}
		if i == 4 {
			w.SupersededBy = "SEC-122"
		}
		v.Waivers = append(v.Waivers, w)
	}
	v.Query = Query{Page: 1, PerPage: PerPage, All: len(v.Waivers)}
	v.Query.Slice(len(v.Waivers))
	return v
}

func policy() *Policy {
	v := &Policy{
		Head: head(), Description: "The checks that most clusters want.", Source: "/etc/kube-devops/policy.yaml", Loaded: ptr(moment.Add(-time.Hour)),
		Extends: []string{"default"}, ExcludedNamespaces: []string{"kube-system", "kube-public", "kube-node-lease"},
		Skips: []string{"Pods that have ended: status.phase is Succeeded or Failed."}, Text: "name: recommended\nchecks:\n- id: latest_tag\n  weight: 5\n",
		GradeRules: []GradeRule{{"Healthy", 80, "high", 41}, {"Stable", 60, "", 11}, {"Degraded", 40, "", 6}, {"Critical", 0, "", 2}},
	}
	for i, c := range checks {
		v.Checks = append(v.Checks, PolicyCheck{
			CheckCount{c, 300 - 30*i, 1200, i, i % 2}, "The image of a container ends with :latest, or has no tag.", "id: " + c.ID + "\nweight: 5\nviolation: {path: image, endsWith: \":latest\"}\n", "",
		})
	}
	v.Checks[4].Enforce = "deny"
	return v
}

func changes(n int) *Changes {
	v := &Changes{Head: head(), Since: moment.Add(-26 * time.Hour), Most: 200}
	for i := range n {
		c := Change{
			Time: moment.Add(-time.Duration(i*97) * time.Second), Opened: i%3 != 1, Namespace: row(i % 17).Name, Workload: "Deployment/query-router",
			Pod: fmt.Sprintf("query-router-7d9f8b6c5-%05d", i*37), Check: checks[i%len(checks)].ID, Severity: checks[i%len(checks)].Severity, Container: "main", Unknown: i%13 == 5,
		}
		if i%7 == 4 {
			c.Reason = "The pod is gone."
		}
		v.Changes = append(v.Changes, c)
	}
	v.Query = Query{Page: 1, PerPage: PerPage, All: n, Found: n, Pages: 1}
	return v
}

func notFound() *NotFound {
	return &NotFound{Head: head(), Name: "serach-prod", Near: []string{"search-prod", "search-dev"}}
}

func rejected() *Rejected {
	return &Rejected{Head: head(), Path: "waivers", Reason: `unknown grade "A"; valid values are Healthy, Stable, Degraded, Critical`}
}

func standby() *Standby {
	return &Standby{
		Replica: "kube-devops-6d5f7c9b8-x2k4q_b1c2", Leader: "kube-devops-6d5f7c9b8-8fjzn_77aa", URL: "https://governance.example.com/",
		Command: "kubectl --namespace kube-devops port-forward pod/kube-devops-6d5f7c9b8-8fjzn 8080",
	}
}

func aboutToLead() *Standby {
	return &Standby{
		Replica: "kube-devops-6d5f7c9b8-x2k4q_b1c2", Leader: "kube-devops-6d5f7c9b8-x2k4q_b1c2", Reason: "an earlier leader may still publish",
		From: ptr(moment.Add(12 * time.Second)),
	}
}

// examples returns all views by the names of their golden files.
func examples() map[string]View {
	return map[string]View{
		"overview": overview(60, PerPage, 1), "empty": overview(0, PerPage, 1), "namespace": namespace(8), "waivers": waivers(), "policy": policy(),
		"changes": changes(40), "not-found": notFound(), "rejected": rejected(), "standby": standby(), "about-to-lead": aboutToLead(),
	}
}
