package h3

import (
	"time"

	"github.com/quic-go/quic-go"
)

// limit is what a client may do at once, and how much of that comes back in a second.
type limit struct{ most, perSecond int }

// meter holds something against a limit. The zero value has spent nothing.
type meter struct{ spent time.Time } // what may be done now is what flows in between then and now

// spend reports whether it may be done once more.
func (m *meter) spend(now time.Time, l limit) bool {
	each := time.Second / time.Duration(l.perSecond)
	if full := now.Add(-each * time.Duration(l.most)); m.spent.Before(full) {
		m.spent = full
	}
	next := m.spent.Add(each)
	if next.After(now) {
		return false
	}
	m.spent = next
	return true
}

// resetLimit bounds the requests that end early: given up by the client (CVE-2023-44487), or ended by us because of what it did wrong
// (CVE-2025-8671). A browser that leaves a page gives up all of its requests at once.
func resetLimit(maxStreams int) limit { return limit{most: max(200, 2*maxStreams), perSecond: 20} }

// wasted counts a request that has ended early.
func (c *conn) wasted() {
	c.mu.Lock()
	ok := c.resets.spend(time.Now(), resetLimit(c.server.cfg.MaxStreams))
	c.mu.Unlock()
	if !ok {
		c.fail(errResets)
	}
}

// byClient reports whether err says that the client gave a stream up.
func byClient(err error) bool {
	e, ok := err.(*quic.StreamError)
	return ok && e.Remote
}
