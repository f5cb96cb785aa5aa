package front

import (
	"net"
	"sync"
	"syscall"

	"nearcast/proxy/message"
)

// maxCorked is how much a corked connection keeps, at most; what is more is sent at once.
const maxCorked = corked3

// Sizes of the buffers for what is corked: a small answer, two full TLS records, and the bound.
const (
	corked1 = 4 << 10
	corked2 = 36 << 10
	corked3 = 128 << 10
)

// corkable lies between TLS and the socket: every TLS record is a write, and while it is corked, it collects them to make one
// system call of many. It holds no buffer unless it is corked and something was written.
type corkable struct {
	net.Conn
	ahead ahead // of the reading goroutine

	// TLS itself writes too, from the goroutine that reads: answers to key updates, and alerts. So the lock; it is held during a write
	// to the socket, which TLS allows one of at a time anyway.
	mu   sync.Mutex
	on   bool
	kept *corkedBlock
	err  error // of a write: what follows would not be in order any more
}

var _ message.Corker = (*corkable)(nil)

// Cork implements message.Corker.
func (c *corkable) Cork() {
	c.mu.Lock()
	c.on = true
	c.mu.Unlock()
}

// Uncork implements message.Corker. What was kept is lost when the connection is closed before.
func (c *corkable) Uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = false
	if c.kept == nil {
		return c.err
	}
	err := c.send(c.kept.b)
	c.kept.free()
	c.kept = nil
	return err
}

// Write keeps p while corked, and sends it otherwise.
func (c *corkable) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if !c.on {
		n, err := c.Conn.Write(p)
		c.err = err
		return n, err
	}
	if c.kept == nil {
		c.kept = newCorkedBlock(len(p))
	}
	if len(c.kept.b)+len(p) > maxCorked {
		if err := c.send(c.kept.b); err != nil {
			return 0, err
		}
		c.kept.b = c.kept.b[:0]
	}
	if len(p) > maxCorked { // TLS has no such records
		n, err := c.Conn.Write(p)
		c.err = err
		return n, err
	}
	c.kept = c.kept.grown(len(c.kept.b) + len(p))
	c.kept.b = append(c.kept.b, p...)
	return len(p), nil
}

// send writes to the socket. The caller holds the lock.
func (c *corkable) send(b []byte) error {
	if c.err == nil && len(b) > 0 {
		_, c.err = c.Conn.Write(b)
	}
	return c.err
}

// Read reads what is ahead, then the rest.
func (c *corkable) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		return c.ahead.read(p), nil
	}
	return c.Conn.Read(p)
}

// SyscallConn gives access to the socket.
func (c *corkable) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, syscall.EINVAL
}

// CloseWrite ends our half of the connection where it can be ended.
func (c *corkable) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// corkedBlock is a buffer for what is corked; its capacity is one of the three sizes.
type corkedBlock struct{ b []byte }

var corkedPools = [...]struct {
	size int
	pool sync.Pool
}{{size: corked1}, {size: corked2}, {size: corked3}}

// newCorkedBlock returns an empty block that takes n bytes, maxCorked at most.
func newCorkedBlock(n int) *corkedBlock {
	i := 0
	for i < len(corkedPools)-1 && corkedPools[i].size < n {
		i++
	}
	if b, ok := corkedPools[i].pool.Get().(*corkedBlock); ok {
		return b
	}
	return &corkedBlock{b: make([]byte, 0, corkedPools[i].size)}
}

// free gives the block back.
func (b *corkedBlock) free() {
	for i := range corkedPools {
		if corkedPools[i].size == cap(b.b) {
			b.b = b.b[:0]
			corkedPools[i].pool.Put(b)
			return
		}
	}
}

// grown returns the block, or a larger one with the same content, that takes n bytes in all.
func (b *corkedBlock) grown(n int) *corkedBlock {
	if n <= cap(b.b) {
		return b
	}
	g := newCorkedBlock(n)
	g.b = append(g.b, b.b...)
	b.free()
	return g
}
