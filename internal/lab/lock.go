package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nearcast/internal/lab/process"
)

// lockFile is locked by the process whose lab it is. It is never removed: a lock on a removed file would exclude nobody.
const lockFile = "/run/nearcast-lab.lock"

// Holder is the process that has the lab.
type Holder struct {
	process.ID
	Command string `json:"command"`
}

// HeldError means that another process has the lab.
type HeldError struct{ Holder Holder }

func (e *HeldError) Error() string {
	return fmt.Sprintf("the lab is in use by process %d (%s); end that, or run `nearcast lab down`", e.Holder.PID, e.Holder.Command)
}

// tryLock takes the lock, which ends with the process at the latest. It returns a *HeldError when another has it.
func tryLock() (*os.File, error) {
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lab lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = &HeldError{readHolder(f)}
	} else if err == nil {
		err = writeHolder(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// waitLock takes the lock as soon as it is free. When ctx ends first it returns the *HeldError.
func waitLock(ctx context.Context) (*os.File, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := tryLock()
		var held *HeldError
		if err == nil || !errors.As(err, &held) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

func readHolder(f *os.File) Holder {
	h := Holder{Command: "unknown"}
	if data, err := io.ReadAll(io.NewSectionReader(f, 0, 4096)); err == nil {
		_ = json.Unmarshal(data, &h) // half written: the holder stays unknown
	}
	return h
}

func writeHolder(f *os.File) error {
	self, err := process.Self()
	if err != nil {
		return err
	}
	data, err := json.Marshal(Holder{ID: self, Command: strings.Join(os.Args, " ")})
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return err
}
