// Package h2 serves HTTP/2 (RFC 9113) on connections that somebody else accepted: over TLS after ALPN, or plain with prior knowledge.
package h2

//lint:file-ignore SA1019 net/http serves HTTP/2 on listeners only; a single connection, counted errors and GOAWAY on demand are x/net's.

import (
	"context"
	"log/slog"
	"net"
	"net/http"
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
	h2       *http2.Server
	base     *http.Server
	draining atomic.Bool
}

// New returns a Server that hands every request to h.
func New(h message.Handler, cfg Config) (*Server, error) {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{}
	s.base = &http.Server{
		MaxHeaderBytes: cfg.MaxHeader,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Handler: counted(nethttp.Handler(h, nethttp.Options{
			Protocol: message.HTTP2, Stall: cfg.IdleTimeout, Closing: s.draining.Load, Log: log})),
	}
	s.h2 = &http2.Server{
		MaxConcurrentStreams: uint32(max(cfg.MaxStreams, 0)),
		IdleTimeout:          cfg.IdleTimeout,
		WriteByteTimeout:     cfg.IdleTimeout,
		CountError:           cfg.CountError,
	}
	// Ties the connections to base.Shutdown, which is the only way to have GOAWAY sent.
	if err := http2.ConfigureServer(s.base, s.h2); err != nil {
		return nil, err
	}
	return s, nil
}

// ServeConn serves c, from the client's preface on, until either side ends it or ctx is done, which cuts it.
// c is closed and no request of it is running when it returns.
func (s *Server) ServeConn(ctx context.Context, c net.Conn, info message.ConnInfo) {
	running := newStreams()
	defer running.close()
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	s.h2.ServeConn(c, &http2.ServeConnOpts{Context: running.context(nethttp.WithConn(ctx, info)), BaseConfig: s.base})
}

// Drain sends GOAWAY on every connection: the streams in flight are finished, then the connection is closed. A connection that
// comes later gets it with its first response. It may be called again, for those that had no request since.
func (s *Server) Drain() {
	s.draining.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // base itself has nothing to wait for
	_ = s.base.Shutdown(ctx)
}
