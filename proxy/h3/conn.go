package h3

import (
	"context"
	"crypto/tls"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/message"
)

// When a connection that was told to leave may be closed: QUIC has no close that waits for what is still to be delivered,
// so we wait until no packet was sent or received for a while.
const (
	quietPoll = 50 * time.Millisecond
	quietMin  = 500 * time.Millisecond // and three round trips
	quietMax  = 5 * time.Second        // a client that never falls silent
)

// shrinkAfter is how long a connection is without a request before its parked workers end.
const shrinkAfter = time.Second

// What a client may ask for that is no request, such as unknown frames and streams and priority updates: so much at once, and a bit more
// with each request.
const (
	allowance       = 512
	allowancePerReq = 4
)

// maxWanted bounds the priorities of requests that have not come yet (RFC 9218 §7.1).
const maxWanted = 32

// noGoAway is a stream ID that no stream has.
const noGoAway = math.MaxInt64

// maxRequestID is the largest ID of a request stream: a GOAWAY with it only warns (RFC 9114 §5.2).
const maxRequestID = 1<<62 - 4

// conn is one connection.
type conn struct {
	// immutable
	server   *Server
	qc       *quic.Conn
	kill     func(code uint64, why string)
	ctx      context.Context // the server's: its end cuts
	base     context.Context // the connection's
	began    time.Time
	info     message.ConnInfo
	earlyTLS message.TLS    // of requests that may have been replayed
	work     sync.WaitGroup // all its goroutines but serveConn itself
	control  *quic.SendStream
	settled  atomic.Bool // the handshake is complete
	held     bool        // until then no request is served

	// shared
	mu       sync.Mutex
	parked   []*worker
	closed   bool
	open     bool // SETTINGS have been sent
	left     bool
	goAway   int64          // requests from that stream ID on are rejected
	next     int64          // the stream ID after the last that was accepted
	active   []*exchange    // requests in flight
	idleAt   time.Time      // since when there is none
	done     []*quic.Stream // of which the credit has not been released yet
	idle     *time.Timer
	budget   int
	resets   meter
	wanted   map[int64]priority
	critical [4]bool // unidirectional streams that the client has opened, by type
}

func (s *Server) newConn(ctx context.Context, qc *quic.Conn) *conn {
	c := &conn{
		server: s, qc: qc, ctx: ctx, base: qc.Context(), goAway: noGoAway, budget: allowance, idleAt: time.Now(), began: time.Now(), info: connInfo(qc),
		kill: func(code uint64, why string) { _ = qc.CloseWithError(quic.ApplicationErrorCode(code), why) },
	}
	c.earlyTLS = *c.info.TLS
	c.earlyTLS.EarlyData, c.earlyTLS.Handshake = true, (*handshake)(c)
	c.held = s.held(qc)
	return c
}

func connInfo(qc *quic.Conn) message.ConnInfo {
	state := qc.ConnectionState().TLS
	version := state.Version
	if version == 0 {
		version = tls.VersionTLS13
	}
	return message.ConnInfo{
		Client: message.AddrPort(qc.RemoteAddr()),
		Local:  message.AddrPort(qc.LocalAddr()),
		TLS:    &message.TLS{Version: version, ServerName: state.ServerName, Resumed: state.DidResume},
	}
}

// serveConn serves qc until it has ended. An idle connection has a worker that waits for a request, this goroutine, which waits for
// unidirectional streams, and one for each critical stream that the client has opened, besides those of quic-go.
func (s *Server) serveConn(ctx context.Context, qc *quic.Conn) {
	c := s.newConn(ctx, qc)
	defer c.work.Wait()
	defer c.close()
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	}()
	defer context.AfterFunc(ctx, c.close)()
	if f := c.begun(); f != nil {
		c.fail(f)
		return
	}
	c.mu.Lock()
	c.idle = time.AfterFunc(min(shrinkAfter, s.cfg.IdleTimeout), c.rest)
	c.mu.Unlock()
	defer c.idle.Stop()
	c.newWorker()
	c.acceptUni()
}

