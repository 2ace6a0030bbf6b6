package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestScanWritesToDescriptors: a report goes to the descriptor itself, after what was written to it, and does not replace the file
// behind it.
func TestScanWritesToDescriptors(t *testing.T) {
	t.Chdir(t.TempDir())
	_, direct, _ := runScan(t, badPod, "-", "-o", "ndjson")
	for what, name := range map[string]func(fd int) string{
		"/dev/fd": func(fd int) string { return fmt.Sprintf("/dev/fd/%d", fd) }, "/proc/self/fd": func(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) },
		"a link": func(fd int) string {
			if err := os.Symlink(fmt.Sprintf("/dev/fd/%d", fd), "link"); err != nil {
				t.Fatal(err)
			}
			return "./link"
		},
	} {
		f, err := os.Create("log")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("before\n"); err != nil {
			t.Fatal(err)
		}
		fd, err := syscall.Dup(int(f.Fd())) // the scan closes it
		if err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := runScan(t, badPod, "-", "-o", "ndjson="+name(fd))
		_, err = f.WriteString("after\n")
		if code != exitDone || stdout+stderr != "" || err != nil {
			t.Errorf("%s: code %d, %q, %q, %v", what, code, stdout, stderr, err)
		}
		if text, err := os.ReadFile("log"); err != nil || string(text) != "before\n"+direct+"after\n" {
			t.Errorf("%s: %v; the file is %q", what, err, text)
		}
		_ = f.Close() // its text was read
	}
	for _, name := range []string{"/dev/stdout", "/dev/fd/1"} {
		if code, stdout, stderr := runScan(t, badPod, "-", "-o", "ndjson="+name); code != exitDone || stdout != direct || stderr != "" {
			t.Errorf("%s: code %d, %q, %q", name, code, stdout, stderr)
		}
	}
	if code, stdout, stderr := runScan(t, badPod, "-", "-o", "ndjson=1", "-o", "json=2"); code != exitDone || stdout+stderr != "" {
		t.Errorf("files with numbers as names: code %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, stderr := runScan(t, badPod, "-", "-o", "ndjson=/proc/self/fd/2"); code != exitDone || stdout != "" || stderr != direct {
		t.Errorf("/proc/self/fd/2: code %d, %q, %q", code, stdout, stderr)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 4 {
		t.Errorf("%v in the folder, %v", entries, err)
	}
}

// TestTwoReportsToOneFile: two reports must not go to one file, whatever its names are.
func TestTwoReportsToOneFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writeText(t, "old", "old", 0o600)
	if err := errors.Join(os.Symlink("old", "link"), os.Symlink("new", "dangling"), os.Symlink(".", "folder"), os.Link("old", "hard")); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][2]string{
		{"old", "link"}, {"old", filepath.Join(dir, "old")}, {"new", filepath.Join(dir, "new")}, {"new", "dangling"}, {"folder/new", "new"}, {"old", "hard"},
	} {
		code, stdout, stderr := runScan(t, badPod, "-", "-o", "json="+names[0], "-o", "yaml="+names[1])
		want := "kube-devops: two reports go to " + names[1] + ", which is the same file as " + names[0] + " (see kube-devops scan --help)\n"
		if code != exitFailed || stdout != "" || stderr != want {
			t.Errorf("%q: code %d, stdout %q, stderr %q", names, code, stdout, stderr)
		}
	}
	if text, err := os.ReadFile("old"); err != nil || string(text) != "old" {
		t.Errorf("the file is %q, %v", text, err)
	}
	f, err := os.OpenFile("old", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // nothing is written to it
	var stderr output
	if code := run(t.Context(), []string{"scan", shop, "-o", "json=link", "-o", "table"}, nil, f, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "two reports go to link, to which standard output is redirected") {
		t.Errorf("with standard output: code %d, %q", code, stderr.String())
	}
}

// TestReportKeepsTheMode: an existing file keeps its mode. A file name may be as long as the file system permits.
func TestReportKeepsTheMode(t *testing.T) {
	t.Chdir(t.TempDir())
	writeText(t, "private", "old", 0o640)
	long := strings.Repeat("r", 250)
	if code, _, stderr := runScan(t, badPod, "-", "-o", "json=private", "-o", "yaml="+long); code != exitDone || stderr != "" {
		t.Fatalf("code %d, %q", code, stderr)
	}
	for name, want := range map[string]os.FileMode{"private": 0o640, long: 0o666 &^ umask(t)} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want || info.Size() < 100 {
			t.Errorf("%.10s: mode %v, want %v; %d bytes", name, info.Mode(), want, info.Size())
		}
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}

