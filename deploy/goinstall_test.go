package deploy

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGoInstall installs a tagged version as a user would, from a module proxy that has the files of this commit.
func TestGoInstall(t *testing.T) {
	released(t) // with the other tests of a release, because it compiles the agent
	const module = "github.com/kube-devops/kube-devops"
	// The module cache keeps a version for ever, so each run has its own, and removes it.
	version := fmt.Sprintf("v0.0.1-test.%d", time.Now().Unix())
	proxy, bin := t.TempDir(), t.TempDir()
	folder := filepath.Join(proxy, module, "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": fmt.Appendf(nil, `{"Version": %q, "Time": "2026-01-01T00:00:00Z"}`, version),
		version + ".mod":  content(t, "../go.mod"),
		version + ".zip":  moduleZip(t, module+"@"+version),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	goEnv := func(name string) string {
		out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	cache := goEnv("GOMODCACHE")
	t.Cleanup(func() {
		unpacked := filepath.Join(cache, module+"@"+version)
		_ = exec.Command("chmod", "-R", "u+w", unpacked).Run()
		_ = os.RemoveAll(unpacked)
		_ = os.RemoveAll(filepath.Join(cache, "cache", "download", "github.com", "kube-devops"))
	})
	cmd := exec.CommandContext(t.Context(), "go", "install", module+"/cmd/kube-devops@"+version)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=", "GOWORK=off", "GOPROXY=file://"+proxy+","+goEnv("GOPROXY"), "GONOSUMDB="+strings.TrimPrefix(goEnv("GONOSUMDB")+","+module, ","))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go install: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "kube-devops"), "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "kube-devops "+version+" ") {
		t.Errorf("kube-devops version: %q (%v), want %s", out, err, version)
	}
}

// moduleZip packs the files of the root module, without the modules below it, as a module proxy does.
func moduleZip(t *testing.T, prefix string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--", ".", ":(exclude)deploy", ":(exclude)agent/e2e", ":(exclude).tools")
	cmd.Dir = ".."
	listed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	archive := zip.NewWriter(&b)
	for _, name := range strings.Split(strings.TrimSuffix(string(listed), "\x00"), "\x00") {
		path := filepath.Join("..", name)
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
			continue // a file that was deleted, or a link, which no module has
		}
		w, err := archive.Create(prefix + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content(t, path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
