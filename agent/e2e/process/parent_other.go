//go:build !linux

package process

import "syscall"

// dieWithParent does nothing: only Linux has it. A test binary that is killed leaves its children running.
func dieWithParent(*syscall.SysProcAttr) {}
