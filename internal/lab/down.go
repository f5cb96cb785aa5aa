package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/process"
)

const (
	// holderGrace is how long the process that has the lab gets to take it down itself.
	holderGrace = 20 * time.Second
	// programGrace is how long a program of the lab gets to end. Nothing it could still do matters.
	programGrace = 300 * time.Millisecond
)

// Down takes the lab down, whoever brought it up: it has the process that runs it stop, and removes whatever is left, such
// as after a crash. That there is no lab is no error.
func Down(ctx context.Context) error {
	lock, err := tryLock()
	var held *HeldError
	if errors.As(err, &held) {
		lock, err = evict(ctx, held)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	return sweep(ctx)
}

// evict stops the process that has the lab and takes the lock.
func evict(ctx context.Context, held *HeldError) (*os.File, error) {
	holder := held.Holder.ID
	if holder.PID == os.Getpid() {
		return nil, errors.New("the lab belongs to this process: close it instead")
	}
	if holder.PID <= 0 {
		return nil, held
	}
	if err := holder.Stop(ctx, holderGrace); err != nil {
		return nil, fmt.Errorf("stop %s: %w", held.Holder.Command, err)
	}
	free, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return waitLock(free)
}

// sweep removes everything that any lab left. The caller has the lock.
func sweep(ctx context.Context) error {
	err := process.NewGroup(programDir).StopAll(ctx, programGrace)
	var namespaces []netns.Namespace
	for _, role := range append([]Role{Router, Rogue}, behindRouter...) { // others may begin with the same letters
		found, lerr := netns.List(string(Namespace(role, "")))
		namespaces, err = append(namespaces, found...), errors.Join(err, lerr)
	}
	err = errors.Join(err, stopMarked(ctx, namespaces))
	for _, n := range namespaces {
		err = errors.Join(err, n.Delete(ctx))
	}
	return errors.Join(err, os.RemoveAll(stateDir))
}

// stopMarked ends the programs of the lab in its namespaces that were never recorded, because what started them was killed in
// between. The mark in their environment tells them from an operator's shell in there.
func stopMarked(ctx context.Context, namespaces []netns.Namespace) error {
	inside := map[uint64]bool{}
	for _, n := range namespaces {
		if inode, err := inodeOf(n.Path()); err == nil {
			inside[inode] = true
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		pid, notNumber := strconv.Atoi(e.Name())
		if notNumber != nil || pid == os.Getpid() {
			continue
		}
		id, gone := process.Identify(pid)
		inode, ierr := inodeOf(filepath.Join("/proc", e.Name(), "ns/net"))
		environ, eerr := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if gone != nil || ierr != nil || eerr != nil || !inside[inode] || !bytes.Contains(environ, []byte(process.Mark+"\x00")) {
			continue
		}
		err = errors.Join(err, id.Stop(ctx, programGrace))
	}
	return err
}

func inodeOf(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Ino, nil
}
