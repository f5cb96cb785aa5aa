package upstream

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// conn counts what was written to a connection, which is what tells whether an origin can have acted on a request, and gives up on an
// origin that takes nothing for a time.
type conn struct {
	net.Conn
	written atomic.Int64
	stall   time.Duration
}

func (c *conn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.stall))
	// Counted first: the origin's answer may be read before Write returns.
	c.written.Add(int64(len(p)))
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n - len(p)))
	return n, err
}

// dialWith makes connections that count.
func dialWith(cfg Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 15 * time.Second}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c, stall: cfg.ResponseTimeout}, nil
	}
}
