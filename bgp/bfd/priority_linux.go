package bfd

import "golang.org/x/sys/unix"

const raisedNice = -20

// sliceTime is the time slice that the thread asks for. The shorter, the sooner it gets a processor once it wakes.
const sliceTime = 100_000 // nanoseconds, the least there is

// raise gives the calling thread priority over all others of this machine that have not raised theirs.
//
// It is not SCHED_FIFO. Go's runtime waits in places for another thread in a loop with sched_yield, such as for the garbage collector to be
// done with this very goroutine's stack, and for a thread of a real-time policy that call makes room for no other thread: when
// both have been on the same processor, they would stand still until the kernel's real-time throttling, for up to a second.
func raise() priority {
	a := unix.SchedAttr{Policy: unix.SCHED_NORMAL, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Nice: raisedNice, Runtime: sliceTime}
	if unix.SchedSetAttr(0, &a, 0) == nil {
		return priorityRaised
	}
	a.Nice = 0 // the slice alone, which needs no privilege
	_ = unix.SchedSetAttr(0, &a, 0)
	return priorityNormal
}
