// Package h1 serves HTTP/1.1 and HTTP/1.0 (RFC 9112) on connections that somebody else accepted.
package h1

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"nearcast/proxy/message"
	"nearcast/proxy/message/nethttp"
)

// Config bounds a connection.
type Config struct {
	HeaderTimeout time.Duration // from a request's first byte to the end of its header section; 0: no limit
	IdleTimeout   time.Duration // between requests, and for one read or write of a body; 0: no limit
	MaxHeader     int           // bytes of a header section; beyond it 431. 0: 1 MiB
	Log           *slog.Logger  // nil discards
}

// Server serves any number of connections.
type Server struct {
	srv      *http.Server
	draining atomic.Bool

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// New returns a Server that hands every request to h.
func New(h message.Handler, cfg Config) *Server {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{conns: map[*conn]struct{}{}}
	serve := nethttp.Handler(h, nethttp.Options{
		Protocol: message.HTTP1, Stall: cfg.IdleTimeout, Closing: s.closing, Log: log})
	s.srv = &http.Server{
		Handler:                      http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { track(serve, w, r) }),
		DisableGeneralOptionsHandler: true, // OPTIONS * is the handler's to answer
		ReadHeaderTimeout:            cfg.HeaderTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		MaxHeaderBytes:               maxHeaderBytes(cfg.MaxHeader),
		TLSNextProto:                 map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/2 is another package's
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:                  func(l net.Listener) context.Context { return l.(*conn).ctx },
		ConnState:                    func(c net.Conn, state http.ConnState) { c.(*conn).setState(state) },
	}
	return s
}

// closing reports whether the connection of a request is to end.
func (s *Server) closing(ctx context.Context) bool {
	return s.draining.Load() || ctx.Value(connKey{}).(*conn).leaving.Load()
}

// maxHeaderBytes turns a limit into what net/http is to be told: it allows 4 KiB more.
func maxHeaderBytes(limit int) int {
	if limit <= 0 {
		return 0
	}
	return max(limit-4096, 1)
}

// ServeConn serves c until either side ends it or ctx is done, which cuts it. c is closed when it returns.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn, info message.ConnInfo) {
	c := &conn{Conn: nc, first: make(chan net.Conn, 1), closed: make(chan struct{})}
	c.first <- c
	c.ctx = context.WithValue(nethttp.WithConn(ctx, ctx, info), connKey{}, c)
	s.add(c)
	defer s.remove(c)
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	_ = s.srv.Serve(c) // ends when the connection has ended
	<-c.closed
}

// Drain makes every response from now on the last of its connection. Connections without a request stay, because the client
// may be sending one this very moment and would lose it; [Server.CloseIdle] ends them.
func (s *Server) Drain() { s.draining.Store(true) }

// CloseIdle closes the connections that no request is in flight on.
func (s *Server) CloseIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.active.Load() == 0 {
			c.Close()
		}
	}
}

// Leave ends the connections that there are, those without a request at once and the others with their response. Later ones are
// served as usual. It is for when the route has moved: what an idle client sends from now on goes elsewhere and comes to nothing,
// unless it learns in time to connect anew.
func (s *Server) Leave() {
	s.mu.Lock()
	for c := range s.conns {
		c.leaving.Store(true)
	}
	s.mu.Unlock()
	s.CloseIdle()
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

type connKey struct{}

// track counts the request on its connection while it is in flight.
func track(h http.Handler, w http.ResponseWriter, r *http.Request) {
	r.Context().Value(connKey{}).(*conn).active.Add(1)
	h.ServeHTTP(w, r)
}

// conn is one connection and also the listener that net/http accepts it from: Serve, called once for each connection,
// gets it from the first Accept, and the second one holds it until the connection has ended.
type conn struct {
	net.Conn
	ctx    context.Context
	first  chan net.Conn
	closed chan struct{}

	active  atomic.Int32
	leaving atomic.Bool // its next response is its last
}

func (c *conn) Accept() (net.Conn, error) {
	select {
	case nc := <-c.first:
		return nc, nil
	default:
		<-c.closed
		return nil, io.EOF
	}
}

func (c *conn) Addr() net.Addr { return c.LocalAddr() }

func (c *conn) setState(state http.ConnState) {
	switch state {
	case http.StateIdle:
		c.active.Store(0) // not when the handler returns: the response's tail is sent after that
		if c.leaving.Load() {
			c.Close() // told to leave during a request whose response could not say so any more
		}
	case http.StateClosed:
		close(c.closed)
	}
}

// CloseWrite lets net/http end a connection without a reset that would overtake its last response.
func (c *conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}
