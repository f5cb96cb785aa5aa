//go:build unix

package upstream

import "syscall"

// peek looks at the socket without taking anything from it. The socket is in non-blocking mode.
func (c *conn) peek(fd uintptr) {
	_, _, err := syscall.Recvfrom(int(fd), c.one[:], syscall.MSG_PEEK)
	c.quiet = err == syscall.EAGAIN
}
