package h2

import "time"

// beginTunnel makes the stream one that only the idle timeout bounds.
func (c *conn) beginTunnel(s *stream) {
	c.mu.Lock()
	defer c.unlock()
	s.tunnel, s.movedAt = true, time.Now()
	c.armLocked(c.streamDue(s))
}

// tunnel is a message.Tunnel and a message.Interrupter.
type tunnel struct {
	w *writer
	*body
}

// Write implements io.Writer.
func (t *tunnel) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if t.w.ended {
		return 0, errEnded
	}
	if err := t.w.push(p, false, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite implements message.Tunnel.
func (t *tunnel) CloseWrite() error {
	if t.w.ended {
		return nil
	}
	return t.w.push(nil, true, nil)
}
