package h2

import (
	"context"
	"slices"
	"sync"
	"time"

	"nearcast/proxy/h2/hpack"
	"nearcast/proxy/message"
	"nearcast/proxy/message/assemble"
)

// stream is one exchange. It comes from a pool, and goes back when it is detached from the connection and its handler has returned.
type stream struct {
	// kept from one use to the next
	section hpack.Section
	asm     assemble.Assembler
	head    []byte // a field block to send first

	exchange
}

// exchange is what begins anew with each use. Unless said otherwise the connection's lock guards it once the stream is in its table.
type exchange struct {
	id uint32
	priority
	req message.Request

	held     int  // of its header sections, as headerBudget counts
	recvEnd  bool // the client has ended its side
	sentEnd  bool // we have ended ours
	detached bool // not in the connection's table
	handled  bool // a handler's Serve runs, or is about to
	tunnel   bool
	expect   bool                    // 100 (Continue) is to be sent when the body is first read
	err      error                   // why it was detached before its end
	cancel   context.CancelCauseFunc // of the handler's context
	cond     *sync.Cond              // what a handler waits on
	next     *stream                 // in conn.ended

	// the response; see schedule.go
	ready    *message.Ready
	direct   bool // it is not in the table, as it is answered at once
	sentHead bool // the final header section is on its way
	complete bool
	pend     []byte // content to send
	left     int64  // content that ready is still to give
	fin      bool   // nothing comes after that, but tail
	tail     []byte // the trailer section's block
	sent     int64  // of the content
	window   int64
	turn     uint64
	queued   bool // in conn.sendq

	// the request's body; see body.go
	body       *body
	chunks     chunks
	length     assemble.Content
	trailers   message.Fields
	recvWindow int64
	unacked    int64

	// time the client has kept us waiting
	inFrom, outFrom     time.Time // since when it does; zero when it does not
	inWaited, outWaited time.Duration
	movedAt             time.Time // of a tunnel
}

var streams = sync.Pool{New: func() any { return new(stream) }}

// keepStreams is what the lists of streams keep of their memory when they are empty.
const keepStreams = 32

// keepHead is what a stream keeps of its block for the next use.
const keepHead = 4 << 10

func newStream(limit int) *stream {
	s := streams.Get().(*stream)
	s.section.Limit = limit
	return s
}

func (s *stream) free() {
	s.section.Reset()
	if cap(s.head) > keepHead {
		s.head = nil
	}
	s.head = s.head[:0]
	s.chunks.free()
	s.exchange = exchange{}
	streams.Put(s)
}

// stream returns the open stream of that id, nil when there is none.
func (c *conn) stream(id uint32) *stream {
	i, ok := slices.BinarySearchFunc(c.streams, id, func(s *stream, id uint32) int { return int(s.id) - int(id) })
	if !ok {
		return nil
	}
	return c.streams[i]
}

// attach adds a stream, whose id is the largest so far, to the table.
func (c *conn) attach(s *stream) {
	c.active++
	c.held += s.held
	c.streams = append(c.streams, s)
	if !s.recvEnd {
		c.uploads++
	}
}

// clientEnd notes that the client has ended its side.
func (c *conn) clientEnd(s *stream) {
	s.recvEnd = true
	c.uploads--
	s.wake()
}

// detach takes a stream off the table: both sides have ended it, or err says why it ended early. What its client sent and nobody has
// read is given back to the connection's window.
func (c *conn) detach(s *stream, err error) {
	if s.detached {
		return
	}
	s.detached, s.err = true, err
	i, ok := slices.BinarySearchFunc(c.streams, s.id, func(s *stream, id uint32) int { return int(s.id) - int(id) })
	if ok {
		c.streams = slices.Delete(c.streams, i, i+1)
		if !s.recvEnd {
			c.uploads--
		}
	}
	if len(c.streams) == 0 && cap(c.streams) > keepStreams {
		c.streams = nil
	}
	c.dequeue(s)
	s.pend, s.left, s.tail = nil, 0, nil
	if err != nil {
		c.consumed(s.chunks.len)
		s.chunks.free()
		if s.cancel != nil {
			s.cancel(err)
		}
	}
	s.wake()
	if !s.handled {
		c.release(s)
	}
}

// release gives a stream back that was detached and has no handler: in unlock, as its owner is to be told.
func (c *conn) release(s *stream) {
	c.consumed(s.chunks.len)
	s.chunks.free()
	s.next, c.ended = c.ended, s
	c.held -= s.held
	if c.active--; c.active == 0 {
		c.idleFrom = time.Now()
		if c.leaving == leavingNow || c.holding { // the reader is to end, or to let go of its buffer
			c.poke()
		} else {
			d := idleSoon
			if idle := c.srv.cfg.IdleTimeout; idle > 0 {
				d = min(d, idle)
			}
			c.armLocked(c.idleFrom.Add(d))
		}
	}
}

// unlock lets go of mu and then finishes the exchanges that have ended.
func (c *conn) unlock() {
	s := c.ended
	c.ended = nil
	c.mu.Unlock()
	for s != nil {
		next := s.next
		if s.ready != nil {
			s.ready.Done(s.sent, s.complete)
		}
		s.free()
		s = next
	}
}

// reset ends a stream with RST_STREAM. why is what the handler is told.
func (c *conn) reset(s *stream, code errCode, why error) {
	c.sendReset(s.id, code)
	c.detach(s, why)
}

// sendReset sends RST_STREAM; what the client still sends on the stream is passed over from then on.
func (c *conn) sendReset(id uint32, code errCode) {
	c.history.reset(id, c.lastID)
	o := c.buffer()
	o.b = appendReset(o.b, id, code)
}

// wake wakes the goroutines that wait for the stream to change.
func (s *stream) wake() {
	if s.cond != nil {
		s.cond.Broadcast()
	}
}
