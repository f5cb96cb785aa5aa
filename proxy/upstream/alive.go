package upstream

import "errors"

// alive reports whether an idle connection is fit for another request: it is open, and nothing has come on it. What an origin sends
// without being asked would be taken for the answer to the next request, so it makes a connection as useless as an end does. It never waits.
func (c *conn) alive() bool {
	if c.below != nil && !c.drained() {
		return false
	}
	if c.socket == nil {
		return true // not a socket: its end is noticed when it is used
	}
	c.quiet = false
	return c.socket.Control(c.look) == nil && c.quiet
}

// drained reports whether TLS holds nothing that it has read from the connection already.
func (c *conn) drained() bool {
	c.below.asking = true
	defer func() { c.below.asking = false }()
	n, err := c.Conn.Read(c.one[:])
	return n == 0 && errors.As(err, new(nothingYet)) && c.below.whole()
}
