package rules

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// Enforce says what the API server does with an object that violates a check, once the table is exported. It does not affect the score.
type Enforce string

// What the API server does, the strictest first: it refuses the object, warns the client, or writes an audit annotation.
const (
	Deny  Enforce = "deny"
	Warn  Enforce = "warn"
	Audit Enforce = "audit"
)

var enforcements = [...]Enforce{Deny, Warn, Audit}

// Enforcements returns all values of Enforce, the strictest first.
func Enforcements() []Enforce { return slices.Clone(enforcements[:]) }

func (r *loader) enforce(node *yaml.Node) Enforce {
	e := Enforce(node.Value)
	if node.Kind == yaml.ScalarNode && slices.Contains(enforcements[:], e) {
		return e
	}
	hint := ""
	if node.Kind == yaml.ScalarNode {
		hint = enforceHint(node.Value)
	}
	r.Errorf(node, "enforce must be deny, warn or audit, got %s%s", strictyaml.Describe(node), hint)
	return ""
}

// enforceHint says which value another word most likely means. It continues the message; empty when there is none.
func enforceHint(word string) string {
	switch word = strings.ToLower(word); word {
	case "true", "enforce", "enforced", "block", "refuse", "reject", "forbid", "fail", "error":
		return ` (did you mean "deny"?)`
	case "warning", "advise":
		return ` (did you mean "warn"?)`
	case "dryrun", "dry-run", "log", "report", "record":
		return ` (did you mean "audit"?)`
	case "", "~", "null", "false", "no", "none", "off", "allow", "ignore", "disabled", "score":
		return "; omit the field, and the check is scored only"
	}
	words := make([]string, len(enforcements))
	for i, e := range enforcements {
		words[i] = string(e)
	}
	return suggest.DidYouMean(word, words)
}
