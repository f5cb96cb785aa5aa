// Package room is the measuring room: a network namespace of its own, in which the servers run on one core and the load and the origin on
// another. Linux, root.
//
// In the namespace TCP uses reno: BBR, the default of many kernels, paces even loopback and makes it ten times slower. Its loopback is
// nobody else's, so ports are free and its MTU can be changed.
//
// The program that measures opens the room and starts itself again inside it (Run); there, Inside returns what it can do with it. The
// outer process stays to tidy up, whatever becomes of the inner one.
package room

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/process"
)

const (
	space = netns.Namespace("nearcast-bench")
	// memory is on a file system in memory, where the servers' caches lie.
	memory = "/dev/shm/nearcast-bench"
	// lockFile is locked by the process whose room it is: two measurements at a time would measure each other. It is never removed.
	lockFile = "/dev/shm/nearcast-bench.lock"
	// insideVar tells a process that it is in the room, and the cores of it.
	insideVar = "NEARCAST_BENCH_ROOM"
	// stopGrace is how long a program may take to end when asked to.
	stopGrace = 3 * time.Second
)

// ErrTaken means that another process measures.
var ErrTaken = errors.New("another measurement is running on this machine; two at a time would measure each other")

// Room is an open room, seen from outside.
type Room struct {
	cores Cores
	lock  *os.File
	group *process.Group
}

// Open makes the room, and removes what a killed measurement left of its own. On an error nothing stays. The caller closes it.
func Open(ctx context.Context) (*Room, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("measuring side by side needs root: it makes a network namespace and pins servers to a core")
	}
	cores, err := pickCores()
	if err != nil {
		return nil, err
	}
	lock, err := takeLock()
	if err != nil {
		return nil, err
	}
	r := &Room{cores: cores, lock: lock, group: process.NewGroup(programs())}
	if err := r.build(ctx); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*stopGrace)
		defer cancel()
		return nil, errors.Join(err, r.Close(undo))
	}
	return r, nil
}

// programs is where the running programs are recorded.
func programs() string { return filepath.Join(memory, "programs") }

func takeLock() (*os.File, error) {
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrTaken
		}
		return nil, fmt.Errorf("lock %s: %w", lockFile, err)
	}
	return f, nil
}

func (r *Room) build(ctx context.Context) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(memory), &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		return fmt.Errorf("%s must be a file system in memory, where the servers' caches lie: %v", filepath.Dir(memory), err)
	}
	if err := r.sweep(ctx); err != nil {
		return fmt.Errorf("remove an earlier measuring room: %w", err)
	}
	if err := os.MkdirAll(programs(), 0o755); err != nil {
		return err
	}
	if err := space.Create(ctx); err != nil {
		return err
	}
	return space.Sysctl(map[string]string{
		"net/ipv4/tcp_congestion_control": "reno",
		"net/ipv4/ip_local_port_range":    "10240 65535", // idle connections by the thousand
		"net/ipv4/tcp_max_syn_backlog":    "16384",
		"net/core/somaxconn":              "16384",
		"net/ipv4/tcp_tw_reuse":           "1",
	})
}

// sweep ends the room's programs and removes the room.
func (r *Room) sweep(ctx context.Context) error {
	return errors.Join(r.group.StopAll(ctx, stopGrace), space.Delete(ctx), os.RemoveAll(memory))
}

// Close ends whatever still runs in the room and removes it.
func (r *Room) Close(ctx context.Context) error {
	return errors.Join(r.sweep(ctx), r.lock.Close())
}

// Run runs cmd, which is this program again, inside the room and on the core of the load, and waits for it. When ctx ends, it is asked
// to end, and killed when it does not. A Ctrl-C reaches it by itself, from the terminal.
func (r *Room) Run(ctx context.Context, cmd *exec.Cmd) error {
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return err
	}
	cmd.Args = append([]string{taskset, "-c", strconv.Itoa(r.cores.Load), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = taskset
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d,%d", insideVar, r.cores.Server, r.cores.Load))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	started, over := make(chan error, 1), make(chan struct{})
	defer close(over)
	go func() {
		err := space.Do(func() error {
			if err := cmd.Start(); err != nil {
				return err
			}
			started <- nil
			<-over // Pdeathsig is about the thread that started it, which therefore must outlive it
			return nil
		})
		if err != nil {
			started <- err
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		return errors.Join(context.Cause(ctx), err)
	case <-time.After(4 * stopGrace):
		_ = cmd.Process.Kill()
		return errors.Join(context.Cause(ctx), <-ended)
	}
}
