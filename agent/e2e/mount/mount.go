// Package mount mounts a file as the kubelet mounts a ConfigMap, and changes it as the kubelet does.
package mount

import (
	"fmt"
	"os"
	"path/filepath"
)

// A Mount is a directory with one file, which is a link into what the link ..data leads to: a directory of its own for
// each generation.
type Mount struct {
	dir, file  string
	generation int
	target     string // of ..data, relative to dir; empty before the first Swap
}

// New prepares a mount of one file, which is not there before the first Swap.
func New(dir, file string) *Mount { return &Mount{dir: dir, file: file} }

// Path is the path of the file, be it there or not.
func (m *Mount) Path() string { return m.in(m.file) }

func (m *Mount) in(name string) string { return filepath.Join(m.dir, name) }

// Swap gives the file another content, or takes it away where it is nil, in the steps and the order of the kubelet's
// AtomicWriter: a new directory, the link to it by a rename, the visible links, and then the old directory goes.
func (m *Mount) Swap(content []byte) error {
	before := m.target
	m.generation++
	m.target = fmt.Sprintf("..2026_01_02_03_04_05.%09d", m.generation)
	if err := os.Mkdir(m.in(m.target), 0o755); err != nil {
		return err
	}
	if content != nil {
		if err := os.WriteFile(filepath.Join(m.in(m.target), m.file), content, 0o644); err != nil {
			return err
		}
	}
	if err := os.Symlink(m.target, m.in("..data_tmp")); err != nil {
		return err
	}
	if err := os.Rename(m.in("..data_tmp"), m.in("..data")); err != nil {
		return err
	}
	var err error
	if content != nil {
		err = os.Symlink(filepath.Join("..data", m.file), m.Path())
	} else {
		err = os.Remove(m.Path())
	}
	if err != nil && !os.IsExist(err) && !os.IsNotExist(err) {
		return err
	}
	if before == "" {
		return nil
	}
	return os.RemoveAll(m.in(before))
}
