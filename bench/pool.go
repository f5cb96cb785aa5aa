package bench

import (
	"context"
	"sync"
	"time"
)

// exclusivePool keeps HTTP/1.1 connections, each used by one request at a time. The one that was idle longest goes first, so
// that all of them see traffic.
type exclusivePool struct {
	keep int
	dial func(context.Context) (conn, error)

	mu   sync.Mutex
	idle []conn // at most keep, longest idle first
	open int    // idle and in use
}

func newExclusivePool(keep int, dial func(context.Context) (conn, error)) *exclusivePool {
	return &exclusivePool{keep: keep, dial: dial}
}

func (p *exclusivePool) take(ctx context.Context) (conn, bool, error) {
	if c := p.takeIdle(); c != nil {
		return c, true, nil
	}
	c, err := p.dial(ctx)
	if err != nil {
		p.forget()
		return nil, false, err
	}
	return c, false, nil
}

// replace opens a connection: what broke one may have broken all the idle ones.
func (p *exclusivePool) replace(ctx context.Context, _ conn) (conn, bool, error) {
	p.mu.Lock()
	p.open++
	p.mu.Unlock()
	c, err := p.dial(ctx)
	if err != nil {
		p.forget()
	}
	return c, false, err
}

// takeIdle returns an idle connection, or nil when one is to be opened, which it counts.
func (p *exclusivePool) takeIdle() conn {
	var ended []conn
	defer func() {
		for _, c := range ended {
			c.close()
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.open >= p.keep && len(p.idle) > 0 {
		c := p.idle[0]
		p.idle = p.idle[1:]
		if c.usable() {
			return c
		}
		ended = append(ended, c)
		p.open--
	}
	p.open++
	return nil
}

func (p *exclusivePool) put(c conn, err error) {
	p.mu.Lock()
	if err == nil && c.usable() && len(p.idle) < p.keep {
		p.idle = append(p.idle, c)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	p.forget()
	c.close()
}

func (p *exclusivePool) forget() {
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
}

func (p *exclusivePool) close() {
	for _, c := range p.idle {
		c.close()
	}
}

// sharedPool keeps HTTP/2 and HTTP/3 connections in slots that requests take in turn. A slot's connection is opened once
// for all the requests that wait for it. After a request has timed out its connection takes no more of them: a client that
// goes on writing into a black hole learns nothing.
type sharedPool struct {
	dial    func(context.Context) (conn, error)
	timeout time.Duration
	ctx     context.Context
	cancel  context.CancelFunc
	dials   sync.WaitGroup

	mu    sync.Mutex
	slots []slot
	next  int
}

type slot struct {
	conn    *sharedConn // nil: none yet
	dialing *sharedDial // nil: none under way
}

// sharedDial is an attempt to connect. Its fields are set before done is closed.
type sharedDial struct {
	done chan struct{}
	conn *sharedConn
	err  error
}

// sharedConn counts its users. Its fields are the pool's.
type sharedConn struct {
	conn
	slot    *slot
	once    sync.Once // closes conn
	users   int
	carried bool // a request has been sent on it
	retired bool // takes no more requests, closed after its last
}

func newSharedPool(slots int, timeout time.Duration, dial func(context.Context) (conn, error)) *sharedPool {
	p := &sharedPool{dial: dial, timeout: timeout, slots: make([]slot, slots)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *sharedPool) take(ctx context.Context) (conn, bool, error) {
	p.mu.Lock()
	s := &p.slots[p.next%len(p.slots)]
	p.next++
	return p.from(ctx, s)
}

// replace takes from the slot whose connection broke: that one is known to be new.
func (p *sharedPool) replace(ctx context.Context, failed conn) (conn, bool, error) {
	p.mu.Lock()
	return p.from(ctx, failed.(*sharedConn).slot)
}

// from returns the slot's connection, opened if need be. Called with mu held, which it releases.
func (p *sharedPool) from(ctx context.Context, s *slot) (conn, bool, error) {
	if s.conn != nil && s.conn.usable() {
		defer p.mu.Unlock()
		return s.conn, s.conn.use(), nil
	}
	old := p.retire(s)
	d := s.dialing
	if d == nil {
		d = &sharedDial{done: make(chan struct{})}
		s.dialing = d
		p.dials.Go(func() { p.connect(s, d) })
	}
	p.mu.Unlock()
	if old != nil {
		old.close()
	}
	select {
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-d.done:
	}
	if d.err != nil {
		return nil, false, d.err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return d.conn, d.conn.use(), nil
}

func (c *sharedConn) close() { c.once.Do(c.conn.close) }

func (c *sharedConn) use() (reused bool) {
	reused = c.carried
	c.carried = true
	c.users++
	return reused
}

func (p *sharedPool) connect(s *slot, d *sharedDial) {
	ctx, cancel := context.WithTimeout(p.ctx, p.timeout)
	defer cancel()
	c, err := p.dial(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	s.dialing = nil
	d.err = err
	if err == nil {
		d.conn = &sharedConn{conn: c, slot: s}
		s.conn = d.conn
	}
	close(d.done)
}

// retire empties the slot and returns its connection if that is to be closed now. Called with mu held.
func (p *sharedPool) retire(s *slot) conn {
	c := s.conn
	s.conn = nil
	if c == nil || c.retired {
		return nil
	}
	c.retired = true
	if c.users > 0 {
		return nil
	}
	return c
}

func (p *sharedPool) put(c conn, err error) {
	sc := c.(*sharedConn)
	p.mu.Lock()
	sc.users--
	last := sc.retired && sc.users == 0
	if !sc.retired && (isTimeout(err) || as[brokenError](err) || !sc.usable()) {
		for i := range p.slots {
			if p.slots[i].conn == sc {
				last = p.retire(&p.slots[i]) != nil
			}
		}
	}
	p.mu.Unlock()
	if last {
		sc.close()
	}
}

func (p *sharedPool) close() {
	p.cancel()
	p.dials.Wait()
	for _, s := range p.slots {
		if s.conn != nil {
			s.conn.close()
		}
	}
}
