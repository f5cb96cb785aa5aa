package rescue

import (
	"time"

	"golang.org/x/sys/unix"
)

// spareStep is how long those who read the sockets get to come to what lies in there, before it is looked at again.
const spareStep = 5 * time.Millisecond

// unread says whether some socket has datagrams that its reader has not come to. Whoever seems silent may be in there.
func (h *Hub) unread() bool {
	for _, l := range h.lanes {
		if l != nil && l.unread() {
			return true
		}
	}
	return false
}

func (l *lane) unread() (waiting bool) {
	raw, err := l.udp.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		waiting = err == nil && n == 1 && p[0].Revents&unix.POLLIN != 0
	})
	return waiting
}

// spare says whether a peer that has just fallen silent is to be left alone for a moment, since we are behind with reading: on a machine that lacks
// processor time timers may go before what came in time. A socket that is never empty spares nobody for longer than half of DeadAfter.
func (h *Hub) spare(p *peer, now time.Time) bool {
	if p.spared.IsZero() {
		p.spared = now
	}
	return now.Sub(p.spared) < h.cfg.DeadAfter/2 && h.unread()
}
