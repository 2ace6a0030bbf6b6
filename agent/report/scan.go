package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// A Scan is the result of a scan of recordings and manifests. Each printer writes it in one format.
type Scan struct {
	// Snapshot includes the violations. The type of their origins is *Origin.
	Snapshot *state.Snapshot
	Inputs   Inputs
	// Warnings are sentences that every format shows that has a place for them. They do not repeat the counts of Inputs.
	Warnings []string
	// Selects reports whether the scan covers the pods of a namespace; nil if it covers all.
	Selects func(namespace string) bool
	// Restricted is true if the scan covers only the namespaces that its user selected.
	Restricted bool
	// Details returns what a violation shows of its pod, if the origin has no details; nil if nothing is known.
	Details func(state.PodViolation) rules.Detail

	// Admission has the scans as the API server would evaluate the input, one for each action.
	Admission []Admission

	scope *Scope // of an agent that watches only some namespaces

	enforcement      *vap.Actions // of the table; see enforced
	enforcementKnown bool
}

// Options control how a scan is printed. The zero value is for a file that contains everything.
type Options struct {
	// Top is how many namespaces and workloads the table and the comment list, worst first; 0 for all.
	Top int
	// Findings is how many findings of manifests the table lists, worst first; 0 for all.
	Findings int
	// Color allows the escape sequences of a terminal. Width is its number of columns, 0 for no limit. Height is its number of
	// rows, 0 for 40: a longer table repeats the headline at its end.
	Color         bool
	Width, Height int
	// Baseline is the comparison with an older report; nil for none.
	Baseline *BaselineDiff
	// Refusals are those of the scan; nil if admission was not asked for.
	Refusals []Refusal
	// Waived adds the waived findings to SARIF, as suppressed results.
	Waived bool
	// Version is that of the program, for the formats that name it; empty if unknown.
	Version string
	// Now is the date of the report, for the formats that show it; zero for none.
	Now time.Time
	// Target names what was scanned, for readers: a folder, a file or a cluster; empty if it has no name.
	Target string
	// Warn receives a line if the format cannot hold the whole report; nil to ignore it.
	Warn func(line string)
}

// A Format is one way to print a scan.
type Format struct {
	Name string
	// Help is a short description for the help of the command.
	Help string
	// Print writes the report.
	Print func(to io.Writer, scan *Scan, o Options) error
}

// Formats returns all formats, the one for a terminal first.
func Formats() []Format {
	return []Format{
		{"table", "for people: namespaces and workloads, worst first", Table},
		{"json", "everything, for scripts and for --baseline", ScanJSON},
		{"yaml", "the same document as json", YAML},
		{"ndjson", "the violations, one JSON object per line", NDJSON},
		{"sarif", "SARIF 2.1.0, for code scanning", SARIF},
		{"junit", "JUnit XML, for the test view of a CI system", JUnit},
		{"github", "annotations of a GitHub workflow", GitHub},
		{"markdown", "a comment for a pull request, at most 65,536 bytes", Markdown},
		{"html", "one self-contained page with charts", HTML},
		{"prometheus", "metrics for the textfile collector, named as the agent's", Prometheus},
	}
}

// FormatNamed returns the format with a name. The error lists the names, and suggests a similar one.
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
	return Format{}, fmt.Errorf("unknown format %q%s (there are %s)", elided(name, 40), hint, strings.Join(names, ", "))
}

// An Origin says where a pod comes from. The pods of a recorded workload share one.
type Origin struct {
	// Workload owns the pod: its Deployment, StatefulSet and so on. It is the pod itself, or empty, if the pod has no owner.
	Workload Workload
	// File and Line (1-based) locate a manifest; empty and 0 for a recorded pod, and for standard input.
	File string
	Line int
	// Dump is the file of a recorded pod; empty for standard input, and for a manifest.
	Dump string
	// Document is the 1-based position of a manifest in its input; 0 for a recorded pod. File and Document distinguish
	// manifests with the same name.
	Document int
	// Stored is a manifest with a UID: a cluster printed the object, alone.
	Stored bool
	// Template is a manifest of a workload with a template, and not of a pod.
	Template bool
	// Pod is the name of the pod or template for readers; empty if it is the name in the state, which may be only a key.
	Pod string
	// AnnotationLine is the 1-based line of the annotation of a manifest whose waivers have mistakes; 0 if it is not known.
	AnnotationLine int
	// Details has an element for each violation of the verdict, in its order; nil if nothing is known. Origins with equal
	// details share them.
	Details *[]Detail
}

