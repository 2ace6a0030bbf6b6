//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// chownLike gives a file the owner and group of another one.
func chownLike(name string, other fs.FileInfo) error {
	if stat, ok := other.Sys().(*syscall.Stat_t); ok {
		return os.Chown(name, int(stat.Uid), int(stat.Gid))
	}
	return nil
}
