package faults_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
	"github.com/kube-devops/kube-devops/agent/e2e/seed"
)

// A scanned is the result of a scan.
type scanned struct {
	code   int
	stderr string
	took   time.Duration
	peak   int // resident memory, bytes
}

// scan runs the binary on a recording.
func (f *fixture) scan(in io.Reader, args ...string) scanned {
	f.Helper()
	cmd := exec.CommandContext(f.Context(), f.binary, append([]string{"scan"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = in, &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the exit code has the result
	}()
	// The peak that the kernel reports at the end includes the memory of this process at the fork.
	peak := 0
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for running := true; running; {
		if used, err := process.UsageOf(cmd.Process.Pid); err == nil {
			peak = max(peak, used.Peak)
		}
		select {
		case <-ended:
			running = false
		case <-ticker.C:
		}
	}
	return scanned{cmd.ProcessState.ExitCode(), stderr.String(), time.Since(began), peak}
}

var byteOffset = regexp.MustCompile(`byte (\d+)`)

// refused checks that a recording was rejected: exit code 2, one line with the byte offset, and bounded memory.
func (f *fixture) refused(name string, s scanned) {
	f.Helper()
	if s.code != 2 || strings.Count(s.stderr, "\n") != 1 || strings.Contains(s.stderr, "panic") {
		f.Errorf("%s: exit code %d: %.500s", name, s.code, s.stderr)
	}
	if name != "empty" && !byteOffset.MatchString(s.stderr) {
		f.Errorf("%s: no byte offset: %s", name, s.stderr)
	}
	if s.peak > 256*mebibyte {
		f.Errorf("%s: %d MiB of memory", name, s.peak/mebibyte)
	}
}

const listHead = `{"kind":"List","apiVersion":"v1","items":[`

// badRecordings scans invalid recordings.
func (f *fixture) badRecordings() {
	text := func(containers ...cluster.Container) string {
		pod := cluster.NewPod("team", "pod", containers...)
		pod.APIVersion, pod.Kind = "v1", "Pod"
		text, err := json.Marshal(pod)
		if err != nil {
			f.Fatal(err)
		}
		return string(text)
	}
	pod := text(cluster.Bad)
	good := listHead + pod + "," + pod + "]}"
	var packed bytes.Buffer
	packer := gzip.NewWriter(&packed)
	_, err := packer.Write([]byte(good))
	if err := errors.Join(err, packer.Close()); err != nil {
		f.Fatal(err)
	}
	container := `{"name":"c","image":"x:latest"},`
	manyContainers := strings.Replace(pod, `"containers":[`, `"containers":[`+strings.Repeat(container, 1e6), 1)
	for _, bad := range []struct{ name, text string }{
		{"empty", ""},
		{"truncated", good[:len(good)-len(pod)/2]},
		{"NUL in a string", strings.Replace(good, "nginx", "ngi\x00nx", 1)},
		{"NUL between two items", strings.Replace(good, ","+pod, "\x00,"+pod, 1)},
		{"NUL alone", strings.Repeat("\x00", 1000)},
		{"a million deep, and open", listHead + pod + "," + strings.Repeat("[", 1e6)},
		{"a million deep", listHead + pod[:len(pod)-1] + `,"x":` + strings.Repeat("[", 1e6) + strings.Repeat("]", 1e6) + "}]}"},
		{"a key twice", strings.Replace(good, `"image"`, `"image":"x:1","image"`, 1)},
		{"not UTF-8", strings.Replace(good, "nginx", "ngi\xffnx", 1)},
		{"a million containers", listHead + manyContainers + "]}"},
		{"gzip, truncated", packed.String()[:packed.Len()-10]},
	} {
		path := filepath.Join(f.dir, "recording")
		if err := os.WriteFile(path, []byte(bad.text), 0o600); err != nil {
			f.Fatal(err)
		}
		f.refused(bad.name, f.scan(nil, "-o", "json", path))
		if err := os.Remove(path); err != nil {
			f.Fatal(err)
		}
	}
	if s := f.scan(strings.NewReader(good), "-o", "json", "-"); s.code != 0 {
		f.Errorf("the valid recording: exit code %d: %s", s.code, s.stderr)
	}
}

// endless scans a recording of the given size that ends in the middle of a pod.
func (f *fixture) endless(size int64) {
	in, out, err := os.Pipe()
	if err != nil {
		f.Fatal(err)
	}
	go func() {
		defer func() { _ = out.Close() }()
		_ = writePods(out, size) // the reader may exit early and reports why
	}()
	s := f.scan(in, "-o", "json", "-")
	_ = in.Close()
	f.refused(fmt.Sprintf("%d bytes", size), s)
	if want := fmt.Sprintf("byte %d", size); !strings.Contains(s.stderr, want) {
		f.Errorf("no %s: %s", want, s.stderr)
	}
	const least = 20e6
	speed := float64(size) / s.took.Seconds()
	if speed < least {
		f.Errorf("%.0f MB/s", speed/1e6)
	}
	f.notef("%.1f GB at %.0f MB/s, resident %d MiB", float64(size)/1e9, speed/1e6, s.peak/mebibyte)
}

// writePods writes a list of different pods of about 8 KB each, and stops after the given size.
func writePods(w io.Writer, size int64) error {
	pod := seed.NewPod(0, false)
	pod.APIVersion, pod.Kind = "v1", "Pod"
	text, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	at := bytes.Index(text, []byte(seed.NameOf(0)))
	text = append(text, ',')
	var written int64
	write := func(b []byte) error {
		n, err := w.Write(b[:min(int64(len(b)), size-written)])
		written += int64(n)
		return err
	}
	err = write([]byte(listHead))
	for i := 0; err == nil && written < size; i++ {
		copy(text[at:], seed.NameOf(i))
		err = write(text)
	}
	return err
}

// fullDisk runs a scan that writes its report to a full disk, and to a read-only one.
func (f *fixture) fullDisk() {
	disk := filepath.Join(f.dir, "disk")
	remount := f.tmpfs(disk, "size=1m")
	recording := listHead
	for i := range 2000 { // each has violations, which fill the report
		pod := cluster.NewPod("team", fmt.Sprint("pod-", i), cluster.Bad)
		pod.APIVersion, pod.Kind = "v1", "Pod"
		text, err := json.Marshal(pod)
		if err != nil {
			f.Fatal(err)
		}
		recording += string(text) + ","
	}
	recording = strings.TrimSuffix(recording, ",") + "]}"
	report := filepath.Join(disk, "report.json")
	for _, fault := range []string{"full", "read-only"} {
		if fault == "read-only" {
			remount("remount,ro")
		}
		s := f.scan(strings.NewReader(recording), "-o", "json="+report, "-")
		if s.code != 2 || strings.Count(s.stderr, "\n") != 1 || !strings.Contains(s.stderr, report) {
			f.Errorf("%s: exit code %d: %.500s", fault, s.code, s.stderr)
		}
		left, err := os.ReadDir(disk)
		if err != nil {
			f.Fatal(err)
		}
		if len(left) > 0 {
			f.Errorf("%s: the scan left %v", fault, left)
		}
	}
}

// tmpfs mounts a tmpfs. The returned function remounts it with other options.
func (f *fixture) tmpfs(dir, options string) (remount func(options string)) {
	f.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.Fatal(err)
	}
	mount := func(options string) error {
		out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("mount: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}
	if err := mount(options); err != nil {
		f.skip("cannot mount: %v", err)
	}
	f.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return func(options string) {
		f.Helper()
		if err := mount(options); err != nil {
			f.Fatal(err)
		}
	}
}

// unmount detaches a mount, even if it is in use.
func (f *fixture) unmount(dir string) {
	f.Helper()
	if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
		f.Fatalf("umount: %v: %s", err, out)
	}
}
