package scan

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// maxBuffered is how many bytes of pods are held back of a file until it is read whole.
const maxBuffered = 4 << 20

// noKind is what an object counts as that has neither a kind nor an apiVersion.
const noKind = "no kind"

func (s *scan) readAll(ctx context.Context, p *pipeline) error {
	for _, file := range s.options.Found.Files {
		err := s.read(ctx, p, file)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return err
		case s.options.KeepGoing:
			p.leaveOut(err)
		case file.Found && s.fileErrors.add(err):
		default:
			return err
		}
	}
	if err := s.list.end(); err != nil {
		if !s.options.KeepGoing {
			return errors.Join(s.fileErrors.err(), err)
		}
		p.leaveOut(err)
	}
	return s.fileErrors.err()
}

// read reads one file. What it returns is the fault of a file that is not recognised as something else than a manifest.
func (s *scan) read(ctx context.Context, p *pipeline, file dump.File) error {
	r := &reading{scan: s, pipeline: p, file: file, from: sourceOf(file)}
	s.buffer.reset()
	options := []dump.Option{dump.Unchecked, dump.Manifests, dump.Progress(s.options.Progress)}
	if file.Found {
		options = append(options, dump.InFolder)
	}
	if s.options.KeepGoing {
		options = append(options, dump.KeepGoing(r.leaveOut))
	}
	if name := s.options.StdinName; name != "" && file.Path == "-" {
		r.from.name = name
		options = append(options, dump.DisplayName(name))
	}
	stats, err := dump.ReadPath(ctx, file.Path, s.options.Stdin, r.take, options...)
	if ctx.Err() != nil {
		return err
	}
	return r.finish(stats, err)
}

// A reading is one file on its way.
type reading struct {
	*scan
	pipeline *pipeline
	file     dump.File
	from     *source
	streamed bool          // events were sent: the file is what it seems
	faults   []*dump.Error // of items that were left out
}

// take takes one event of the file.
func (r *reading) take(e dump.Event) error {
	if field := templatedField(&e); field != "" {
		if err := r.template(&e, field); err != nil || r.options.KeepGoing {
			return err
		}
	}
	if !r.file.Found || r.streamed {
		r.streamed = true
		return r.pipeline.send(r.from, e)
	}
	if r.buffer.add(e); r.buffer.size() <= maxBuffered {
		return nil
	}
	return r.release()
}

// errTemplate ends the reading of a file that turns out to be a template.
var errTemplate = errors.New("a template")

// template is the fault of a manifest that is one of a template.
func (r *reading) template(e *dump.Event, field string) error {
	if r.file.Found && !r.streamed {
		return errTemplate
	}
	err := fmt.Errorf("%s: the %s contains {{: this is a template; render it first, for example with `helm template`", titleOf(e), field)
	if r.options.KeepGoing {
		r.leaveOut(&dump.Error{Name: r.from.name, Item: e.Item, Offset: e.Offset, Err: err})
		return nil
	}
	return err
}

// leaveOut takes the fault of an item that was passed over.
func (r *reading) leaveOut(e *dump.Error) {
	if r.file.Found && !r.streamed {
		r.faults = append(r.faults, e)
		return
	}
	r.pipeline.leaveOut(e)
}

// release sends what was held back.
func (r *reading) release() error {
	r.streamed = true
	err := r.buffer.each(func(e dump.Event) error { return r.pipeline.send(r.from, e) })
	r.buffer.reset()
	for _, fault := range r.faults {
		r.pipeline.leaveOut(fault)
	}
	r.faults = nil
	return err
}

// finish says what the file is, now that it was read.
func (r *reading) finish(stats dump.Stats, err error) error {
	switch {
	case errors.Is(err, errTemplate):
		r.templates.Add(r.file.Path)
		return nil
	case errors.Is(err, dump.ErrNoPods):
		if !r.file.Found && len(r.options.Found.Files) == 1 && !r.options.AllowEmpty {
			return err
		}
	case r.file.Found && !r.streamed && (err != nil || len(r.faults) > 0):
		if dump.IsTooLarge(err) && r.isOther() {
			return nil
		}
		if known, looking := r.classify(); known || looking != nil {
			return looking
		}
		if err != nil && !r.options.KeepGoing {
			return fmt.Errorf("%w: fix the manifest, or leave out the file with --exclude", err)
		}
	case err != nil && !r.options.KeepGoing:
		return err
	}
	if errors.Is(err, dump.ErrNoPods) {
		err = nil
	}
	if r.file.Found && stats.Applied+stats.Deleted == 0 && err == nil && r.isUnrelated(stats) {
		return nil
	}
	for kind, n := range stats.Others {
		if kind == dump.TextAfterEnd {
			r.textAfterEnd.Add(r.file.Path)
		}
		r.count(kind, n)
	}
	if err == nil {
		err = r.list.follow(r.file.Path, stats)
	}
	return errors.Join(r.release(), err)
}

// count counts the objects of a kind that the file holds and that are left out.
func (r *reading) count(kind string, n int) {
	if kind != dump.Patches {
		r.other(kind, n)
		return
	}
	if r.patches.Count == 0 {
		r.patches.First = dump.OneLine(r.file.Path)
	}
	r.patches.Count += n
}

// isOther reports whether a file with an object that is too large has only objects without pods, and counts these.
func (r *reading) isOther() bool {
	kinds, ok := dump.OtherKinds(r.file.Path)
	if !ok || len(r.buffer.events) > 0 {
		return false
	}
	for kind, n := range kinds {
		r.count(kind, n)
	}
	return true
}

// classify reports whether a file that cannot be read is something else than a manifest, and counts it as that.
func (r *reading) classify() (bool, error) {
	class, err := dump.ClassifyFile(r.file.Path)
	if err != nil {
		return false, err
	}
	switch class {
	case dump.Template:
		r.templates.Add(r.file.Path)
	case dump.Empty:
		r.empty.Add(r.file.Path)
	case dump.NotManifest:
		r.notManifests.Add(r.file.Path)
	default:
		return false, nil
	}
	return true, nil
}

// isUnrelated reports whether a file that could be read holds nothing of Kubernetes, and counts it.
func (r *reading) isUnrelated(stats dump.Stats) bool {
	switch {
	case len(r.faults) > 0:
		return false
	case len(stats.Others) == 0 && stats.Bookmarks == 0:
		r.empty.Add(r.file.Path)
	case len(stats.Others) == 1 && stats.Others[noKind] > 0:
		r.notManifests.Add(r.file.Path)
	default:
		return false
	}
	return true
}

// fileErrors are the faults of files in folders: the scan reads on, to name all of them at once.
type fileErrors struct {
	errs []error
	more int
}

// maxFileErrors is how many are named.
const maxFileErrors = 10

// add takes one, and says so.
func (b *fileErrors) add(err error) bool {
	if len(b.errs) == maxFileErrors {
		b.more++
	} else {
		b.errs = append(b.errs, err)
	}
	return true
}

func (b *fileErrors) err() error {
	if b.more == 0 {
		return errors.Join(b.errs...)
	}
	return errors.Join(append(b.errs, fmt.Errorf("%s more cannot be read", english.Plural(b.more, "file", "")))...)
}
