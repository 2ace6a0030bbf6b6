package reload_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A mount is a directory as the kubelet mounts a ConfigMap: its files are links into what the link ..data leads to, a
// directory for each generation.
type mount struct {
	dir        string
	generation int
	target     string // of ..data, relative
}

// newMount mounts files, by their name.
func newMount(tb testing.TB, files map[string]string) *mount {
	tb.Helper()
	m := &mount{dir: tb.TempDir()}
	if err := m.swap(files); err != nil {
		tb.Fatal(err)
	}
	return m
}

func (m *mount) path(name string) string { return filepath.Join(m.dir, name) }

// swap puts other files in the place of all, in the steps and the order of the kubelet's AtomicWriter.
func (m *mount) swap(files map[string]string) error {
	m.generation++
	target := fmt.Sprintf("..2026_01_02_03_04_05.%09d", m.generation)
	if err := os.Mkdir(m.path(target), 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(m.dir, target, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Symlink(target, m.path("..data_tmp")); err != nil {
		return err
	}
	if err := os.Rename(m.path("..data_tmp"), m.path("..data")); err != nil {
		return err
	}
	for name := range files { // links of new keys come after the swap
		if err := os.Symlink(filepath.Join("..data", name), m.path(name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries { // links of keys that are gone
		if _, kept := files[entry.Name()]; !kept && entry.Name()[0] != '.' {
			if err := os.Remove(m.path(entry.Name())); err != nil {
				return err
			}
		}
	}
	before := m.target
	m.target = target
	if before == "" {
		return nil
	}
	return os.RemoveAll(m.path(before))
}
