package scan

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
)

// excluded counts the pods of namespaces that are left out, each once.
type excluded struct {
	seed maphash.Seed
	pods map[uint64]struct{} // by the hash of namespace and name: a few bytes for each
	in   map[string]report.Excluded
}

// add counts a pod that is there, and takes away one that has gone.
func (x *excluded) add(p *batchedPod) {
	if x.pods == nil {
		x.seed, x.pods, x.in = maphash.MakeSeed(), make(map[uint64]struct{}), make(map[string]report.Excluded)
	}
	hash := maphash.Comparable(x.seed, excludedKey(p))
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

// identified is what tells pods of namespaces that are left out from one another.
func excludedKey(p *batchedPod) [4]string {
	if p.Recorded {
		return [4]string{p.Namespace, p.Name, groupOf(p.APIVersion)}
	}
	return [4]string{p.Namespace, p.Name, groupOf(p.APIVersion), fmt.Sprint(p.Digest)}
}

// byPolicy are the namespaces that the policy leaves out, sorted, and how many pods they have.
func (x *excluded) byPolicy(options *Options) (namespaces []string, pods int) {
	for _, name := range slices.Sorted(maps.Keys(x.in)) {
		if _, excluded := options.Table.ExcludedBy(name); excluded {
			namespaces = append(namespaces, name)
			pods += x.in[name].Pods
		}
	}
	return namespaces, pods
}

// text says which pods the policy leaves out: "600 pods in 1 namespace excluded by the policy: kube-system (kube-*)".
func (x *excluded) text(namespaces []string, pods int) string {
	const most = 5
	var named []string
	for i, name := range namespaces {
		if i == most {
			named = append(named, fmt.Sprintf("%d more", len(namespaces)-most))
			break
		}
		if pattern := x.in[name].Pattern; pattern != "" {
			name += " (" + pattern + ")"
		} else {
			name += " (not included)"
		}
		named = append(named, dump.OneLine(name))
	}
	return fmt.Sprintf("%s in %s excluded by the policy: %s", english.Plural(pods, "pod", ""), english.Plural(len(namespaces), "namespace", ""), strings.Join(named, ", "))
}