// A Detail describes one violation beyond what the verdict contains.
type Detail struct {
	rules.Detail
	// Line is the 1-based line of the subject; 0 for a recorded pod.
	Line int
}

// A Workload is an object that creates pods, or a pod without an owner.
type Workload struct{ Kind, Name string }

// String is kind and name: "Deployment/web".
func (w Workload) String() string { return w.Kind + "/" + w.Name }

// compare sorts workloads by name.
func (w Workload) compare(v Workload) int {
	return cmp.Or(cmp.Compare(w.Name, v.Name), cmp.Compare(w.Kind, v.Kind))
}

// A document locates the manifest of a workload; zero for recorded pods. It distinguishes manifests with the same name, which
// are separate workloads.
type document struct {
	file     string
	position int
}

func (d document) compare(e document) int {
	return cmp.Or(cmp.Compare(d.file, e.file), cmp.Compare(d.position, e.position))
}

// A workloadKey identifies what reports list as one workload: the pods of a recorded workload, or one document.
type workloadKey struct {
	Workload
	document
}

func (u workloadKey) compare(v workloadKey) int {
	return cmp.Or(u.Workload.compare(v.Workload), u.document.compare(v.document))
}

// labels names the workloads of one namespace for readers. Those with the same name also get their file, and the number of
// the document if the file is the same too.
func labels(keys []workloadKey) map[workloadKey]string {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, workloadKey.compare)
	keys = slices.Compact(keys)
	named, inFile := make(map[Workload]int), make(map[workloadKey]int)
	for _, u := range keys {
		named[u.Workload]++
		inFile[workloadKey{u.Workload, document{file: u.file}}]++
	}
	names := make(map[workloadKey]string, len(keys))
	for _, u := range keys {
		label := name(u.Workload.String())
		if named[u.Workload] > 1 && u.document != (document{}) {
			var where []string
			if u.file != "" {
				where = append(where, name(u.file))
			}
			if u.position > 0 && inFile[workloadKey{u.Workload, document{file: u.file}}] > 1 {
				where = append(where, fmt.Sprintf("document %d", u.position))
			}
			if len(where) > 0 {
				label += " (" + strings.Join(where, ", ") + ")"
			}
		}
		names[u] = label
	}
	return names
}

// originOf returns the origin of a pod. If it is unknown, the pod itself is the workload.
func originOf(v state.PodViolation) Origin {
	var origin Origin
	if known, ok := v.Origin.(*Origin); ok {
		origin = *known
	}
	origin.Pod = cmp.Or(origin.Pod, v.Pod.Name)
	if origin.Workload == (Workload{}) {
		origin.Workload = Workload{"Pod", origin.Pod}
	}
	return origin
}

func (o *Origin) workloadKey() workloadKey {
	return workloadKey{o.Workload, document{o.File, o.Document}}
}

// detail describes a violation. Its line is that of the object if that of the subject is unknown.
func (s *Scan) detail(v state.PodViolation, origin *Origin) Detail {
	var d Detail
	if origin.Details != nil && v.Index < len(*origin.Details) {
		d = (*origin.Details)[v.Index]
	} else if s.Details != nil {
		d.Detail = s.Details(v)
	}
	d.Line = cmp.Or(d.Line, origin.Line)
	return d
}

// Inputs counts what was read.
type Inputs struct {
	Files int
	// Cluster describes the cluster whose pods are read in place of a file; empty if files are.
	Cluster string
	Pods    int // recorded pods, without duplicates
	// Templates counts the pod templates of workload manifests. Each is evaluated as one pod.
	Templates int
	// OtherKinds counts the objects without pods, by kind.
	OtherKinds map[string]int
	// Duplicates counts pods and manifests that were read again. The last one wins.
	Duplicates int
	// ExcludedNamespaces counts the pods of each namespace that the policy excludes or --namespace does not select.
	ExcludedNamespaces map[string]Excluded
	// Ignored counts the files of folders that are not manifests.
	Ignored Ignored
	// Unreadable has a line for each input that could not be read and is missing from the scores. With any, a report says that
	// it is incomplete.
	Unreadable []string
}

// Excluded describes a namespace that is excluded from the scores.
type Excluded struct {
	Pods int
	// Pattern is the pattern of the policy that excludes it; empty if --namespace or the policy's include does not select it.
	Pattern string
}

// Ignored counts the ignored files and documents of folders, by reason.
type Ignored struct {
	ChartTemplates int // templates of charts, and other files that are templates
	NotManifests   int // files without apiVersion and kind
	Excluded       int // files that --exclude matches
	DanglingLinks  int
	Empty          int // files without any document
}
