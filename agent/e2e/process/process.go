// Package process runs a child process whose output is written to files, so that a test can read it at any time, even after the process
// has ended.
package process

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options say how a process is started.
type Options struct {
	Name string   // of the log files, and in errors
	Path string   // the binary
	Args []string // without the binary
	Env  []string // the whole environment; nil is an empty one
	Dir  string   // the folder for <name>.stdout and <name>.stderr
	Pipe bool     // stderr goes through a pipe, which Hold stops up
}

// A Process is a started child. All methods may be called at any time and from any goroutine.
type Process struct {
	opts Options
	proc *os.Process
	done chan struct{}
	code int

	held sync.Mutex // held while the pipe is not read
}

// Start starts the process. It ends with this process, where the system can do that (Linux).
func Start(opts Options) (*Process, error) {
	p := &Process{opts: opts, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	return p, nil
}

// run stays on one thread for the child's whole life: Linux kills the child when the thread that started it ends.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd, err := p.command()
	if err != nil {
		started <- err
		return
	}
	err = cmd.Start()
	_ = cmd.Stdout.(*os.File).Close() // the child has its own
	_ = cmd.Stderr.(*os.File).Close()
	if err != nil {
		started <- err
		return
	}
	p.proc = cmd.Process
	started <- nil
	_ = cmd.Wait() // the exit code has the result
	p.code = cmd.ProcessState.ExitCode()
	close(p.done)
}

func (p *Process) command() (*exec.Cmd, error) {
	stdout, err := os.Create(p.file("stdout"))
	if err != nil {
		return nil, err
	}
	stderr, err := os.Create(p.file("stderr"))
	if err != nil {
		_ = stdout.Close()
		return nil, err
	}
	cmd := exec.Command(p.opts.Path, p.opts.Args...)
	cmd.Env = append([]string{}, p.opts.Env...) // a nil Env would inherit ours
	cmd.Dir = p.opts.Dir
	if p.opts.Pipe {
		if stderr, err = p.through(stderr); err != nil {
			_ = stdout.Close()
			return nil, err
		}
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	dieWithParent(cmd.SysProcAttr)
	return cmd, nil
}

// through returns the end of a pipe for the child to write to. What comes out goes into the file, unless it is held.
func (p *Process) through(file *os.File) (*os.File, error) {
	out, in, err := os.Pipe()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	go func() {
		defer func() { _, _ = out.Close(), file.Close() }()
		_, _ = io.Copy(&heldWriter{&p.held, file}, out)
	}()
	return in, nil
}

type heldWriter struct {
	held *sync.Mutex
	file *os.File
}

func (w *heldWriter) Write(text []byte) (int, error) {
	w.held.Lock()
	defer w.held.Unlock()
	return w.file.Write(text)
}

// Hold stops reading the process's stderr, which must be a pipe: it can write some 100 KB more, and then waits. The
// function that is returned lets it go on, and may be called twice.
func (p *Process) Hold() (release func()) {
	p.held.Lock()
	return sync.OnceFunc(p.held.Unlock)
}

func (p *Process) file(stream string) string {
	return filepath.Join(p.opts.Dir, p.opts.Name+"."+stream)
}

// Name returns the name it was started under.
func (p *Process) Name() string { return p.opts.Name }

// Pid returns its process id.
func (p *Process) Pid() int { return p.proc.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended says whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal. It is not an error if the process has ended.
func (p *Process) Signal(s syscall.Signal) {
	_ = p.proc.Signal(s)
}

// Wait waits for the end and returns the exit code, -1 for a process that a signal killed. It fails after the timeout and
// leaves the process running.
func (p *Process) Wait(timeout time.Duration) (int, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.code, nil
	case <-timer.C:
		return 0, fmt.Errorf("%s still runs after %s\n%s", p.opts.Name, timeout, p.Tail())
	}
}

// Stop sends SIGTERM, and SIGKILL after the timeout, and returns when the process has ended.
func (p *Process) Stop(timeout time.Duration) {
	p.Signal(syscall.SIGTERM)
	if _, err := p.Wait(timeout); err != nil {
		p.Kill()
	}
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stdout returns everything written to stdout until now.
func (p *Process) Stdout() string { return p.read("stdout") }

// Stderr returns everything written to stderr until now.
func (p *Process) Stderr() string { return p.read("stderr") }

func (p *Process) read(stream string) string {
	b, err := os.ReadFile(p.file(stream))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Tail returns the last lines of stderr, for the message of a failure.
func (p *Process) Tail() string {
	const n = 30
	lines := strings.Split(strings.TrimRight(p.Stderr(), "\n"), "\n")
	return fmt.Sprintf("--- end of %s's stderr\n%s\n---", p.opts.Name, strings.Join(lines[max(0, len(lines)-n):], "\n"))
}