func umask(t *testing.T) os.FileMode {
	t.Helper()
	name := filepath.Join(t.TempDir(), "new")
	f, err := os.OpenFile(name, os.O_CREATE, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return 0o666 &^ info.Mode().Perm()
}

// TestReportInPlace: a bind mount is overwritten in place, with a warning.
func TestReportInPlace(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writeText(t, "mounted", "old", 0o600)
	writeText(t, "source", "a longer text than the report is "+strings.Repeat("x", 100_000), 0o600)
	if err := syscall.Mount("source", "mounted", "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("mounting needs rights: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(filepath.Join(dir, "mounted"), 0); err != nil {
			t.Error(err)
		}
	}()
	code, _, stderr := runScan(t, badPod, "-", "-o", "ndjson=mounted")
	if want := "kube-devops: warning: mounted was overwritten in place and not replaced: device or resource busy\n"; code != exitDone || stderr != want {
		t.Errorf("code %d, %q", code, stderr)
	}
	_, direct, _ := runScan(t, badPod, "-", "-o", "ndjson")
	if text, err := os.ReadFile("source"); err != nil || string(text) != direct {
		t.Errorf("%v; the file is %q", err, text)
	}
	if code, _, stderr := runScan(t, badPod, "-", "-q", "-o", "ndjson=mounted"); code != exitDone || stderr != "" {
		t.Errorf("--quiet: code %d, %q", code, stderr)
	}
}

// TestReportInAReadOnlyFolder: a file in a read-only folder is overwritten in place, with a warning. It needs an account that is
// not root.
func TestReportInAReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "report.json")
	writeText(t, name, "old", 0o600)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(dir, 0o700) }() // for the clean-up of the test
	if f, err := os.Create(filepath.Join(dir, "probe")); err == nil {
		_ = errors.Join(f.Close(), os.Remove(f.Name()))
		t.Skip("this account may write to a folder that is read-only")
	}
	code, _, stderr := runScan(t, badPod, "-", "-o", "json="+name)
	if want := "was overwritten in place and not replaced: permission denied\n"; code != exitDone || !strings.HasSuffix(stderr, want) {
		t.Errorf("code %d, %q", code, stderr)
	}
	if code, _, stderr := runScan(t, badPod, "-", "-o", "json="+dir+"/new"); code != exitFailed || !strings.Contains(stderr, "new: permission denied") {
		t.Errorf("a new file: code %d, %q", code, stderr)
	}
}

// TestBaselineIsReplacedOnSuccess: a scan that fails on new violations does not make them the baseline.
func TestBaselineIsReplacedOnSuccess(t *testing.T) {
	t.Chdir(t.TempDir())
	if code, _, stderr := runScan(t, goodPod, "-", "-o", "json=base.json"); code != exitDone {
		t.Fatal(stderr)
	}
	old, err := os.ReadFile("base.json")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		code, stdout, stderr := runScan(t, badPod+goodPod, "-", "--baseline", "base.json", "-o", "json=./base.json", "-o", "table", "-o", "yaml=other.yaml")
		want := "kube-devops: warning: baseline ./base.json is not updated, because the scan failed\nkube-devops: --baseline base.json: 3 new violations\n"
		if code != exitCrossed || stderr != want || !strings.Contains(stdout, "NAMESPACE") {
			t.Errorf("code %d, stderr %q", code, stderr)
		}
		if text, err := os.ReadFile("base.json"); err != nil || string(text) != string(old) {
			t.Errorf("the baseline has changed, %v", err)
		}
	}
	if info, err := os.Stat("other.yaml"); err != nil || info.Size() == 0 {
		t.Errorf("the other report was not written: %v", err)
	}
	if code, _, stderr := runScan(t, strings.Replace(goodPod, `"b"`, `"c"`, 1), "-", "--baseline", "base.json", "-o", "json=base.json"); code != exitDone || stderr != "" {
		t.Errorf("code %d, %q", code, stderr)
	}
}
