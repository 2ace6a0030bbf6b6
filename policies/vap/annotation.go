package vap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/cel"
)

// annotatedChecks returns the ids of the checks whose violations an annotation can waive.
func annotatedChecks(t *rules.Table) []string {
	var ids []string
	if a := t.AnnotationWaivers(); a != nil {
		for _, c := range t.Checks() {
			if slices.Contains(a.CheckIDs, c.ID) {
				ids = append(ids, c.ID)
			}
		}
	}
	return ids
}

// Regular expressions for the parts of an annotation line. They accept the same white space and the same dates as the engine, except for
// dates before 2000, which have expired.
const (
	space    = `[\s\v\x{85}\p{Z}]`
	leapYear = `([2-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[3579][26])00)`
	date     = `([2-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|` + leapYear + `-02-29)`
	checkIDs = `[a-z0-9_]+(` + space + `*,` + space + `*[a-z0-9_]+)*`
	// waiveLine matches CHECK[,CHECK] expires DATE: REASON.
	waiveLine = `^` + space + `*` + checkIDs + space + `+expires` + space + `+` + date + space + `*:.*[\p{L}\p{N}]`
	// maxAnnotation is the maximum length in bytes that the engine reads, less the two quotes that it counts.
	maxAnnotation = 4094
)

// annotation is the CEL expression for the annotation of the pod, or "" if it has none.
const annotation = `variables.pods[0].?metadata.?annotations[?"` + rules.WaiveAnnotation + `"].orValue("")`

// accepted returns the expression for the lines of the annotation that are valid and have not expired. Each line becomes the list of its
// checks, with a comma before and after each id.
func (p *policy) accepted() string {
	a := p.table.AnnotationWaivers()
	var allowed []string
	for _, id := range a.CheckIDs {
		allowed = append(append(allowed, id), p.table.Former(id)...)
	}
	// The maximum number of days counts from the creation of a pod. A template has no creation time, so it counts from now.
	from := "variables.now"
	if !p.WithoutPods {
		from = "(" + p.byKind("timestamp(string("+objectOf+".metadata.creationTimestamp))", from, from) + ")"
	}
	const head, ids = `l.substring(0, l.indexOf(":")).trim()`, `h.substring(0, size(h) - 10).trim()`
	inTime := fmt.Sprintf(`variables.now < t && t <= %s + duration("%dh")`, from, a.MaxDays*24)
	return "(size(bytes(variables.annotation)) <= " + fmt.Sprint(maxAnnotation) + ` ? variables.annotation.split("\n") : [])` +
		`.filter(l, l.matches(` + cel.Quote(waiveLine) + `)).map(l, ` + head + `)` +
		`.filter(h, [timestamp(h.substring(size(h) - 10) + "T00:00:00Z")].exists(t, ` + inTime + `))` +
		`.map(h, ` + ids + `).map(h, h.substring(0, size(h) - size("expires")).split(",").map(i, i.trim()))` +
		`.filter(ids, ids.all(i, i in [` + quotedList(allowed) + `])).map(ids, "," + ids.join(",") + ",")`
}

// waived returns the expression for the ids of the checks whose violations the annotation waives.
func (p *policy) waived() string {
	var checks []string
	for _, id := range annotatedChecks(p.table) {
		checks = append(checks, "["+quotedList(append([]string{id}, p.table.Former(id)...))+"]")
	}
	return "[" + strings.Join(checks, ", ") + `].filter(ids, ids.exists(i, variables.accepted.exists(l, l.contains("," + i + ",")))).map(ids, ids[0])`
}
