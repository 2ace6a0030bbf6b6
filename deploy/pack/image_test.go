package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const version = "v1.2.3"

// agent is the binary of the repository, built once for this machine's architecture, to run on Linux.
var agent string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	agent = filepath.Join(dir, "kube-devops")
	code := 1
	if err := build("../..", agent, "./cmd/kube-devops", runtime.GOARCH); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build builds as the Makefile does.
func build(dir, out, pkg, arch string, env ...string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version, "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS=linux", "GOARCH="+arch), env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, output)
	}
	return nil
}

// isc is a licence, short and known.
const isc = `Copyright (c) 2020 Somebody

Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted,
provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED
WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR
CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT,
NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
`

// smallSource is the source of a program of the standard library alone.
func smallSource(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module small\n\ngo 1.26\n")
	write(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() {}\n")
	write(t, filepath.Join(dir, "LICENSE"), isc)
	return dir
}

// small builds that program.
func small(t *testing.T, dir, arch string, env ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "small")
	if err := build(dir, out, ".", arch, env...); err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func other() string {
	if runtime.GOARCH == "arm64" {
		return "amd64"
	}
	return "arm64"
}

// tree is the SHA-256 of every file of a folder.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		sums[name] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func pack(t *testing.T, source string, binaries ...string) (dir string, lines []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "out")
	lines, err := Write(dir, version, source, binaries)
	if err != nil {
		t.Fatal(err)
	}
	return dir, lines
}

