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
		return fmt.Errorf("%q names no file behind =", value)
	}
	if file == "-" {
		return fmt.Errorf("%q names no file: without =- it goes to standard output", value)
	}
	output := outputFlag{format: format, file: file}
	if fd, ok := descriptorOf(file); ok && named {
		switch fd {
		case 0:
			return fmt.Errorf("%q is standard input: name a file", value)
		case 1:
			output.file = ""
		default:
			output.fd = fd
		}
	}
	*f = append(*f, output)
	return nil
}

// at tells two outputs apart, whatever their files are called.
func (f *outputFlag) at() string {
	if f.fd > 0 {
		return fmt.Sprintf("/dev/fd/%d", f.fd)
	}
	return filepath.Clean(f.file)
}

// write writes to the file.
func (f *outputFlag) write(stderr io.Writer, write func(io.Writer) error) error {
	switch {
	case f.fd == 2:
		return write(stderr)
	case f.fd > 0:
		return writeOpen(f.fd, write)
	}
	return writeWhole(f.file, write)
}

// checkFolders tells before the work is done where a report cannot be written after it.
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
			err = errors.New("is a directory")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("write %s: %w", dump.OneLine(output.file), bare(err)))
		}
	}
	return errors.Join(errs...)
}
