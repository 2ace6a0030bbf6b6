package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// openAlready are the folders in which a system shows the open files of a process by their numbers.
var openAlready = regexp.MustCompile(`^(?:/dev/fd|/proc/(self|thread-self|[0-9]+)(?:/task/[0-9]+)?/fd)/([0-9]+)$`)

// descriptorOf is the number of the open file of this process that a name or a link stands for, such as /dev/stdout or
// /dev/fd/3. Behind it may be a file, which is not to be replaced: whoever opened it writes there too.
func descriptorOf(name string) (fd int, ok bool) {
	process, fd, ok := openFileAt(name)
	return fd, ok && process == own
}

// own stands for this process.
const own = "self"

// openFileAt is the open file that a name or a link stands for: its process, which is own or the number of another one, and
// its number.
func openFileAt(name string) (process string, fd int, ok bool) {
	const links = 40 // as many as Linux follows
	for range links {
		name = filepath.Clean(name)
		for _, at := range []string{name, inRealFolder(name)} {
			if process, fd, ok := openFileOf(at); ok {
				return process, fd, true
			}
		}
		target, err := os.Readlink(name)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(name), target)
		}
		name = target
	}
	return "", 0, false
}

// openFileOf takes apart a name in one of the folders of open files.
func openFileOf(name string) (process string, fd int, ok bool) {
	for i, standard := range []string{"/dev/stdin", "/dev/stdout", "/dev/stderr"} {
		if name == standard {
			return own, i, true
		}
	}
	parts := openAlready.FindStringSubmatch(name)
	if parts == nil {
		return "", 0, false
	}
	fd, err := strconv.Atoi(parts[2])
	if err != nil {
		return "", 0, false
	}
	switch process = parts[1]; process {
	case "", "self", "thread-self", strconv.Itoa(os.Getpid()):
		process = own
	}
	return process, fd, true
}

// inRealFolder is a name without links in the folders that lead to it.
func inRealFolder(name string) string {
	folder, err := filepath.EvalSymlinks(filepath.Dir(name))
	if err != nil {
		return name
	}
	return filepath.Join(folder, filepath.Base(name))
}

// writeOpen writes to a file that is open already, and leaves it open.
func writeOpen(fd int, write func(io.Writer) error) error {
	f, err := duplicate(fd)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close() // the first error is the one to tell
		return bare(err)
	}
	return bare(f.Close())
}

var errNotOpen = errors.New("is not open")
