package policies

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// MaxTables is how many tables a policy may consist of: one, and all that it extends.
const MaxTables = 8

// maxBytes is how large all tables of a policy may be together. As YAML nodes, they take up to a hundred times as much memory.
const maxBytes = 2 * rules.MaxBytes

// A Reader returns the text of a file. A file that a table extends must be inside a folder; the folder is empty for a file that the user
// names.
type Reader func(file, folder string) ([]byte, error)

// Resolve reads tables, which are files or names of built-in tables, and all that they extend: the lowest first, each once. rules.LoadAll
// merges them. An error in a table is a rules.LoadErrors.
func Resolve(read Reader, filesOrNames ...string) ([]rules.Source, error) {
	r := newResolver(read)
	for _, name := range filesOrNames {
		t := fileTable(name)
		if text, ships := Shipped(name); ships {
			t = shippedTable(name, text)
		} else if text, err := read(name, ""); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = NotFound(name, err)
			}
			return nil, err
		} else {
			t.text = text
		}
		if r.done[t.key] {
			return nil, fmt.Errorf("policy %s is given twice, or a policy before it extends it", name)
		}
		if r.count >= MaxTables {
			return nil, fmt.Errorf("policy %s is one table too many: a policy may consist of at most %d, with all that they extend", name, MaxTables)
		}
		r.add(t, nil)
	}
	return r.result()
}

// ResolveText is Resolve for the text of a table that was read before. An empty file stands for standard input, whose table can extend
// built-in tables only.
func ResolveText(read Reader, file string, text []byte) ([]rules.Source, error) {
	r := newResolver(read)
	t := table{shown: "stdin", text: text}
	if file != "" {
		t = fileTable(file)
		t.text = text
	}
	r.add(t, nil)
	return r.result()
}

// A table is one that a policy consists of.
type table struct {
	shown string // for messages
	file  string // empty for a table that is not a file
	key   string // which tables are the same
	ships string // the name of a built-in table
	text  []byte
}

func fileTable(file string) table {
	t := table{shown: file, file: file, key: filepath.Clean(file)}
	if absolute, err := filepath.Abs(file); err == nil {
		t.key = absolute
	}
	return t
}

func shippedTable(name string, text []byte) table {
	return table{shown: name + ".yaml", key: "built-in " + name, ships: name, text: text}
}

// A resolver reads the tables that a policy consists of.
type resolver struct {
	read    Reader
	sources []rules.Source
	done    map[string]bool
	below   map[string][]table // by the key of a table, those that it extends, in the order of its text
	chain   []table            // those that extend the next one
	count   int
	bytes   int
	errs    rules.LoadErrors
}

func newResolver(read Reader) resolver {
	return resolver{read: read, done: make(map[string]bool), below: make(map[string][]table)}
}

func (r *resolver) result() ([]rules.Source, error) {
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	return r.sources, nil
}

// add adds all that a table extends, and the table.
func (r *resolver) add(t table, by *rules.Reference) {
	if r.done[t.key] {
		return
	}
	if r.count++; r.count > MaxTables {
		if by != nil {
			r.fail(by.Errorf("%q is one table too many: a policy may consist of at most %d", by.Name, MaxTables))
		}
		return
	}
	if r.bytes += len(t.text); r.bytes > maxBytes && by != nil {
		r.fail(by.Errorf("%q: all tables of the policy together are larger than %d bytes", by.Name, maxBytes))
		return
	}
	r.chain = append(r.chain, t)
	references, err := rules.Extends(t.shown, t.text)
	r.fail(err)
	for _, reference := range references {
		r.extend(t, reference)
	}
	r.chain = r.chain[:len(r.chain)-1]
	r.done[t.key] = true
	source := rules.Source{File: t.shown, Text: t.text}
	if t.ships != "" {
		source.Renamed, source.Retired = history[t.ships].renamed, history[t.ships].retired
	}
	r.sources = append(r.sources, source)
}

// extend adds the table that an entry of extends names.
func (r *resolver) extend(t table, by rules.Reference) {
	to, err := r.find(t, by)
	if err != nil {
		r.fail(err)
		return
	}
	if i := slices.IndexFunc(r.chain, func(c table) bool { return c.key == to.key }); i >= 0 {
		var names []string
		for _, c := range r.chain[i:] {
			names = append(names, c.shown)
		}
		r.fail(by.Errorf("a table must not extend itself: %s extends %s", strings.Join(names, " extends "), to.shown))
		return
	}
	for _, earlier := range r.below[t.key] {
		if r.extends(earlier.key, to.key) { // a later entry wins elsewhere, so it would be misunderstood
			r.fail(by.Errorf("%q has no effect here, because %s before it extends it; list it first, or remove it", by.Name, earlier.shown))
			return
		}
	}
	r.below[t.key] = append(r.below[t.key], to)
	if to.file != "" && !r.done[to.key] && r.count < MaxTables {
		if to.text, err = r.read(to.file, boundary(t.file)); err != nil {
			r.fail(by.Errorf("%q: %v", by.Name, bare(err)))
			return
		}
	}
	r.add(to, &by)
}

