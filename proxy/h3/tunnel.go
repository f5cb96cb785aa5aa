package h3

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

var errTunnelIdle = errors.New("nothing moved either way for too long")

// tunnel is a stream that has changed to another protocol (RFC 9220, RFC 9114 §4.4): DATA frames both ways.
type tunnel struct {
	str   stream
	conn  *conn
	idle  time.Duration
	moved atomic.Int64 // when something last did, in ns since start
	start time.Time
	over  atomic.Bool // the handler has returned

	rmu sync.Mutex
	r   reader

	wmu    sync.Mutex
	out    []byte
	closed bool
}

func newTunnel(x *exchange) *tunnel {
	t := &tunnel{str: x.str, conn: x.conn, idle: x.conn.server.cfg.IdleTimeout, start: time.Now()}
	t.r = x.r
	t.r.wait = t
	return t
}

func (t *tunnel) until() time.Time { return t.start.Add(time.Duration(t.moved.Load()) + t.idle) }
func (t *tunnel) move()            { t.moved.Store(int64(time.Since(t.start))) }

// before and after are those of a read: it may wait as long as something moves, either way.
func (t *tunnel) before() { _ = t.str.SetReadDeadline(t.until()) }

func (t *tunnel) after(n int, _ bool) (again bool) {
	if n > 0 {
		t.move()
	}
	return !t.over.Load() && time.Now().Before(t.until())
}

// Read implements message.Tunnel.
func (t *tunnel) Read(p []byte) (int, error) {
	t.rmu.Lock()
	defer t.rmu.Unlock()
	if t.over.Load() {
		return 0, errDone
	}
	if len(p) == 0 {
		return 0, nil
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
	case isTimeout(err):
		return t.stop()
	case errors.As(err, &f):
		t.conn.fail(f)
	}
	return clientGone(err)
}

// stop ends a tunnel on which nothing moves.
func (t *tunnel) stop() error {
	if t.over.Load() {
		return errDone
	}
	t.str.CancelRead(codeNoError)
	t.str.CancelWrite(quic.StreamErrorCode(codeRequestCancelled))
	return clientGone(errTunnelIdle)
}

// Write implements message.Tunnel.
func (t *tunnel) Write(p []byte) (int, error) {
	t.wmu.Lock()
	defer t.wmu.Unlock()
	if t.over.Load() || t.closed {
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

func (t *tunnel) send(p []byte) (n int, err error) {
	for {
		_ = t.str.SetWriteDeadline(t.until())
		if t.over.Load() { // end may have set the deadline just before
			return n, errDone
		}
		k, err := t.str.Write(p[n:])
		n += k
		if k > 0 {
			t.move()
		}
		switch {
		case err == nil:
			return n, nil
		case !isTimeout(err):
			return n, clientGone(err)
		case t.over.Load() || !time.Now().Before(t.until()):
			return n, t.stop()
		}
	}
}

// CloseWrite implements message.Tunnel.
func (t *tunnel) CloseWrite() error {
	t.wmu.Lock()
	defer t.wmu.Unlock()
	if t.over.Load() || t.closed {
		return errDone
	}
	t.closed = true
	return clientGone(t.str.Close())
}

// end makes Read and Write fail, and waits until nobody is in them.
func (t *tunnel) end() {
	if t.over.Swap(true) {
		return
	}
	past := t.start.Add(-time.Hour)
	_ = t.str.SetWriteDeadline(past)
	t.wmu.Lock()
	t.closed = true
	t.wmu.Unlock()
	t.str.CancelRead(codeNoError)
	t.rmu.Lock()
	defer t.rmu.Unlock()
	t.r = reader{}
}
