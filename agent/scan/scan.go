// Package scan evaluates recordings and manifests under a policy table: the scores and violations that a live agent would
// serve of the same pods, with no cluster.
//
// One goroutine reads and splits, as many as there are processors evaluate, and one brings the verdicts into the state,
// in the order of the input. Between them go batches of bytes that are used again and again, so that what a scan holds is
// what the state keeps of each pod, however large the recording is.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// Options say what to scan.
type Options struct {
	Table *rules.Table
	// Now is the moment for which waivers are judged.
	Now time.Time
	// Files are what is read, in this order.
	Files []dump.File
	Stdin io.Reader
	// StdinName is what Stdin is called in messages; empty: stdin.
	StdinName string
	// Namespaces are globs of which one must match the whole name of a namespace; the others are as though they were not
	// there. None: all namespaces. The table has its own, which count all the same.
	Namespaces []string
	// KeepGoing leaves out what cannot be read, and says so in the result, where else nothing would come of it.
	KeepGoing bool
	// LeftOut is what was left out before, as it could not be found: the result says so too.
	LeftOut []error
	// Workers is how many goroutines evaluate; 0: one.
	Workers int
	// Progress, where it is not nil, counts the bytes that were read.
	Progress *atomic.Int64
	// Warn, where it is not nil, is called with a line for what is odd and was read all the same.
	Warn func(line string)
}

// Validate tells what is wrong with a pattern of namespaces.
func Validate(namespaces []string) error {
	var errs []error
	for _, glob := range namespaces {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			errs = append(errs, fmt.Errorf("--namespace %q is no pattern of a name, such as shop or team-*", glob))
		}
	}
	return errors.Join(errs...)
}

// Run scans. Its error names the file, the byte and the item, as an *dump.Error does; nothing of what was read comes back
// with it. An input in which there are no pods that count is an error that wraps dump.ErrNoPods, or ErrNoneCount.
func Run(ctx context.Context, options Options) (*report.Scan, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if options.Progress == nil {
		options.Progress = new(atomic.Int64)
	}
	s := &scan{
		options: options,
		state:   state.New(options.Table),
		origins: make(map[report.Workload]*report.Origin),
		result:  &report.Scan{Inputs: report.Inputs{Files: len(options.Files)}},
		cancel:  cancel,
	}
	s.result.LooksAt = options.looksAt
	for _, err := range options.LeftOut {
		s.result.Inputs.LeftOut = append(s.result.Inputs.LeftOut, leftOut(err))
	}
	if len(options.Files) > 1 {
		s.places = newPlaces()
	}
	var err error
	if s.projection, err = options.Table.ProjectionWith(ownerPaths...); err != nil {
		return nil, err
	}
	s.state.Advance(options.Now)
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	return s.finish()
}

// ErrNoneCount says that there are pods, and that all of them are in namespaces that are left out.
var ErrNoneCount = errors.New("no pods that count")

// A scan is one on its way.
type scan struct {
	options    Options
	projection *rules.Projection
	state      *state.ClusterState
	result     *report.Scan
	origins    map[report.Workload]*report.Origin // of recorded pods of one source: one for each workload
	originsOf  source
	cancel     context.CancelFunc
	err        error // of the first pod that could not be evaluated
	others     int   // pods that were read, and left out for their namespace

	places *places // of all pods, until one stands there again; nil where there is one file
	again  repeats
	// bare are the manifests in which no container has a name: nothing can be wrong with what is not there.
	bare    remarks
	patches remarks
	raw     remarks // manifests with templates in them

	generated map[[2]string]int // manifests by namespace and the beginning of a name
}

// run reads all files. Where it returns an error, that is the first in the order of the input.
func (s *scan) run(ctx context.Context) error {
	p := s.newPipeline(ctx)
	err := s.readAll(ctx, p)
	p.close()
	if s.err != nil { // it stands before the place at which the reading ended
		return s.err
	}
	return err
}

func (s *scan) readAll(ctx context.Context, p *pipeline) error {
	for _, file := range s.options.Files {
		stats, err := s.read(ctx, p, file)
		for kind, n := range stats.Others {
			if s.result.Inputs.Others == nil {
				s.result.Inputs.Others = make(map[string]int)
			}
			s.result.Inputs.Others[kind] += n
		}
		switch {
		case err == nil, errors.Is(err, dump.ErrNoPods) && len(s.options.Files) > 1:
		case !s.options.KeepGoing, ctx.Err() != nil:
			return err
		default:
			p.leaveOut(err)
		}
	}
	return nil
}

func (s *scan) read(ctx context.Context, p *pipeline, file dump.File) (dump.Stats, error) {
	options := []dump.Option{dump.Unchecked, dump.Manifests, dump.Progress(s.options.Progress)}
	if file.Found {
		options = append(options, dump.Among)
	}
	if s.options.KeepGoing {
		options = append(options, dump.KeepGoing(func(e *dump.Error) { p.leaveOut(e) }))
	}
	from := sourceOf(file)
	if name := s.options.StdinName; name != "" && file.Path == "-" {
		from.name = name
		options = append(options, dump.Named(name))
	}
	return dump.ReadPath(ctx, file.Path, s.options.Stdin, func(e dump.Event) error { return p.send(from, e) }, options...)
}

// looksAt says whether the pods of a namespace count.
func (o Options) looksAt(namespace string) bool {
	if !o.Table.Includes(namespace) {
		return false
	}
	for _, glob := range o.Namespaces {
		if match, _ := path.Match(glob, namespace); match { // the pattern was validated
			return true
		}
	}
	return len(o.Namespaces) == 0
}

// finish makes the result of the state.
func (s *scan) finish() (*report.Scan, error) {
	r := s.result
	if n := s.patches.count; n > 0 {
		if r.Inputs.Others == nil {
			r.Inputs.Others = make(map[string]int)
		}
		r.Inputs.Others["patches"] = n
	}
	s.warn()
	if r.Inputs.Pods+r.Inputs.Templates == 0 && len(r.Inputs.LeftOut) == 0 {
		return nil, s.nothing()
	}
	r.Snapshot = s.state.SnapshotWithViolations()
	s.warnOfNamespaces()
	return r, nil
}

// nothing says why there is nothing to report on.
func (s *scan) nothing() error {
	if s.others > 0 {
		which := "the policy leaves out"
		if len(s.options.Namespaces) > 0 {
			which = "the policy or --namespace leaves out"
		}
		return fmt.Errorf("%w: %s, all in namespaces that %s", ErrNoneCount, plural(s.others, "pod"), which)
	}
	kinds := 0
	for _, n := range s.result.Inputs.Others {
		kinds += n
	}
	in := plural(len(s.options.Files), "file")
	if len(s.options.Files) == 1 {
		in = dump.OneLine(s.options.Files[0].Path)
		if in == "-" && s.options.StdinName != "" {
			in = s.options.StdinName
		}
	}
	if kinds > 0 {
		return fmt.Errorf("%w in %s, only %s of other kinds", dump.ErrNoPods, in, plural(kinds, "object"))
	}
	return fmt.Errorf("%w in %s", dump.ErrNoPods, in)
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// leftOut is the line of a fault that was passed over.
func leftOut(err error) string {
	return strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", "; "), "read ")
}
