package deploy

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// released returns the folder that `make release` wrote, and the version. `make test-packed` runs both.
func released(t *testing.T) (dir, version string) {
	t.Helper()
	dir, version = os.Getenv("RELEASED"), os.Getenv("PACKED_VERSION")
	if dir == "" || version == "" {
		t.Skip("make test-packed makes what is looked at")
	}
	return dir, version
}

// downloads serves the files of the release at the addresses of a release page.
func downloads(t *testing.T, dir, version string, change func(name string, content []byte) []byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, "/"+version+"/")
		content, err := os.ReadFile(filepath.Join(dir, filepath.Base(name)))
		if !ok || err != nil {
			http.NotFound(w, r)
			return
		}
		if change != nil {
			content = change(name, content)
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestReleaseArchives unpacks the archive of each platform.
func TestReleaseArchives(t *testing.T) {
	dir, version := released(t)
	tarballs, _ := filepath.Glob(filepath.Join(dir, "*_*_*.tar.gz"))
	zips, _ := filepath.Glob(filepath.Join(dir, "*.zip"))
	if len(tarballs) == 0 {
		t.Fatalf("%s has no archives", dir)
	}
	for _, path := range append(tarballs, zips...) {
		base := strings.TrimSuffix(strings.TrimSuffix(path, ".tar.gz"), ".zip")
		program := "kube-devops"
		if strings.Contains(base, "_windows_") {
			program += ".exe"
		}
		files, times := unpacked(t, path)
		var names []string
		for name := range files {
			names = append(names, name)
		}
		slices.Sort(names)
		want := []string{"LICENSE", "LICENSES", "completions/_kube-devops", "completions/kube-devops.bash", "completions/kube-devops.fish",
			"completions/kube-devops.ps1", program}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if len(times) != 1 {
			t.Errorf("%s has files of the times %v, want one time", path, times)
		}
		if !bytes.Contains(files["completions/kube-devops.bash"], []byte("kube-devops")) || !bytes.Contains(files["LICENSES"], []byte("k8s.io/client-go ")) {
			t.Errorf("%s has no completion script or no licences", path)
		}
		checkSBOM(t, base+".cdx.json", version)
	}
}

// unpacked returns the files of an archive, and their times.
func unpacked(t *testing.T, path string) (files map[string][]byte, times []time.Time) {
	t.Helper()
	files = make(map[string][]byte)
	add := func(name string, at time.Time, r io.Reader) {
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
		if !slices.ContainsFunc(times, at.Equal) {
			times = append(times, at)
		}
	}
	text := content(t, path)
	if strings.HasSuffix(path, ".zip") {
		archive, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			add(f.Name, f.Modified, r)
		}
		return files, times
	}
	uncompressed, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(uncompressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, times
		} else if err != nil {
			t.Fatal(err)
		}
		add(header.Name, header.ModTime, archive)
	}
}

// TestReleaseChecksums compares each file with its checksum, and the addresses and sums that package managers read.
func TestReleaseChecksums(t *testing.T) {
	dir, version := released(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for line := range strings.Lines(string(content(t, filepath.Join(dir, "checksums.txt")))) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		sums[name] = sum
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, "checksums.txt") {
			continue
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(content(t, filepath.Join(dir, name)))); sums[name] != got {
			t.Errorf("checksums.txt has %q for %s, want %s", sums[name], name, got)
		}
		delete(sums, name)
	}
	if len(sums) > 0 {
		t.Errorf("checksums.txt has files that do not exist: %v", sums)
	}
	var krew struct {
		Spec struct {
			Version   string
			Platforms []struct{ URI, SHA256, Bin string }
		}
	}
	if err := yaml.UnmarshalStrict(dropUnknown(t, content(t, filepath.Join(dir, "krew.yaml"))), &krew); err != nil {
		t.Fatal(err)
	}
	if krew.Spec.Version != version || len(krew.Spec.Platforms) == 0 {
		t.Errorf("krew.yaml is of %s for %d platforms, want %s", krew.Spec.Version, len(krew.Spec.Platforms), version)
	}
	for _, p := range krew.Spec.Platforms {
		path := filepath.Join(dir, filepath.Base(p.URI))
		files, _ := unpacked(t, path)
		if got := fmt.Sprintf("%x", sha256.Sum256(content(t, path))); got != p.SHA256 || files[p.Bin] == nil {
			t.Errorf("krew.yaml has %s and %s for %s, want %s", p.SHA256, p.Bin, p.URI, got)
		}
	}
	formula, err := os.ReadFile(filepath.Join(dir, "kube-devops.rb"))
	if err != nil {
		t.Log("no formula: the release has not all platforms that Homebrew installs")
		return
	}
	urls := regexp.MustCompile(`url "(\S+)"\s+sha256 "(\w+)"`).FindAllStringSubmatch(string(formula), -1)
	if len(urls) != 4 {
		t.Errorf("the formula has %d archives, want 4", len(urls))
	}
	for _, m := range urls {
		if got := fmt.Sprintf("%x", sha256.Sum256(content(t, filepath.Join(dir, filepath.Base(m[1]))))); got != m[2] {
			t.Errorf("the formula has %s for %s, want %s", m[2], m[1], got)
		}
	}
}

