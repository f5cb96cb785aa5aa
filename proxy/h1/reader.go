package h1

import (
	"os"
	"sync/atomic"
	"time"
)

// reader is the receiving side of a connection. Header sections stay in the buffer, where their strings are, until their exchange is
// over: what is read for a body goes behind them.
type reader struct {
	c    *conn
	buf  []byte // from the pool; nil at first, and after a rest
	r, w int    // buf[r:w] was read and not consumed
	pin  int    // buf[:pin] must stay
	kept [][]byte
	wide bool // requests are larger than the smallest buffer: wait for the next with a larger one

	at       time.Time // of the last read for a header section, or of the end of what took longer: the time is not asked for more often
	deadline time.Time // as set on the connection

	// waited and moved are how long the request body in hand kept us waiting, and how much of it came.
	waited time.Duration
	moved  int64
	until  time.Time   // when reading it must end; zero: at its pace
	stop   atomic.Bool // it is not to be read any more; set before the deadline is, and looked at after
}

// minRead is the least room to read into.
const minRead = 512

// Buffered implements wire.Source.
func (r *reader) Buffered() []byte { return r.buf[r.r:r.w] }

// Consume implements wire.Source.
func (r *reader) Consume(n int) { r.r += n }

// setDeadline sets the deadline of reads, unless that would move it only a little: setting one is not free.
func (r *reader) setDeadline(now, t time.Time) {
	if moves(r.deadline, t, now) {
		r.deadline = t
		_ = r.c.nc.SetReadDeadline(t)
	}
}

// moves reports whether a deadline of old is to be replaced by t.
func moves(old, t, now time.Time) bool {
	if old.IsZero() || t.IsZero() {
		return old.IsZero() != t.IsZero()
	}
	return t.Sub(old).Abs() >= max(min(time.Second, t.Sub(now)/8), 1)
}

// interrupt sets the deadline whatever it was.
func (r *reader) interrupt(t time.Time) {
	r.deadline = t
	_ = r.c.nc.SetReadDeadline(t)
}

// await reads the first bytes of a request; nothing is buffered, and nothing pinned.
func (r *reader) await() error {
	r.r, r.w, r.pin = 0, 0, 0
	if r.wide && len(r.buf) != buf4K {
		r.drop()
		r.buf = getBuffer(buf4K)
	} else if !r.wide && len(r.buf) != buf1K {
		r.drop()
		r.buf = getSmall()
	}
	n, err := r.c.nc.Read(r.buf)
	r.w = n
	r.at = time.Now()
	r.wide = n >= buf1K
	if n > 0 {
		return nil
	}
	return err
}

// more reads behind what is buffered, which is less than limit bytes. Nothing is pinned.
func (r *reader) more(limit int) error {
	r.pin = 0
	if r.r > 0 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	if len(r.buf)-r.w < minRead && len(r.buf) < limit {
		b := getBuffer(min(4*len(r.buf), limit+1))
		copy(b, r.buf[:r.w])
		r.drop()
		r.buf = b
	}
	n, err := r.c.nc.Read(r.buf[r.w:])
	r.w += n
	r.at = time.Now()
	if n > 0 {
		return nil
	}
	return err
}

// push appends a byte that was read elsewhere.
func (r *reader) push(c byte) {
	if r.w == len(r.buf) {
		r.room(1)
	}
	r.buf[r.w] = c
	r.w++
}

// room makes room for n bytes, at least, behind what is buffered. What is pinned stays where it is.
func (r *reader) room(n int) {
	if r.r == r.w {
		r.r, r.w = r.pin, r.pin
	}
	if len(r.buf)-r.w >= n {
		return
	}
	b := getBuffer(max(r.w-r.r+n, buf4K))
	w := copy(b, r.buf[r.r:r.w])
	if r.pin > 0 {
		r.kept = append(r.kept, r.buf)
	} else {
		r.drop()
	}
	r.buf, r.r, r.w, r.pin = b, 0, w, 0
}

// pinned says that what was consumed so far must stay.
func (r *reader) pinned() { r.pin = r.r }

// unpin ends that.
func (r *reader) unpin() {
	r.pin = 0
	for i, b := range r.kept {
		putBuffer(b)
		r.kept[i] = nil
	}
	r.kept = r.kept[:0]
}

// Fill implements wire.Source, for a body.
func (r *reader) Fill() error {
	r.room(minRead)
	n, err := r.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	return err
}

// Read implements wire.Source, for a body: at the client's pace.
func (r *reader) Read(p []byte) (int, error) {
	now := time.Now()
	if r.until.IsZero() {
		r.setDeadline(now, r.c.srv.limit(now, r.waited, r.moved, 0))
	} else if r.deadline != r.until {
		r.interrupt(r.until)
	}
	if r.stop.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := r.c.nc.Read(p)
	r.waited += time.Since(now)
	r.moved += int64(n)
	return n, err
}

// drop gives the buffer back.
func (r *reader) drop() {
	putBuffer(r.buf)
	r.buf = nil
}

// release gives everything back, at the end of the connection.
func (r *reader) release() {
	r.unpin()
	r.drop()
	r.r, r.w = 0, 0
}
