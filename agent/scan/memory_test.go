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
	options := Options{Table: open(t, policies.Default), Found: found(t, name), Workers: 2}
	var before, after, held runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	found, err := Run(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	runtime.GC()
	runtime.GC() // the first one leaves what a sync.Pool has
	runtime.ReadMemStats(&held)
	// A name, a dozen bytes and the empty half of a table of slots, and as much again for the namespaces and the table of
	// the policy.
	if got, most := int64(held.HeapAlloc)-int64(before.HeapAlloc), int64(128*pods); got > most {
		t.Errorf("%d bytes a pod are held, %d at the most", got/pods, most/pods)
	}
	runtime.KeepAlive(found)
	// All that was ever allocated, garbage included, of 57 MB: the batches, and less than 1 KiB a pod.
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(6<<20+pods<<10); got > most {
		t.Errorf("%d KiB were allocated, %d at the most", got>>10, most>>10)
	}
}
