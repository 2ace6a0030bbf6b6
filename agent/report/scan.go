package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// A Scan is what a scan of recordings and manifests found. Each printer of a scan writes one of its forms.
type Scan struct {
	// Snapshot has its violations. Their origins, of type *Origin, say where the pods come from.
	Snapshot *state.Snapshot
	Inputs   Inputs
	// Warnings are sentences that every report shows, where its format has a place for them. What Inputs counts is not among
	// them: each report says that itself.
	Warnings []string
	// Selects reports whether the scan covers the pods of a namespace; nil where it covers all.
	Selects func(namespace string) bool
	// Details returns what a violation shows of its pod, where the origins have no details; nil where nothing does.
	Details func(state.PodViolation) rules.Detail

	scope *Scope // of the report of an agent that watches some namespaces alone
}

// Options say how a scan is printed. The zero value is for a file that keeps everything.
type Options struct {
	// Top is how many namespaces and how many workloads the lists for people show, worst first; 0 for all.
	Top int
	// Findings is how many findings of manifests the table lists, worst first; 0 for all.
	Findings int
	// Color allows the escape sequences of a terminal. Width is its columns, 0 for lines of any length. Height is its rows: a
	// table that is longer repeats the headline at its end; 0 for 40.
	Color         bool
	Width, Height int
	// Baseline says what is new against an older report; nil where there is none.
	Baseline *BaselineDiff
	// Waived adds the waived findings to SARIF, as suppressed results.
	Waived bool
	// Version is that of the program, for the formats that name it; empty where it is not known.
	Version string
	// Now is the date of the report, for the formats that show it; zero for none.
	Now time.Time
	// Target names what was scanned, for readers: a folder, a file or a cluster; empty where it has no name.
	Target string
	// Warn receives a line about a report that its format cannot hold as a whole; nil where it is not wanted.
	Warn func(line string)
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
	return Format{}, fmt.Errorf("unknown format %q%s (there are %s)", elided(name, 40), hint, strings.Join(names, ", "))
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

// A Workload is what a team deploys and fixes.
type Workload struct{ Kind, Name string }

// String is kind and name: "Deployment/web".
func (w Workload) String() string { return w.Kind + "/" + w.Name }

// compare sorts workloads by name.
func (w Workload) compare(v Workload) int {
	return cmp.Or(cmp.Compare(w.Name, v.Name), cmp.Compare(w.Kind, v.Kind))
}

// A document is where the manifest of a workload stands; zero for recorded pods. Manifests of one name are workloads of
// their own, and their documents keep them apart.
type document struct {
	file     string
	position int
}

func (d document) compare(e document) int {
	return cmp.Or(cmp.Compare(d.file, e.file), cmp.Compare(d.position, e.position))
}

// A workloadKey is what reports list as one workload: the pods of a recorded workload, or one document.
type workloadKey struct {
	Workload
	document
}

func (u workloadKey) compare(v workloadKey) int {
	return cmp.Or(u.Workload.compare(v.Workload), u.document.compare(v.document))
}

// labels name the keys of one namespace for people: those that share a name with another get their file, and where that
// is the same too, the number of the document.
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

// originOf is where the pod comes from. Of a pod whose origin is not known, the pod itself is the workload.
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

// workloadKey is the workload of an origin.
func (o *Origin) workloadKey() workloadKey {
	return workloadKey{o.Workload, document{o.File, o.Document}}
}

// detail is what is known of a violation, its line being that of the object where that of the subject is not known.
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
	Pods  int // recorded pods, of the same pod the last
	// Templates counts the pod templates of workload manifests, each of which was evaluated as one pod.
	Templates int
	// OtherKinds counts the objects without pods, by kind; they were left out.
	OtherKinds map[string]int
	// Duplicates counts the pods that stood there again: the later one counts.
	Duplicates int
	// ExcludedNamespaces counts the pods of each namespace that the policy or --namespace leaves out.
	ExcludedNamespaces map[string]Excluded
	// Ignored counts what a folder holds that is not a manifest.
	Ignored Ignored
	// Unreadable says, a line each, what could not be read and is missing from the scores. A report that has any is one on a
	// part of the data, and says so.
	Unreadable []string
}

// Excluded counts the pods of one namespace that is left out.
type Excluded struct {
	Pods int
	// Pattern is the pattern of the policy that leaves it out; empty where --namespace, or the policy's include, does.
	Pattern string
}

// Ignored counts the files and documents of folders that were left out, by reason.
type Ignored struct {
	ChartTemplates int // templates of charts, and other files that are templates
	NotManifests   int // files without apiVersion and kind
	Excluded       int // files that --exclude leaves out
	DanglingLinks  int
	Empty          int // files without any document
}
