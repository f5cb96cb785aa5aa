package h1

import (
	"context"
	"net"
	"time"

	"nearcast/proxy/message"
	"nearcast/proxy/message/wire"
)

const (
	maxBatch  = 16        // answers that wait for one write
	maxOut    = 48 << 10  // bytes of them
	copyBody  = 16 << 10  // a body up to this size is copied behind its header section
	portion   = 256 << 10 // bytes of a large body for which one write is made
	fullWrite = 16 << 10  // what a handler writes is collected up to this; a TLS record
)

// output is the sending side of a connection.
type output struct {
	c        *conn
	buf      []byte      // what is to be sent
	batch    []*exchange // whose answers are in buf, entirely
	hand     *exchange   // whose answer is being put there; nil when none is
	failed   bool        // a write has failed: nothing can be sent any more
	vectored bool        // several buffers can be sent at once
	deadline time.Time   // as set on the connection

	vec   net.Buffers // what is being sent
	parts [][]byte    // the memory of vec
}

// grow makes room for n more bytes in buf.
func (o *output) grow(n int) {
	if cap(o.buf)-len(o.buf) >= n {
		return
	}
	b := getBuffer(len(o.buf) + n)
	b = b[:copy(b, o.buf)]
	putBuffer(o.buf)
	o.buf = b
}

// release gives the buffer back, which is empty.
func (o *output) release() {
	putBuffer(o.buf)
	o.buf = nil
}

// setDeadline sets the deadline for a write of size bytes, to a client that has taken moved and kept us waiting before.
func (o *output) setDeadline(now time.Time, waited time.Duration, moved, size int64) {
	if t := o.c.srv.limit(now, waited, moved, size); moves(o.deadline, t, now) {
		o.deadline = t
		_ = o.c.nc.SetWriteDeadline(t)
	}
}

// flush sends what is collected, and ends the exchanges that it answers.
func (o *output) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	n, err := 0, error(net.ErrClosed)
	if !o.failed {
		o.setDeadline(o.c.in.at, 0, 0, int64(len(o.buf)))
		n, err = o.c.nc.Write(o.buf)
	}
	o.sent(n, err)
	return err
}

// sent notes that n bytes of buf have been sent, and if err is nil all of them.
func (o *output) sent(n int, err error) {
	if err != nil && !o.failed {
		o.failed = true
		o.c.count(errNotTaken)
	}
	for i, x := range o.batch {
		x.done(int64(min(max(n-x.bodyAt, 0), x.bodyLen)), err == nil || n >= x.bodyAt+x.bodyLen)
		o.batch[i] = nil
	}
	o.batch = o.batch[:0]
	o.buf = o.buf[:0]
}

// relieve makes room in a burst of answers. What the client takes of it counts for itself.
func (o *output) relieve() error {
	err := o.flush()
	o.c.in.at = time.Now()
	return err
}

// abandon ends what has not been sent, at the end of the connection.
func (o *output) abandon() {
	if o.hand != nil { // a panic came between
		o.hand.done(0, false)
	}
	if len(o.batch) > 0 {
		o.sent(0, net.ErrClosed)
	}
	o.buf = o.buf[:0]
	o.release()
}

// writeThrough sends buf and then the parts, as one write where that can be. n counts the bytes of both that are known to have been sent.
func (o *output) writeThrough(parts ...[]byte) (n int64, err error) {
	if o.vectored && len(parts) > 0 {
		o.vec = append(append(o.parts[:0], o.buf), parts...)
		o.parts = o.vec
		n, err = o.vec.WriteTo(o.c.nc)
		clear(o.parts)
		return n, err
	}
	if cork := o.c.info.Corker; cork != nil && len(parts) > 0 {
		cork.Cork()
		defer func() {
			if e := cork.Uncork(); e != nil && err == nil {
				n, err = 0, e
			}
		}()
	}
	return o.writeEach(parts)
}

// writeEach makes full TLS records of buf and the parts.
func (o *output) writeEach(parts [][]byte) (n int64, err error) {
	b := o.buf
	for _, p := range parts {
		if len(b) > 0 {
			k := min(len(p), max(min(cap(b), fullWrite)-len(b), 0))
			b = append(b, p[:k]...)
			if p = p[k:]; len(p) == 0 {
				continue
			}
			m, err := o.c.nc.Write(b)
			if n += int64(m); err != nil {
				return n, err
			}
			b = b[:0]
		}
		m, err := o.c.nc.Write(p)
		if n += int64(m); err != nil {
			return n, err
		}
	}
	if len(b) > 0 {
		m, err := o.c.nc.Write(b)
		return n + int64(m), err
	}
	return n, nil
}

