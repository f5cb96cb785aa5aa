package bfd

import "golang.org/x/sys/unix"

// What the thread is guaranteed of one processor, and can't exceed: a packet takes it a few microseconds.
const (
	deadlineRuntime = 1_000_000 // nanoseconds in each period
	deadlinePeriod  = 10_000_000
)

const (
	topNice = -20
	// shortSlice is the time slice to ask for as an ordinary thread. The shorter, the sooner it gets a processor once it wakes.
	shortSlice = 100_000
)

// raise gives the calling thread priority over others.
//
// Not with SCHED_FIFO: in places Go's runtime waits for another thread in a loop around sched_yield, such as for the garbage collector to
// have read this very goroutine's stack, and under that policy the call makes room for no ordinary thread. When the other one was on the
// same processor, both stand still until the kernel throttles real-time threads, for up to a second. Under SCHED_DEADLINE the call ends the
// thread's turn until its next period, so that it costs milliseconds at most; and no mistake in here can take more than its share. A nice
// value alone counts only among the threads of one group: with autogroups on, not beyond this process's session.
func raise() priority {
	for _, p := range []struct {
		priority priority
		attr     unix.SchedAttr
	}{
		{priorityDeadline, unix.SchedAttr{Policy: unix.SCHED_DEADLINE, Runtime: deadlineRuntime, Deadline: deadlinePeriod, Period: deadlinePeriod}},
		{priorityNice, unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: topNice, Runtime: shortSlice}},
	} {
		p.attr.Flags = unix.SCHED_FLAG_RESET_ON_FORK // a thread cloned from here does not inherit it
		if unix.SchedSetAttr(0, &p.attr, 0) == nil {
			return p.priority
		}
	}
	return priorityNormal
}
