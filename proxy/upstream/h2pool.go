package upstream

//lint:file-ignore SA1019 net/http gives no control over which HTTP/2 connection a request takes, nor over the ALPN of one that was dialed elsewhere.

import (
	"context"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// multiplexed keeps the HTTP/2 connections of one origin. Only one connection is made at a time: whoever comes meanwhile most
// likely shares it.
type multiplexed struct {
	transport *http2.Transport

	mu     sync.Mutex
	conns  []*stream2
	made   int   // connections that were ever in conns
	single bool  // the origin last chose HTTP/1.1: each exchange makes its own connection
	making *call // nil when no connection is being made
	closed bool
}

// stream2 is a connection that many exchanges share.
type stream2 struct {
	*http2.ClientConn
	c *conn
	n int // 1 for the first in conns
}

// call is a connection being made, for everyone who waits.
type call struct {
	done chan struct{}
	err  error // valid when done is closed
}

// settleWait is how long an origin may take to say how many streams it allows (RFC 9113 §3.4), before that is guessed.
const settleWait = time.Second

// pingAfter is the silence after which an HTTP/2 connection with requests on it is asked whether it still lives.
const pingAfter = 15 * time.Second

func newMultiplexed(cfg *Config, plain bool) *multiplexed {
	return &multiplexed{transport: &http2.Transport{
		AllowHTTP:                  plain,
		DisableCompression:         true, // what the client asked for is what the origin is asked for
		MaxHeaderListSize:          uint32(min(cfg.MaxHeaderSize, 1<<30)),
		IdleConnTimeout:            idleTimeout,
		ReadIdleTimeout:            pingAfter,
		PingTimeout:                pingAfter,
		WriteByteTimeout:           cfg.ResponseTimeout,
		StrictMaxConcurrentStreams: false,
	}}
}

// shared returns a connection with a stream reserved on it that was made after the one with the number old, nil when there is none. Those that
// have ended are forgotten.
func (m *multiplexed) shared(old int) *stream2 {
	var found *stream2
	kept := m.conns[:0]
	for _, s := range m.conns {
		if found == nil && s.n > old && s.ReserveNewRequest() {
			found = s
		}
		if st := s.State(); !st.Closed && !st.Closing {
			kept = append(kept, s)
		}
	}
	clear(m.conns[len(kept):])
	m.conns = kept
	return found
}

// add takes in a connection on which HTTP/2 is spoken, for one exchange. Others share it when it is known how many streams the origin allows;
// ready is called then, or when it will not say.
func (m *multiplexed) add(c *conn, ready func()) (*stream2, error) {
	s := &stream2{c: c}
	begun := make(chan struct{})
	defer close(begun)
	settled := sync.OnceFunc(func() {
		<-begun
		if s.ClientConn != nil { // else there is no connection
			m.settle(s)
			ready()
		}
	})
	cc, err := m.transport.NewClientConn(&beginning{Conn: c.Conn, over: settled})
	if err != nil {
		c.Conn.Close()
		return nil, err
	}
	cc.ReserveNewRequest()
	s.ClientConn = cc
	time.AfterFunc(settleWait, settled)
	return s, nil
}

// settle lets others share a connection.
func (m *multiplexed) settle(s *stream2) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		s.retire()
		return
	}
	m.made++
	s.n = m.made
	m.conns = append(m.conns, s)
}

// retire ends a connection when it is idle.
func (s *stream2) retire() {
	s.SetDoNotReuse()
	if st := s.State(); st.StreamsActive+st.StreamsReserved+st.StreamsPending == 0 {
		s.Close()
	}
}

// line is a connection for an exchange: one of the two.
type line struct {
	c      *conn
	shared *stream2
	reused bool
	newest int // the number of the newest HTTP/2 connection there was
}

// line finds or makes a connection; a fresh one was made for this attempt, or after the HTTP/2 connection with the number old. Errors are
// *message.Error.
func (o *Origin) line(ctx context.Context, fresh bool, old int) (line, error) {
	if !fresh {
		if c := o.pool.get(); c != nil {
			o.cfg.Events.Reused()
			return line{c: c, reused: true}, nil
		}
	}
	if o.multi == nil {
		c, _, err := o.dial(ctx)
		return line{c: c}, err
	}
	return o.multi.line(ctx, o, old)
}

// line finds or makes a connection. When none could be made, one that has room by then will do.
func (m *multiplexed) line(ctx context.Context, o *Origin, old int) (line, error) {
	l, err := m.find(ctx, o, old)
	if e, ok := err.(*message.Error); ok && e.Blame == message.BlameOrigin && ctx.Err() == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		if l, ok := m.take(o, old); ok {
			return l, nil
		}
	}
	return l, err
}

// take is shared, for a line.
func (m *multiplexed) take(o *Origin, old int) (line, bool) {
	s := m.shared(old)
	if s == nil {
		return line{}, false
	}
	o.cfg.Events.Reused()
	return line{shared: s, reused: true, newest: m.made}, true
}

func (m *multiplexed) find(ctx context.Context, o *Origin, old int) (line, error) {
	for {
		m.mu.Lock()
		if l, ok := m.take(o, old); ok {
			m.mu.Unlock()
			return l, nil
		}
		if len(m.conns) >= o.cfg.MaxConnections { // none takes a stream, though there are no more streams than connections
			m.mu.Unlock()
			return line{}, o.limited()
		}
		if m.single {
			m.mu.Unlock()
			return m.make(ctx, o, func() {})
		}
		k, mine := m.making, m.making == nil
		if mine {
			k = &call{done: make(chan struct{})}
			m.making = k
		}
		m.mu.Unlock()
		if mine {
			return m.makeFor(ctx, o, k)
		}
		select {
		case <-k.done:
		case <-ctx.Done():
			return line{}, dialFault(ctx, context.Cause(ctx))
		}
		if k.err != nil {
			return line{}, k.err
		}
	}
}

// makeFor makes a connection while others wait for it.
func (m *multiplexed) makeFor(ctx context.Context, o *Origin, k *call) (line, error) {
	ready := sync.OnceFunc(func() {
		m.mu.Lock()
		m.making = nil
		m.mu.Unlock()
		close(k.done)
	})
	l, err := m.make(ctx, o, ready)
	if e, ok := err.(*message.Error); ok && e.Blame == message.BlameOrigin && ctx.Err() == nil {
		k.err = err // the client's own are no others'
	}
	if l.shared == nil {
		ready()
	}
	return l, err
}

// make makes a connection, of which the origin chooses the version. ready is called when an HTTP/2 connection can be shared.
func (m *multiplexed) make(ctx context.Context, o *Origin, ready func()) (line, error) {
	c, h2, err := o.dial(ctx)
	if err != nil {
		return line{}, err
	}
	m.mu.Lock()
	m.single = !h2
	m.mu.Unlock()
	if !h2 {
		return line{c: c}, nil
	}
	s, err := m.add(c, ready)
	if err != nil {
		return line{}, dialFault(ctx, err)
	}
	return line{shared: s}, nil
}

// close ends the connections that are idle at once and the others when they are.
func (m *multiplexed) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, s := range m.conns {
		s.retire()
	}
	m.conns = nil
}
