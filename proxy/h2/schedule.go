package h2

import (
	"encoding/binary"
	"slices"
	"time"
)

// wants reports whether the stream has something to send.
func (s *stream) wants() bool {
	return !s.sentEnd && !s.detached && (len(s.head) > 0 || s.remaining() > 0 || s.fin)
}

// remaining is how much content there is to send.
func (s *stream) remaining() int64 { return int64(len(s.pend)) + s.left }

// enqueue lets a stream take part in sending.
func (c *conn) enqueue(s *stream) {
	if s.queued || !s.wants() {
		return
	}
	s.queued = true
	c.turn++
	s.turn = c.turn
	c.sendq = append(c.sendq, s)
}

func (c *conn) dequeue(s *stream) {
	if !s.queued {
		return
	}
	s.queued = false
	if i := slices.Index(c.sendq, s); i >= 0 {
		c.sendq = slices.Delete(c.sendq, i, i+1)
	}
	if len(c.sendq) > 0 {
		return
	}
	c.shut.open() // nobody waits any more
	if cap(c.sendq) > keepStreams {
		c.sendq = nil
	}
}

// fill puts into the buffer what streams have to send, as long as there is room and the windows let it.
func (c *conn) fill() {
	for len(c.sendq) > 0 && !c.full() && !c.broken {
		s := c.pick()
		if s == nil {
			return
		}
		c.step(s)
		if !s.wants() {
			c.dequeue(s)
			s.wake()
		}
	}
}

// pick chooses who sends next (RFC 9218 §10): the most urgent; among equals the one whose turn is oldest. A stream that can use its
// content piece by piece goes to the end of the line after each frame, the others stay until they are done. Clients that never speak
// of priorities get all streams in turn.
func (c *conn) pick() (best *stream) {
	for _, s := range c.sendq {
		if is, byConn := c.blocked(s); is {
			c.wait(s, byConn)
			continue
		}
		s.waitedOut()
		if best == nil || s.before(best) {
			best = s
		}
	}
	return best
}

func (s *stream) before(t *stream) bool {
	a, b := s.level(), t.level()
	return a < b || a == b && s.turn < t.turn
}

func (s *stream) level() uint8 {
	if !s.given {
		return defaultUrgency
	}
	return s.urgency
}

// step sends one block or one DATA frame.
func (c *conn) step(s *stream) {
	rest := s.remaining()
	switch {
	case len(s.head) > 0:
		end := s.fin && rest == 0 && len(s.tail) == 0
		c.appendBlock(s.id, s.head, end)
		s.head = s.head[:0]
		if end {
			c.sentEnd(s)
		}
	case rest > 0:
		c.data(s, min(rest, s.window, c.window, maxFrame))
	case len(s.tail) > 0:
		c.appendBlock(s.id, s.tail, true)
		c.sentEnd(s)
	default:
		o := c.buffer()
		o.b = appendHeader(o.b, 0, frameData, flagEndStream, s.id)
		c.sentEnd(s)
	}
}

// data sends n bytes of content.
func (c *conn) data(s *stream, n int64) {
	o := c.buffer()
	at := len(o.b)
	o.b = appendHeader(o.b, int(n), frameData, 0, s.id)
	for need := n; need > 0; {
		if len(s.pend) == 0 {
			if s.pend = c.piece(s); len(s.pend) == 0 {
				c.cutShort(s, at)
				return
			}
			s.pend = s.pend[:min(int64(len(s.pend)), s.left)]
			s.left -= int64(len(s.pend))
		}
		k := min(need, int64(len(s.pend)))
		o.b = append(o.b, s.pend[:k]...)
		s.pend = s.pend[k:]
		need -= k
	}
	s.sent += n
	s.window -= n
	c.window -= n
	c.shut.moved += n
	if s.tunnel {
		s.movedAt = time.Now()
	}
	if !s.given && !c.ordered || s.incremental {
		c.turn++
		s.turn = c.turn
	}
	c.earn(earnData + int(n)/earnOctets)
	if s.fin && s.remaining() == 0 && len(s.tail) == 0 {
		o.b[at+4] |= flagEndStream
		c.sentEnd(s)
	}
}

// cutShort ends a stream whose Ready gave less than it said, and takes back the frame that was begun.
func (c *conn) cutShort(s *stream, at int) {
	c.out.b = c.out.b[:at]
	c.srv.log.Error("a ready answer has less content than it says; the stream is reset", "missing", s.left)
	if s.direct {
		s.detached = true
		c.sendReset(s.id, codeInternal)
		return
	}
	c.reset(s, codeInternal, errAborted)
}

// sentEnd notes that our side has ended. A client that still has to end its own is told that it need not (RFC 9113 §8.1), unless a
// handler reads what it sends.
func (c *conn) sentEnd(s *stream) {
	s.sentEnd, s.complete = true, true
	switch {
	case s.direct:
	case s.recvEnd:
		c.detach(s, nil)
	case !s.handled:
		c.reset(s, codeNo, nil)
	}
}

// appendBlock appends a field block. The first after the client made its decoder's table smaller says that ours is empty (RFC 7541 §4.2).
func (c *conn) appendBlock(id uint32, block []byte, end bool) {
	o := c.buffer()
	if c.shrink {
		c.shrink, c.shrunk = false, true
		block = append([]byte{0x20}, block...)
	}
	o.b = appendBlock(o.b, id, block, end)
}

// windowUpdate takes a WINDOW_UPDATE frame (RFC 9113 §6.9). mu is held.
func (c *conn) windowUpdate(f *frame) error {
	if len(f.payload) != 4 {
		return errFrameSize
	}
	n := int64(binary.BigEndian.Uint32(f.payload) & maxWindow)
	if f.stream == 0 {
		switch c.window += n; {
		case n == 0:
			return errIncrement
		case c.window > maxWindow:
			return errWindow
		}
		c.shut.open()
		return nil
	}
	s := c.stream(f.stream)
	switch {
	case s == nil:
		if n == 0 {
			return errIncrement
		}
		return c.notIdle(f.stream)
	case n == 0:
		return c.fault(s, codeProtocol, kindIncrement)
	}
	if s.window += n; s.window > maxWindow {
		return c.fault(s, codeFlowControl, kindOverflow)
	}
	return nil
}
