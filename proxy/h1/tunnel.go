package h1

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// tunnelWrite is how much of one write must have been taken within the idle timeout.
const tunnelWrite = 32 << 10

var errTunnelOver = errors.New("the tunnel has ended")

// tunnel is a connection that has changed to another protocol.
type tunnel struct {
	c     *conn
	moved atomic.Int64 // when something last did, in nanoseconds
	over  atomic.Bool

	mu    sync.Mutex  // guards timer, and the end
	timer *time.Timer // nil without an idle timeout

	reading, writing sync.Mutex
}

func newTunnel(c *conn) *tunnel {
	t := &tunnel{c: c}
	t.touch()
	c.in.interrupt(time.Time{})
	_ = c.nc.SetWriteDeadline(time.Time{})
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
	t.c.srv.cfg.CountError(errTunnelIdle)
	t.c.bottom.Close()
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
	if err != nil && err != io.EOF && t.over.Load() {
		err = errTunnelOver
	}
	return n, err
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
	return n, err
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
	t.mu.Lock()
	t.over.Store(true)
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
	quiet := t.reading.TryLock()
	if quiet && !t.writing.TryLock() {
		t.reading.Unlock()
		quiet = false
	}
	if quiet {
		t.c.nc.Close() // in order, with TLS's own end
	} else {
		t.c.bottom.Close()
		t.reading.Lock()
		t.writing.Lock()
	}
	t.reading.Unlock()
	t.writing.Unlock()
}
