package upstream

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"nearcast/proxy/message"
)

// conn is a connection to an origin. It belongs to one exchange, or to the pool.
type conn struct {
	net.Conn // what is spoken on: TCP, or TLS above it
	peer     netip.AddrPort
	socket   syscall.RawConn // the TCP connection's; nil where it has none
	idleAt   time.Time       // when it came to the pool
	cut      func()          // interrupt, bound once

	// for alive
	look  func(fd uintptr)
	one   [1]byte
	quiet bool
	below *below // TLS, if there is TLS

	mu          sync.Mutex
	interrupted bool      // no deadline counts any more
	answered    bool      // the exchange has the response's header section: its wait is over
	answerBy    time.Time // when that wait ends; zero for never
}

func newConn(raw net.Conn) *conn {
	c := &conn{Conn: raw, peer: message.AddrPort(raw.RemoteAddr())}
	if s, ok := raw.(syscall.Conn); ok {
		c.socket, _ = s.SyscallConn()
	}
	c.cut, c.look = c.interrupt, c.peek
	return c
}

// past is a deadline that ends every wait.
var past = time.Unix(1, 0)

// interrupt ends every wait on the connection, now and later. It may be called by any goroutine.
func (c *conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	_ = c.Conn.SetDeadline(past)
}

// begin is for a new exchange: it waits for nothing past the deadline, the zero time being none.
func (c *conn) begin(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered, c.answerBy = false, deadline
	if !c.interrupted {
		_ = c.Conn.SetDeadline(deadline)
	}
}

// awaitAnswer bounds the wait for the response's header section, if that is not over.
func (c *conn) awaitAnswer(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answerLocked(deadline)
}

func (c *conn) answerLocked(deadline time.Time) {
	c.answerBy = deadline
	if !c.interrupted && !c.answered {
		_ = c.Conn.SetReadDeadline(deadline)
	}
}

// forgive lengthens the wait for the header section by what the client took of it.
func (c *conn) forgive(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.answerBy.IsZero() {
		c.answerLocked(c.answerBy.Add(d))
	}
}

// answer ends the wait for the header section.
func (c *conn) answer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = true
}

func (c *conn) readBy(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.interrupted {
		_ = c.Conn.SetReadDeadline(deadline)
	}
}

func (c *conn) writeBy(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.interrupted {
		_ = c.Conn.SetWriteDeadline(deadline)
	}
}

// after is the end of a wait that begins now; d 0 is no end.
func after(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