// extends reports whether a table extends another one, perhaps through others.
func (r *resolver) extends(key, other string) bool {
	return slices.ContainsFunc(r.below[key], func(t table) bool { return t.key == other || r.extends(t.key, other) })
}

// find finds the table that an entry of extends names.
func (r *resolver) find(t table, by rules.Reference) (table, error) {
	if !isFile(by.Name) {
		text, ships := Shipped(by.Name)
		if !ships {
			return table{}, by.Errorf("there is no built-in table %q%s; they are %s; the name of a file contains a slash or ends with .yaml",
				by.Name, suggest.DidYouMean(by.Name, Names()), strings.Join(Names(), ", "))
		}
		return shippedTable(by.Name, text), nil
	}
	if t.file == "" {
		return table{}, by.Errorf("%q: a table that is not a file can extend built-in tables only", by.Name)
	}
	if strings.ContainsFunc(by.Name, func(c rune) bool { return !unicode.IsPrint(c) }) { // it would be printed in messages
		return table{}, by.Errorf("%q has a character that cannot be printed", by.Name)
	}
	if filepath.IsAbs(by.Name) {
		return table{}, by.Errorf("%q must be relative to the folder of this table", by.Name)
	}
	to := fileTable(filepath.Join(filepath.Dir(t.file), by.Name))
	if folder := boundary(t.file); !isInside(to.key, folder) {
		return table{}, by.Errorf("%q: %v", by.Name, errOutside)
	}
	return to, nil
}

func (r *resolver) fail(err error) {
	if list, ok := errors.AsType[rules.LoadErrors](err); ok {
		r.errs = append(r.errs, list...)
	}
}

// isFile reports whether an entry of extends is a file, and not the name of a built-in table.
func isFile(entry string) bool {
	return strings.Contains(entry, "/") || strings.HasSuffix(entry, ".yaml") || strings.HasSuffix(entry, ".yml")
}

// errOutside is the error of a file that a table must not extend, because whoever wrote the table may not be trusted with all files.
var errOutside = errors.New("the file is outside of the repository of this table, or of its folder if it is in no repository")

// errAbsoluteLink is the error of a link to a file that would be inside. Only a relative link can be followed within a folder.
var errAbsoluteLink = errors.New("the symbolic link has an absolute path; make it relative, or name the file that it leads to")

// boundary returns the folder that must contain all files that a table extends.
func boundary(file string) string {
	folder := filepath.Dir(file)
	if absolute, err := filepath.Abs(folder); err == nil {
		folder = absolute
	}
	return RepositoryOf(folder)
}

// RepositoryOf returns the nearest folder with .git, from a folder upwards; the folder itself if there is none.
func RepositoryOf(folder string) string {
	for at := folder; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return folder
		}
	}
}

func isInside(file, folder string) bool {
	relative, err := filepath.Rel(folder, file)
	return err == nil && filepath.IsLocal(relative)
}

// Inside opens a file for a check: it must be a regular file in a folder, also when it is a symbolic link. The caller closes it.
func Inside(file, folder string) (*os.File, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // only read
	absolute, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	relative, err := filepath.Rel(folder, absolute)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(relative)
	switch {
	case err != nil && strings.Contains(err.Error(), "escapes"): // package os does not export this error
		if to, err := root.Readlink(relative); err == nil && filepath.IsAbs(to) && isInside(to, folder) {
			return nil, errAbsoluteLink
		}
		return nil, errOutside
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("is a directory, not a file")
	case !info.Mode().IsRegular(): // opening a named pipe would block
		return nil, errors.New("is not a regular file")
	}
	return root.Open(relative)
}

// Read is a Reader of files. It reads at most one byte more than a table may have.
func Read(file, folder string) ([]byte, error) {
	if folder == "" {
		return ReadFile(file)
	}
	f, err := Inside(file, folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, rules.MaxBytes+1))
}

// bare returns an error without the path that the message has elsewhere.
func bare(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
