package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
)

// An outputFlag is a report that is asked for, and where it goes.
type outputFlag struct {
	format report.Format
	file   string // empty: stdout
	fd     int    // of the open file that file stands for; 0: it stands for none
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
	if named && file == "" {
		return fmt.Errorf("missing file name after %q", value)
	}
	if file == "-" {
		return fmt.Errorf("%q: without =- the report goes to standard output", value)
	}
	output := outputFlag{format: format, file: file}
	if fd, ok := descriptorOf(file); ok && named {
		switch fd {
		case 0:
			return fmt.Errorf("%q is standard input, which cannot be written to", value)
		case 1:
			output.file = ""
		default:
			output.fd = fd
		}
	}
	*f = append(*f, output)
	return nil
}

// at is where a report goes, whatever the file is called: the same for two names that lead to one file.
func (f *outputFlag) at() string {
	if f.fd > 0 {
		return fmt.Sprintf("/dev/fd/%d", f.fd)
	}
	target := targetOf(f.file)
	if at, err := filepath.Abs(target); err == nil {
		return at
	}
	return target
}

// info is what is known of the file that a report goes to; nil where it does not exist yet.
func (f *outputFlag) info() os.FileInfo {
	if f.file == "" {
		return nil
	}
	info, err := os.Stat(f.file)
	if err != nil {
		return nil
	}
	return info
}

// checkDistinct refuses reports that would overwrite one another.
func (f outputFlags) checkDistinct(stdout io.Writer, explains bool) error {
	var errs []error
	toStdout := 0
	if explains {
		toStdout++
	}
	var before []outputFlag
	for _, output := range f {
		if output.file == "" {
			toStdout++
			continue
		}
		for _, other := range before {
			if output.same(other) {
				errs = append(errs, fmt.Errorf("two reports would go to %s%s", dump.OneLine(output.file), otherName(output.file, other.file)))
				break
			}
		}
		before = append(before, output)
	}
	if toStdout > 1 {
		errs = append(errs, errors.New("two reports would go to standard output: write one to a file, as -o json=FILE"))
	}
	if to, ok := stdout.(*os.File); ok && (toStdout > 0 || len(f) == 0) {
		if info, err := to.Stat(); err == nil && info.Mode().IsRegular() {
			for _, output := range before {
				if there := output.info(); there != nil && os.SameFile(there, info) {
					errs = append(errs, fmt.Errorf("two reports would go to %s, to which standard output is redirected", dump.OneLine(output.file)))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// same reports whether two outputs are one file. Devices, such as /dev/null, are so only by their name.
func (f *outputFlag) same(other outputFlag) bool {
	if f.at() == other.at() {
		return true
	}
	a, b := f.info(), other.info()
	return a != nil && b != nil && a.Mode().IsRegular() && os.SameFile(a, b)
}

// otherName names a file by which another was given, where the names differ.
func otherName(name, other string) string {
	if name == other {
		return ""
	}
	return ", which is " + dump.OneLine(other) + " too"
}

// write writes to the file. inPlace says why a file was overwritten in place, where it was.
func (f *outputFlag) write(stderr io.Writer, write func(io.Writer) error) (inPlace, err error) {
	switch {
	case f.fd == 2:
		return nil, write(stderr)
	case f.fd > 0:
		return nil, writeOpen(f.fd, write)
	}
	return writeWhole(f.file, write)
}

// checkFolders says, before the work is done, which report cannot be written after it.
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
		if info, there := os.Stat(output.file); there == nil && info.IsDir() {
			err = errIsFolder
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("write %s: %w", dump.OneLine(output.file), bare(err)))
		}
	}
	return errors.Join(errs...)
}
