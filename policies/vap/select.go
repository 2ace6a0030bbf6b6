package vap

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/cel"
)

// A Selection is the part of a table that the API server evaluates for one action: checks, and the skips and waivers that apply at admission.
type Selection struct {
	Action rules.Enforce
	// Table is the table as exported, for pod templates and the pods of a roll-out.
	Table *rules.Table
	// PodTable is the table for a pod that is created without a workload. With deny it does not have the waivers for workloads, because any
	// user may write the owner references of a pod.
	PodTable *rules.Table
	// Controllers is the table of the audit policy for the objects that deny exempts: those that controllers and exempt groups create. It is
	// nil for actions other than deny.
	Controllers *rules.Table
	// LeftOut lists the parts of the table that the API server does not evaluate.
	LeftOut []LeftOut
}

// A LeftOut is a part of a table that is not exported.
type LeftOut struct {
	// What names the part: "check restarts", "skip mirror", "waiver legacy" or "annotationWaivers".
	What   string
	Reason string
	// Expected means that the documentation explains it, so it needs no warning.
	Expected bool
}

// Select returns one selection for each action: the checks whose field enforce has this action, or with Options.Action all checks. Checks that
// cannot be enforced are an error, which names all of them. With Options.Partial they are left out instead.
func Select(t *rules.Table, o Options) ([]Selection, error) {
	actions := []rules.Enforce{o.Action}
	if o.Action == "" {
		actions = rules.Enforcements()
	}
	plain := t.Keeping(everySkip, everyWaiver, false)
	write := translator(plain, "pod", o)
	var selections []Selection
	var errs []error
	enforced := false
	for _, action := range actions {
		var ids []string
		var leftOut []LeftOut
		for _, c := range t.Checks() {
			if o.Action == "" && c.Enforce != action {
				continue
			}
			enforced = true
			err := enforceable(write, &c, o)
			switch {
			case err == nil:
				ids = append(ids, c.ID)
			case o.Partial:
				leftOut = append(leftOut, LeftOut{What: "check " + c.ID, Reason: err.Error()})
			default:
				errs = append(errs, fmt.Errorf("check %s cannot be enforced: %w", c.ID, err))
			}
		}
		if len(ids) > 0 {
			s := selected(t, action, ids)
			s.LeftOut = slices.Concat(leftOut, s.LeftOut)
			selections = append(selections, s)
		}
	}
	switch {
	case len(errs) > 0:
		return nil, fmt.Errorf("%w (--partial leaves such checks out)", errors.Join(errs...))
	case !enforced:
		return nil, fmt.Errorf("policy %s: no check has the field enforce; set it, or use --action deny, warn or audit for every check", t.Name())
	case len(selections) == 0:
		return nil, fmt.Errorf("policy %s: none of its checks can be enforced", t.Name())
	}
	return selections, nil
}

// enforceable returns an error if a check can have another result at admission than for the stored object, or if CEL cannot express it.
func enforceable(write *cel.Translator, c *rules.Check, o Options) error {
	for _, keys := range setLater {
		if c.Reads(keys...) {
			return fmt.Errorf("it reads %s, which is not known when the object is created", strings.Join(keys, "."))
		}
	}
	for _, keys := range notInTemplates {
		if !o.WithoutWorkloads && c.Reads(keys...) {
			return fmt.Errorf("it reads %s, which differs between a template and its pods: use --kinds pods", strings.Join(keys, "."))
		}
	}
	violations, err := write.Violations(c)
	if unsupported, ok := errors.AsType[*cel.Unsupported](err); ok {
		return errors.New("it " + unsupported.Reason)
	}
	if err != nil {
		return err
	}
	if n := utf8.RuneCountInString(format(judging(violations))); n > maxExpression {
		return fmt.Errorf("its CEL expression has %d characters, but the API server accepts at most %d: split its lists of values, or remove waivers", n, maxExpression)
	}
	return nil
}

// maxExpression is the maximum length of an expression in characters: the default of cel-go.
const maxExpression = 100_000

// judging returns the expression for the violations of a check in the new and in the old pod.
func judging(violations string) string { return "variables.pods.map(pod, " + violations + ")" }

// tooLong returns an error if an expression is longer than the API server accepts.
func tooLong(expressions []named) error {
	for _, e := range expressions {
		if n := utf8.RuneCountInString(string(e.Expression)); n > maxExpression {
			return fmt.Errorf("the CEL expression %s has %d characters, but the API server accepts at most %d: split the table, or export fewer checks", e.Name, n, maxExpression)
		}
	}
	return nil
}

