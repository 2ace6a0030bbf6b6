// Command image builds container images from static Linux binaries of kube-devops: a docker-archive and an SBOM for each, and one OCI
// layout for all. It needs no image builder. It reads the licences from the module cache, so that it needs no network on the machine
// that built the binaries. The same binaries give the same bytes.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "", "folder for what is written")
	version := flags.String("version", "", "version of the binaries: the tag of the image")
	source := flags.String("source", ".", "folder of the Go module that the binaries are built of")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: image -out DIR -version VERSION [-source DIR] BINARY...")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *out == "" || *version == "" || flags.NArg() == 0 {
		flags.Usage()
		return 2
	}
	lines, err := Write(*out, *version, *source, flags.Args())
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "image:", err)
		return 2
	}
	for _, line := range lines {
		_, _ = fmt.Fprintln(stdout, line)
	}
	return 0
}
