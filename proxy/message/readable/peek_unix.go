//go:build unix

package readable

import "golang.org/x/sys/unix"

const supported = true

// peek reports whether a read of the socket would not block: the poller has forgotten what it saw before the wait.
func peek(fd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if n, err := unix.Poll(p[:], 0); err != unix.EINTR {
			return n > 0 || err != nil
		}
	}
}
