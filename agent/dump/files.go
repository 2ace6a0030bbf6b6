package dump

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A File is one input, and how it was found.
type File struct {
	Path string // "-" for stdin
	Size int64  // in bytes; 0 where it is not known
	// Found says that the file lies in a folder that was named, or matches a pattern: it may be of something else.
	Found bool
}

// Found is what paths stand for.
type Found struct {
	Files []File
	// Errors are the paths that lead to nothing, and what cannot be read in a folder. Each is an *Error.
	Errors []error
	// ChartTemplates are the files in the templates folder of a chart, Excluded those that a pattern leaves out, and
	// DanglingLinks the links that lead nowhere.
	ChartTemplates, Excluded, DanglingLinks Skipped
	// EmptyFolders are the folders that hold no file of a kind that is read.
	EmptyFolders []string
	// UnusedPatterns are the patterns that exclude nothing, though there is a folder.
	UnusedPatterns []string
}

// Skipped counts files that are left out, and names the first.
type Skipped struct {
	Count int
	First string
}

// Add counts one more.
func (s *Skipped) Add(path string) {
	if s.Count++; s.Count == 1 {
		s.First = path
	}
}

// Find lists the files that paths stand for: files, folders with all that lies in them, patterns of the shell that the
// shell has left as they are, and "-" for stdin. A file that several of them lead to comes once. The patterns of exclude,
// which CheckGlobs has checked, leave out files and folders by their path from the folder that was named.
func Find(paths, exclude []string) Found {
	f := finder{seen: make(map[string]bool)}
	for _, pattern := range exclude {
		f.exclude = append(f.exclude, newGlob(pattern))
	}
	for _, path := range paths {
		f.find(path, false)
	}
	for _, g := range f.exclude {
		if f.walked && !g.used {
			f.UnusedPatterns = append(f.UnusedPatterns, g.text)
		}
	}
	return f.Found
}

// RefuseEmptyFolders makes a fault of each folder that holds no file of a kind that is read: its name may be a mistake.
func (f *Found) RefuseEmptyFolders() {
	for _, folder := range f.EmptyFolders {
		f.Errors = append(f.Errors, &Error{Name: folder, Offset: -1, Err: errEmptyFolder})
	}
	f.EmptyFolders = nil
}

var errEmptyFolder = errors.New("the folder has no file that ends with " + strings.Join(endings, ", ") + ", or one of these and .gz or .zst")

// A finder finds files.
type finder struct {
	Found
	exclude []*glob
	seen    map[string]bool
	walked  bool // there was a folder
}

func (f *finder) add(file File) {
	if at := filepath.Clean(file.Path); !f.seen[at] {
		f.seen[at] = true
		f.Files = append(f.Files, file)
	}
}

func (f *finder) errorAt(path string, err error) {
	f.Errors = append(f.Errors, &Error{Name: path, Offset: -1, Err: withoutPath(err)})
}

// find adds what a path stands for; it was found itself where a pattern led to it.
func (f *finder) find(path string, found bool) {
	if path == "-" && !found {
		f.add(File{Path: path})
		return
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, "*?[") && !found:
		f.findLike(path)
	case err != nil && found && isLink(path) && !errors.Is(err, fs.ErrPermission):
		f.DanglingLinks.Add(path)
	case err != nil:
		f.errorAt(path, err)
	case info.IsDir():
		f.findIn(path)
	default:
		// Who found a file may look at it twice, which a pipe does not allow.
		f.add(File{Path: path, Size: sizeOf(info), Found: found && info.Mode().IsRegular()})
	}
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// sizeOf is the size of a file, 0 for a pipe.
func sizeOf(info fs.FileInfo) int64 {
	if !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// findLike adds the files that match a pattern, and what lies in the folders that do.
func (f *finder) findLike(pattern string) {
	matches, err := filepath.Glob(pattern)
	switch {
	case err != nil:
		f.errorAt(pattern, errors.New("is neither a file nor a valid pattern: "+err.Error()))
	case len(matches) == 0:
		f.errorAt(pattern, errors.New("no file matches the pattern"))
	}
	for _, match := range matches {
		f.find(match, true)
	}
}

// endings are those of the files that are looked for in a folder, in any case, also with the ending of a compressed one.
var endings = []string{".json", ".jsonl", ".ndjson", ".yaml", ".yml"}

// findIn adds what lies in a folder, sorted, and in the folders in it, except for hidden ones.
func (f *finder) findIn(folder string) {
	root := folder
	if info, err := os.Lstat(folder); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		root += string(filepath.Separator) // a link that is walked is what it leads to
	}
	w := walk{finder: f, root: root, templates: isInChartTemplates(root)}
	f.walked = true
	// The function returns an error only to leave out a hidden folder: what cannot be read does not hide the rest.
	_ = filepath.WalkDir(root, w.visit)
	if !w.some {
		f.EmptyFolders = append(f.EmptyFolders, folder)
	}
}

