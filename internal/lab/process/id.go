// Package process starts long-lived programs, remembers them on disk, and stops them again, even from another process and after
// a crash of the one that started them.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone means that the process has ended. Its number may belong to another one by now, which is left alone.
var ErrGone = errors.New("process has ended")

// ID names one process for all time: numbers are reused, a number together with its start time is not.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, proc_pid_stat(5) field 22
}

// Self is the calling process.
func Self() (ID, error) { return Identify(os.Getpid()) }

// Identify returns the identity of a running process.
func Identify(pid int) (ID, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ID{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	state, start, err := parseStat(data)
	if err != nil {
		return ID{}, fmt.Errorf("process %d: %w", pid, err)
	}
	if state == 'Z' || state == 'X' {
		return ID{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	return ID{PID: pid, Start: start}, nil
}

// parseStat takes the state and the start time out of a stat file. The second field is the program's name in brackets, which may itself
// hold blanks and brackets, so the count begins after the last bracket.
func parseStat(data []byte) (state byte, start uint64, err error) {
	i := bytes.LastIndexByte(data, ')')
	fields := bytes.Fields(data[i+1:])
	if i < 0 || len(fields) < 20 {
		return 0, 0, errors.New("its stat file is not understood")
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return fields[0][0], start, err
}

// Alive reports whether the process still runs.
func (id ID) Alive() bool {
	now, err := Identify(id.PID)
	return err == nil && now == id
}

// Signal sends a signal to exactly this process. It returns ErrGone when that has ended.
func (id ID) Signal(s syscall.Signal) error {
	fd, err := id.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.PidfdSendSignal(fd, s, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

// Wait returns when the process has ended or ctx is done.
func (id ID) Wait(ctx context.Context) error {
	fd, err := id.open()
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const step = 20 * time.Millisecond // how late ctx may be noticed
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(step.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for process %d: %w", id.PID, err)
		}
		if n > 0 {
			return nil
		}
	}
	return fmt.Errorf("process %d has not ended: %w", id.PID, ctx.Err())
}

// Stop asks the process to end with SIGTERM and kills it when it has not within grace. It returns when the process has ended.
func (id ID) Stop(ctx context.Context, grace time.Duration) error {
	if err := id.Signal(unix.SIGTERM); err != nil {
		return ignoreGone(err)
	}
	patience, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if id.Wait(patience) == nil {
		return nil
	}
	if err := id.Signal(unix.SIGKILL); err != nil {
		return ignoreGone(err)
	}
	return id.Wait(ctx)
}

// open returns a descriptor of the process. It is opened first and checked then, so that the check holds for what it names.
func (id ID) open() (int, error) {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, ErrGone
	}
	if err != nil {
		return -1, fmt.Errorf("process %d: %w", id.PID, err)
	}
	if !id.Alive() {
		unix.Close(fd)
		return -1, ErrGone
	}
	return fd, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}
