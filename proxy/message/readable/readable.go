// Package readable waits for a connection that has nothing to say, with next to no stack: a goroutine that waits in Read below TLS holds
// several times as much.
package readable

import (
	"net"
	"syscall"
)

// Waiter waits for a socket. The zero Waiter waits for nothing.
type Waiter struct{ raw syscall.RawConn }

// New returns a Waiter for nc, or for the socket under it when layers such as TLS say what they are upon. It is the zero Waiter when there
// is none, as for a pipe.
func New(nc net.Conn) Waiter {
	sc, ok := Socket(nc).(syscall.Conn)
	if !ok || !supported {
		return Waiter{}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return Waiter{} // it has been closed, as Read will say
	}
	return Waiter{raw}
}

// Socket is the connection under layers such as TLS, where they say what they are upon.
func Socket(nc net.Conn) net.Conn {
	for {
		n, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = n.NetConn()
	}
}

// Wait returns nil when the socket has something to read, has ended, or can't be read: a Read of it would not block. It ends with the
// read deadline, and with the close, with the error that a Read would have. It reads nothing. Whatever layers have read from the socket
// already and not given out it does not see.
//
// On a new goroutine it does with the smallest stack there is, 2 KiB, as long as its callers have small frames: so it allocates nothing,
// and prepares nothing.
func (w Waiter) Wait() error {
	if w.raw == nil {
		return nil
	}
	return w.raw.Read(peek)
}
