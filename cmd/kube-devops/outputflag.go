package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
)

// An outputFlag is a report and its destination.
type outputFlag struct {
	format report.Format
	file   string // empty: standard output
	fd     int    // the descriptor that file stands for, such as 3 for /dev/fd/3; 0: none
}

type outputFlags []outputFlag

func (f *outputFlags) String() string { return "" }
func (f *outputFlags) Type() string   { return "format[=file]" }

func (f *outputFlags) Set(value string) error {
	name, file, named := strings.Cut(value, "=")
	format, err := report.FormatNamed(name)
	if err != nil {
		return err
	}
	switch fd, isDescriptor := descriptor(resolve(file)); {
	case named && file == "":
		return fmt.Errorf("missing file name after %q", value)
	case file == "-":
		return fmt.Errorf("%q: omit =- to print on standard output", value)
	case isDescriptor && fd == 0:
		return fmt.Errorf("%q is standard input; name a file to write to", value)
	case isDescriptor && fd == 1:
		*f = append(*f, outputFlag{format: format})
	default:
		*f = append(*f, outputFlag{format, file, fd})
	}
	return nil
}

// descriptor is the number of the descriptor that a path such as /dev/stdout or /dev/fd/3 stands for. A report goes to the
// descriptor itself: the file behind it must not be replaced, because the process that opened it writes there too.
func descriptor(path string) (fd int, ok bool) {
	if fd = slices.Index([]string{"/dev/stdin", "/dev/stdout", "/dev/stderr"}, path); fd >= 0 {
		return fd, true
	}
	folder, number := filepath.Split(path)
	fd, err := strconv.Atoi(number)
	if err != nil || fd < 0 || folder != "/dev/fd/" && folder != "/proc/self/fd/" {
		return 0, false
	}
	return fd, true
}

// destination identifies where a report goes: it is the same for two names of one file.
func (f *outputFlag) destination() string {
	if f.fd > 0 {
		return fmt.Sprintf("/dev/fd/%d", f.fd)
	}
	path := resolve(f.file)
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return path
}

// info describes the file that a report goes to; nil if it does not exist, and for standard output.
func (f *outputFlag) info() os.FileInfo {
	if info, err := os.Stat(f.file); err == nil && f.file != "" {
		return info
	}
	return nil
}

// checkDistinct refuses reports that overwrite one another. printed is how many other texts go to standard output.
func (f outputFlags) checkDistinct(stdout io.Writer, printed int) error {
	var errs []error
	var files []outputFlag
	for _, output := range f {
		if output.file == "" {
			printed++
			continue
		}
		for _, other := range files {
			if output.same(other) {
				alias := ""
				if output.file != other.file {
					alias = fmt.Sprintf(", which is the same file as %s", dump.OneLine(other.file))
				}
				errs = append(errs, fmt.Errorf("two reports go to %s%s", dump.OneLine(output.file), alias))
				break
			}
		}
		files = append(files, output)
	}
	if printed > 1 {
		errs = append(errs, errors.New("two reports go to standard output: write one of them to a file, for example -o json=FILE"))
	}
	if to, ok := stdout.(*os.File); ok && (printed > 0 || len(f) == 0) {
		if redirected, err := to.Stat(); err == nil && redirected.Mode().IsRegular() {
			for _, output := range files {
				if info := output.info(); info != nil && os.SameFile(info, redirected) {
					errs = append(errs, fmt.Errorf("two reports go to %s, to which standard output is redirected", dump.OneLine(output.file)))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// same reports whether two outputs are one file. Devices such as /dev/null take several reports if their names differ.
func (f *outputFlag) same(other outputFlag) bool {
	if f.destination() == other.destination() {
		return true
	}
	a, b := f.info(), other.info()
	return a != nil && b != nil && a.Mode().IsRegular() && os.SameFile(a, b)
}

// checkFolders finds reports that cannot be written, before the scan.
func (f outputFlags) checkFolders() error {
	var errs []error
	for _, output := range f {
		if output.file == "" || output.fd > 0 {
			continue
		}
		folder, err := os.Stat(filepath.Dir(output.file))
		if err == nil && !folder.IsDir() {
			err = errors.New("not a directory")
		}
		if info := output.info(); info != nil && info.IsDir() {
			err = errors.New("is a directory")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("write %s: %w", dump.OneLine(output.file), bare(err)))
		}
	}
	return errors.Join(errs...)
}

// checkInputs refuses reports that overwrite a file that the scan reads.
func (f outputFlags) checkInputs(files []string, stdin io.Reader) error {
	inputs := make(map[string]os.FileInfo)
	for _, name := range files {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			inputs[name] = info
		}
	}
	if file, ok := stdin.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			inputs["standard input"] = info
		}
	}
	var errs []error
	for _, output := range f {
		info := output.info()
		for name, input := range inputs {
			if info != nil && os.SameFile(info, input) {
				errs = append(errs, fmt.Errorf("write %s: the scan reads this file (%s): write the report to another file", dump.OneLine(output.file), dump.OneLine(name)))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// write writes a report. inPlace says why a file was overwritten in place, if it was.
func (f *outputFlag) write(stderr io.Writer, print func(io.Writer) error) (inPlace, err error) {
	switch {
	case f.fd == 2:
		return nil, print(stderr)
	case f.fd > 0:
		return nil, fill(os.NewFile(uintptr(f.fd), f.file), print)
	}
	return replaceFile(f.file, print)
}
