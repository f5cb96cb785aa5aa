package load

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// dialTCP connects and, for https, shakes hands. The connection below TLS reads whole buffers from the socket; flush is called whenever it
// is about to wait for one, so that what was put off can be written first.
func (p *plan) dialTCP(ctx context.Context, flush func() error) (net.Conn, *records, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	nc, err := p.dial(ctx, "tcp", p.Address)
	if err != nil {
		return nil, nil, &failure{dialClass(err), err}
	}
	if p.tls == nil {
		return nc, nil, nil
	}
	rec := &records{Conn: nc, buf: make([]byte, p.buffer)}
	tc := tls.Client(rec, p.tls)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, err
	}
	got, want := tc.ConnectionState().NegotiatedProtocol, p.tls.NextProtos[0]
	if got != want && (got != "" || p.Protocol != HTTP1) {
		tc.Close()
		return nil, nil, &failure{TLS, &alpnError{want, got}}
	}
	rec.flush = flush
	return tc, rec, nil
}

func dialClass(err error) string {
	if class := classOf(err); class == Timeout {
		return class
	}
	return Connect
}

// redial is how long a connection waits after an attempt to connect anew that failed.
const redial = 20 * time.Millisecond

// records is the connection below TLS. It reads as much as there is and gives it out one TLS record at a time, so that nothing of a later
// record lies within crypto/tls, where nobody sees it: only when all records that have come are used up does it wait, after a flush.
type records struct {
	net.Conn
	buf   []byte
	r, w  int
	left  int // of the record that is being given out
	flush func() error
}

// recordHeader is the length of a TLS record's header (RFC 8446 §5.1).
const recordHeader = 5

func (c *records) Read(p []byte) (int, error) {
	if c.left == 0 {
		for c.w-c.r < recordHeader {
			if err := c.fill(); err != nil {
				return 0, err
			}
		}
		c.left = recordHeader + int(c.buf[c.r+3])<<8 + int(c.buf[c.r+4])
	}
	if c.r == c.w {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:min(c.w, c.r+c.left)])
	c.r += n
	c.left -= n
	return n, nil
}

// fill reads more from the socket.
func (c *records) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	} else if c.r > 0 && c.w == len(c.buf) {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	if c.flush != nil {
		if err := c.flush(); err != nil {
			return err
		}
	}
	n, err := c.Conn.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}
