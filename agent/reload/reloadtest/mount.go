// Package reloadtest mounts and swaps files in tests as the kubelet does with a ConfigMap.
package reloadtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A Mount is a directory like a mounted ConfigMap: its files link through ..data, which links to a directory of the current
// generation.
type Mount struct {
	dir        string
	generation int
	target     string // of ..data, relative to dir; empty before the first swap
}

// New mounts files by name.
func New(tb testing.TB, files map[string]string) *Mount {
	tb.Helper()
	m := &Mount{dir: tb.TempDir()}
	m.MustSwap(tb, files)
	return m
}

// Path is the path of a file, which need not exist.
func (m *Mount) Path(name string) string { return filepath.Join(m.dir, name) }

// Target is the path of the directory that holds the files.
func (m *Mount) Target() string { return m.Path(m.target) }

// MustSwap is Swap, and ends the test on an error.
func (m *Mount) MustSwap(tb testing.TB, files map[string]string) {
	tb.Helper()
	if err := m.Swap(files); err != nil {
		tb.Fatal(err)
	}
}

// Swap replaces all files, with the steps of the kubelet's AtomicWriter in their order. It is not safe for concurrent use.
func (m *Mount) Swap(files map[string]string) error {
	before := m.target
	m.generation++
	m.target = fmt.Sprintf("..2026_01_02_03_04_05.%09d", m.generation)
	if err := os.Mkdir(m.Target(), 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(m.Target(), name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Symlink(m.target, m.Path("..data_tmp")); err != nil {
		return err
	}
	if err := os.Rename(m.Path("..data_tmp"), m.Path("..data")); err != nil {
		return err
	}
	if err := m.link(files); err != nil {
		return err
	}
	if before == "" {
		return nil
	}
	return os.RemoveAll(m.Path(before))
}

// link adds the links of new files, and then removes those of old ones.
func (m *Mount) link(files map[string]string) error {
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), m.Path(name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if _, kept := files[entry.Name()]; kept || entry.Name()[0] == '.' {
			continue
		}
		if err := os.Remove(m.Path(entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
