// Package h2 serves HTTP/2 (RFC 9113, with RFC 8441 and RFC 9218) on connections that somebody else accepted: over TLS after ALPN, or
// plain with prior knowledge.
//
// One goroutine a connection reads, and answers what can be answered from memory itself; everything it answers of what came in one piece
// leaves in one write. Handlers run on goroutines of their own. Whoever has something to send writes it, with what all others have to
// send; nobody else waits for the socket. See conn, output.go and schedule.go.
package h2

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"nearcast/proxy/message"
)

// Config bounds a connection.
type Config struct {
	// HeaderTimeout bounds the preface with the first SETTINGS, and each header section from its first byte to its last; 0: no limit.
	HeaderTimeout time.Duration
	// IdleTimeout ends a connection without streams, and a tunnel on which nothing moves; 0: no limit.
	IdleTimeout time.Duration
	// Pace is the slowest that a client may send a request body and take a response.
	Pace message.Pace
	// MaxHeader bounds a field section as RFC 9113 §6.5.2 counts it; beyond it 431. 0: 64 KiB.
	MaxHeader int
	// MaxStreams bounds the requests on one connection at a time, those whose handler is still to return included. 0: 250.
	MaxStreams int
	// CountError is told of each error by which a client breaks the protocol or hits a limit, with one of [ErrorKinds]. It may be nil,
	// and must not block.
	CountError func(kind string)
	Log        *slog.Logger // nil discards
}

// Server serves any number of connections.
type Server struct {
	// immutable
	cfg     Config
	log     *slog.Logger
	handler message.Handler
	quick   message.QuickHandler // nil when the handler is none
	refuser message.Refuser      // nil when the handler is none

	mu       sync.Mutex
	conns    map[*conn]struct{}
	draining bool
}

// New returns a Server that hands every request to h, which may also be a [message.QuickHandler] and a [message.Refuser].
func New(h message.Handler, cfg Config) *Server {
	if cfg.MaxHeader <= 0 {
		cfg.MaxHeader = 64 << 10
	}
	if cfg.MaxStreams <= 0 {
		cfg.MaxStreams = 250
	}
	if cfg.CountError == nil {
		cfg.CountError = func(string) {}
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: log, handler: h, conns: map[*conn]struct{}{}}
	s.quick, _ = h.(message.QuickHandler)
	s.refuser, _ = h.(message.Refuser)
	return s
}

// ServeConn serves nc, from the client's preface on, until either side ends it or ctx is done, which cuts it.
// nc is closed and no request of it is running when it returns.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn, info message.ConnInfo) {
	c := s.Open(ctx, nc, info)
	for c.Serve() {
	}
}

// Open takes nc over, to be served until either side ends it or ctx is done, which cuts it. nc is closed and no request of it is running
// when the session has ended.
func (s *Server) Open(ctx context.Context, nc net.Conn, info message.ConnInfo) message.Session {
	c := newConn(ctx, s, nc, info)
	s.enter(c)
	c.unwatch = context.AfterFunc(ctx, func() { nc.Close() })
	return c
}

// Serve implements message.Session.
func (c *conn) Serve() (rests bool) {
	defer func() {
		if !rests {
			c.unwatch()
			c.nc.Close()
			c.srv.leave(c)
		}
	}()
	err := c.run()
	if err == errRest {
		return true
	}
	c.end(err)
	return false
}

func (s *Server) enter(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	c.leaveFirst = s.draining
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Drain sends GOAWAY on every connection: the streams in flight are finished, then the connection is closed. A connection that
// comes later gets it with its first response. It may be called again, for those that had no request since. It does not block.
func (s *Server) Drain() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.all((*conn).leave)
}

// Leave sends GOAWAY on the connections that there are: the streams in flight are finished, then the connection is closed.
// One that has just begun gets it with its first response; later ones are served as usual. It does not block.
func (s *Server) Leave() {
	s.all((*conn).leaveSoon)
}

// CloseIdle ends the connections without streams at once, with a GOAWAY. It does not block.
func (s *Server) CloseIdle() {
	s.all((*conn).closeIdle)
}

func (s *Server) all(f func(*conn)) {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		f(c)
	}
}
