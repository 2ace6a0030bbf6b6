// Command write writes a recording of generated pods to standard output, as kubectl prints one: the same for the same seed.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
)

func main() {
	pods := flag.Int("pods", 20_000, "how many pods, of some 14 KB each")
	seed := flag.Uint64("seed", 1, "which pods")
	flag.Parse()
	if err := dumptest.WriteList(os.Stdout, *seed, *pods); err != nil {
		fmt.Fprintln(os.Stderr, "write:", err)
		os.Exit(1)
	}
}
