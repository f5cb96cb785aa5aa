// Package h1 serves HTTP/1.1 and HTTP/1.0 (RFC 9112) on connections that somebody else accepted. A connection has one goroutine, and no
// buffer to speak of while it is idle. What is refused is listed in [message.Error] form by package wire; here it is answered, and the
// connection closed.
package h1

import (
	"context"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nearcast/proxy/message"
	"nearcast/proxy/message/wire"
)

// Config bounds a connection.
type Config struct {
	HeaderTimeout time.Duration // from a request's first byte to the end of its header section; 0: no limit
	IdleTimeout   time.Duration // between requests, for one read or write of a body, and for a tunnel; 0: no limit
	Pace          message.Pace  // the slowest that a client may send a body or take a response
	MaxHeader     int           // bytes of a header section; beyond it 431. 0: 64 KiB
	// CountError is told of what ended a connection before its time, other than a refused request, by a word of ErrorKinds. It may be nil.
	CountError func(kind string)
	Log        *slog.Logger // nil discards
}

// Words for Config.CountError.
const (
	errBody       = "request_body_malformed"
	errBodySlow   = "request_body_too_slow"
	errBodyEnd    = "request_body_cut_short"
	errNotTaken   = "response_not_taken"
	errIncomplete = "response_incomplete"
	errPanic      = "handler_panic"
	errTunnelIdle = "tunnel_idle"
)

// ErrorKinds are all that Config.CountError is called with.
var ErrorKinds = []string{errBody, errBodySlow, errBodyEnd, errNotTaken, errIncomplete, errPanic, errTunnelIdle}

// reasonSlow is why a request is refused whose header section does not end in time.
const reasonSlow = "header section too slow"

// Reasons are all that a [message.Refusal] of this package has as its Reason.
var Reasons = func() []string {
	r := append(slices.Clone(wire.Reasons), reasonSlow, "malformed request target", "request target too long")
	slices.Sort(r)
	return slices.Compact(r)
}()

// Server serves any number of connections.
type Server struct {
	handler  message.Handler
	quick    message.QuickHandler // nil when the handler is none
	refuser  message.Refuser      // nil when the handler is none
	cfg      Config
	lim      wire.Limits
	draining atomic.Bool

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// New returns a Server that hands every request to h, which may be a [message.QuickHandler] and a [message.Refuser] too.
func New(h message.Handler, cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.CountError == nil {
		cfg.CountError = func(string) {}
	}
	s := &Server{handler: h, cfg: cfg, lim: wire.Limits{Head: cfg.MaxHeader}, conns: map[*conn]struct{}{}}
	s.quick, _ = h.(message.QuickHandler)
	s.refuser, _ = h.(message.Refuser)
	return s
}

// ServeConn serves nc until either side ends it or ctx is done, which cuts it. nc is closed when it returns.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn, info message.ConnInfo) {
	c := s.Open(ctx, nc, info)
	for c.Serve() {
	}
}

// Open takes nc over, to be served until either side ends it or ctx is done, which cuts it. nc is closed when the session has ended.
func (s *Server) Open(ctx context.Context, nc net.Conn, info message.ConnInfo) message.Session {
	c := newConn(ctx, s, nc, info)
	s.add(c)
	return c
}

// Serve implements message.Session.
func (c *conn) Serve() (rests bool) {
	defer func() {
		if p := recover(); p != nil {
			c.srv.panicked(p, nil)
		}
		if !rests {
			c.end()
		}
	}()
	if c.resting && !c.sleep() {
		return false
	}
	for c.next() {
	}
	return c.resting
}

// panicked reports a panic of the handler's. It ends the exchange, never the process.
func (s *Server) panicked(p any, r *message.Request) {
	s.cfg.CountError(errPanic)
	if r == nil {
		r = &message.Request{}
	}
	s.cfg.Log.Error("a request handler panicked; the request failed, the edge goes on",
		"method", r.Method, "authority", r.Authority, "path", r.Target.Path, "panic", p, "stack", string(debug.Stack()))
}

// Drain makes every response from now on the last of its connection. Connections without a request stay, because the client
// may be sending one this very moment and would lose it; [Server.CloseIdle] ends them.
func (s *Server) Drain() { s.draining.Store(true) }

// CloseIdle closes the connections that no request is in flight on. The others end with their response.
func (s *Server) CloseIdle() {
	s.each(func(c *conn) {
		c.going.Store(true)
		c.leave()
	})
}

// Leave ends the connections that there are: those that wait for their next request at once, the others with their response, and those whose
// first request has yet to come, for no longer than message.Newcomer, with the response to that: it is on its way, and its client has no reason to repeat it. Later ones are
// served as usual. It is for when the route moves: what an idle client sends from then on goes elsewhere and comes to nothing, unless it
// learns in time to connect anew.
func (s *Server) Leave() {
	s.each(func(c *conn) {
		if c.met.Load() || time.Since(c.info.Accepted) >= message.Newcomer {
			c.leave()
		} else {
			c.leaving.Store(true)
		}
	})
}

func (s *Server) each(f func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		f(c)
	}
}

// leave ends the connection as soon as no request is in flight on it.
func (c *conn) leave() {
	c.leaving.Store(true)
	if !c.active.Load() {
		_ = c.nc.SetReadDeadline(past) // its goroutine closes it
	}
}

func (s *Server) add(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// smallWait is how many bytes may be asked for or offered at once without more time for them than the grace.
const smallWait = 16 << 10

// limit is when a wait for the client must end that begins now: after it has moved n bytes and kept us waiting before. size is how
// many bytes the wait is for, when that is known: moving them may take its time. The zero time is no limit.
func (s *Server) limit(now time.Time, waited time.Duration, n, size int64) time.Time {
	p := s.cfg.Pace
	t := p.Deadline(now, waited, n)
	if !t.IsZero() && p.Rate > 0 && size > smallWait {
		t = t.Add(min(time.Duration(size)*time.Second/time.Duration(p.Rate), p.Grace))
	}
	if s.cfg.IdleTimeout > 0 {
		if idle := now.Add(s.cfg.IdleTimeout); t.IsZero() || idle.Before(t) {
			t = idle
		}
	}
	return t
}
