package upstream

import (
	"errors"
	"net"
	"testing"
	"time"
)

// hooked is a connection whose Write is what the test says.
type hooked struct {
	net.Conn
	write func(p []byte) (int, error)
}

func (h hooked) Write(p []byte) (int, error)      { return h.write(p) }
func (h hooked) SetWriteDeadline(time.Time) error { return nil }

// TestBytesCountBeforeTheOriginCanActOnThem: an origin may answer, or close, before the Write that reached it has returned. That
// attempt must not pass for one that never left.
func TestBytesCountBeforeTheOriginCanActOnThem(t *testing.T) {
	var c *conn
	c = &conn{Conn: hooked{write: func(p []byte) (int, error) {
		seen := &progress{conn: c}
		seen.connected.Store(true)
		if !seen.wrote() {
			t.Error("the origin has the bytes, and the attempt counts as not sent")
		}
		return len(p), nil
	}}}
	_, _ = c.Write([]byte("POST / HTTP/1.1\r\n"))
	c.Conn = hooked{write: func([]byte) (int, error) { return 0, errors.New("broken") }}
	before := c.written.Load()
	if _, err := c.Write([]byte("x")); err == nil || c.written.Load() != before {
		t.Errorf("a write that failed with nothing sent: %v, %d bytes", err, c.written.Load()-before)
	}
}
