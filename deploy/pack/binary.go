package main

import (
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
)

// A Binary is kube-devops for one platform.
type Binary struct {
	// OS and Arch are the platform as Go and OCI name it: linux and amd64.
	OS, Arch string
	// Bytes are the file.
	Bytes []byte
	// Info is what the linker wrote into it: the modules, and how it was built.
	Info *debug.BuildInfo
}

// ReadStatic reads a binary that an empty image can run: of Go, for Linux, static.
func ReadStatic(path string) (Binary, error) {
	binary, err := ReadBinary(path)
	if err != nil {
		return Binary{}, err
	}
	if binary.OS != "linux" {
		return Binary{}, fmt.Errorf("%s is for %q; build it with GOOS=linux", path, binary.OS)
	}
	if err := static(path); err != nil {
		return Binary{}, fmt.Errorf("%s: %w", path, err)
	}
	return binary, nil
}

// ReadBinary reads a binary of Go for any platform.
func ReadBinary(path string) (Binary, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return Binary{}, fmt.Errorf("read what %s was built of: %w", path, err)
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return Binary{}, err
	}
	return Binary{OS: settings["GOOS"], Arch: settings["GOARCH"], Bytes: content, Info: info}, nil
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
