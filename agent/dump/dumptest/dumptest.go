// Package dumptest makes recordings of pods for tests and benchmarks: as large as asked for, the same for the same
// seed, and shaped as `kubectl get pods -A -o json` prints a real cluster (sorted keys, four spaces, no managedFields).
//
// The pods come from a fixed catalogue of workloads in ten namespaces, some well kept and some not: images that are
// pinned and images that end with :latest, probes present and missing, finished Jobs, init containers and native
// sidecars, static pods in kube-system, containers that crash. A pod of [WriteList] is about 14 KB, as pods of
// clusters with Helm charts, volumes and a few environment variables are.
package dumptest

import (
	"bufio"
	"fmt"
	"io"
)

// WriteList writes a List of the given number of pods to w. Pod i of the list is [Pod] of the same seed and i, so
// a longer list of one seed begins with the shorter one. Up to 14 million pods have distinct names. It returns the
// first error of w.
func WriteList(w io.Writer, seed uint64, pods int) error {
	out := bufio.NewWriterSize(w, 1<<18)
	// A write that failed fails again, and so does the Flush at the end: one check is enough.
	_, _ = out.WriteString("{\n    \"apiVersion\": \"v1\",\n    \"items\": [")
	var buf []byte
	for i := range pods {
		buf = appendNewline(buf[:0], i, 2)
		buf = appendIndented(buf, build(seed, i), 2)
		if _, err := out.Write(buf); err != nil {
			return fmt.Errorf("write pod %d: %w", i, err)
		}
	}
	if pods > 0 {
		_, _ = out.WriteString("\n    ")
	}
	_, _ = out.WriteString("],\n    \"kind\": \"List\",\n    \"metadata\": {\n        \"resourceVersion\": \"\"\n    }\n}\n")
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the end of the list: %w", err)
	}
	return nil
}

// Pod is pod i of the recording that a seed stands for: one indented JSON object without a final newline.
func Pod(seed uint64, i int) []byte { return appendIndented(nil, build(seed, i), 0) }

// build makes pod i. Its workload is drawn from the seed, so that every prefix of a list mixes all of them.
func build(seed uint64, i int) object {
	w := catalogue[int(mix(seed, uint64(i))%uint64(len(catalogue)))]
	return w.object(seed, i)
}
