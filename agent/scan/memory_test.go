//go:build !race

package scan

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
	"github.com/kube-devops/kube-devops/policies"
)

// TestMemory: what is held of a pod does not depend on its size, nor much on how many there are. It is left out under the
// race detector, which makes sync.Pool forget at random.
func TestMemory(t *testing.T) {
	name := filepath.Join(t.TempDir(), "list.json")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	const pods = 4000
	if err := errors.Join(dumptest.WriteList(f, 1, pods), f.Close()); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Run(t.Context(), Options{Table: open(t, policies.Default), Files: files(t, name), Workers: 2}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// All that was ever allocated, garbage included, of 57 MB: the batches, and less than 1 KiB a pod.
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(6<<20+pods<<10); got > most {
		t.Errorf("%d KiB were allocated, %d at the most", got>>10, most>>10)
	}
}