// TestReproducible builds the agent in a folder of another name, packs both, and finds the same bytes in every file.
func TestReproducible(t *testing.T) {
	copied := filepath.Join(t.TempDir(), "elsewhere")
	copyRepository(t, copied)
	again := filepath.Join(t.TempDir(), "kube-devops")
	if err := build(copied, again, "./cmd/kube-devops", runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	first, _ := pack(t, "../..", agent)
	second, _ := pack(t, copied, again)
	if diff := cmp.Diff(tree(t, first), tree(t, second)); diff != "" {
		t.Errorf("two builds differ (-first +second):\n%s", diff)
	}
}

// copyRepository copies what the binary is built of, and the licence.
func copyRepository(t *testing.T, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(to, "agent"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum", "LICENSE"} {
		content, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(to, name), string(content))
	}
	for _, name := range []string{"rules", "policies", "cmd"} {
		if err := os.CopyFS(filepath.Join(to, name), os.DirFS(filepath.Join("../..", name))); err != nil {
			t.Fatal(err)
		}
	}
	rooms, err := os.ReadDir("../../agent")
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range rooms {
		from, at := filepath.Join("../../agent", room.Name()), filepath.Join(to, "agent", room.Name())
		switch {
		case room.Name() == "e2e": // another module
		case room.IsDir():
			err = os.CopyFS(at, os.DirFS(from))
		default:
			var content []byte
			if content, err = os.ReadFile(from); err == nil {
				write(t, at, string(content))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestArchive(t *testing.T) {
	dir, lines := pack(t, "../..", agent)
	file := filepath.Join(dir, "kube-devops-linux-"+runtime.GOARCH+".tar")
	image, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, image, runtime.GOARCH)
	if !strings.HasPrefix(lines[0], "linux/"+runtime.GOARCH+" sha256:") {
		t.Errorf("said %q of the image", lines[0])
	}
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(file) })
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 {
		t.Fatalf("%d images in the archive, want 1", len(manifest))
	}
	if diff := cmp.Diff([]string{"kube-devops:" + version}, manifest[0].RepoTags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if content := files(t, image)["kube-devops"]; runtime.GOOS == "linux" {
		extracted := filepath.Join(t.TempDir(), "kube-devops")
		if err := os.WriteFile(extracted, content, 0o755); err != nil {
			t.Fatal(err)
		}
		said, err := exec.CommandContext(t.Context(), extracted, "version").CombinedOutput()
		if err != nil || !strings.Contains(string(said), version) {
			t.Errorf("the binary of the image says %q (%v), want its version %s", said, err, version)
		}
	}
}

func TestLayout(t *testing.T) {
	source := smallSource(t)
	dir, _ := pack(t, source, small(t, source, runtime.GOARCH), small(t, source, other()))
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, "oci"))
	if err != nil {
		t.Fatal(err)
	}
	top, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(top.Manifests) != 1 || top.Manifests[0].Annotations[refName] != version {
		t.Fatalf("the layout has %+v, want one index named %s", top.Manifests, version)
	}
	images, err := index.ImageIndex(top.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := images.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, descriptor := range manifest.Manifests {
		platforms = append(platforms, descriptor.Platform.String())
		image, err := images.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, image, descriptor.Platform.Architecture)
	}
	if diff := cmp.Diff([]string{"linux/" + runtime.GOARCH, "linux/" + other()}, platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

// checkImage compares all that an image says, and all that is in it.
func checkImage(t *testing.T, image v1.Image, arch string) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if len(config.RootFS.DiffIDs) != 1 {
		t.Errorf("%d layers, want 1", len(config.RootFS.DiffIDs))
	}
	config = config.DeepCopy()
	config.RootFS = v1.RootFS{}
	want := &v1.ConfigFile{
		OS:           "linux",
		Architecture: arch,
		History:      []v1.History{{CreatedBy: "make image"}},
		Config: v1.Config{
			User:         "65532:65532",
			WorkingDir:   "/",
			Entrypoint:   []string{"/kube-devops"},
			ExposedPorts: map[string]struct{}{"8080/tcp": {}},
			Labels: map[string]string{
				"org.opencontainers.image.title":       "kube-devops",
				"org.opencontainers.image.description": "Live governance scores for every namespace of a Kubernetes cluster",
				"org.opencontainers.image.version":     version,
				"org.opencontainers.image.licenses":    "Apache-2.0",
			},
		},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	content := files(t, image)
	if diff := cmp.Diff([]string{"LICENSES", "kube-devops"}, slices.Sorted(maps.Keys(content))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if len(content["LICENSES"]) == 0 {
		t.Error("the file LICENSES is empty")
	}
}

// files are the files of an image, which all are root's and which all can read. The binary alone can be executed.
func files(t *testing.T, image v1.Image) map[string][]byte {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string][]byte)
	for _, layer := range layers {
		stream, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		archive := tar.NewReader(stream)
		for {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			mode := int64(0o444)
			if header.Name == "kube-devops" {
				mode = 0o555
			}
			if header.Mode != mode || header.Uid != 0 || header.Gid != 0 || header.ModTime.Unix() != 0 {
				t.Errorf("%s has mode %o, owner %d:%d, time %s", header.Name, header.Mode, header.Uid, header.Gid, header.ModTime)
			}
			var content bytes.Buffer
			if _, err := io.Copy(&content, archive); err != nil {
				t.Fatal(err)
			}
			found[header.Name] = content.Bytes()
		}
	}
	return found
}

// TestMistakes checks that each error of a build is reported in one line.
func TestMistakes(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	write(t, text, "#!/bin/sh\n")
	source, unlicensed, empty := smallSource(t), smallSource(t), t.TempDir()
	program := small(t, source, runtime.GOARCH)
	windows := small(t, source, runtime.GOARCH, "GOOS=windows")
	if err := os.Remove(filepath.Join(unlicensed, "LICENSE")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, version, source string
		binaries              []string
		want                  string
	}{
		{"no file", version, source, []string{"absent"}, "absent"},
		{"no binary", version, source, []string{text}, "read what " + text + " was built of"},
		{"another system", version, source, []string{windows}, `is for "windows"; build it with GOOS=linux`},
		{"the same architecture twice", version, source, []string{program, program}, "are both for " + runtime.GOARCH},
		{"a version that is not a valid tag", "v1+dirty", source, []string{program}, `version "v1+dirty" cannot be the tag of an image`},
		{"a module without a licence", version, unlicensed, []string{program}, "licence of small " + version + ": its folder has no licence file"},
		{"a source without a module", version, empty, []string{program}, "go list in " + empty},
		{"the source of another binary", version, source, []string{agent}, "go list in " + source},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Write(t.TempDir(), test.version, test.source, test.binaries)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want one line with %q", err, test.want)
			}
		})
	}
}

// TestCommand says what it wrote, or how it is called.
func TestCommand(t *testing.T) {
	dir, source := t.TempDir(), smallSource(t)
	var stdout, stderr bytes.Buffer
	if code := run([]string{"image", "-out", dir, "-version", version, "-source", source, small(t, source, runtime.GOARCH)}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	for _, want := range []string{"linux/" + runtime.GOARCH + " sha256:", "all sha256:", filepath.Join(dir, "oci")} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("stdout %q lacks %q", stdout.String(), want)
		}
	}
	for _, args := range [][]string{nil, {"image"}, {"image", "-out", dir}, {"image", "-nonsense"}, {"image", "-out", dir, "-version", version, "absent"}, {"release", "-out", dir, "-version", version}} {
		stderr.Reset()
		if code := run(args, io.Discard, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%q: exit code %d, stderr %q", args, code, stderr.String())
		}
	}
}
