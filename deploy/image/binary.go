package main

import (
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
)

// A Binary is what one image holds.
type Binary struct {
	// Arch is the architecture as Go and OCI name it: amd64.
	Arch string
	// Bytes are the file.
	Bytes []byte
	// Info is what the linker wrote into it: the modules, and how it was built.
	Info *debug.BuildInfo
}

// ReadBinary reads a binary that an empty image can run: of Go, for Linux, static.
func ReadBinary(path string) (Binary, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return Binary{}, fmt.Errorf("read what %s was built of: %w", path, err)
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["GOOS"] != "linux" {
		return Binary{}, fmt.Errorf("%s is for %q; build it with GOOS=linux", path, settings["GOOS"])
	}
	if err := static(path); err != nil {
		return Binary{}, fmt.Errorf("%s: %w", path, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return Binary{}, err
	}
	return Binary{Arch: settings["GOARCH"], Bytes: content, Info: info}, nil
}

// static fails for a binary that asks for an interpreter, the loader of shared libraries: the image has none.
func static(path string) error {
	file, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("no ELF file: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return errors.New("needs shared libraries, which the image does not have; build it with CGO_ENABLED=0")
		}
	}
	return nil
}
