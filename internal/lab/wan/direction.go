package wan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	maxPacket = 64<<10 + 64 // a GSO packet with its virtio header
	burst     = 64          // packets read or written before the other is looked at again
)

// direction carries packets one way. It owns a thread, not a goroutine among others: the runtime's own timers and poller round to
// a millisecond and wait their turn, a sleeping thread is woken within a tenth of that.
type direction struct {
	// immutable
	in, out, wake int

	// owned by run
	queue   *ring
	lastDue int64
	random  *rand.Rand
	err     error // set before run returns

	// shared
	settings
	stats
}

func newDirection(in, out, wake, queue int, seed uint64) *direction {
	return &direction{in: in, out: out, wake: wake, queue: newRing(queue), random: rand.New(rand.NewPCG(seed, seed))}
}

// run forwards until the wake descriptor becomes readable.
func (d *direction) run() {
	runtime.LockOSThread() // never unlocked: the thread has a timer slack of its own
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	poll := []unix.PollFd{{Fd: int32(d.in), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
	scratch := make([]byte, maxPacket)
	for {
		d.deliver()
		_, err := unix.Ppoll(poll, d.untilDue(), nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			d.err = fmt.Errorf("wan link: poll: %w", err)
			return
		case poll[1].Revents != 0:
			return
		case poll[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
			d.err = fmt.Errorf("wan link: its device is gone")
			return
		case poll[0].Revents != 0:
			d.take(scratch)
		}
	}
}

// untilDue is the time until the oldest packet is due, nil when there is none.
func (d *direction) untilDue() *unix.Timespec {
	due, _, ok := d.queue.front()
	if !ok {
		return nil
	}
	t := unix.NsecToTimespec(max(due-nanotime(), 0))
	return &t
}

// deliver writes a burst of what is due.
func (d *direction) deliver() {
	for range burst {
		due, packet, ok := d.queue.front()
		if !ok {
			return
		}
		late := nanotime() - due
		if late < 0 {
			return
		}
		if late > d.lateness.Load() {
			d.lateness.Store(late)
		}
		if _, err := unix.Write(d.out, packet); err != nil {
			d.writeErrors.Add(1)
		}
		d.queue.pop()
	}
}

// take reads a burst of packets and queues or drops each. A full queue still reads: the sender must see loss, not a stopped device.
func (d *direction) take(scratch []byte) {
	loss, drop := math.Float64frombits(d.loss.Load()), d.drop.Load()
	for range burst {
		room := d.queue.reserve(maxPacket)
		full := room == nil
		if full {
			room = scratch
		}
		n, err := unix.Read(d.in, room)
		if err != nil {
			return
		}
		d.packets.Add(1)
		d.bytes.Add(uint64(n))
		if full || drop || loss > 0 && d.random.Float64() < loss {
			d.dropped.Add(1)
			continue
		}
		d.lastDue = dueTime(nanotime(), d.delay.Load(), d.spread(d.jitter.Load()), d.lastDue)
		d.queue.commit(d.lastDue, n)
	}
}

// spread draws evenly from -jitter to +jitter.
func (d *direction) spread(jitter int64) int64 {
	if jitter == 0 {
		return 0
	}
	return d.random.Int64N(2*jitter+1) - jitter
}

// dueTime is when a packet that arrived at now leaves: never before the one ahead of it, never before it came.
func dueTime(now, delay, spread, last int64) int64 {
	return max(now+max(delay+spread, 0), last)
}

func nanotime() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}
