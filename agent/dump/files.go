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
	// Found says that the file lies in a folder that was named, or fits a pattern: it may be of something else.
	Found bool
}

// Files lists the files that paths stand for: files, folders with all that lies in them, patterns of the shell that the
// shell has left as they are, and "-" for stdin. A file that several of them lead to comes once. Every path that leads to
// nothing is a fault, and so is what cannot be read in a folder; the files are all others. A fault is an *Error.
func Files(paths []string) ([]File, []error) {
	f := finder{seen: make(map[string]bool)}
	for _, path := range paths {
		f.find(path, false)
	}
	return f.files, f.faults
}

// A finder finds files.
type finder struct {
	files  []File
	faults []error
	seen   map[string]bool
}

func (f *finder) add(file File) {
	if at := filepath.Clean(file.Path); !f.seen[at] {
		f.seen[at] = true
		f.files = append(f.files, file)
	}
}

func (f *finder) fault(path string, err error) {
	f.faults = append(f.faults, &Error{Name: path, Offset: -1, Err: cause(err)})
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
	case err != nil:
		f.fault(path, err)
	case info.IsDir():
		f.findIn(path)
	default:
		f.add(File{Path: path, Size: sizeOf(info), Found: found})
	}
}

// sizeOf is the size of a file, 0 for a pipe.
func sizeOf(info fs.FileInfo) int64 {
	if !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// findLike adds the files that fit a pattern, and what lies in the folders that do.
func (f *finder) findLike(pattern string) {
	matches, err := filepath.Glob(pattern)
	switch {
	case err != nil:
		f.fault(pattern, errors.New("is no file and no pattern: "+err.Error()))
	case len(matches) == 0:
		f.fault(pattern, errors.New("no file fits the pattern"))
	}
	for _, match := range matches {
		f.find(match, true)
	}
}

// endings are those of the files that are looked for in a folder, in any case, also with the ending of a compressed one.
var endings = []string{".json", ".jsonl", ".ndjson", ".yaml", ".yml"}

// findIn adds what lies in a folder, sorted, and in the folders in it, but for hidden ones.
func (f *finder) findIn(folder string) {
	root, before := folder, len(f.faults)
	if info, err := os.Lstat(folder); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		root += string(filepath.Separator) // a link that is walked is what it leads to
	}
	some := false
	// The function returns no error but to leave out a hidden folder: what cannot be read does not hide the rest.
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			f.fault(path, err)
			return nil
		}
		hidden := path != root && strings.HasPrefix(entry.Name(), ".")
		if entry.IsDir() {
			if hidden {
				return fs.SkipDir
			}
			return nil
		}
		if hidden || !hasEnding(entry.Name()) {
			return nil
		}
		info, err := os.Stat(path) // of what a link leads to
		if err != nil {
			f.fault(path, err)
			return nil
		}
		if info.Mode().IsRegular() { // a pipe in a folder would be waited for
			some = true
			f.add(File{Path: path, Size: info.Size(), Found: true})
		}
		return nil
	})
	if !some && len(f.faults) == before {
		f.fault(folder, errors.New("no pods: the folder has no file that ends with "+strings.Join(endings, ", ")+", or one of these and .gz or .zst"))
	}
}

func hasEnding(name string) bool {
	name = strings.ToLower(name)
	for _, packed := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, packed)
	}
	return slices.ContainsFunc(endings, func(ending string) bool { return strings.HasSuffix(name, ending) })
}
