package scan

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// maxBuffered is how many bytes of pods are held back until their file is known to be readable.
const maxBuffered = 4 << 20

// noKind is the kind of objects without a kind and apiVersion.
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
		case file.Found:
			s.fileErrors = append(s.fileErrors, err) // read on, to report all errors at once
		default:
			return err
		}
	}
	if s.page.Continuation != nil {
		err := s.page.Missing(s.page.file)
		if !s.options.KeepGoing {
			return errors.Join(s.joinFileErrors(), err)
		}
		p.leaveOut(err)
	}
	return s.joinFileErrors()
}

// joinFileErrors joins the first ten errors of files in folders.
func (s *scan) joinFileErrors() error {
	errs := s.fileErrors
	if more := len(errs) - 10; more > 0 {
		errs = append(errs[:10:10], fmt.Errorf("%s more cannot be read", english.Plural(more, "file", "")))
	}
	return errors.Join(errs...)
}

// read reads one file. It returns an error unless the file turns out not to be a manifest or a recording.
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

// reading is the reading of one file.
type reading struct {
	*scan
	pipeline *pipeline
	file     dump.File
	from     *source
	streamed bool          // events were sent: the file is a manifest or a recording
	faults   []*dump.Error // of items that were left out, while events are held back
}

// take takes one event of the file. Those of a file in a folder are held back until the file is known to be readable.
func (r *reading) take(e dump.Event) error {
	if field := templatedField(&e); field != "" {
		if r.file.Found && !r.streamed {
			return errTemplate
		}
		err := fmt.Errorf("%s: the %s contains {{: this is a template; render it first, for example with `helm template`", titleOf(&e), field)
		if !r.options.KeepGoing {
			return err
		}
		r.leaveOut(&dump.Error{Name: r.from.name, Item: e.Item, Offset: e.Offset, Err: err})
		return nil
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

// errTemplate ends the reading of a file in a folder that is a template.
var errTemplate = errors.New("a template")

// leaveOut takes the error of an item that is skipped.
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

// finish decides what the file is, after it was read.
func (r *reading) finish(stats dump.Stats, err error) error {
	switch {
	case errors.Is(err, errTemplate):
		r.skipped[template].Add(r.file.Path)
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
			r.skipped[textAfterEnd].Add(r.file.Path)
		}
		r.count(kind, n)
	}
	if err == nil {
		if r.page.Continuation != nil && stats.First != r.page.Kind {
			err = r.page.Missing(r.page.file)
		}
		r.page = page{stats.Continues, r.file.Path}
	}
	return errors.Join(r.release(), err)
}

// page is the incomplete list at the end of a file, which the next file must continue.
type page struct {
	*dump.Continuation
	file string
}

// count counts objects of a kind that are left out.
func (r *reading) count(kind string, n int) {
	if kind != dump.Patches {
		r.other(kind, n)
		return
	}
	for range n {
		r.skipped[withoutImage].Add(r.file.Path)
	}
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

// classify reports whether a file that cannot be read is neither a manifest nor a recording, and counts it.
func (r *reading) classify() (bool, error) {
	class, err := dump.ClassifyFile(r.file.Path)
	if err != nil || class == dump.Broken {
		return false, err
	}
	why := map[dump.FileClass]reason{dump.Template: template, dump.Empty: emptyFile, dump.NotManifest: notManifest}[class]
	r.skipped[why].Add(r.file.Path)
	return true, nil
}

// isUnrelated reports whether a file has no Kubernetes objects, and counts it.
func (r *reading) isUnrelated(stats dump.Stats) bool {
	switch {
	case len(r.faults) > 0:
		return false
	case len(stats.Others) == 0 && stats.Bookmarks == 0:
		r.skipped[emptyFile].Add(r.file.Path)
	case len(stats.Others) == 1 && stats.Others[noKind] > 0:
		r.skipped[notManifest].Add(r.file.Path)
	default:
		return false
	}
	return true
}

// eventBuffer holds the events of a file until it is known to be readable.
type eventBuffer struct {
	events []dump.Event // without their JSON
	ends   []int        // of their JSON in text
	text   []byte
}

func (b *eventBuffer) add(e dump.Event) {
	b.text = append(b.text, e.JSON...)
	e.JSON = nil
	b.events = append(b.events, e)
	b.ends = append(b.ends, len(b.text))
}

// size is about how many bytes the buffer takes.
func (b *eventBuffer) size() int {
	const event = 256
	return len(b.text) + event*len(b.events)
}

// each calls a function for each event until it returns an error.
func (b *eventBuffer) each(fn func(dump.Event) error) error {
	start := 0
	for i, e := range b.events {
		e.JSON = b.text[start:b.ends[i]:b.ends[i]]
		start = b.ends[i]
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// reset empties the buffer, and frees the memory of a large file.
func (b *eventBuffer) reset() {
	clear(b.events)
	b.events, b.ends, b.text = b.events[:0], b.ends[:0], b.text[:0]
	if cap(b.text) > maxBuffered/4 {
		*b = eventBuffer{}
	}
}
