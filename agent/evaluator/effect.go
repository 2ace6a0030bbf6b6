package evaluator

import (
	"cmp"
	"math"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/kube-devops/kube-devops/agent/state"
)

// An effect is what a change of policy did to one namespace, or to the cluster. A side is nil where there was no score.
type effect struct {
	namespace     string // empty for the cluster
	before, after *state.Scores
}

// MarshalLogObject writes the effect into a log line.
func (f effect) MarshalLogObject(to zapcore.ObjectEncoder) error {
	if f.namespace != "" {
		to.AddString("namespace", f.namespace)
	}
	for _, side := range []struct {
		name   string
		scores *state.Scores
	}{{"before", f.before}, {"after", f.after}} {
		if side.scores != nil {
			to.AddFloat64("score_"+side.name, side.scores.Score)
			to.AddFloat64("compliance_"+side.name, side.scores.Compliance)
		}
	}
	return nil
}

// size is by how much the compliance changed; a namespace that comes or goes has changed most.
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
	byName := make(map[string]*effect)
	collect := func(snap *state.Snapshot, put func(*effect, *state.Scores)) {
		for _, ns := range snap.Namespaces {
			if scores, ok := ns.Scores(snap.Table); ok {
				if byName[ns.Name] == nil {
					byName[ns.Name] = &effect{namespace: ns.Name}
				}
				put(byName[ns.Name], &scores)
			}
		}
	}
	collect(before, func(f *effect, s *state.Scores) { f.before = s })
	collect(after, func(f *effect, s *state.Scores) { f.after = s })
	var changed []effect
	for _, f := range byName {
		if f.before == nil || f.after == nil || *f.before != *f.after {
			changed = append(changed, *f)
		}
	}
	slices.SortFunc(changed, func(a, b effect) int {
		return cmp.Or(cmp.Compare(b.size(), a.size()), cmp.Compare(a.namespace, b.namespace))
	})
	return changed
}

// logEffect logs what a change of policy did to the scores.
func (e *Evaluator) logEffect(before, after *state.Snapshot) {
	changed := effects(before, after)
	fields := []zap.Field{
		zap.Int("changed", len(changed)),
		zap.Objects("namespaces", changed[:min(len(changed), maxNamedEffects)]),
	}
	cluster := effect{}
	if scores, ok := before.Cluster(); ok {
		cluster.before = &scores
	}
	if scores, ok := after.Cluster(); ok {
		cluster.after = &scores
	}
	e.log.Info("scores under the new policy", append(fields, zap.Object("cluster", cluster))...)
}
