package h2

import "time"

// meter is a bucket of tokens that fills with time: what a client may do for nothing.
type meter struct {
	tokens int
	at     time.Time // as of which tokens is
}

// limit is the size of a bucket, and what flows in.
type limit struct{ most, perSecond int }

// frameLimit bounds frames that cost us something and bring no request on; see the prices. What a client earns by what it asks for and
// what it is sent is beside that: there are clients that give the window back in pieces of 4 KiB, for stream and connection, and such
// that measure the round trip with a PING as soon as there is DATA again. They may do so much later, after megabytes have been sent.
var frameLimit = limit{most: 2000, perSecond: 400}

const (
	priceSettings = 20 // is answered, and may touch every stream
	pricePing     = 5  // is answered
	priceOther    = 1
	earnHeaders   = 5
	earnData      = 8       // each frame
	earnOctets    = 1 << 10 // and one more for so many octets
	mostEarned    = 1 << 20
)

// resetLimit bounds streams that end early: reset by the client (CVE-2023-44487), or by us because of what it did wrong
// (CVE-2025-8671). A browser that leaves a page resets all of its streams at once.
func resetLimit(maxStreams int) limit { return limit{most: max(200, 2*maxStreams), perSecond: 20} }

// spend takes n tokens and reports whether they were there.
func (m *meter) spend(n int, now time.Time, l limit) bool {
	if m.at.IsZero() {
		m.tokens, m.at = l.most, now
	} else if in := int64(now.Sub(m.at)) * int64(l.perSecond) / int64(time.Second); in > 0 || now.Sub(m.at) > time.Minute {
		m.tokens, m.at = int(min(int64(m.tokens)+in, int64(l.most))), now
	}
	m.tokens -= n
	return m.tokens >= 0
}

// earn gives the client n tokens for what it asked for, or was sent. mu is held.
func (c *conn) earn(n int) { c.earned = min(c.earned+n, mostEarned) }
