package upstream

import (
	"sync"
	"time"
)

// pool keeps the idle HTTP/1.1 connections of one origin. The one used last is taken first, so that those that a quieter time does not need
// grow old and are closed.
type pool struct {
	cfg *Config

	mu     sync.Mutex
	idle   []*conn // the one used last is last
	closed bool
	timer  *time.Timer // nil, or due when the first of idle has waited too long
}

func (p *pool) init(cfg *Config) { p.cfg = cfg }

// get returns an idle connection that is still good, or nil.
func (p *pool) get() *conn {
	for {
		c := p.pop()
		if c == nil || c.alive() {
			return c
		}
		p.drop(c, closeByOrigin)
	}
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle) - 1
	if n < 0 {
		return nil
	}
	c := p.idle[n]
	p.idle[n], p.idle = nil, p.idle[:n]
	return c
}

// put keeps a connection whose exchange is over.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	// No more than MaxConnections are ever open: one is only made when none is idle, and by an exchange that holds a place.
	if p.closed {
		p.mu.Unlock()
		p.drop(c, closeShutdown)
		return
	}
	defer p.mu.Unlock()
	c.idleAt = time.Now()
	p.idle = append(p.idle, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(idleTimeout, p.expire)
	}
}

// expire closes what has been idle for too long.
func (p *pool) expire() {
	p.mu.Lock()
	now, old := time.Now(), 0
	for old < len(p.idle) && now.Sub(p.idle[old].idleAt) >= idleTimeout {
		old++
	}
	gone := append([]*conn(nil), p.idle[:old]...)
	rest := copy(p.idle, p.idle[old:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
	switch {
	case p.closed || rest == 0:
		p.timer = nil
	default:
		p.timer = time.AfterFunc(idleTimeout-now.Sub(p.idle[0].idleAt), p.expire)
	}
	p.mu.Unlock()
	for _, c := range gone {
		p.drop(c, closeIdle)
	}
}

// drop closes a connection, for one of CloseReasons.
func (p *pool) drop(c *conn, reason string) {
	c.Conn.Close()
	p.cfg.Events.Closed(reason)
}

// close closes the idle connections, and from now on those that come back.
func (p *pool) close() {
	p.mu.Lock()
	gone := p.idle
	p.idle, p.closed = nil, true
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.mu.Unlock()
	for _, c := range gone {
		p.drop(c, closeShutdown)
	}
}
