// Package binaries builds what the end-to-end tests run: etcd and the programs of Kubernetes from the versions that
// kube/go.mod pins, helm from the one that deploy/go.mod pins, and kube-devops, as a binary and as an image, from the
// repository itself. Go and its module proxy are all it needs.
package binaries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Version is the Kubernetes version that kube/go.mod pins. It is stamped into the binaries, which would call
// themselves v0.0.0-master otherwise.
const Version = "v1.37.2"

const ldflags = "-s -w -X k8s.io/component-base/version.gitVersion=" + Version

// A Binary is one program of the control plane.
type Binary struct {
	Name    string
	pkg     string
	version string
	cold    string // how long the first build takes on two cores
}

// The programs that ControlPlane can build. The last three are of a cluster with a node.
var (
	Etcd              = Binary{"etcd", "go.etcd.io/etcd/server/v3", "v3.7.3", "1 minute"}
	Kubectl           = Binary{"kubectl", "k8s.io/kubernetes/cmd/kubectl", Version, "1 minute"}
	APIServer         = Binary{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", Version, "6 minutes"}
	ControllerManager = Binary{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", Version, "2 minutes"}
	Scheduler         = Binary{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", Version, "1 minute"}
	Kubelet           = Binary{"kubelet", "k8s.io/kubernetes/cmd/kubelet", Version, "1 minute"}
)

// ControlPlane builds those of the given programs that are missing and returns the folder that holds them all,
// agent/e2e/.cache/bin-<hash>. The hash is of kube/go.sum, the Go version and the stamped flags, so a changed pin is a
// new folder. It may run in several processes at once: one builds, the others wait. It reports to progress, usually
// stderr, what it builds and how long that takes.
func ControlPlane(ctx context.Context, progress io.Writer, want ...Binary) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "agent", "e2e", "kube")
	dir, err := cacheDir(ctx, module)
	if err != nil {
		return "", err
	}
	if len(missing(dir, want)) == 0 {
		return dir, nil
	}
	unlock, err := lock(ctx, dir+".lock", progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	for _, b := range missing(dir, want) { // asked again: whoever held the lock may have built them
		if err := build(ctx, module, dir, b, progress); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// Agent builds kube-devops from the repository around this module into dir and returns the path of the binary.
func Agent(ctx context.Context, dir string) (string, error) {
	return buildAgent(ctx, dir, "kube-devops")
}

// UngatedAgent builds kube-devops with a planted fault: a gate that trusts client-go's elector. The fault is a source file
// in testdata that replaces the real one during this build, so that no build tag can put it into a release.
func UngatedAgent(ctx context.Context, dir string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(root, "agent", "election", "gatestate.go"): filepath.Join(root, "agent", "e2e", "binaries", "testdata", "gatestate.go"),
	}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "ungated-overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		return "", fmt.Errorf("write the overlay of the build: %w", err)
	}
	return buildAgent(ctx, dir, "kube-devops-ungated", "-overlay", file)
}

func buildAgent(ctx context.Context, dir, name string, flags ...string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, name)
	// The flags of the Makefile's build, so that the two share Go's build cache.
	args := append([]string{"-o", out, "-trimpath", "-buildvcs=false"}, flags...)
	if err := goBuild(ctx, root, append(args, "./cmd/kube-devops")...); err != nil {
		return "", fmt.Errorf("build kube-devops: %w", err)
	}
	return out, nil
}

// Helm builds the command helm, at the version that deploy/go.mod pins, into dir and returns the path of the binary.
func Helm(ctx context.Context, dir string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "helm")
	// No flags of our own, so that the tests of deploy/ share Go's build cache.
	if err := goBuild(ctx, filepath.Join(root, "deploy"), "-o", out, "helm.sh/helm/v4/cmd/helm"); err != nil {
		return "", fmt.Errorf("build helm: %w", err)
	}
	return out, nil
}

// Image packs kube-devops into a docker-archive in dir, under the tag given, and returns its path. It is the image of
// `make image`, for this machine's architecture alone.
func Image(ctx context.Context, dir, tag string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "kube-devops")
	if err := goBuild(ctx, root, "-o", binary, "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+tag, "./cmd/kube-devops"); err != nil {
		return "", fmt.Errorf("build kube-devops: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "run", "./pack", "image", "-source", root, "-out", dir, "-version", tag, binary)
	cmd.Dir = filepath.Join(root, "deploy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pack kube-devops: %w\n%s", err, output)
	}
	return filepath.Join(dir, "kube-devops-linux-"+runtime.GOARCH+".tar"), nil
}

// Program builds a package of this module, without shared libraries, to out.
func Program(ctx context.Context, out, pkg string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	return goBuild(ctx, filepath.Join(root, "agent", "e2e"), "-o", out, "-trimpath", "-ldflags", "-s -w", pkg)
}

// Root returns the repository's top folder: the nearest one above the working directory that holds the root module.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module github.com/kube-devops/kube-devops\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the repository: no go.mod of github.com/kube-devops/kube-devops above the working directory")
		}
		dir = parent
	}
}

func cacheDir(ctx context.Context, module string) (string, error) {
	sum, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", fmt.Errorf("read the control plane's pins: %w", err)
	}
	goVersion, err := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("ask go for its version: %w", err)
	}
	hash := sha256.New()
	hash.Write(sum)
	hash.Write(goVersion)
	hash.Write([]byte(ldflags))
	name := "bin-" + hex.EncodeToString(hash.Sum(nil))[:12]
	return filepath.Join(filepath.Dir(module), ".cache", name), nil
}

func missing(dir string, want []Binary) []Binary {
	var out []Binary
	for _, b := range want {
		if _, err := os.Stat(filepath.Join(dir, b.Name)); errors.Is(err, fs.ErrNotExist) {
			out = append(out, b)
		}
	}
	return out
}

// lock takes an exclusive file lock, which the kernel gives back when the process dies.
func lock(ctx context.Context, path string, progress io.Writer) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for binaries: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the build lock: %w", err)
	}
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for waited := false; ; waited = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if !waited {
			say(progress, "another process is building the control plane, waiting for it")
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		}
	}
}

// build makes one binary under a name of its own and renames it, so that a binary with its final name is whole.
func build(ctx context.Context, module, dir string, b Binary, progress io.Writer) error {
	say(progress, "building %s %s (about %s on two cores the first time, seconds from Go's build cache)", b.Name, b.version, b.cold)
	start := time.Now()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder for binaries: %w", err)
	}
	half := filepath.Join(dir, b.Name+".half")
	if err := goBuild(ctx, module, "-o", half, "-ldflags", ldflags, b.pkg); err != nil {
		return fmt.Errorf("build %s: %w", b.Name, err)
	}
	if err := os.Rename(half, filepath.Join(dir, b.Name)); err != nil {
		return fmt.Errorf("build %s: %w", b.Name, err)
	}
	say(progress, "built %s in %s", b.Name, time.Since(start).Round(time.Second))
	return nil
}

// goBuild leaves cgo out: the binaries need no C compiler and no shared library.
func goBuild(ctx context.Context, module string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build"}, args...)...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, output)
	}
	return nil
}

func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, "e2e: "+format+"\n", args...)
}
