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

// tunnelWrite is how much of one write must have been taken within the idle timeout.
const tunnelWrite = 32 << 10

// tunnel is a stream that has changed to another protocol (RFC 9220, RFC 9114 §4.4): DATA frames both ways. It has no deadlines but the one
// in the past that ends it.
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

	tmu   sync.Mutex // guards timer, and the end
	timer *time.Timer

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
	_ = t.str.SetReadDeadline(time.Time{})
	_ = t.str.SetWriteDeadline(time.Time{})
	t.tmu.Lock()
	defer t.tmu.Unlock()
	t.timer = time.AfterFunc(t.idle, t.check)
	return t
}

func (t *tunnel) left() time.Duration {
	return t.idle - time.Since(t.start) + time.Duration(t.moved.Load())
}
func (t *tunnel) move() { t.moved.Store(int64(time.Since(t.start))) }

// check ends a tunnel on which nothing moved for too long, or sees when that may be.
func (t *tunnel) check() {
	t.tmu.Lock()
	defer t.tmu.Unlock()
	if t.over.Load() {
		return
	}
	if left := t.left(); left > 0 {
		t.timer.Reset(left)
		return
	}
	t.conn.server.count(errTunnelIdle.kind)
	t.quiet.Store(true)
	t.giveUp(errQuiet) // before the stream's context ends with another cause
	t.str.CancelRead(codeNoError)
	t.str.CancelWrite(quic.StreamErrorCode(errTunnelIdle.code))
}

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

// expire ends the waits that there are and will be.
func (t *tunnel) expire() {
	_ = t.str.SetReadDeadline(past)
	_ = t.str.SetWriteDeadline(past)
}

// before and after are those of a read.
func (t *tunnel) before() {}

func (t *tunnel) after(n int, _ bool) (again bool) {
	if n > 0 {
		t.move()
	}
	return false
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
	if err == io.EOF {
		return err
	}
	var f *fault
	if errors.As(err, &f) {
		t.conn.fail(f)
	}
	return t.explain(err)
}

// explain gives the error of a read or a write its reason.
func (t *tunnel) explain(err error) error {
	if err := t.ended(); err != nil {
		return err
	}
	var silent *quic.IdleTimeoutError
	if errors.As(err, &silent) && t.left() <= 0 { // QUIC's timer was first, by a hair
		return errQuiet
	}
	return clientGone(err)
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
	for n < len(p) {
		k, err := t.str.Write(p[n:min(len(p), n+tunnelWrite)])
		n += k
		if err != nil {
			return n, t.explain(err)
		}
		t.move()
	}
	t.torn = false
	return n, nil
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
	t.tmu.Lock()
	t.over.Store(true)
	t.timer.Stop()
	t.tmu.Unlock()
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