// dropUnknown keeps what the test reads of a krew manifest.
func dropUnknown(t *testing.T, text []byte) []byte {
	t.Helper()
	var all struct {
		Spec struct {
			Version   string           `json:"version"`
			Platforms []map[string]any `json:"platforms"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, p := range all.Spec.Platforms {
		delete(p, "selector")
		delete(p, "files")
	}
	out, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// bash runs a script in a folder with only these variables, and returns its exit code and what it printed.
func bash(ctx context.Context, t *testing.T, dir string, env []string, args ...string) (code int, printed string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "bash", args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

const badPod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: web:latest\n"

// TestAction runs the scripts of the GitHub Action on a repository, with the packed release.
func TestAction(t *testing.T) {
	dir, version := released(t)
	if runtime.GOOS != "linux" {
		t.Skip("the release of a test is for Linux")
	}
	action, err := filepath.Abs("action")
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		Inputs map[string]struct{ Default string }
		Runs   struct {
			Steps []struct {
				Env map[string]string
				Run string
			}
		}
	}
	if err := yaml.Unmarshal(content(t, "action/action.yml"), &definition); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, repository string, inputs map[string]string) (code int, printed, summary string) {
		temp := t.TempDir()
		pathFile, summaryFile := filepath.Join(temp, "path"), filepath.Join(temp, "summary.md")
		search := os.Getenv("PATH")
		for _, step := range definition.Runs.Steps {
			env := []string{"GITHUB_ACTION_PATH=" + action, "RUNNER_TEMP=" + temp, "GITHUB_PATH=" + pathFile, "GITHUB_STEP_SUMMARY=" + summaryFile, "PATH=" + search}
			for name, value := range step.Env {
				input := strings.TrimSuffix(strings.TrimPrefix(value, "${{ inputs."), " }}")
				given, ok := inputs[input]
				if !ok {
					given = definition.Inputs[input].Default
				}
				env = append(env, name+"="+given)
			}
			var out string
			code, out = bash(t.Context(), t, repository, env, "--noprofile", "--norc", "-eo", "pipefail", "-c", step.Run)
			printed += out
			if code != 0 {
				break
			}
			if added, err := os.ReadFile(pathFile); err == nil {
				search = strings.TrimSpace(string(added)) + ":" + os.Getenv("PATH")
			}
		}
		if text, err := os.ReadFile(summaryFile); err == nil {
			summary = string(text)
		}
		return code, printed, summary
	}
	repository := t.TempDir()
	if err := os.WriteFile(filepath.Join(repository, "web.yaml"), []byte(badPod), 0o644); err != nil {
		t.Fatal(err)
	}
	address := downloads(t, dir, version, nil)

	code, printed, summary := run(t, repository, map[string]string{"version": version, "base-url": address})
	if code != 1 || !strings.Contains(printed, "::error file=web.yaml,line=6") || !strings.Contains(summary, `latest\_tag`) {
		t.Errorf("exit code %d, want 1 with an annotation of web.yaml:6 and a summary:\n%s\n%s", code, printed, summary)
	}
	if code, printed, _ := run(t, repository, map[string]string{"version": version, "base-url": address, "fail-on": "", "sarif": "out.sarif", "args": "--top 5"}); code != 0 || !bytes.Contains(content(t, filepath.Join(repository, "out.sarif")), []byte("latest_tag")) {
		t.Errorf("without fail-on: exit code %d, want 0 and a SARIF report:\n%s", code, printed)
	}
	for name, inputs := range map[string]map[string]string{
		"a version that does not exist": {"version": "v9.9.9", "base-url": address},
		"a version with a path":         {"version": "../v1.2.3", "base-url": address},
		"a changed archive": {"version": version, "base-url": downloads(t, dir, version, func(name string, content []byte) []byte {
			if strings.HasSuffix(name, ".tar.gz") {
				content[len(content)/2] ^= 1
			}
			return content
		})},
		"a path that looks like a flag": {"version": version, "base-url": address, "paths": "--policy=/etc/passwd"},
	} {
		if code, printed, _ := run(t, repository, inputs); code != 2 {
			t.Errorf("%s: exit code %d, want 2:\n%s", name, code, printed)
		}
	}
}

// TestGitLabTemplate runs the job of the GitLab template with the packed release.
func TestGitLabTemplate(t *testing.T) {
	dir, version := released(t)
	if runtime.GOOS != "linux" {
		t.Skip("the job runs on Linux")
	}
	var template map[string]struct {
		Variables map[string]string
		Before    []string `json:"before_script"`
		Script    []string
	}
	if err := yaml.Unmarshal(content(t, "gitlab/kube-devops.yml"), &template); err != nil {
		t.Fatal(err)
	}
	job := template["kube-devops"]
	repository := t.TempDir()
	if err := os.WriteFile(filepath.Join(repository, "web.yaml"), []byte(badPod), 0o644); err != nil {
		t.Fatal(err)
	}
	job.Variables["KUBE_DEVOPS_VERSION"] = version
	job.Variables["KUBE_DEVOPS_BASE_URL"] = downloads(t, dir, version, nil)
	var env []string
	for name, value := range job.Variables {
		env = append(env, name+"="+value)
	}
	code, printed := bash(t.Context(), t, repository, env, "-eo", "pipefail", "-c", strings.Join(append(job.Before, job.Script...), "\n"))
	if code != 1 || !strings.Contains(printed, "web.yaml:6") || !bytes.Contains(content(t, filepath.Join(repository, "kube-devops.xml")), []byte("latest_tag")) {
		t.Errorf("exit code %d, want 1, a finding in web.yaml:6 and a JUnit report:\n%s", code, printed)
	}
}

// TestHooks runs the entry of each hook of pre-commit in a repository, with the packed release.
func TestHooks(t *testing.T) {
	dir, version := released(t)
	if runtime.GOOS != "linux" {
		t.Skip("the release of a test is for Linux")
	}
	bin := t.TempDir()
	files, _ := unpacked(t, filepath.Join(dir, "kube-devops_"+version+"_linux_"+runtime.GOARCH+".tar.gz"))
	if err := os.WriteFile(filepath.Join(bin, "kube-devops"), files["kube-devops"], 0o755); err != nil {
		t.Fatal(err)
	}
	var hooks []struct {
		ID, Entry string
		Args      []string
		Pass      bool `json:"pass_filenames"`
	}
	if err := yaml.Unmarshal(content(t, "../.pre-commit-hooks.yaml"), &hooks); err != nil {
		t.Fatal(err)
	}
	repository := t.TempDir()
	for name, text := range map[string]string{"web.yaml": badPod, "table.yaml": "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\nchecks: [{id: a, weight: 0}]\n"} {
		if err := os.WriteFile(filepath.Join(repository, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]struct {
		code int
		text string
	}{"kube-devops-scan": {1, "web.yaml:6"}, "kube-devops-policy-lint": {2, "table.yaml:4: check a: weight"}}
	for _, hook := range hooks {
		code, printed := bash(t.Context(), t, repository, []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, "-c", hook.Entry+` "$@"`, "hook")
		if len(hook.Args) > 0 {
			code, printed = bash(t.Context(), t, repository, []string{"PATH=" + bin + ":" + os.Getenv("PATH")},
				append([]string{"-c", hook.Entry + ` "$@"`, "hook"}, hook.Args...)...)
		}
		if w := want[hook.ID]; hook.Pass || code != w.code || !strings.Contains(printed, w.text) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", hook.ID, code, w.code, w.text, printed)
		}
	}
	if len(hooks) != len(want) {
		t.Errorf("%d hooks, want %d", len(hooks), len(want))
	}
}
