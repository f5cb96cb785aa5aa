package room

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/process"
)

// Place is the room as the process inside it sees it.
type Place struct {
	Cores Cores
	group *process.Group
}

// Inside returns the room that this process was started in by Room.Run, false when it was not.
func Inside() (*Place, bool) {
	var c Cores
	if n, err := fmt.Sscanf(os.Getenv(insideVar), "%d,%d", &c.Server, &c.Load); err != nil || n != 2 {
		return nil, false
	}
	return &Place{Cores: c, group: process.NewGroup(programs())}, true
}

// SetMTU sets the largest packet of the room's loopback, in bytes. 65536 is the kernel's own value.
func (p *Place) SetMTU(ctx context.Context, bytes int) error {
	_, err := netns.Namespace("").Command(ctx, "", "ip", "link", "set", "lo", "mtu", strconv.Itoa(bytes))
	return err
}

// NewDir makes an empty directory of that name in memory. It goes with the room at the latest.
func (p *Place) NewDir(name string) (string, error) {
	dir := filepath.Join(memory, name)
	return dir, errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755))
}

// Spec is a program to run in the room.
type Spec struct {
	Name string
	Core int
	Args []string
	Env  []string // besides the environment's own
	Log  string   // file that standard output and error are appended to
}

// Program is a program that was started, with all the processes it starts.
type Program struct {
	Spec
	process.ID
	group *process.Group
}

// Start starts a program on its core.
func (p *Place) Start(s Spec) (*Program, error) {
	args := append([]string{"taskset", "-c", strconv.Itoa(s.Core), "env"}, s.Env...)
	id, err := p.group.Start(process.Spec{Name: s.Name, Args: append(args, s.Args...), Log: s.Log})
	if err != nil {
		return nil, err
	}
	return &Program{Spec: s, ID: id, group: p.group}, nil
}

// Stop ends the program and the processes it has started. That some have ended already is no error.
func (p *Program) Stop(ctx context.Context) error {
	children := p.Tree()[1:]
	err := p.group.Stop(ctx, p.Name, stopGrace)
	for _, child := range children {
		err = errors.Join(err, child.Stop(ctx, stopGrace))
	}
	return err
}

// StopAll ends every program in the room.
func (p *Place) StopAll(ctx context.Context) error { return p.group.StopAll(ctx, stopGrace) }
