package h2

import (
	"time"

	"nearcast/proxy/message"
)

// leaving is how far GOAWAY has come (RFC 9113 §6.8).
type leaving uint8

const (
	staying     leaving = iota
	leavingSoon         // a first GOAWAY is out, which refuses nothing: what is on its way to us is served
	leavingNow          // and one that names the last stream served
)

// leaveWait is how long after the first GOAWAY the second goes out when the client does not answer the PING that follows the first.
const leaveWait = time.Second

// leavePing marks that PING.
var leavePing = [8]byte{'g', 'o', 'i', 'n', 'g'}

// leave tells the client to leave: at once, or with its first request when it is only beginning.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.unlock()
	switch {
	case c.closed || c.leaving != staying:
	case !c.settled:
		c.leaveFirst = true
	default:
		c.beginLeave()
		c.flush(0)
	}
}

// leaveSoon is leave for a server that lives on: a newcomer is told with its first request.
func (c *conn) leaveSoon() {
	c.mu.Lock()
	fresh := c.lastID == 0 && time.Since(c.begun) < message.Newcomer
	c.leaveFirst = c.leaveFirst || fresh && c.leaving == staying
	c.mu.Unlock()
	if !fresh {
		c.leave()
	}
}

// closeIdle ends the connection if it has no stream. One whose client has not been heard is told, too: a request may be on its way.
func (c *conn) closeIdle() {
	c.mu.Lock()
	defer c.unlock()
	if c.closed || c.active > 0 {
		return
	}
	c.finalGoAway()
	c.flush(0)
	c.poke()
}

func (c *conn) beginLeave() {
	c.leaveFirst = false
	c.leaving = leavingSoon
	o := c.buffer()
	o.b = appendPing(appendGoAway(o.b, maxStreamID, codeNo), 0, leavePing[:])
	c.leaveBy = time.Now().Add(leaveWait)
	c.armLocked(c.leaveBy)
}

// finalGoAway says which stream is the last.
func (c *conn) finalGoAway() {
	if c.leaving == leavingNow {
		return
	}
	c.goAway(codeNo)
	if c.left() {
		c.poke()
	}
}

// goAway says that no later stream than those there are is served.
func (c *conn) goAway(code errCode) {
	if c.leaving != leavingNow {
		c.goneID = c.lastID
	}
	c.leaving, c.leaveBy = leavingNow, time.Time{}
	if c.broken {
		return
	}
	c.greet()
	o := c.buffer()
	o.b = appendGoAway(o.b, c.goneID, code)
}

// left reports whether there is nothing more to come.
func (c *conn) left() bool {
	return c.leaving == leavingNow && c.active == 0 && !c.writing && (c.out == nil || len(c.out.b) == 0)
}