// A walk goes through one folder.
type walk struct {
	*finder
	root      string
	some      bool // there was a file that could be read, or that cannot
	templates bool // the whole folder is in the templates of a chart
	// excluded and chart begin the paths of what is left out: they are folders, and end with a separator.
	excluded, chart string
}

func (w *walk) visit(path string, entry fs.DirEntry, err error) error {
	hidden := path != w.root && strings.HasPrefix(entry.Name(), ".")
	switch {
	case hidden && entry.IsDir():
		return fs.SkipDir
	case hidden:
		return nil
	case err != nil:
		w.unreadable(path, err)
	case entry.IsDir():
		w.enter(path, entry)
	case hasEnding(entry.Name()):
		w.some = true
		w.file(path)
	}
	return nil
}

func (w *walk) unreadable(path string, err error) {
	if !w.isExcluded(path) {
		w.some = true
		w.errorAt(path, err)
	}
}

// enter notes that a folder is left out as a whole.
func (w *walk) enter(path string, entry fs.DirEntry) {
	if path == w.root {
		return
	}
	below := path + string(filepath.Separator)
	if !within(path, w.excluded) && w.matches(path) {
		w.excluded = below
	}
	if !within(path, w.chart) && entry.Name() == templatesFolder && hasChart(filepath.Dir(path)) {
		w.chart = below
	}
}

func (w *walk) file(path string) {
	if w.isExcluded(path) {
		w.Excluded.Add(path)
		return
	}
	info, err := os.Stat(path) // of what a link leads to
	switch {
	case err != nil && isLink(path) && !errors.Is(err, fs.ErrPermission):
		w.DanglingLinks.Add(path)
	case err != nil:
		w.errorAt(path, err)
	case !info.Mode().IsRegular(): // a pipe in a folder would be waited for
	case w.templates || within(path, w.chart):
		w.ChartTemplates.Add(path)
	default:
		w.add(File{Path: path, Size: info.Size(), Found: true})
	}
}

func (w *walk) isExcluded(path string) bool { return within(path, w.excluded) || w.matches(path) }

// matches reports whether a pattern leaves out a path.
func (w *walk) matches(path string) bool {
	if len(w.exclude) == 0 {
		return false
	}
	relative, err := filepath.Rel(w.root, path)
	if err != nil || relative == "." {
		return false
	}
	parts := strings.Split(filepath.ToSlash(relative), "/")
	found := false
	for _, g := range w.exclude { // all of them: each is told apart that matches nothing
		if g.matches(parts) {
			g.used, found = true, true
		}
	}
	return found
}

// within reports whether a path lies in a folder, which ends with a separator; in no folder there is nothing.
func within(path, folder string) bool { return folder != "" && strings.HasPrefix(path, folder) }

// templatesFolder holds the templates of the chart beside it.
const templatesFolder = "templates"

func hasChart(folder string) bool {
	info, err := os.Stat(filepath.Join(folder, "Chart.yaml"))
	return err == nil && !info.IsDir()
}

// isInChartTemplates reports whether a folder is the one with the templates of a chart, or lies in it.
func isInChartTemplates(folder string) bool {
	at, err := filepath.Abs(folder)
	if err != nil {
		return false
	}
	for parent := filepath.Dir(at); parent != at; at, parent = parent, filepath.Dir(parent) {
		if filepath.Base(at) == templatesFolder && hasChart(parent) {
			return true
		}
	}
	return false
}

func hasEnding(name string) bool {
	name = strings.ToLower(name)
	for _, packed := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, packed)
	}
	return slices.ContainsFunc(endings, func(ending string) bool { return strings.HasSuffix(name, ending) })
}
