package h2

import (
	"context"
	"sync"
	"time"
)

// end ends the connection for the reason that run gave, and waits for what runs on it.
func (c *conn) end(why error) {
	c.mu.Lock()
	c.closed = true
	if e, ok := why.(*connError); ok {
		c.srv.cfg.CountError(e.kind)
		c.goAway(e.code)
	} else if why == errIdleEnd {
		c.goAway(codeNo)
	}
	cut := context.Cause(c.ctx)
	for len(c.streams) > 0 {
		s := c.streams[len(c.streams)-1]
		if s.ready != nil && cut != nil {
			s.ready.Err = cut
		}
		c.detach(s, errConnEnd)
	}
	told := why != errGone && c.ctx.Err() == nil && !c.broken
	if told {
		_ = c.nc.SetWriteDeadline(time.Now().Add(lingerTime))
		c.quiet = sync.NewCond(&c.mu)
		for c.flush(2); c.writing; {
			c.quiet.Wait()
		}
	} else {
		c.broken = true
	}
	c.unlock()
	if told {
		c.linger()
	}
	_ = c.nc.Close()
	c.wg.Wait()
	if c.in != nil {
		readBufs.Put(c.in)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropOut()
	c.block.free()
}

const (
	lingerTime  = time.Second // for a client to take our last words and close
	lingerBytes = 1 << 20     // and what it may send meanwhile
)

// linger ends our side and waits for the client to end its own: closing with something unread would make the kernel send RST, which
// destroys the GOAWAY that the client has still to read.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if ok && half.CloseWrite() != nil {
		return
	}
	c.mu.Lock()
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	c.mu.Unlock()
	var p []byte
	if c.in != nil {
		p = c.in.b[:]
	} else {
		p = make([]byte, 1<<10)
	}
	for n := 0; n < lingerBytes; {
		m, err := c.nc.Read(p)
		if n += m; err != nil {
			return
		}
	}
}
