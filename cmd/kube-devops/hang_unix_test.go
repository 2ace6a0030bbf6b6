//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hangingPlugin writes a kubeconfig whose credential plugin never answers. begun reports whether the plugin was started.
func hangingPlugin(t *testing.T, server string) (kubeconfig string, begun func() bool) {
	t.Helper()
	dir := t.TempDir()
	plugin, pids := filepath.Join(dir, "plugin.sh"), filepath.Join(dir, "pids")
	script := fmt.Sprintf("#!/bin/sh\necho $$ >> %s\nexec sleep 600\n", pids)
	kubeconfig = filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}],
contexts: [{name: c, context: {cluster: c, user: u}}],
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: %q, interactiveMode: Never}}}]}`, server, plugin)
	if err := os.WriteFile(plugin, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	started := func() []string {
		text, _ := os.ReadFile(pids)
		return strings.Fields(string(text))
	}
	t.Cleanup(func() { // the agent does not stop its plugin
		for _, text := range started() {
			if pid, err := strconv.Atoi(text); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	return kubeconfig, func() bool { return len(started()) > 0 }
}

// TestStopDuringAHangingPlugin: client-go does not interrupt a credential plugin, so requests wait for it for ever. A
// signal must still end the process within its grace period and with code 0.
func TestStopDuringAHangingPlugin(t *testing.T) {
	for _, elect := range []string{"--leader-elect=false", "--leader-elect=true"} {
		t.Run(elect, func(t *testing.T) {
			t.Parallel()
			kubeconfig, begun := hangingPlugin(t, unreachable)
			stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
			if err != nil {
				t.Fatal(err)
			}
			defer stderr.Close()
			program := exec.Command(os.Args[0], "agent", "--listen", "127.0.0.1:0", "--kubeconfig", kubeconfig, elect)
			program.Env = append(os.Environ(), asProgram+"=1", "HOME="+t.TempDir())
			program.Stderr = stderr // a file: the plugin keeps it open
			if err := program.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the start of the plugin", begun)
			stopped := time.Now()
			if err := program.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(20*time.Second, func() { _ = program.Process.Kill() })
			defer kill.Stop()
			err = program.Wait()
			took := time.Since(stopped)
			log, _ := os.ReadFile(stderr.Name())
			if err != nil || took > 10*time.Second {
				t.Errorf("ended after %s: %v; log:\n%s", took, err, log)
			}
			if !strings.Contains(string(log), `"msg":"a part of the agent waits for a call that does not end; stopping without it","part":"watch"`) {
				t.Errorf("the log does not name the part that did not stop:\n%s", log)
			}
		})
	}
}
