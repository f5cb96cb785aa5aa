package h3

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/message"
)

// errQuiet is what a tunnel ends with on which nothing moves.
var errQuiet = &message.Error{Blame: message.BlameClient, Reason: errTunnelIdle.reason}

// tunnel is a stream that has changed to another protocol (RFC 9220, RFC 9114 §4.4): DATA frames both ways.
type tunnel struct {
	str    stream
	conn   *conn
	idle   time.Duration
	moved  atomic.Int64 // when something last did, in ns since start
	start  time.Time
	giveUp context.CancelCauseFunc // ends the handler's context

	quiet atomic.Bool // nothing moved for too long
	cut   atomic.Bool // Interrupt was called
	over  atomic.Bool // the handler has returned

	rmu sync.Mutex
	r   reader

	wmu    sync.Mutex
	out    []byte
	closed bool
	torn   bool // a frame has not been written whole
}

func newTunnel(x *exchange) *tunnel {
	t := &tunnel{str: x.str, conn: x.conn, idle: x.conn.server.cfg.IdleTimeout, start: time.Now(), giveUp: x.end}
	t.r = x.r
	t.r.wait = t
	return t
}

func (t *tunnel) until() time.Time { return t.start.Add(time.Duration(t.moved.Load()) + t.idle) }
func (t *tunnel) move()            { t.moved.Store(int64(time.Since(t.start))) }

// ended is why nothing is read or written any more.
func (t *tunnel) ended() error {
	switch {
	case t.over.Load():
		return errDone
	case t.quiet.Load():
		return errQuiet
	case t.cut.Load():
		return errInterrupted
	}
	return nil
}

// Interrupt implements message.Interrupter. It waits for nobody.
func (t *tunnel) Interrupt() {
	t.cut.Store(true)
	t.expire()
}

// expire ends the waits there are. Whoever waits later sees ended first.
func (t *tunnel) expire() {
	_ = t.str.SetReadDeadline(past)
	_ = t.str.SetWriteDeadline(past)
}

// before and after are those of a read: it may wait as long as something moves, either way.
func (t *tunnel) before() {
	_ = t.str.SetReadDeadline(t.until())
	if t.ended() != nil { // expire may have been called just before
		_ = t.str.SetReadDeadline(past)
	}
}

func (t *tunnel) after(n int, _ bool) (again bool) {
	if n > 0 {
		t.move()
	}
	return t.ended() == nil && time.Now().Before(t.until())
}

// Read implements message.Tunnel.
func (t *tunnel) Read(p []byte) (int, error) {
	t.rmu.Lock()
	defer t.rmu.Unlock()
	if err := t.ended(); err != nil || len(p) == 0 {
		return 0, err
	}
	for t.r.left == 0 {
		typ, n, err := t.r.next()
		switch {
		case err != nil:
			return 0, t.fault(err)
		case typ == frameData:
			t.r.left = n
			if n > 0 {
				continue
			}
		case typ == frameHeaders:
			return 0, t.fault(errUnexpected)
		default:
			if err := onRequestStream(typ); err != nil {
				return 0, t.fault(err)
			}
		}
		if err := t.r.skip(n); err != nil {
			return 0, t.fault(err)
		}
	}
	n, err := t.r.data(p)
	if err != nil {
		return n, t.fault(err)
	}
	t.r.junk = max(t.r.junk-n/512-1, 0) // a tunnel lives long: an empty frame now and then does no harm
	return n, nil
}

// fault ends what is broken, and makes of err what the handler is to see.
func (t *tunnel) fault(err error) error {
	var f *fault
	switch {
	case err == io.EOF:
		return err
	case isTimeout(err) || t.silent(err):
		return t.stop()
	case errors.As(err, &f):
		t.conn.fail(f)
	}
	return clientGone(err)
}

// silent reports whether err is QUIC's word for what the tunnel's own deadline, which is due, would have said.
func (t *tunnel) silent(err error) bool {
	var idle *quic.IdleTimeoutError
	return errors.As(err, &idle) && !time.Now().Before(t.until())
}

// stop ends a tunnel on which nothing moves, unless something else has ended it.
func (t *tunnel) stop() error {
	if err := t.ended(); err != nil {
		return err
	}
	if !t.quiet.Swap(true) {
		t.conn.server.count(errTunnelIdle.kind)
		t.giveUp(errQuiet) // before the stream's context ends with another cause
		t.str.CancelRead(codeNoError)
		t.str.CancelWrite(quic.StreamErrorCode(errTunnelIdle.code))
	}
	return errQuiet
}

// Write implements message.Tunnel.
func (t *tunnel) Write(p []byte) (int, error) {
	t.wmu.Lock()
	defer t.wmu.Unlock()
	if err := t.ended(); err != nil {
		return 0, err
	}
	if t.closed {
		return 0, errDone
	}
	if len(p) == 0 {
		return 0, nil
	}
	t.out = appendVarint(append(t.out[:0], frameData), uint64(len(p)))
	head := len(t.out)
	if len(p) > gather {
		if _, err := t.send(t.out); err != nil {
			return 0, err
		}
		return t.send(p)
	}
	t.out = append(t.out, p...)
	n, err := t.send(t.out)
	return max(n-head, 0), err
}

// send writes p, a frame's part.
func (t *tunnel) send(p []byte) (n int, err error) {
	t.torn = true
	for {
		_ = t.str.SetWriteDeadline(t.until())
		if err := t.ended(); err != nil { // expire may have been called just before
			return n, err
		}
		k, err := t.str.Write(p[n:])
		n += k
		if k > 0 {
			t.move()
		}
		switch {
		case err == nil:
			t.torn = false
			return n, nil
		case t.quiet.Load(): // the reader saw it first
			return n, errQuiet
		case t.silent(err):
			return n, t.stop()
		case !isTimeout(err):
			return n, clientGone(err)
		case t.ended() != nil || !time.Now().Before(t.until()):
			return n, t.stop()
		}
	}
}

// CloseWrite implements message.Tunnel.
func (t *tunnel) CloseWrite() error {
	t.wmu.Lock()
	defer t.wmu.Unlock()
	if err := t.ended(); err != nil {
		return err
	}
	if t.closed {
		return errDone
	}
	if t.torn { // an end there would be one within a frame, which is an error of the connection
		return errInterrupted
	}
	t.closed = true
	return clientGone(t.str.Close())
}

// end makes Read and Write fail, and waits until nobody is in them. It returns false when our side must not end as if it were complete:
// after Interrupt, and within a frame (RFC 9114 §7.1).
func (t *tunnel) end() (whole bool) {
	t.over.Store(true)
	t.expire()
	t.wmu.Lock()
	whole = t.closed || !t.torn && !t.cut.Load()
	t.wmu.Unlock()
	t.str.CancelRead(codeNoError)
	t.rmu.Lock()
	defer t.rmu.Unlock()
	t.r = reader{}
	return whole
}
