//go:build unix

package main

import (
	"os"
	"strconv"
	"syscall"
)

// duplicate is another descriptor of an open file.
func duplicate(fd int) (*os.File, error) {
	n, err := syscall.Dup(fd)
	if err != nil {
		return nil, errNotOpen
	}
	syscall.CloseOnExec(n)
	return os.NewFile(uintptr(n), "/dev/fd/"+strconv.Itoa(fd)), nil
}
