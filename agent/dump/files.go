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
	Size int64  // in bytes; 0 if it is not known
	// Found says that the file is in a folder or matches a pattern, and may be unrelated to Kubernetes.
	Found bool
}

// Found is the result of Find.
type Found struct {
	Files []File
	// Errors are those of paths that do not exist, and of folders that cannot be read. Each is an *Error.
	Errors []error
	// ChartTemplates are the files in the templates folder of a chart, Excluded those that match a pattern of exclude.
	ChartTemplates, Excluded, DanglingLinks Skipped
	// EmptyFolders are the folders without a file that can be read.
	EmptyFolders []string
	// UnusedPatterns are the patterns that match nothing, although there is a folder.
	UnusedPatterns []string
}

// Skipped counts what is left out, and names the first.
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

// Find lists the files of paths: files, folders with their contents, patterns that the shell did not expand, and "-" for stdin. A
// file comes once, even if several paths lead to it. The patterns of exclude, which must pass CheckGlobs, leave out files and
// folders by their path relative to the folder in paths.
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

// RefuseEmptyFolders makes an error of each folder without a file that can be read: its path may be a mistake.
func (f *Found) RefuseEmptyFolders() {
	for _, folder := range f.EmptyFolders {
		f.Errors = append(f.Errors, &Error{Name: folder, Offset: -1, Err: errEmptyFolder})
	}
	f.EmptyFolders = nil
}

var errEmptyFolder = errors.New("the folder has no manifests or dumps: the names of files must end with " + strings.Join(endings, ", ") + ", optionally followed by .gz or .zst")

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

// find adds the files of a path, which was found if it matches a pattern.
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
		// A found file may be read twice, which a pipe does not allow.
		f.add(File{Path: path, Size: sizeOf(info), Found: found && info.Mode().IsRegular()})
	}
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// sizeOf returns the size of a file, or 0 for a pipe.
func sizeOf(info fs.FileInfo) int64 {
	if !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// findLike adds the files of the paths that match a pattern.
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

// endings are the file name extensions that are read in a folder, in any case and with or without that of a compression.
var endings = []string{".json", ".jsonl", ".ndjson", ".yaml", ".yml"}

// findIn adds the files in a folder and its subfolders in lexical order, except for hidden ones.
func (f *finder) findIn(folder string) {
	root := folder
	if info, err := os.Lstat(folder); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		root += string(filepath.Separator) // follow the link
	}
	w := walk{finder: f, root: root, templates: isInChartTemplates(root)}
	f.walked = true
	// visit returns an error only to skip a hidden folder: an error in one folder does not hide the others.
	_ = filepath.WalkDir(root, w.visit)
	if !w.some {
		f.EmptyFolders = append(f.EmptyFolders, folder)
	}
}

// walk walks one folder.
type walk struct {
	*finder
	root      string
	some      bool // there was a file, readable or not
	templates bool // the folder itself is in the templates of a chart
	// excluded and chart are folders that are left out, with a separator at the end.
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

// enter notes that a whole folder is left out.
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
	info, err := os.Stat(path)
	switch {
	case err != nil && isLink(path) && !errors.Is(err, fs.ErrPermission):
		w.DanglingLinks.Add(path)
	case err != nil:
		w.errorAt(path, err)
	case !info.Mode().IsRegular(): // opening a pipe would block
	case w.templates || within(path, w.chart):
		w.ChartTemplates.Add(path)
	default:
		w.add(File{Path: path, Size: info.Size(), Found: true})
	}
}

func (w *walk) isExcluded(path string) bool { return within(path, w.excluded) || w.matches(path) }

// matches reports whether a pattern excludes a path.
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
	for _, g := range w.exclude { // all of them, to find those that match nothing
		if g.matches(parts) {
			g.used, found = true, true
		}
	}
	return found
}

// within reports whether a path is in a folder, which is empty or ends with a separator.
func within(path, folder string) bool { return folder != "" && strings.HasPrefix(path, folder) }

// templatesFolder is the folder of a chart that has its templates.
const templatesFolder = "templates"

func hasChart(folder string) bool {
	info, err := os.Stat(filepath.Join(folder, "Chart.yaml"))
	return err == nil && !info.IsDir()
}

// isInChartTemplates reports whether a folder is, or is in, the templates folder of a chart.
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
