package h1

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"nearcast/proxy/message"
)

// tunnelWrite is how much of one write must have been taken within the idle timeout.
const tunnelWrite = 32 << 10

var (
	errTunnelOver = errors.New("the tunnel has ended")
	errIdle       = &message.Error{Blame: message.BlameClient, Reason: "tunnel idle"}
)

// tunnel is a connection that has changed to another protocol. It has no deadlines but the one in the past that ends it.
type tunnel struct {
	c     *conn
	ctx   *message.Context // the handler's
	moved atomic.Int64     // when something last did, in nanoseconds
	over  atomic.Bool
	idle  atomic.Bool // nothing moved for too long

	mu    sync.Mutex  // guards timer, and the end
	timer *time.Timer // nil without an idle timeout

	reading, writing sync.Mutex
}

func newTunnel(c *conn, ctx *message.Context) *tunnel {
	t := &tunnel{c: c, ctx: ctx}
	t.touch()
	c.in.interrupt(time.Time{})
	_ = c.nc.SetWriteDeadline(time.Time{})
	c.out.release() // it may last for hours
	if idle := c.srv.cfg.IdleTimeout; idle > 0 {
		t.mu.Lock()
		t.timer = time.AfterFunc(idle, t.check)
		t.mu.Unlock()
	}
	return t
}

func (t *tunnel) touch() { t.moved.Store(time.Now().UnixNano()) }

// check ends a tunnel on which nothing moved for too long, or sees when that may be.
func (t *tunnel) check() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over.Load() {
		return
	}
	left := t.c.srv.cfg.IdleTimeout - time.Since(time.Unix(0, t.moved.Load()))
	if left > 0 {
		t.timer.Reset(left)
		return
	}
	t.c.count(errTunnelIdle)
	t.idle.Store(true)
	_ = t.c.nc.SetDeadline(past)
	t.ctx.End(errIdle) // the handler may be waiting for the origin alone
}

// Interrupt implements message.Interrupter.
func (t *tunnel) Interrupt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop()
}

// stop ends what waits, and what is called later. The caller holds the lock.
func (t *tunnel) stop() {
	if t.over.Load() {
		return
	}
	t.over.Store(true)
	if t.timer != nil {
		t.timer.Stop()
	}
	_ = t.c.nc.SetDeadline(past)
}

// explain gives the error of a read or a write its reason.
func (t *tunnel) explain(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case t.over.Load():
		return errTunnelOver
	case t.idle.Load():
		return errIdle
	}
	return err
}

// Read implements message.Tunnel.
func (t *tunnel) Read(p []byte) (int, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	if t.over.Load() {
		return 0, errTunnelOver
	}
	if b := t.c.in.Buffered(); len(b) > 0 {
		n := copy(p, b)
		t.c.in.Consume(n)
		return n, nil
	}
	n, err := t.c.nc.Read(p)
	t.touch()
	return n, t.explain(err)
}

// Write implements message.Tunnel.
func (t *tunnel) Write(p []byte) (n int, err error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	for len(p) > 0 && err == nil {
		if t.over.Load() {
			return n, errTunnelOver
		}
		var k int
		k, err = t.c.nc.Write(p[:min(len(p), tunnelWrite)])
		t.touch()
		n, p = n+k, p[k:]
	}
	return n, t.explain(err)
}

// CloseWrite implements message.Tunnel.
func (t *tunnel) CloseWrite() error {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.over.Load() {
		return errTunnelOver
	}
	if cw, ok := t.c.nc.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// end ends the tunnel with its exchange. Nobody reads or writes when it returns.
func (t *tunnel) end() {
	t.Interrupt()
	t.reading.Lock()
	defer t.reading.Unlock()
	t.writing.Lock()
	defer t.writing.Unlock()
	t.c.nc.Close()
}
