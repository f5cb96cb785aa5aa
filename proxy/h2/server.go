// Package h2 serves HTTP/2 (RFC 9113) on connections that somebody else accepted: over TLS after ALPN, or plain with prior knowledge.
package h2

//lint:file-ignore SA1019 net/http serves HTTP/2 on listeners only; a single connection, counted errors and GOAWAY on demand are x/net's.

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
	"nearcast/proxy/message/nethttp"
)

// Config bounds a connection.
type Config struct {
	IdleTimeout time.Duration // without a stream, and for one read or write of a body; 0: no limit
	MaxHeader   int           // size of a field section as RFC 9113 §6.5.2 counts it; beyond it 431. 0: 1 MiB
	MaxStreams  int           // concurrent requests on one connection; 0: 250
	// CountError is told of each error by which a client breaks the protocol or hits a limit, in a fixed short word. It may be nil.
	CountError func(kind string)
	Log        *slog.Logger // nil discards
}

// Server serves any number of connections.
type Server struct {
	// immutable
	cfg     Config
	log     *slog.Logger
	handler http.Handler

	// shared
	draining atomic.Bool
	mu       sync.Mutex
	current  *generation              // for new connections
	live     map[*generation]struct{} // it and those that have connections
}

// generation is what a number of connections have in common: they can only be told together to leave.
type generation struct {
	h2   *http2.Server
	base *http.Server

	retired atomic.Bool // its connections have been told to leave, but one that was just beginning may have missed it
	conns   int         // guarded by the server's lock
}

// New returns a Server that hands every request to h.
func New(h message.Handler, cfg Config) (*Server, error) {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: log, live: map[*generation]struct{}{}}
	s.handler = counted(nethttp.Handler(h, nethttp.Options{Protocol: message.HTTP2, Stall: cfg.IdleTimeout, Closing: s.closing, Log: log}))
	g, err := s.generation()
	if err != nil {
		return nil, err
	}
	s.current, s.live[g] = g, struct{}{}
	return s, nil
}

// closing reports whether the connection of a request is to end.
func (s *Server) closing(ctx context.Context) bool {
	return s.draining.Load() || ctx.Value(streamsKey{}).(*streams).gen.retired.Load()
}

func (s *Server) generation() (*generation, error) {
	g := &generation{
		base: &http.Server{
			MaxHeaderBytes: s.cfg.MaxHeader,
			ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
			Handler:        s.handler,
		},
		h2: &http2.Server{
			MaxConcurrentStreams: uint32(max(s.cfg.MaxStreams, 0)),
			IdleTimeout:          s.cfg.IdleTimeout,
			WriteByteTimeout:     s.cfg.IdleTimeout,
			CountError:           s.cfg.CountError,
		},
	}
	// Ties the connections to base.Shutdown, which is the only way to have GOAWAY sent.
	return g, http2.ConfigureServer(g.base, g.h2)
}

// ServeConn serves c, from the client's preface on, until either side ends it or ctx is done, which cuts it.
// c is closed and no request of it is running when it returns.
func (s *Server) ServeConn(ctx context.Context, c net.Conn, info message.ConnInfo) {
	g := s.enter()
	defer s.leave(g)
	running := newStreams(g)
	defer running.close()
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	g.h2.ServeConn(c, &http2.ServeConnOpts{Context: running.context(nethttp.WithConn(ctx, ctx, info)), BaseConfig: g.base})
}

// Drain sends GOAWAY on every connection: the streams in flight are finished, then the connection is closed. A connection that
// comes later gets it with its first response. It may be called again, for those that had no request since.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.live {
		g.goAway()
	}
}

// Leave sends GOAWAY on the connections that there are: the streams in flight are finished, then the connection is closed.
// One that is just beginning gets it with its first response; later ones are served as usual.
func (s *Server) Leave() {
	next, err := s.generation()
	if err != nil {
		return // New has seen to it that it can be configured
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.live {
		g.retired.Store(true)
		g.goAway()
	}
	if s.current.conns == 0 {
		delete(s.live, s.current)
	}
	s.current, s.live[next] = next, struct{}{}
}

// enter counts a connection into the current generation.
func (s *Server) enter() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.conns++
	return s.current
}

func (s *Server) leave(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.conns--; g.conns == 0 && g != s.current {
		delete(s.live, g)
	}
}

// goAway sends GOAWAY to those that have not got it yet. It does not block.
func (g *generation) goAway() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // base itself has nothing to wait for
	_ = g.base.Shutdown(ctx)
}