// setLater lists the fields that the API server sets after admission.
var setLater = [][]string{{"status"}, {"metadata", "resourceVersion"}, {"metadata", "deletionTimestamp"}, {"metadata", "deletionGracePeriodSeconds"}}

// notInTemplates lists the fields of pods that pod templates do not have, or that the API server ignores in them.
var notInTemplates = [][]string{
	{"kind"}, {"apiVersion"}, {"metadata", "generateName"}, {"metadata", "finalizers"}, {"metadata", "generation"},
	{"metadata", "managedFields"}, {"metadata", "selfLink"},
}

// writable lists the fields that deny must not trust: whoever may create an object may write them.
var writable = []struct {
	keys []string
	name string
}{
	{[]string{"metadata", "ownerReferences"}, "owner references"},
	{[]string{"metadata", "labels"}, "labels"},
	{[]string{"metadata", "annotations"}, "annotations"},
}

func everySkip(int) bool             { return true }
func everyWaiver(*rules.Waiver) bool { return true }

// subset returns the table with only the checks of the given ids, which must exist.
func subset(t *rules.Table, ids []string) *rules.Table {
	s, err := t.Subset(ids...)
	if err != nil {
		panic("ids of the table: " + err.Error())
	}
	return s
}

// knownLater reports whether a skip reads a field that the API server sets after admission. Such a skip is false at admission.
func knownLater(t *rules.Table, skip int) bool {
	return slices.ContainsFunc(setLater, func(keys []string) bool { return t.SkipReads(skip, keys...) })
}

// observed returns the table with these checks for warn or audit, with the skips and waivers that apply at admission.
func observed(t *rules.Table, ids []string) *rules.Table {
	chosen := subset(t, ids)
	return chosen.Keeping(func(i int) bool { return !knownLater(chosen, i) }, everyWaiver, true)
}

// selected returns the selection of an action for these checks.
func selected(t *rules.Table, action rules.Enforce, ids []string) Selection {
	chosen := subset(t, ids)
	s := Selection{Action: action, Table: observed(t, ids)}
	s.PodTable = s.Table
	trusted := make([]bool, len(chosen.Skips()))
	for i, skip := range chosen.Skips() {
		what := "skip " + skip.Reason
		if knownLater(chosen, i) {
			s.LeftOut = append(s.LeftOut, LeftOut{what, "it reads a field that is not known at admission, such as the status, so it is false", true})
			continue
		}
		var fields []string
		for _, field := range writable {
			if chosen.SkipReads(i, field.keys...) {
				fields = append(fields, field.name)
			}
		}
		if trusted[i] = len(fields) == 0; !trusted[i] && action == rules.Deny {
			s.LeftOut = append(s.LeftOut, LeftOut{What: what, Reason: dependsOn(fields)})
		}
	}
	if action == rules.Deny && len(annotatedChecks(chosen)) > 0 {
		s.LeftOut = append(s.LeftOut, LeftOut{What: "annotationWaivers", Reason: "any user may write the annotation"})
	}
	if action == rules.Deny {
		s.Controllers = s.Table
		s.denies(chosen, trusted)
	}
	return s
}

// denies removes from a selection the skips and waivers that deny must not trust.
func (s *Selection) denies(chosen *rules.Table, trusted []bool) {
	for _, w := range chosen.Waivers() {
		var fields []string
		if selects(w, "owner") {
			fields = append(fields, "owner references")
		}
		if selects(w, "labels") {
			fields = append(fields, "labels")
		}
		if len(fields) > 0 {
			s.LeftOut = append(s.LeftOut, LeftOut{What: "waiver " + w.ID, Reason: dependsOn(fields)})
		} else if selects(w, "workload") {
			s.LeftOut = append(s.LeftOut, LeftOut{"waiver " + w.ID + " for pods",
				"any user may write the owner references that assign a pod to a workload; the waiver applies to the template of the workload", true})
		}
	}
	s.Table = chosen.Keeping(func(i int) bool { return trusted[i] },
		func(w *rules.Waiver) bool { return !selects(w, "labels") && !selects(w, "owner") }, false)
	s.PodTable = s.Table.Keeping(everySkip, func(w *rules.Waiver) bool { return !selects(w, "workload") }, false)
}

func selects(w *rules.Waiver, field string) bool { return slices.Contains(w.Selectors(), field) }

func dependsOn(fields []string) string {
	return "it depends on the " + strings.Join(fields, " and the ") + ", which any user may write"
}
