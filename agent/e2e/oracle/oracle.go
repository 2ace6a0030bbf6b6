// Package oracle computes the scores of the default policy table, or of one with other weights, from a list of pods, as simply as
// possible. It must not share code with the agent, so that an error in the agent shows as a difference.
package oracle

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Scores has the scores of a cluster. Score and Compliance are means over the namespaces, and nil without namespaces.
type Scores struct {
	Namespaces map[string]Namespace
	Score      *float64
	Compliance *float64 // 0 to 1
}

// Namespace has the counts and scores of a namespace.
type Namespace struct {
	Pods       int
	Violations map[string]int // by check, zero included
	Score      float64        // penalty points per pod
	Compliance float64        // 0 to 1
}

// Only returns the scores of the namespaces that keep selects, without the means, for a cluster with other namespaces.
func (s Scores) Only(keep func(namespace string) bool) Scores {
	out := Scores{Namespaces: map[string]Namespace{}}
	for name, namespace := range s.Namespaces {
		if keep(name) {
			out.Namespaces[name] = namespace
		}
	}
	return out
}

var excluded = []string{"kube-*", "*-system", "cert-manager", "monitoring", "observability", "argocd"}

// Weights has the weights of the three checks of the default table by ID.
type Weights map[string]int

// Default are the weights of the default table.
var Default = Weights{"latest_tag": 5, "missing_liveness": 3, "missing_readiness": 2}

type pod struct {
	Metadata struct{ Namespace string }
	Spec     struct{ Containers []container }
}

type container struct {
	Image          string
	LivenessProbe  *struct{}
	ReadinessProbe *struct{}
}

// FromList returns the scores of the pods in the JSON of a List or PodList, under the default table.
func FromList(list []byte) (Scores, error) { return Default.FromList(list) }

// FromList returns the scores under a table with these weights.
func (w Weights) FromList(list []byte) (Scores, error) {
	var pods struct{ Items []pod }
	if err := json.Unmarshal(list, &pods); err != nil {
		return Scores{}, fmt.Errorf("decode the list of pods: %w", err)
	}
	byNamespace := map[string][]pod{}
	for _, p := range pods.Items {
		if !isExcluded(p.Metadata.Namespace) {
			byNamespace[p.Metadata.Namespace] = append(byNamespace[p.Metadata.Namespace], p)
		}
	}
	scores := Scores{Namespaces: map[string]Namespace{}}
	for name, pods := range byNamespace {
		scores.Namespaces[name] = w.score(pods)
	}
	scores.mean()
	return scores, nil
}

// Without returns a list without one of its pods.
func Without(list []byte, namespace, name string) ([]byte, error) {
	var all struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(list, &all); err != nil {
		return nil, fmt.Errorf("decode the list of pods: %w", err)
	}
	left := slices.DeleteFunc(slices.Clone(all.Items), func(item json.RawMessage) bool {
		var pod struct {
			Metadata struct{ Namespace, Name string }
		}
		return json.Unmarshal(item, &pod) == nil && pod.Metadata.Namespace == namespace && pod.Metadata.Name == name
	})
	if len(left) == len(all.Items) {
		return nil, fmt.Errorf("the list has no pod %s/%s", namespace, name)
	}
	all.Items = left
	return json.Marshal(all)
}

func isExcluded(namespace string) bool {
	return slices.ContainsFunc(excluded, func(glob string) bool {
		match, _ := path.Match(glob, namespace) // the globs above are well-formed
		return match
	})
}

func (w Weights) score(pods []pod) Namespace {
	n := Namespace{Pods: len(pods), Violations: map[string]int{"latest_tag": 0, "missing_liveness": 0, "missing_readiness": 0}}
	lost, atStake := 0, 0
	for _, p := range pods {
		for _, c := range p.Spec.Containers {
			failed := map[string]bool{
				"latest_tag":        strings.HasSuffix(c.Image, ":latest"),
				"missing_liveness":  c.LivenessProbe == nil,
				"missing_readiness": c.ReadinessProbe == nil,
			}
			for check, weight := range w {
				atStake += weight
				if failed[check] {
					lost += weight
					n.Violations[check]++
				}
			}
		}
	}
	n.Score = float64(lost) / float64(n.Pods)
	n.Compliance = 1
	if atStake > 0 {
		n.Compliance = 1 - float64(lost)/float64(atStake)
	}
	return n
}

func (s *Scores) mean() {
	if len(s.Namespaces) == 0 {
		return
	}
	var score, compliance float64
	for _, name := range slices.Sorted(maps.Keys(s.Namespaces)) {
		score += s.Namespaces[name].Score
		compliance += s.Namespaces[name].Compliance
	}
	count := float64(len(s.Namespaces))
	score, compliance = score/count, compliance/count
	s.Score, s.Compliance = &score, &compliance
}
