package scan

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
)

// excluded counts the pods of excluded namespaces, each once.
type excluded struct {
	seed maphash.Seed
	pods map[uint64]struct{} // by the hash of their identity, a few bytes a pod
	in   map[string]report.Excluded
}

// add counts a pod that exists, and removes one that was deleted.
func (x *excluded) add(p *batchedPod) {
	if x.pods == nil {
		x.seed, x.pods, x.in = maphash.MakeSeed(), make(map[uint64]struct{}), make(map[string]report.Excluded)
	}
	digest := p.Digest
	if p.Recorded {
		digest = 0
	}
	hash := maphash.Comparable(x.seed, struct {
		namespace, name, group string
		digest                 uint64
	}{p.Namespace, p.Name, groupOf(p.APIVersion), digest})
	_, known := x.pods[hash]
	of := x.in[p.Namespace]
	of.Pattern = p.excludedBy
	switch {
	case p.Op == dump.Delete && known:
		delete(x.pods, hash)
		of.Pods--
	case p.Op == dump.Apply && !known:
		x.pods[hash] = struct{}{}
		of.Pods++
	}
	if x.in[p.Namespace] = of; of.Pods <= 0 {
		delete(x.in, p.Namespace)
	}
}

// byPolicy returns the namespaces that the policy excludes, sorted, and how many pods they have.
func (x *excluded) byPolicy(options *Options) (namespaces []string, pods int) {
	for _, name := range slices.Sorted(maps.Keys(x.in)) {
		if _, excluded := options.Table.ExcludedBy(name); excluded {
			namespaces = append(namespaces, name)
			pods += x.in[name].Pods
		}
	}
	return namespaces, pods
}

// text says which pods the policy excludes: "600 pods in 1 namespace excluded by the policy: kube-system (kube-*)".
func (x *excluded) text(namespaces []string, pods int) string {
	var named []string
	for _, name := range namespaces {
		pattern := x.in[name].Pattern
		if pattern == "" {
			pattern = "not included"
		}
		named = append(named, dump.OneLine(name+" ("+pattern+")"))
	}
	return fmt.Sprintf("%s in %s excluded by the policy: %s",
		english.Plural(pods, "pod", ""), english.Plural(len(namespaces), "namespace", ""), firstFive(named))
}
