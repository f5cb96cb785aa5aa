package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// program is a child process that can be started again and again.
type program struct {
	name string
	args []string
	log  string // file that takes its output
}

// process is one life of a program.
type process struct {
	program *program
	cmd     *exec.Cmd
	done    chan struct{} // closed after err is set
	err     error         // how it ended
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process as a crash does (SIGKILL) and waits for it.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// stop asks the process to end (SIGTERM) and waits; after the patience it is killed, which is an error.
func (p *process) stop(patience time.Duration) error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("%s had not ended %v after SIGTERM and was killed", p.program.name, patience)
	}
}

// launcher starts processes. It does so from one thread that lives as long as it: on Linux the kernel is asked to kill
// the children when the thread that started them dies, so that a demonstration that crashes leaves nothing behind.
type launcher struct {
	executable string
	env        []string
	jobs       chan func()
}

// run serves start until ctx ends.
func (l *launcher) run(ctx context.Context) {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	for {
		select {
		case job := <-l.jobs:
			job()
		case <-ctx.Done():
			return
		}
	}
}

// start starts a program, its output appended to its log.
func (l *launcher) start(ctx context.Context, p *program) (*process, error) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(l.executable, p.args...)
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.SysProcAttr = log, log, l.env, childAttributes()
	started := make(chan error, 1)
	select {
	case l.jobs <- func() { started <- cmd.Start() }:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	pr := &process{program: p, cmd: cmd, done: make(chan struct{})}
	go func() { // ends with the process, which whoever started it ends
		pr.err = cmd.Wait()
		close(pr.done)
	}()
	return pr, nil
}

// endedError says how a process ended.
type endedError struct{ process *process }

func (e endedError) Error() string {
	how := "exit status 0"
	if e.process.err != nil {
		how = e.process.err.Error()
	}
	return fmt.Sprintf("%s (pid %d) has ended: %s", e.process.program.name, e.process.pid(), how)
}

// tail returns the last lines of a file, indented.
func tail(file string, lines int) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	all := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	all = all[max(0, len(all)-lines):]
	return fmt.Sprintf("  %s:\n    %s", filepath.Base(file), bytes.Join(all, []byte("\n    ")))
}
