package scan

import (
	"fmt"
	"hash/maphash"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/rules"
)

// podsOf counts the pods from a cluster by their workload, with a few bytes for each workload. It does not count pods of a watch, because they may be
// deleted later.
type podsOf struct {
	seed  maphash.Seed
	count map[uint64]int
}

func newPodsOf() podsOf { return podsOf{maphash.MakeSeed(), make(map[uint64]int)} }

func (c *podsOf) put(p *batchedPod) {
	if p.ownerHash != 0 {
		c.count[p.ownerHash]++
	}
}

// hashOwner returns a hash of the workload of a pod from a cluster; 0 for any other pod, and if it has no workload.
func (b *batch) hashOwner(p *batchedPod, reduced []byte) uint64 {
	if p.Template || p.Watched || !p.Recorded && p.UID == "" {
		return 0
	}
	owner := rules.WorkloadOf(reduced)
	if owner.Kind == "" {
		return 0
	}
	return hashWorkload(b.seed, p.Namespace, owner.Kind, owner.Name)
}

func hashWorkload(seed maphash.Seed, namespace, kind, name string) uint64 {
	return maphash.Comparable(seed, workloadName{namespace: namespace, kind: kind, name: name})
}

// warnOfPods warns about pods that count in addition to the template from which they were created.
func (s *scan) warnOfPods() {
	workloads, pods := 0, 0
	for _, of := range s.workloads.all {
		if of.uid == "" || of.left {
			continue
		}
		if n := s.podsOf.count[hashWorkload(s.podsOf.seed, of.namespace, of.kind, of.name)]; n > 0 {
			workloads, pods = workloads+1, pods+n
		}
	}
	if pods > 0 {
		s.options.Warn(fmt.Sprintf("the input has workloads and their pods (%s, %s), and both count: for scores, record either pods or workloads",
			english.Plural(workloads, "workload", ""), english.Plural(pods, "pod", "")))
	}
}
