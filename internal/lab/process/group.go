package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"nearcast/internal/lab/netns"
)

// Mark is in the environment of every program that a group starts, so that it can be recognised even if it was never recorded.
const Mark = "NEARCAST_LAB=program"

// Spec is a program to run.
type Spec struct {
	Name      string // within its group
	Namespace netns.Namespace
	Args      []string
	Log       string // file that standard output and error are appended to
	Output    string // file for standard output alone, default Log
}

// Group is the set of programs recorded in one directory. Several processes may use the same directory: each can stop
// what another has started.
type Group struct {
	dir string // immutable

	children sync.WaitGroup // the goroutines that wait for what this process has started
}

// NewGroup returns the group recorded in dir, which must exist.
func NewGroup(dir string) *Group { return &Group{dir: dir} }

// Start starts a program in its namespace and process group, so that a Ctrl-C at the terminal is not its business, and records it.
func (g *Group) Start(spec Spec) (ID, error) {
	log, err := appendTo(spec.Log)
	if err != nil {
		return ID{}, err
	}
	defer log.Close()
	cmd := exec.Command(spec.Args[0], spec.Args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if spec.Output != "" {
		out, err := appendTo(spec.Output)
		if err != nil {
			return ID{}, err
		}
		defer out.Close()
		cmd.Stdout = out
	}
	cmd.Env = append(os.Environ(), Mark)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := spec.Namespace.Start(cmd); err != nil {
		return ID{}, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	id, err := Identify(cmd.Process.Pid) // before Wait, so the number cannot have been reused
	if err == nil {
		err = g.record(spec.Name, id)
	} else {
		err = fmt.Errorf("%s ended at once", spec.Name)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return ID{}, err
	}
	g.children.Go(func() {
		_ = cmd.Wait() // how it ended is for whoever asks Running and reads its log
		g.forget(spec.Name, id)
	})
	return id, nil
}

// Get returns the program recorded under a name. It returns ErrGone when there is none or it has ended.
func (g *Group) Get(name string) (ID, error) {
	data, err := os.ReadFile(g.path(name))
	if err != nil {
		return ID{}, fmt.Errorf("%s: %w", name, ErrGone)
	}
	var id ID
	if err := json.Unmarshal(data, &id); err != nil {
		return ID{}, fmt.Errorf("record of %s: %w", name, err)
	}
	if !id.Alive() {
		return ID{}, fmt.Errorf("%s: %w", name, ErrGone)
	}
	return id, nil
}

// Stop ends the named program, see ID.Stop. That it has ended already is no error.
func (g *Group) Stop(ctx context.Context, name string, grace time.Duration) error {
	id, err := g.Get(name)
	if err == nil {
		err = id.Stop(ctx, grace)
	}
	if err = ignoreGone(err); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	g.forget(name, id)
	return nil
}

// StopAll ends every recorded program, all at the same time, and waits for those that this process started.
func (g *Group) StopAll(ctx context.Context, grace time.Duration) error {
	names, err := g.names()
	if err != nil {
		return err
	}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = g.Stop(ctx, name, grace) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	g.children.Wait()
	return nil
}

func (g *Group) names() ([]string, error) {
	entries, err := os.ReadDir(g.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".pid"); ok {
			names = append(names, name)
		}
	}
	return names, err
}

func (g *Group) path(name string) string { return filepath.Join(g.dir, name+".pid") }

func (g *Group) record(name string, id ID) error {
	data, err := json.Marshal(id)
	if err != nil {
		return err
	}
	next := g.path(name) + ".new"
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return err
	}
	return os.Rename(next, g.path(name))
}

// forget removes a record if it still names this process: by now the name may have been given to a successor.
func (g *Group) forget(name string, id ID) {
	var recorded ID
	data, err := os.ReadFile(g.path(name))
	if err == nil && json.Unmarshal(data, &recorded) == nil && (recorded == id || !recorded.Alive()) {
		_ = os.Remove(g.path(name))
	}
}

func appendTo(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}
