package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// Options configure a scan.
type Options struct {
	Table *rules.Table
	// Now is the time at which waivers may have expired.
	Now time.Time
	// Found has the files to read, in this order, and what Find left out.
	Found dump.Found
	Stdin io.Reader
	// StdinName is the name of Stdin in messages; empty: stdin.
	StdinName string
	// Namespaces are patterns: namespaces that match none of them are excluded, as are those that the table excludes. None: all
	// namespaces.
	Namespaces []string
	// KeepGoing skips what cannot be read, and notes it in the result, instead of returning an error.
	KeepGoing bool
	// AllowEmpty accepts an input without workloads.
	AllowEmpty bool
	// Admission has the selections of Table by which the API server would evaluate pods and templates. It is empty without --enforce.
	Admission []vap.Selection
	// Workers is the number of goroutines that evaluate; 0: one.
	Workers int
	// Progress, if not nil, counts the bytes that were read.
	Progress *atomic.Int64
	// Warn, if not nil, is called with a line for each reason for which something was left out, or is unusual.
	Warn func(line string)
}

// Validate returns the errors in patterns of namespaces.
func Validate(namespaces []string) error {
	var errs []error
	for _, glob := range namespaces {
		if _, err := rules.ParseGlob(glob); err != nil || glob == "" {
			errs = append(errs, fmt.Errorf("--namespace %q is not a pattern of a name, such as shop or team-*", glob))
		}
	}
	return errors.Join(errs...)
}

// Run scans. Its errors name the file, the byte and the item, as a *dump.Error does. An input without pods is an error that wraps
// dump.ErrNoPods, one whose pods are all in excluded namespaces an error that wraps ErrAllExcluded.
func Run(ctx context.Context, options Options) (*report.Scan, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if options.Progress == nil {
		options.Progress = new(atomic.Int64)
	}
	if options.Warn == nil {
		options.Warn = func(string) {}
	}
	options.Table = options.Table.AsOf(options.Now)
	s := newScan(options, cancel)
	var err error
	if s.projection, err = options.Table.ProjectionWith(rules.WorkloadPaths()...); err != nil {
		return nil, err
	}
	s.state.ExpireWaivers(options.Now)
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	return s.finish()
}

func newScan(options Options, cancel context.CancelFunc) *scan {
	s := &scan{
		options: options,
		state:   state.New(options.Table),
		podsOf:  newPodsOf(),
		origins: make(map[sharedOrigin]*report.Origin),
		result:  &report.Scan{Inputs: report.Inputs{Files: len(options.Found.Files)}},
		cancel:  cancel,
	}
	s.identities = newIdentities(s.state)
	s.options.Admission = asOf(options.Admission, options.Now)
	for _, selection := range s.options.Admission {
		judged := state.New(selection.Table)
		judged.ExpireWaivers(options.Now)
		s.admission = append(s.admission, judged)
	}
	s.result.Restricted = len(s.options.Namespaces) > 0
	s.result.Selects = func(namespace string) bool {
		_, counts := options.includes(namespace)
		return counts
	}
	for _, err := range options.Found.Errors {
		s.result.Inputs.Unreadable = append(s.result.Inputs.Unreadable, leftOut(err))
	}
	if len(options.Found.Files) > 1 {
		s.files = newPodFiles()
	}
	found := &options.Found
	s.skipped[template], s.skipped[danglingLink], s.skipped[excludedFile] = found.ChartTemplates, found.DanglingLinks, found.Excluded
	for _, folder := range found.EmptyFolders {
		s.skipped[emptyFolder].Add(folder)
	}
	return s
}

// scan is a scan in progress.
type scan struct {
	options    Options
	projection *rules.Projection
	state      *state.ClusterState
	admission  []*state.ClusterState // for each of options.Admission
	result     *report.Scan
	identities *identities
	workloads  workloads
	podsOf     podsOf
	details    details
	origins    map[sharedOrigin]*report.Origin // of recorded pods of one source
	originsOf  *source
	cancel     context.CancelFunc
	err        error // of the first pod that could not be evaluated

	buffer     eventBuffer // of the file that is being read
	page       page
	fileErrors []error // of files in folders
	excluded   excluded
	files      *podFiles // until the first duplicate; nil if there is one file
	skipped    [reasons]dump.Skipped
}

// run reads all files. It returns the first error in the order of the input.
func (s *scan) run(ctx context.Context) error {
	p := s.newPipeline(ctx)
	err := s.readAll(ctx, p)
	p.close()
	if s.err != nil { // it comes before the place at which the reading ended
		return s.err
	}
	return err
}

// includes reports whether the pods of a namespace count, and which pattern of the policy excludes them.
func (o *Options) includes(namespace string) (excludedBy string, counts bool) {
	if pattern, excluded := o.Table.ExcludedBy(namespace); excluded {
		return pattern, false
	}
	return "", len(o.Namespaces) == 0 || matchesAny(o.Namespaces, namespace)
}

func matchesAny(globs []string, namespace string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return rules.MatchGlob(glob, namespace) })
}

// finish returns the result.
func (s *scan) finish() (*report.Scan, error) {
	s.removeOwned()
	r := s.result
	if n := s.skipped[withoutImage].Count; n > 0 {
		s.other(dump.Patches, n)
	}
	r.Inputs.ExcludedNamespaces = s.excluded.in
	r.Inputs.Ignored = report.Ignored{
		ChartTemplates: s.skipped[template].Count, NotManifests: s.skipped[notManifest].Count, Excluded: s.skipped[excludedFile].Count,
		DanglingLinks: s.skipped[danglingLink].Count, Empty: s.skipped[emptyFile].Count,
	}
	if r.Inputs.Pods+r.Inputs.Templates == 0 && len(r.Inputs.Unreadable) == 0 {
		if err := s.noWorkloads(); err != nil {
			return nil, err
		}
	}
	s.warn()
	s.warnOfPods()
	r.Snapshot = s.state.SnapshotWithViolations()
	s.warnOfNamespaces()
	s.finishAdmission()
	return r, nil
}

// other counts objects of another kind.
func (s *scan) other(kind string, n int) {
	if s.result.Inputs.OtherKinds == nil {
		s.result.Inputs.OtherKinds = make(map[string]int)
	}
	s.result.Inputs.OtherKinds[kind] += n
}

// leftOut returns the line of an error that is skipped.
func leftOut(err error) string {
	return strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", "; "), "read ")
}
