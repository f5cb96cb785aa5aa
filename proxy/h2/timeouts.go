package h2

import (
	"time"

	"nearcast/proxy/message/readable"
)

// The read deadline is the connection's only clock: the reading goroutine is always there to wake up and look what is due. It is never
// later than the next thing due, and may be earlier: setting it again with every request would cost more than to wake up once too often.

// arm sees to it that the read ends in time.
func (c *conn) arm() error {
	c.mu.Lock()
	defer c.unlock()
	if c.left() {
		return errLeft
	}
	c.armLocked(c.nextDue())
	return nil
}

// armLocked makes the reading goroutine wake up at t, if t is something and it would not before. Once the connection is ending the
// deadline is linger's.
func (c *conn) armLocked(t time.Time) {
	if !c.closed && !t.IsZero() && (c.armed.IsZero() || t.Before(c.armed)) {
		c.armed = t
		_ = c.nc.SetReadDeadline(t)
	}
}

// poke wakes the reading goroutine up at once.
func (c *conn) poke() { c.armLocked(time.Unix(1, 0)) }

// after is t + d, or the zero time when there is no limit, or nothing has begun.
func after(t time.Time, d time.Duration) time.Time {
	if d <= 0 || t.IsZero() {
		return time.Time{}
	}
	return t.Add(d)
}

// nextDue is when due has something to do, if nothing changes; the zero time for never.
func (c *conn) nextDue() (next time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if !c.settled {
		sooner(after(c.begun, c.srv.cfg.HeaderTimeout))
	}
	sooner(after(c.blockFrom, c.srv.cfg.HeaderTimeout))
	if c.active == 0 {
		sooner(after(c.idleFrom, c.srv.cfg.IdleTimeout))
	}
	sooner(c.restDue())
	sooner(c.leaveBy)
	sooner(c.shutDue())
	for _, s := range c.streams {
		sooner(c.streamDue(s))
	}
	return next
}

// idleSoon is how long a connection stays ready for the next request. Then it rests: it waits with next to no stack.
const idleSoon = time.Second / 2

// restDue is when the connection is to rest. The reading goroutine asks.
func (c *conn) restDue() time.Time {
	if c.resting || c.in != nil || c.active > 0 || !c.settled {
		return time.Time{}
	}
	return c.idleFrom.Add(idleSoon)
}

// streamDue is when a stream's client will have kept it waiting for too long.
func (c *conn) streamDue(s *stream) time.Time {
	if s.tunnel {
		return after(s.movedAt, c.srv.cfg.IdleTimeout)
	}
	in, out := time.Time{}, time.Time{}
	if !s.inFrom.IsZero() && c.recvWindow > 0 { // else it is we who keep the client waiting
		in = c.srv.cfg.Pace.Deadline(s.inFrom, s.inWaited, s.length.Got())
	}
	if !s.outFrom.IsZero() {
		out = c.srv.cfg.Pace.Deadline(s.outFrom, s.outWaited, s.sent)
	}
	if in.IsZero() || !out.IsZero() && out.Before(in) {
		return out
	}
	return in
}

// due does what is due. An error ends the connection.
func (c *conn) due() error {
	c.mu.Lock()
	defer c.unlock()
	now, cfg := c.now, &c.srv.cfg
	c.armed = time.Time{}
	_ = c.nc.SetReadDeadline(time.Time{})
	past := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case c.left():
		return errLeft
	case !c.settled && past(after(c.begun, cfg.HeaderTimeout)), past(after(c.blockFrom, cfg.HeaderTimeout)):
		return errHeaderTime
	case c.active == 0 && past(after(c.idleFrom, cfg.IdleTimeout)):
		return errIdleEnd
	case past(c.leaveBy):
		c.finalGoAway()
	}
	for i := len(c.streams) - 1; i >= 0; i-- {
		if s := c.streams[i]; past(c.streamDue(s)) {
			c.expire(s)
		}
	}
	if past(c.shutDue()) {
		c.expireShut()
	}
	c.flush(c.directWrites())
	if past(c.restDue()) {
		c.resting, c.waiter = true, readable.New(c.nc)
		c.armLocked(c.nextDue()) // now, with the large stack
		return errRest
	}
	return nil
}

// expire resets a stream whose client was too slow.
func (c *conn) expire(s *stream) {
	if s.tunnel {
		c.reset(s, codeCancel, errQuiet)
		return
	}
	why, word := errSlowTaker, kindStallOut
	if blocked, _ := c.blocked(s); !blocked {
		why, word = errSlowBody, kindStallIn
	}
	c.srv.cfg.CountError(word)
	c.reset(s, codeCancel, why)
}