// ready sends an answer from memory, or puts it behind others to be sent. It returns false when the connection is to end.
func (o *output) ready(x *exchange, a *message.Ready) bool {
	x.ready, o.hand = a, x
	body, length := false, a.ContentLength
	if !x.noBody(a.Status) {
		body, length = a.Body != nil, 0
		if body {
			length = a.BodyLength // what will come, whatever is said
		}
	}
	last := !x.head.KeepAlive || o.c.closing()
	var block []byte
	if a.Block != nil {
		block = a.Block.Encoded(message.HTTP1, encodeBlock)
	}
	need := len(block) + fieldsSize(a.Fields) + len(x.req.AltSvc) + 200
	if body && a.BodyLength <= copyBody {
		need += int(a.BodyLength)
	}
	if len(o.buf)+need > buf64K && o.relieve() != nil { // it would not fit a pooled buffer
		x.done(0, false)
		return false
	}
	o.grow(need)
	b := wire.AppendStatusLine(o.buf, a.Status)
	b = append(b, block...)
	b = appendFields(b, a.Fields, x.req.AltSvc != "")
	o.buf = x.appendOwn(b, a.Status, length, last)
	if body && a.BodyLength > copyBody {
		if !o.large(x) {
			return false
		}
		if last {
			o.c.finish()
		}
		return !last
	}
	x.bodyAt, x.bodyLen = len(o.buf), 0
	if body && !o.copyBody(x) {
		return false
	}
	o.batch, o.hand = append(o.batch, x), nil
	if last {
		_ = o.flush()
		o.c.finish()
		return false
	}
	if len(o.batch) >= maxBatch || len(o.buf) >= maxOut {
		return o.relieve() == nil
	}
	return true
}

// copyBody puts a small body behind its header section.
func (o *output) copyBody(x *exchange) bool {
	a := x.ready
	x.bodyLen = int(a.BodyLength)
	for p := a.Body.Next(); p != nil; p = a.Body.Next() {
		if len(o.buf)-x.bodyAt+len(p) > x.bodyLen {
			break
		}
		o.buf = append(o.buf, p...)
	}
	if len(o.buf)-x.bodyAt == x.bodyLen {
		return true
	}
	o.buf = o.buf[:x.bodyAt]
	_ = o.flush()
	o.c.srv.cfg.CountError(errIncomplete)
	x.done(0, false)
	return false
}

// large sends what is collected, and the header section and body of x, from where the body is.
func (o *output) large(x *exchange) bool {
	a := x.ready
	before := int64(len(o.buf)) // bytes that go before the body
	if !o.vectored {
		o.grow(fullWrite - min(len(o.buf), fullWrite))
	}
	var parts [portion / (8 << 10)][]byte
	var sent int64 // of before and the body
	var waited time.Duration
	for left := a.BodyLength; left > 0; {
		n, size := 0, len(o.buf)
		for n < len(parts) && size < portion && left > 0 {
			p := a.Body.Next()
			if p == nil {
				break
			}
			p = p[:min(int64(len(p)), left)]
			parts[n] = p
			n, size, left = n+1, size+len(p), left-int64(len(p))
		}
		err := error(nil)
		if n == 0 {
			err = errShortBody
			if sent == 0 {
				_ = o.flush() // the answers before it are complete
			}
			o.c.srv.cfg.CountError(errIncomplete)
			o.failed = true
		} else {
			var k int64
			now := time.Now()
			o.setDeadline(now, waited, sent, int64(size))
			k, err = o.writeThrough(parts[:n]...)
			waited += time.Since(now)
			sent += k
		}
		if err != nil || len(o.batch) > 0 || len(o.buf) > 0 {
			o.sent(int(min(sent, before)), err)
		}
		if err != nil {
			x.done(max(sent-before, 0), false)
			return false
		}
	}
	o.c.in.at = time.Now()
	x.done(a.BodyLength, true)
	return true
}

// count counts what ended the connection, unless the server cut it.
func (c *conn) count(kind string) {
	if c.cut() == nil {
		c.srv.cfg.CountError(kind)
	}
}

// cut is why the server cut the connection, nil when it did not.
func (c *conn) cut() error { return context.Cause(c.server) }