// begun opens our control stream.
func (c *conn) begun() *fault {
	str, err := c.qc.OpenUniStream()
	if err != nil {
		if c.base.Err() != nil {
			return nil
		}
		return errNoControl // RFC 9114 §6.2: a client must allow three
	}
	c.control = str
	if _, err := str.Write(appendSettings([]byte{streamControl}, c.server.cfg.MaxHeader)); err != nil {
		return nil // the connection has ended
	}
	c.mu.Lock()
	c.open = true
	c.mu.Unlock()
	if c.server.leaving.Load() {
		c.leave()
	}
	return nil
}

// early reports whether what arrives now may have been replayed (RFC 8470).
func (c *conn) early() bool {
	if c.settled.Load() || c.qc == nil {
		return false
	}
	select {
	case <-c.qc.HandshakeComplete():
		c.settled.Store(true)
		return false
	default:
		return true
	}
}

// begin counts a request in; false when it comes after a GOAWAY that excludes it.
func (c *conn) begin(x *exchange, id int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id >= c.goAway {
		return false
	}
	c.next = max(c.next, id+4)
	c.budget = min(c.budget+allowancePerReq, allowance)
	x.id, x.slot = id, len(c.active)
	c.active = append(c.active, x)
	if len(c.wanted) > 0 {
		if p, ok := c.wanted[id]; ok {
			delete(c.wanted, id)
			x.preset = true
			x.prioritise(p)
		}
	}
	return true
}

// end counts it out.
func (c *conn) end(x *exchange) {
	c.mu.Lock()
	n := len(c.active) - 1
	last := c.active[n]
	c.active[x.slot], last.slot = last, x.slot
	c.active[n] = nil
	c.active = c.active[:n]
	if n == 0 {
		c.idleAt = time.Now()
	}
	c.mu.Unlock()
	if c.server.draining.Load() {
		c.leave()
	}
}

// rest looks whether the connection is idle: its parked workers end soon, and the connection itself when it has been so for IdleTimeout.
func (c *conn) rest() {
	if c.base.Err() != nil {
		return
	}
	limit := c.server.cfg.IdleTimeout
	c.mu.Lock()
	since := time.Since(c.idleAt)
	busy := len(c.active) > 0
	again := shrinkAfter
	if !busy && since >= min(shrinkAfter, limit) {
		again = max(limit-since, time.Millisecond)
		c.releaseCredit(len(c.done))
		c.done = nil
	}
	c.idle.Reset(again)
	c.mu.Unlock()
	switch {
	case busy:
	case since >= limit:
		c.close()
	case since >= shrinkAfter:
		c.dismiss(false)
	}
}

// spend takes from what the client may ask for besides requests.
func (c *conn) spend(n int) *fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.budget -= n; c.budget < 0 {
		return errLoad
	}
	return nil
}

// want sets the priority of a request that is in flight or yet to come (RFC 9218 §7).
func (c *conn) want(id int64, p priority) *fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id%4 != 0 || id > c.next+8*int64(c.server.cfg.MaxStreams) { // the client can't have opened it
		return errID
	}
	if id >= c.next {
		if c.wanted == nil {
			c.wanted = map[int64]priority{}
		}
		if _, ok := c.wanted[id]; ok || len(c.wanted) < maxWanted {
			c.wanted[id] = p
		}
		return nil
	}
	if i := slices.IndexFunc(c.active, func(x *exchange) bool { return x.id == id }); i >= 0 {
		c.active[i].prioritise(p)
	}
	return nil
}

// fail ends the connection for a breach of the protocol.
func (c *conn) fail(f *fault) {
	c.server.count(f.kind)
	c.kill(f.code, f.reason)
}

func (c *conn) close() { c.kill(codeNoError, "") }
