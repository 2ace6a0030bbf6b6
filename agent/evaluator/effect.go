package evaluator

import (
	"cmp"
	"math"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/kube-devops/kube-devops/agent/state"
)

// An effect is what a change of policy did to the scores of a namespace, or of the cluster.
type effect struct {
	namespace     string        // empty for the cluster
	before, after *state.Scores // nil where there were no scores
}

// MarshalLogObject writes the effect into a log line.
func (f effect) MarshalLogObject(to zapcore.ObjectEncoder) error {
	if f.namespace != "" {
		to.AddString("namespace", f.namespace)
	}
	add := func(suffix string, scores *state.Scores) {
		if scores != nil {
			to.AddFloat64("score_"+suffix, scores.Score)
			to.AddFloat64("compliance_"+suffix, scores.Compliance)
		}
	}
	add("before", f.before)
	add("after", f.after)
	return nil
}

// size is by how much the compliance changed; a namespace that appears or disappears has changed most.
func (f effect) size() float64 {
	if f.before == nil || f.after == nil {
		return math.Inf(1)
	}
	return math.Abs(f.after.Compliance - f.before.Compliance)
}

// maxNamedEffects is how many namespaces are named when a change of policy is logged.
const maxNamedEffects = 50

// effects lists the namespaces whose scores differ, those that changed most first.
func effects(before, after *state.Snapshot) []effect {
	old, present := scoresOf(before), scoresOf(after)
	var changed []effect
	for name, scores := range old {
		if now := present[name]; now == nil || *now != *scores {
			changed = append(changed, effect{name, scores, now})
		}
	}
	for name, scores := range present {
		if old[name] == nil {
			changed = append(changed, effect{name, nil, scores})
		}
	}
	slices.SortFunc(changed, func(a, b effect) int {
		return cmp.Or(cmp.Compare(b.size(), a.size()), cmp.Compare(a.namespace, b.namespace))
	})
	return changed
}

// scoresOf returns the scores of the namespaces that have any.
func scoresOf(snap *state.Snapshot) map[string]*state.Scores {
	all := make(map[string]*state.Scores)
	for _, ns := range snap.Namespaces {
		if scores, ok := ns.Scores(snap.Table); ok {
			all[ns.Name] = &scores
		}
	}
	return all
}

// logEffect logs what a change of policy did to the scores.
func (e *Evaluator) logEffect(before, after *state.Snapshot) {
	changed := effects(before, after)
	cluster := effect{}
	if scores, ok := before.Cluster(); ok {
		cluster.before = &scores
	}
	if scores, ok := after.Cluster(); ok {
		cluster.after = &scores
	}
	e.log.Info("scores under the new policy", zap.Int("changed", len(changed)),
		zap.Objects("namespaces", changed[:min(len(changed), maxNamedEffects)]), zap.Object("cluster", cluster))
}
