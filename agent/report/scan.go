package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// A Scan is what a scan of recordings and manifests found. Each printer of a scan writes one of its forms.
type Scan struct {
	// Snapshot has its violations. Their origins, of type *Origin, tell where the pods come from.
	Snapshot *state.Snapshot
	Inputs   Inputs
	// LooksAt says whether the scan knows of the pods of a namespace; nil where it knows of all.
	LooksAt func(namespace string) bool
}

// Options say how a scan is printed. The zero value is for a file that keeps everything.
type Options struct {
	// Top is how many namespaces and how many workloads the lists for people show, worst first; 0 for all.
	Top int
	// Color allows the escape sequences of a terminal, and Width is its columns; 0 for lines as long as they get.
	Color bool
	Width int
	// Baseline tells what is new against an older report; nil where there is none.
	Baseline *Baselined
	// Version is that of the program, for the forms that name it; empty where it is not known.
	Version string
}

// A Format is one form of the report of a scan.
type Format struct {
	Name string
	// Help says in a few words what it is for.
	Help string
	// Print writes the report.
	Print func(to io.Writer, scan *Scan, o Options) error
}

// Formats are all forms of the report of a scan, the one for people first.
func Formats() []Format {
	return []Format{
		{"table", "for people: namespaces and workloads, worst first", Table},
		{"json", "everything, for scripts and for --baseline", ScanJSON},
		{"yaml", "the same document as json", YAML},
		{"ndjson", "the violations, one JSON object a line", NDJSON},
		{"sarif", "SARIF 2.1.0, for code scanning", SARIF},
		{"junit", "JUnit XML, for the test view of a CI system", JUnit},
		{"github", "annotations of a GitHub workflow", GitHub},
		{"markdown", "a comment for a pull request, 65,536 bytes at the most", Markdown},
		{"html", "one self-contained page with charts", HTML},
		{"prometheus", "metrics for the textfile collector, named as the agent's", Prometheus},
	}
}

// FormatNamed finds a format. The error names the formats there are, and the one that is spelled alike.
func FormatNamed(name string) (Format, error) {
	formats := Formats()
	names := make([]string, len(formats))
	for i, f := range formats {
		if f.Name == name {
			return f, nil
		}
		names[i] = f.Name
	}
	hint := ""
	if near := nearest(name, names, 1); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return Format{}, fmt.Errorf("unknown format %q%s (there are %s)", clipped(name, 40), hint, strings.Join(names, ", "))
}

// An Origin is where a pod comes from. Pods of one workload of a recording share theirs.
type Origin struct {
	// Workload is what the pod belongs to: its Deployment, StatefulSet and so on. Where nothing owns it, it is the pod
	// itself, or empty.
	Workload Workload
	// File and Line (1-based) say where a manifest stands; empty and 0 for a pod of a recording, and for standard input.
	File string
	Line int
	// Dump is the file of a recorded pod; empty for standard input, and for a manifest.
	Dump string
	// Document is the 1-based position of a manifest in its input; 0 for a pod of a recording. File and Document tell
	// manifests of one name apart.
	Document int
	// Pod is the name of the pod or template for readers, where that of the state is only a key; empty where it is the same.
	Pod string
	// Details has an element for each violation of the verdict, in its order; nil where nothing is known of them. Origins
	// with equal details share them.
	Details *[]Detail
}

// A Detail is what is known of one violation beyond the verdict.
type Detail struct {
	rules.Detail
	// Line is the 1-based line of the subject; 0 for a pod of a recording.
	Line int
}

// A Workload is what a team deploys and mends.
type Workload struct{ Kind, Name string }

// String is kind and name: "Deployment/web".
func (w Workload) String() string { return w.Kind + "/" + w.Name }

// originOf is where the pod comes from; of one that nobody told of, the pod itself is the workload.
func originOf(v state.PodViolation) Origin {
	var origin Origin
	if known, ok := v.Origin.(*Origin); ok {
		origin = *known
	}
	if origin.Workload == (Workload{}) {
		origin.Workload = Workload{"Pod", v.Pod.Name}
	}
	return origin
}

// Inputs counts what was read.
type Inputs struct {
	Files int
	Pods  int // recorded pods, of the same pod the last
	// Templates counts the pod templates of workload manifests, each of which was evaluated as one pod.
	Templates int
	// Others counts the objects without pods, by kind; they were left out.
	Others map[string]int
	// Repeated counts the pods that stood there again: the later one counts.
	Repeated int
	// ExcludedNamespaces counts the pods of each namespace that the policy or --namespace leaves out.
	ExcludedNamespaces map[string]Excluded
	// Passed counts what a folder holds that is not a manifest.
	Passed Passed
	// LeftOut says, a line each, what could not be read and is missing from the scores. A report that has any is one on a
	// part of the data, and says so.
	LeftOut []string
}

// Excluded counts the pods of one namespace that is left out.
type Excluded struct {
	Pods int
	// Pattern is the pattern of the policy that leaves it out; empty where --namespace, or the policy's include, does.
	Pattern string
}

// Passed counts the files and documents of folders that were left out, by reason.
type Passed struct {
	ChartTemplates int // templates of charts, and other files that are templates
	NotManifests   int // files without apiVersion and kind
	Excluded       int // files that --exclude leaves out
	DanglingLinks  int
	Empty          int // files without any document
}
