package h2

import "time"

// shut is the time that the client has kept the connection waiting by its window. It is the connection's and not that of the streams
// which wait for it: a client that takes one of them, and another after it, keeps nobody waiting.
type shut struct {
	from   time.Time // since when it does; zero when it does not
	waited time.Duration
	moved  int64 // content sent
}

// blocked reports whether the client's windows keep the stream from sending, and whether it is the connection's that does.
func (c *conn) blocked(s *stream) (is, byConn bool) {
	if s.remaining() == 0 || len(s.head) > 0 {
		return false, false
	}
	return s.window <= 0 || c.window <= 0, s.window > 0
}

// wait notes that a stream can't send: from now on its client keeps it, or the connection, waiting.
func (c *conn) wait(s *stream, byConn bool) {
	switch {
	case !byConn && s.outFrom.IsZero():
		s.outFrom = time.Now()
		c.armLocked(c.streamDue(s))
	case byConn && c.shut.from.IsZero() && !s.tunnel:
		c.shut.from = time.Now()
		c.armLocked(c.shutDue())
	}
	if byConn {
		s.waitedOut()
	}
}

// waitedOut ends a stream's wait for its window.
func (s *stream) waitedOut() {
	if !s.outFrom.IsZero() {
		s.outWaited += time.Since(s.outFrom)
		s.outFrom = time.Time{}
	}
}

// open ends the connection's wait.
func (x *shut) open() {
	if !x.from.IsZero() {
		x.waited += time.Since(x.from)
		x.from = time.Time{}
	}
}

// shutDue is when the client will have kept the connection waiting for too long.
func (c *conn) shutDue() time.Time {
	if c.shut.from.IsZero() {
		return time.Time{}
	}
	return c.srv.cfg.Pace.Deadline(c.shut.from, c.shut.waited, c.shut.moved)
}

// expireShut resets the streams that wait for the connection's window.
func (c *conn) expireShut() {
	for i := len(c.streams) - 1; i >= 0; i-- {
		if s := c.streams[i]; s.queued && !s.tunnel {
			if is, byConn := c.blocked(s); is && byConn {
				c.expire(s)
			}
		}
	}
	c.shut.from = time.Time{}
}
