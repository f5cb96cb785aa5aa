// Package readable waits for a connection that has nothing to say, with next to no stack: a goroutine that waits in Read below TLS holds
// several times as much.
package readable

import (
	"net"
	"syscall"
)

// Wait returns when nc, a socket, has something to read, has ended, or can't be read: a Read of it would not block. It ends with the
// connection's read deadline, and with its close, with the error that a Read has then. It returns nil at once where that can't be
// waited for, as when nc is no socket. It reads nothing.
func Wait(nc net.Conn) error {
	if rc := raw(nc); rc != nil {
		return rc.Read(peek)
	}
	return nil
}

// raw is apart for the stack's sake.
//
//go:noinline
func raw(nc net.Conn) syscall.RawConn {
	sc, ok := nc.(syscall.Conn)
	if !ok || !supported {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil // it has been closed, as Read will say
	}
	return rc
}
