//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// takeOwner gives a file the owner and the group of another, where they differ.
func takeOwner(name string, of fs.FileInfo) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	has, ok := info.Sys().(*syscall.Stat_t)
	wants, known := of.Sys().(*syscall.Stat_t)
	if !ok || !known || has.Uid == wants.Uid && has.Gid == wants.Gid {
		return nil
	}
	return os.Chown(name, int(wants.Uid), int(wants.Gid))
}
