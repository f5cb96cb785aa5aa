package h2

import (
	"io"
	"sync"
	"time"

	"nearcast/proxy/h2/hpack"
	"nearcast/proxy/message"
)

const chunkSize = 16 << 10

// chunks is what has come of a body and has not been read. The stream's window bounds it.
type chunks struct {
	first, last *chunk
	len         int
}

type chunk struct {
	next *chunk
	r, w int
	b    [chunkSize]byte
}

var chunkPool = sync.Pool{New: func() any { return new(chunk) }}

func (q *chunks) write(p []byte) {
	q.len += len(p)
	for len(p) > 0 {
		if q.last == nil || q.last.w == chunkSize {
			k := chunkPool.Get().(*chunk)
			k.next, k.r, k.w = nil, 0, 0
			if q.last == nil {
				q.first = k
			} else {
				q.last.next = k
			}
			q.last = k
		}
		n := copy(q.last.b[q.last.w:], p)
		q.last.w += n
		p = p[n:]
	}
}

func (q *chunks) read(p []byte) (n int) {
	for n < len(p) && q.first != nil {
		k := q.first
		m := copy(p[n:], k.b[k.r:k.w])
		n += m
		if k.r += m; k.r == k.w {
			q.drop()
		}
	}
	q.len -= n
	return n
}

func (q *chunks) drop() {
	k := q.first
	if q.first = k.next; q.first == nil {
		q.last = nil
	}
	k.next = nil
	chunkPool.Put(k)
}

func (q *chunks) free() {
	for q.first != nil {
		q.drop()
	}
	q.len = 0
}

// body is what a handler reads of a request. It is not used again: somebody whom the handler left behind may still hold it. The
// connection's lock guards it.
type body struct {
	c    *conn
	s    *stream
	over bool // the handler has returned; s is another's
	cut  bool // Interrupt was called
}

// Read implements io.Reader. What is read is given back to the client's windows.
func (b *body) Read(p []byte) (int, error) {
	c := b.c
	c.mu.Lock()
	defer c.unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for {
		s := b.s
		switch {
		case b.over:
			return 0, errOver
		case b.cut:
			return 0, errInterrupted
		case s.chunks.len > 0:
			n := s.chunks.read(p)
			c.consumed(n)
			c.give(s, n)
			c.flushIfAny()
			return n, nil
		case s.err != nil:
			return 0, s.err
		case s.recvEnd:
			return 0, io.EOF
		case c.broken:
			return 0, errConnEnd
		case s.expect:
			c.sendContinue(s)
			continue // the lock was let go of: the body may have come
		}
		if s.inFrom.IsZero() {
			s.inFrom = time.Now()
			c.armLocked(c.streamDue(s))
		}
		s.cond.Wait()
		b.moved()
	}
}

// Interrupt implements message.Interrupter; of a tunnel it ends the writes, too.
func (b *body) Interrupt() {
	b.c.mu.Lock()
	defer b.c.unlock()
	if !b.over && !b.cut {
		b.cut = true
		b.s.wake()
	}
}

// moved ends a wait for the client once it has ended.
func (b *body) moved() {
	if s := b.s; !b.over && (b.cut || s.chunks.len > 0 || s.recvEnd) {
		s.inFrom = time.Time{}
	}
}

// sendContinue tells the client to send its body (RFC 9110 §10.1.1), unless the response has begun.
func (c *conn) sendContinue(s *stream) {
	s.expect = false
	if s.sentHead {
		return
	}
	var b [8]byte
	c.appendBlock(s.id, hpack.AppendStatus(b[:0], 100), false)
	c.flush(1)
}

func (c *conn) flushIfAny() {
	if c.out != nil {
		c.flush(1)
	}
}

// trailers implements message.Request.Trailers.
func (b *body) trailers() message.Fields {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	if b.over {
		return nil
	}
	return b.s.trailers
}
