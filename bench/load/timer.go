package load

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timer waits more precisely than package time does: an idle Go process sleeps in whole milliseconds, which an open loop would report as
// the server's latency. The kernel's timer wakes the network poller instead. One goroutine uses it.
type timer struct {
	file *os.File // nil when the kernel gave none
	fd   int
}

func newTimer() *timer { return &timer{} }

func (t *timer) open() bool {
	if t.file != nil {
		return true
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return false
	}
	t.fd, t.file = fd, os.NewFile(uintptr(fd), "timer")
	return true
}

// wait waits for d, or until ctx ends, but then at most for a tenth of a second longer.
func (t *timer) wait(ctx context.Context, d time.Duration) {
	const slice = 100 * time.Millisecond
	for end := time.Now().Add(d); d > 0 && ctx.Err() == nil; d = time.Until(end) {
		if d > slice || !t.open() || !t.sleep(d) {
			sleep(ctx, min(d, slice))
		}
	}
}

// sleep waits for d by the kernel's timer.
func (t *timer) sleep(d time.Duration) bool {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(t.fd, 0, &spec, nil); err != nil {
		return false
	}
	var expired [8]byte
	_, err := t.file.Read(expired[:])
	return err == nil
}

// sleep waits by the runtime's timer.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
