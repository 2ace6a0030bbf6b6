//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

const (
	// The tag of the images that the tests make.
	tag = "e2e"
	// cgroupRoot holds the control groups of all containers, which outlive the namespaces.
	cgroupRoot = "kube-devops-e2e-node"
	// cniPlugins is where Debian keeps what gives pods a network.
	cniPlugins = "/usr/lib/cni"
	// insideEnv has the directory of the process inside the namespaces.
	insideEnv = "E2E_NODE_INSIDE"
)

// programs are what must be on the machine, and the Debian packages that bring them.
var programs = map[string]string{
	"containerd": "containerd", "ctr": "containerd", "runc": "runc", "ip": "iproute2", "prometheus": "prometheus",
	cniPlugins + "/bridge": "containernetworking-plugins",
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(insideEnv); dir != "" {
		os.Exit(inside(m, dir))
	}
	if os.Getenv("E2E_NODE") == "" {
		fmt.Println("node: skipped: make e2e-node runs it")
		return
	}
	if reason := cannot(); reason != "" {
		os.Exit(skip(reason))
	}
	os.Exit(outside())
}

// skip says why nothing is tested. Who has set E2E_NODE=must relies on the tests, and so it is a failure there.
func skip(reason string) int {
	if os.Getenv("E2E_NODE") == "must" {
		fmt.Fprintln(os.Stderr, "node: cannot be tested here, and must be (E2E_NODE=must; with 1 it is skipped): "+reason)
		return 1
	}
	fmt.Println("node: skipped: " + reason)
	return 0
}

// cannot says why there can be no node here; nothing where there can.
func cannot() string {
	if os.Geteuid() != 0 {
		return "a kubelet needs root"
	}
	if err := anotherUser(); err != nil {
		return "this root is one of a user namespace, which lacks the users of containers: " + err.Error()
	}
	probe := exec.Command("/proc/self/exe", "-test.run=^$")
	probe.Env = append(os.Environ(), insideEnv+"=probe")
	probe.SysProcAttr = namespaces()
	if out, err := probe.CombinedOutput(); err != nil {
		return fmt.Sprintf("this machine does not permit containers: %v %s", err, strings.TrimSpace(string(out)))
	}
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		return "this machine does not show its control groups: " + err.Error()
	}
	trial := filepath.Join(cgroups()[0], cgroupRoot)
	if err := os.Mkdir(trial, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "this machine does not permit new control groups: " + err.Error()
	}
	removeCgroups()
	return ""
}

// anotherUser gives a file to the user that the agent runs as.
func anotherUser() error {
	f, err := os.CreateTemp("", "e2e-node-user-")
	if err != nil {
		return err
	}
	return errors.Join(f.Chown(65532, 65532), f.Close(), os.Remove(f.Name()))
}

// namespaces end with the process that is started in them, and all that is in them ends too.
func namespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
}

// outside gets everything that needs the network of the machine, and runs the tests inside.
func outside() int {
	runtime.LockOSThread() // the child dies with the thread that starts it
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "e2e-node-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	defer func() {
		if err := errors.Join(keepLogs(dir), os.RemoveAll(dir)); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
		}
	}()
	if err := prepare(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	child := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	child.Env = append(os.Environ(), insideEnv+"="+dir)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = namespaces()
	err = child.Run()
	removeCgroups()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(1, exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	return 0
}

// prepare installs and builds what is missing.
func prepare(ctx context.Context, dir string) error {
	if err := install(ctx); err != nil {
		return err
	}
	_, err := binaries.ControlPlane(ctx, os.Stderr, binaries.Etcd, binaries.Kubectl, binaries.APIServer,
		binaries.ControllerManager, binaries.Scheduler, binaries.Kubelet)
	if err != nil {
		return err
	}
	if _, err := binaries.Helm(ctx, dir); err != nil {
		return err
	}
	if _, err := binaries.Image(ctx, dir, tag); err != nil {
		return err
	}
	workload := filepath.Join(dir, "workload")
	if err := binaries.Program(ctx, workload, "./node/workload"); err != nil {
		return err
	}
	return writeArchive(workload+".tar", workload, "workload:v1", "workload:latest")
}

// install gets missing programs from Debian's packages.
func install(ctx context.Context) error {
	var packages []string
	for program, pkg := range programs {
		if _, err := exec.LookPath(program); err != nil && !slices.Contains(packages, pkg) {
			packages = append(packages, pkg)
		}
	}
	if len(packages) == 0 {
		return nil
	}
	slices.Sort(packages)
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine lacks %s, and has no apt-get to install them", strings.Join(packages, ", "))
	}
	fmt.Fprintln(os.Stderr, "node: installing", strings.Join(packages, " "))
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "Acquire::Retries=5"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// keepLogs copies what the programs said to the folder of E2E_LOGS.
func keepLogs(dir string) error {
	logs := os.Getenv("E2E_LOGS")
	if logs == "" {
		return nil
	}
	to := filepath.Join(logs, "node-"+time.Now().UTC().Format("20060102T150405"))
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(dir, path)
		if err != nil || relErr != nil {
			return nil // what is gone needs no keeping
		}
		if entry.IsDir() && !slices.Contains([]string{".", "log"}, strings.Split(name, "/")[0]) {
			return fs.SkipDir
		}
		if ext := filepath.Ext(name); !entry.Type().IsRegular() || ext != ".stderr" && ext != ".stdout" && ext != ".log" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o644)
	})
}

// cgroups are the folders of control groups: one in version 2, one for each controller in version 1.
func cgroups() []string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return []string{"/sys/fs/cgroup"}
	}
	var folders []string
	entries, _ := os.ReadDir("/sys/fs/cgroup") // an empty list where it cannot be read
	for _, entry := range entries {
		if entry.IsDir() {
			folders = append(folders, filepath.Join("/sys/fs/cgroup", entry.Name()))
		}
	}
	if len(folders) == 0 {
		return []string{"/sys/fs/cgroup"}
	}
	return folders
}

// removeCgroups removes the control groups that the tests have made. Their processes are gone, or go just now.
func removeCgroups() {
	for range 50 {
		left := false
		for _, folder := range cgroups() {
			var groups []string
			_ = filepath.WalkDir(filepath.Join(folder, cgroupRoot), func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					groups = append(groups, path)
				}
				return nil
			})
			slices.Reverse(groups) // the innermost first
			for _, group := range groups {
				if err := syscall.Rmdir(group); err != nil {
					left = true
				}
			}
		}
		if !left {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
}

// inside is the first process of the namespaces.
func inside(m *testing.M, dir string) int {
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	if dir == "probe" {
		return 0
	}
	env.dir = dir
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := env.start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	return m.Run()
}

// furnish makes the namespaces like a machine: their own processes and network, and empty folders for what programs keep
// at a fixed place.
func furnish() error {
	const flags = syscall.MS_NOSUID | syscall.MS_NODEV
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE}, // nothing of this is seen outside
		{"", "/", "", syscall.MS_REC | syscall.MS_SHARED},  // and containers see what the kubelet mounts
		{"proc", "/proc", "proc", flags | syscall.MS_NOEXEC},
		{"tmpfs", "/run", "tmpfs", flags},
		{"tmpfs", "/var/log", "tmpfs", flags},
		{"tmpfs", "/var/lib", "tmpfs", syscall.MS_NOSUID},
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}
