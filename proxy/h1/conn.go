package h1

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"nearcast/proxy/message"
	"nearcast/proxy/message/readable"
	"nearcast/proxy/message/wire"
)

const (
	// lingerBody is how long a client that was answered early may take to send the rest of its body, so that the connection can go on.
	lingerBody = 5 * time.Second
	// lingerRefused is how long we take what a client goes on sending after its last answer, which a reset would overtake.
	lingerRefused = 500 * time.Millisecond
	maxLinger     = 256 << 10 // bytes taken meanwhile; who sends more has lingerRefused from then on
	// idleSoon is how long a connection stays ready for the next request. Then it rests: it gives back what it does not need to wait.
	idleSoon = time.Second / 2
	maxDrain = 64 << 10 // bytes of a body that nobody read which are taken so that the connection can go on
)

// conn is one connection.
type conn struct {
	srv     *Server
	nc      net.Conn
	bottom  net.Conn // the socket under nc
	info    message.ConnInfo
	server  context.Context                 // whose end cuts the connection
	served  atomic.Pointer[message.Context] // the exchange with a handler that is on
	unwatch func() bool                     // ends the wait for the end of server

	active  atomic.Bool // a request has begun to come
	leaving atomic.Bool // the next response is the last
	met     atomic.Bool // the first request has begun to come
	going   atomic.Bool // it ends though no request has ever come

	in    reader
	out   output
	watch *watcher // nil before the first exchange with a handler, and after a rest
	first bool     // no request has come yet

	resting bool // nothing came for idleSoon; Serve is to be called again
	rested  bool // it was so during the wait in hand, and is not to be again
	waiter  readable.Waiter
	until   time.Time // the first bytes of the next request must have come; zero: whenever they do
}

func newConn(ctx context.Context, s *Server, nc net.Conn, info message.ConnInfo) *conn {
	c := &conn{srv: s, nc: nc, info: info, server: ctx, bottom: readable.Socket(nc), first: true}
	c.info.Client, c.info.Local = unmapped(info.Client), unmapped(info.Local)
	c.in.c, c.out.c = c, c
	c.in.at = time.Now()
	if info.Accepted.IsZero() {
		c.info.Accepted = c.in.at
	}
	c.unwatch = context.AfterFunc(ctx, c.stopped)
	_, c.out.vectored = nc.(interface{ SetLinger(int) error }) // a TCP socket
	return c
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// past is a deadline that ends a wait at once.
var past = time.Unix(1, 0)

// stopped cuts the connection, as its server stops.
func (c *conn) stopped() {
	c.bottom.Close()
	if x := c.served.Load(); x != nil {
		x.End(nil)
	}
}

// end closes the connection and gives everything back.
func (c *conn) end() {
	c.out.abandon()
	if c.out.failed {
		c.bottom.Close() // TLS would wait for the client to take its end, too
	}
	c.nc.Close()
	c.in.release()
	c.unwatch()
	c.srv.remove(c)
}

// closing reports whether a response that begins now is the last.
func (c *conn) closing() bool { return c.leaving.Load() || c.srv.draining.Load() }

// gone reports whether the connection ends rather than wait for a request: see Server.Leave and Server.CloseIdle.
func (c *conn) gone() bool { return c.leaving.Load() && (!c.first || c.going.Load()) }

// next takes one request and answers it. It returns false when the connection is to end.
func (c *conn) next() bool {
	head, err := c.readHead()
	if err != nil || head == nil {
		c.refuseHead(err)
		return false
	}
	x := newExchange(c)
	if err := x.head.Parse(head, &x.req, &c.srv.lim); err != nil {
		c.refuse(&x.req, err)
		x.free()
		return false
	}
	x.prepare()
	if c.srv.quick != nil && x.req.Body == nil {
		if a := c.srv.quick.Quick(&x.req); a != nil {
			return c.out.ready(x, a)
		}
	}
	if c.out.flush() != nil {
		x.free()
		return false
	}
	return c.serve(x)
}

// readHead waits for a complete header section. It returns nil without an error when the connection has ended, or is to.
func (c *conn) readHead() (head []byte, err error) {
	var s wire.Scanner
	var begun time.Time
	for {
		if buf := c.in.Buffered(); len(buf) > 0 {
			start, end, err := s.Request(buf, &c.srv.lim)
			if err != nil {
				return nil, err
			}
			if end > 0 {
				c.in.Consume(end)
				return buf[start:end:end], nil
			}
		}
		if c.out.flush() != nil {
			return nil, nil
		}
		if len(c.in.Buffered()) == 0 {
			first := c.first
			if !c.await() {
				return nil, nil
			}
			if begun = c.in.at; first {
				begun = c.info.Accepted
			}
			continue
		}
		if begun.IsZero() {
			begun = c.in.at
		}
		if err := c.more(begun); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && len(bytes.Trim(c.in.Buffered(), "\r\n")) > 0 {
				return nil, errSlow
			}
			return nil, nil
		}
	}
}

