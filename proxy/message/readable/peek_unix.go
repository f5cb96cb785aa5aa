//go:build unix

package readable

import "syscall"

const supported = true

// peek reports whether a read of the socket would not block. What the poller has reported before is no longer known to it.
func peek(fd uintptr) bool {
	var one [1]byte
	for {
		if _, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK); err != syscall.EINTR {
			return err != syscall.EAGAIN
		}
	}
}
