package h2

import (
	"sync"
	"time"
)

const (
	// outMax is the size from which on the buffer is written before more content is put into it.
	outMax = 64 << 10
	// outControl is how far frames that are not held back may fill it beyond that, while a write waits for the client.
	outControl = 64 << 10
	// record is the most that one TLS record carries.
	record = 16 << 10
)

// outBuf is what one write sends. Between writes a connection has none.
type outBuf struct{ b []byte }

var outBufs = sync.Pool{New: func() any { return &outBuf{make([]byte, 0, outMax+record+1<<10)} }}

// buffer is where frames are appended to.
func (c *conn) buffer() *outBuf {
	if c.out == nil {
		c.out = outBufs.Get().(*outBuf)
	}
	return c.out
}

func (o *outBuf) free() {
	if cap(o.b) <= outMax+outControl {
		o.b = o.b[:0]
		outBufs.Put(o)
	}
}

func (c *conn) dropOut() {
	if c.out != nil {
		c.out.free()
		c.out = nil
	}
}

// control takes the buffer with a frame appended that is sent whatever the windows are. A client that has us answer and does not read the
// answers is shown the door.
func (c *conn) control(b []byte) error {
	c.out.b = b
	if len(b) > outMax+outControl {
		return errQueue
	}
	return nil
}

// full reports whether the buffer should be written before anything is added.
func (c *conn) full() bool { return c.out != nil && len(c.out.b) >= outMax }

// flush makes the caller write what there is to send, whoever it comes from, unless somebody else is at it already, who then sends the
// caller's as well. After so many writes what is left passes to a goroutine of its own: nobody is kept from his own work by what
// others send. mu is held, and let go of meanwhile.
func (c *conn) flush(writes int) {
	if c.writing {
		return
	}
	c.writing = true
	for c.fill(); c.out != nil && len(c.out.b) > 0 && !c.broken; c.fill() {
		if writes == 0 {
			c.wg.Add(1)
			go c.writeRest()
			return
		}
		writes--
		c.write()
	}
	c.writing = false
	if c.broken {
		c.dropOut()
	}
	if c.quiet != nil {
		c.quiet.Broadcast()
	} else if c.left() {
		c.poke()
	}
}

func (c *conn) writeRest() {
	defer c.wg.Done()
	c.mu.Lock()
	defer c.unlock()
	c.writing = false
	c.flush(-1)
}

// write sends the buffer.
func (c *conn) write() {
	o, last := c.out, c.closed
	c.out = nil
	c.unlock()
	now := time.Now()
	if !last { // then end has set the deadline
		c.setWriteEnd(now, len(o.b))
	}
	err := c.send(o.b)
	n := len(o.b)
	o.free()
	c.mu.Lock()
	if err != nil {
		c.fail(err)
		return
	}
	c.moved += int64(n)
	if c.waited += time.Since(now); len(c.sendq) == 0 && c.active == 0 {
		c.waited, c.moved, c.shut = 0, 0, shut{} // the next request begins with the whole grace again
	}
}

// setWriteEnd gives the client its time to take n bytes. What is about to move counts as moved: one write is many seconds' worth for a
// slow client. A deadline that is a little too early is near enough, and setting it is not free.
func (c *conn) setWriteEnd(now time.Time, n int) {
	pace := &c.srv.cfg.Pace
	end := pace.Deadline(now, c.waited, c.moved+int64(n))
	if !end.IsZero() && (c.writeEnd.After(end) || end.Sub(c.writeEnd) > pace.Grace/8) {
		c.writeEnd = end
		_ = c.nc.SetWriteDeadline(end)
	}
}

// send writes p, in one system call where the connection lets us.
func (c *conn) send(p []byte) (err error) {
	k := c.info.Corker
	if k == nil || len(p) <= record {
		_, err = c.nc.Write(p)
		return err
	}
	k.Cork()
	_, err = c.nc.Write(p)
	if e := k.Uncork(); err == nil {
		err = e
	}
	return err
}

// fail notes that nothing can be sent any more. The reading goroutine finds out by itself.
func (c *conn) fail(err error) {
	if isTimeout(err) {
		c.srv.cfg.CountError(kindWrite)
	}
	c.broken = true
	_ = c.nc.Close()
	for _, s := range c.streams {
		if s.err == nil {
			s.err = errSlowTaker
		}
		s.wake()
	}
}