var errSlow = &message.Error{Blame: message.BlameClient, Status: 408, Reason: reasonSlow}

// await waits for the first bytes of the next request. It returns false when the connection is to end, or is resting.
func (c *conn) await() bool {
	if !c.rested {
		c.out.release()
		c.active.Store(false)
		c.until = after(c.in.at, c.srv.cfg.IdleTimeout)
		if c.first && c.srv.cfg.HeaderTimeout > 0 {
			c.until = after(c.info.Accepted, c.srv.cfg.HeaderTimeout)
		}
	}
	soon := !c.rested && (c.until.IsZero() || c.until.Sub(c.in.at) > idleSoon)
	if soon {
		c.in.setDeadline(c.in.at, c.in.at.Add(idleSoon))
	} else {
		c.in.setDeadline(c.in.at, c.until)
	}
	if c.gone() { // told so during a request whose response could not say it any more, or just now
		return false
	}
	if !c.rested {
		// The others first: when they have had their turn the next request may be there. A read that finds nothing and the wait after it are a
		// tenth of what an answer from memory costs.
		runtime.Gosched()
	}
	if err := c.in.await(); err != nil {
		if soon && errors.Is(err, os.ErrDeadlineExceeded) {
			c.rest()
		}
		return false
	}
	c.first, c.rested = false, false
	c.met.Store(true)
	c.active.Store(true)
	if c.leaving.Load() {
		c.spare()
	}
	return true
}

// rest gives back what is not needed to wait. What the handshake or a request needed of the goroutine's stack, its end gives back.
func (c *conn) rest() {
	c.resting = true
	c.in.release()
	c.in.kept, c.out.batch, c.out.vec, c.out.parts = nil, nil, nil, nil
	c.watch = nil // nothing of it runs any more
	c.waiter = readable.New(c.bottom)
	c.in.interrupt(c.until) // now, with the large stack: see sleep
}

// sleep waits for the end of the rest. It returns false when the connection is to end. It must do with a small stack.
func (c *conn) sleep() bool {
	c.resting, c.rested = false, true
	if c.gone() { // told so before rest
		return false
	}
	return c.waiter.Wait() == nil
}

// spare undoes what CloseIdle may have done to a connection on which a request has just begun to come.
func (c *conn) spare() {
	c.srv.mu.Lock() // until it is done
	defer c.srv.mu.Unlock()
	c.in.deadline = past // as it was set: the next is set for certain
}

// more waits for more of a header section that began to come at begun.
func (c *conn) more(begun time.Time) error {
	c.in.setDeadline(c.in.at, after(begun, c.srv.cfg.HeaderTimeout))
	return c.in.more(c.srv.lim.HeadSize())
}

func after(t time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return t.Add(d)
}

// finish follows the last answer, when all of its request was read.
func (c *conn) finish() {
	if len(c.in.Buffered()) > 0 {
		c.linger(lingerRefused)
	}
}

// linger takes what still comes from the client for a while, after our side was closed: closing the socket with bytes that nobody read
// resets the connection, and the client may lose the answer (RFC 9112 §9.6).
func (c *conn) linger(d time.Duration) {
	c.active.Store(false)
	if cw, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite()
	}
	c.in.interrupt(time.Now().Add(d))
	b := getBuffer(buf4K)
	defer putBuffer(b)
	for left := maxLinger; left > 0; {
		n, err := c.nc.Read(b)
		if err != nil {
			return
		}
		left -= n
	}
	// It sends on and on, now into the socket's buffer; for as long as the socket is open, it can read.
	t := time.NewTimer(lingerRefused)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.server.Done():
	}
}

// reset closes the connection so that the client sees it as broken, not as ended.
func (c *conn) reset() {
	if l, ok := c.bottom.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	c.bottom.Close()
}
