package h3

import (
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/message"
)

// leave sends GOAWAY and closes the connection once it has nothing more to say.
// The caller holds the server's lock, or runs below serveConn: so nothing is added to work once serveConn waits for it.
func (c *conn) leave() { c.leaveAfter(0) }

// leaveSoon is leave for a server that lives on: a newcomer is told when its first request has come.
func (c *conn) leaveSoon() { c.leaveAfter(message.Newcomer - time.Since(c.began)) }

// leaveAfter tells the client to leave when its first request has come, or after that time.
func (c *conn) leaveAfter(most time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open || c.left {
		return
	}
	c.left = true
	c.work.Go(func() {
		c.awaitFirst(most)
		c.closeWhenQuiet()
	})
}

// awaitFirst waits for the first request, though not for longer than that.
func (c *conn) awaitFirst(most time.Duration) {
	if most <= 0 {
		return
	}
	late := time.NewTimer(most)
	defer late.Stop()
	tick := time.NewTicker(quietPoll)
	defer tick.Stop()
	for {
		c.mu.Lock()
		asked := c.next > 0
		c.mu.Unlock()
		if asked {
			return
		}
		select {
		case <-tick.C:
		case <-late.C:
			return
		case <-c.base.Done():
			return
		}
	}
}

// closeWhenQuiet warns the client first, then, a round trip later, says which requests are served (RFC 9114 §5.2): what the client sends
// before it has heard is not lost.
func (c *conn) closeWhenQuiet() {
	c.sendGoAway(maxRequestID)
	began := time.Now()
	tick := time.NewTicker(quietPoll)
	defer tick.Stop()
	var q quiet
	final := false
	for {
		select {
		case <-c.base.Done():
			return
		case now := <-tick.C:
			stats := c.qc.ConnectionStats()
			if !final && now.Sub(began) >= 2*stats.SmoothedRTT {
				final = true
				c.sendGoAway(c.lastCall())
			}
			c.mu.Lock()
			active := len(c.active)
			c.mu.Unlock()
			if q.observe(now, active, stats) {
				c.close()
				return
			}
		}
	}
}

// lastCall begins to reject requests, and returns the first stream ID that is.
func (c *conn) lastCall() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goAway = c.next
	return c.goAway
}

func (c *conn) sendGoAway(id int64) {
	var payload [8]byte
	p := appendVarint(payload[:0], uint64(id))
	_, _ = c.control.Write(append(appendVarint(appendVarint(nil, frameGoAway), uint64(len(p))), p...))
}

// quiet decides when a connection that was told to leave has nothing more to say.
type quiet struct {
	sent, received   uint64
	idleAt, silentAt time.Time // since when without a request, without a packet
}

func (q *quiet) observe(now time.Time, active int, stats quic.ConnectionStats) bool {
	if active > 0 {
		*q = quiet{}
		return false
	}
	if q.idleAt.IsZero() {
		q.idleAt = now
	}
	if q.silentAt.IsZero() || stats.PacketsSent != q.sent || stats.PacketsReceived != q.received {
		q.silentAt = now
	}
	q.sent, q.received = stats.PacketsSent, stats.PacketsReceived
	return now.Sub(q.silentAt) >= quietMin+3*stats.SmoothedRTT || now.Sub(q.idleAt) >= quietMax
}
