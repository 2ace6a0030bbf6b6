// Command pack packs binaries of kube-devops. It needs no image builder and no network: it reads the licences from the module cache of
// the machine that built the binaries. The same binaries give the same bytes.
//
// `pack image` builds container images from static binaries for Linux: a docker-archive and an SBOM for each, and one OCI layout for
// all. `pack release` writes the files of a release: an archive and an SBOM for each platform, the images, a Homebrew formula, a
// krew manifest, checksums and their signature.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `usage: pack image -out DIR -version VERSION [-source DIR] BINARY...
       pack release -out DIR -version VERSION -url URL [-source DIR] [-key FILE] [-layout DIR] [-extra FILES] [-run BINARY] BINARY...
`

func run(args []string, stdout, stderr io.Writer) int {
	var lines []string
	var err error
	switch {
	case len(args) > 0 && args[0] == "image":
		lines, err = packImage(args[1:], stderr)
	case len(args) > 0 && args[0] == "release":
		lines, err = packRelease(args[1:], stderr)
	default:
		err = flag.ErrHelp
	}
	switch {
	case err == flag.ErrHelp: //nolint:errorlint // it is returned as it is
		_, _ = io.WriteString(stderr, usage)
		return 2
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "pack:", err)
		return 2
	}
	for _, line := range lines {
		_, _ = fmt.Fprintln(stdout, line)
	}
	return 0
}

// newFlags are the flags of both verbs.
func newFlags(verb string, stderr io.Writer) (flags *flag.FlagSet, out, version, source *string) {
	flags = flag.NewFlagSet("pack "+verb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {}
	return flags, flags.String("out", "", "folder for what is written"), flags.String("version", "", "version of the binaries"),
		flags.String("source", ".", "folder of the Go module that the binaries are built of")
}

func packImage(args []string, stderr io.Writer) ([]string, error) {
	flags, out, version, source := newFlags("image", stderr)
	if err := flags.Parse(args); err != nil || *out == "" || *version == "" || flags.NArg() == 0 {
		return nil, flag.ErrHelp
	}
	return Write(*out, *version, *source, flags.Args())
}

func packRelease(args []string, stderr io.Writer) ([]string, error) {
	flags, out, version, source := newFlags("release", stderr)
	url := flags.String("url", "", "address of the folder that the files will be downloaded from")
	key := flags.String("key", "", "private key that signs the checksums, in PEM format")
	layout := flags.String("layout", "", "folder of the images, an OCI layout")
	extra := flags.String("extra", "", "files that are taken over as they are, with spaces between")
	program := flags.String("run", "", "binary that this machine can run, which prints the completion scripts")
	if err := flags.Parse(args); err != nil || *out == "" || *version == "" || *url == "" || flags.NArg() == 0 {
		return nil, flag.ErrHelp
	}
	at, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return nil, err
	}
	r := Release{Dir: *out, Version: *version, Source: *source, URL: *url, Time: at, Key: *key, Layout: *layout, Extra: strings.Fields(*extra)}
	if *program != "" {
		if r.Completions, err = completions(*program); err != nil {
			return nil, err
		}
	}
	return r.Write(flags.Args())
}

// sourceDate is the time that SOURCE_DATE_EPOCH gives in seconds since 1970.
func sourceDate(seconds string) (time.Time, error) {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is %q; set it to the time of the commit in seconds: git log -1 --format=%%ct", seconds)
	}
	return time.Unix(n, 0).UTC(), nil
}
