//go:build !linux

package node

import (
	"fmt"
	"runtime"
	"testing"
)

func TestMain(*testing.M) {
	fmt.Println("node: skipped: a kubelet with containers needs Linux, and this is " + runtime.GOOS)
}
