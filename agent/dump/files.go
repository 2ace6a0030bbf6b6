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
// nothing is in the error, which is an *Error or several joined.
func Files(paths []string) ([]File, error) {
	var files []File
	var errs []error
	seen := make(map[string]bool)
	add := func(f File) {
		if at := filepath.Clean(f.Path); !seen[at] {
			seen[at] = true
			files = append(files, f)
		}
	}
	for _, path := range paths {
		found, err := filesAt(path)
		if err != nil {
			errs = append(errs, &Error{Name: path, Offset: -1, Err: cause(err)})
		}
		for _, f := range found {
			add(f)
		}
	}
	return files, errors.Join(errs...)
}

func filesAt(path string) ([]File, error) {
	if path == "-" {
		return []File{{Path: path}}, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, "*?[") {
		return filesLike(path)
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return filesIn(path)
	}
	return []File{{Path: path, Size: sizeOf(info)}}, nil
}

// sizeOf is the size of a file, 0 for a pipe.
func sizeOf(info fs.FileInfo) int64 {
	if !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// filesLike lists the files that fit a pattern, and what lies in the folders that do.
func filesLike(pattern string) ([]File, error) {
	matches, err := filepath.Glob(pattern)
	if err != nil {
		return nil, errors.New("is no file and no pattern: " + err.Error())
	}
	if len(matches) == 0 {
		return nil, errors.New("no file fits the pattern")
	}
	var files []File
	for _, match := range matches {
		found, err := filesAt(match)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			f.Found = true
			files = append(files, f)
		}
	}
	return files, nil
}

// endings are those of the files that are looked for in a folder, in any case, also with the ending of a compressed one.
var endings = []string{".json", ".jsonl", ".ndjson", ".yaml", ".yml"}

// filesIn lists what lies in a folder, sorted, and in the folders in it, but for hidden ones.
func filesIn(folder string) ([]File, error) {
	var files []File
	root := folder
	if info, err := os.Lstat(folder); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		root += string(filepath.Separator) // a link that is walked is what it leads to
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
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
			return err
		}
		if info.Mode().IsRegular() { // a pipe in a folder would be waited for
			files = append(files, File{Path: path, Size: info.Size(), Found: true})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("no pods: the folder has no file that ends with " + strings.Join(endings, ", ") + ", or one of these and .gz or .zst")
	}
	return files, nil
}

func hasEnding(name string) bool {
	name = strings.ToLower(name)
	for _, packed := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, packed)
	}
	return slices.ContainsFunc(endings, func(ending string) bool { return strings.HasSuffix(name, ending) })
}
