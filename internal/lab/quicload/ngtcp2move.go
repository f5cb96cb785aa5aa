package quicload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"nearcast/internal/lab/process"
)

// Move is part of Mover. The program says nothing meanwhile, or it would be busy with that: progress is the size of the file that it writes.
func (ngtcp2) Move(ctx context.Context, t Target, d Direction, size int64) (tr Transfer, err error) {
	if err := errors.Join(checkTransfer(d, size), t.complete()); err != nil {
		return tr, fmt.Errorf("ngtcp2: %w", err)
	}
	dir, err := os.MkdirTemp(t.Dir, "ngtcp2-")
	if err != nil {
		return tr, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	args := []string{"--quiet", "--exit-on-all-streams-close", "--download=" + dir, "--sni=" + t.Host}
	data, sum := payload(size)
	if d == Up {
		file := filepath.Join(dir, "sent")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return tr, err
		}
		args = append(args, "--http-method=POST", "--data="+file)
	}
	log, err := os.OpenFile(t.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return tr, err
	}
	defer log.Close()
	cmd := exec.Command(ngtcp2Program, append(args, t.Address.String(), strconv.Itoa(int(t.Port)), bulkURL(&t, d, size))...)
	cmd.Env = append(os.Environ(), process.Mark)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tr.Start, tr.Protocol = time.Now().Round(0), "h3"
	if err := t.Namespace.Start(cmd); err != nil {
		return tr, fmt.Errorf("ngtcp2: %w", err)
	}
	came := filepath.Join(dir, "bulk") // by the path's last part, with its query
	if d == Down {
		came += fmt.Sprintf("?size=%d", size)
	}
	stall := watch(ctx, cmd, came)
	tr.stop(ctx, nil)
	got, _ := os.ReadFile(came) // what is not there has not come
	if d == Down {
		mine := sha256.Sum256(got)
		tr.Bytes, tr.Stall = int64(len(got)), stall
		tr.settle(d, size, mine[:], "", digestField(sum))
	} else {
		tr.settle(d, size, sum, string(got), "")
	}
	return tr, nil
}

// watch waits for the program, or ends it with ctx, and returns the longest time for which its file did not grow.
func watch(ctx context.Context, cmd *exec.Cmd, file string) time.Duration {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it went is seen by what has come
	}()
	flow, seen := newGauge(), int64(0)
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		select {
		case <-done:
			_, stall := flow.read()
			return stall
		case <-ctx.Done():
			_ = cmd.Process.Kill() // it is alone in its group, and Process knows whether it is reaped
			<-done
			_, stall := flow.read()
			return stall
		case <-tick.C:
			if info, err := os.Stat(file); err == nil && info.Size() > seen {
				flow.progress(info.Size() - seen)
				seen = info.Size()
			}
		}
	}
}
