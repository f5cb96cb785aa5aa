package h3

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"nearcast/proxy/message"
	"nearcast/proxy/message/nethttp"
)

// When a connection that was told to leave may be closed: QUIC has no close that waits for what is still to be delivered,
// so we wait until no packet was sent or received for a while.
const (
	quietPoll = 50 * time.Millisecond
	quietMin  = 500 * time.Millisecond // and three round trips
	quietMax  = 5 * time.Second        // a client that never falls silent
)

// conn is one connection. It has an http3.Server to itself, because that can only send GOAWAY on all its connections at once
// and takes no new one afterwards.
type conn struct {
	// immutable
	server  *Server
	qc      *quic.Conn
	h3      *http3.Server
	handler http.Handler
	work    sync.WaitGroup // what leave started

	// shared
	mu     sync.Mutex
	ready  bool // h3 knows the connection and can be shut down
	left   bool
	active int // requests in flight
	idle   *time.Timer
}

func (s *Server) serveConn(ctx context.Context, qc *quic.Conn, handler http.Handler) {
	c := &conn{server: s, qc: qc, handler: handler}
	info := connInfo(qc)
	c.h3 = &http3.Server{
		Handler:        c,
		MaxHeaderBytes: s.cfg.MaxHeader,
		Logger:         slog.New(slog.DiscardHandler),
		ConnContext: func(connCtx context.Context, _ *quic.Conn) context.Context {
			c.begun()
			return nethttp.WithConn(connCtx, ctx, info)
		},
	}
	if s.cfg.IdleTimeout > 0 {
		c.idle = time.AfterFunc(s.cfg.IdleTimeout, c.closeIdle)
		defer c.idle.Stop()
	}
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
	_ = c.h3.ServeQUICConn(qc)
}

func connInfo(qc *quic.Conn) message.ConnInfo {
	state := qc.ConnectionState().TLS
	return message.ConnInfo{
		Client: message.AddrPort(qc.RemoteAddr()),
		Local:  message.AddrPort(qc.LocalAddr()),
		TLS:    &message.TLS{Version: state.Version, ServerName: state.ServerName, Resumed: state.DidResume},
	}
}

// ServeHTTP keeps count of the requests around the handler.
func (c *conn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.active++
	if c.idle != nil {
		c.idle.Stop()
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.active--
		if c.active == 0 && c.idle != nil {
			c.idle.Reset(c.server.cfg.IdleTimeout)
		}
		c.mu.Unlock()
		if c.server.draining.Load() {
			c.leave()
		}
	}()
	c.handler.ServeHTTP(w, r)
}

// closeIdle ends the connection, unless a request has begun in the moment in which its time was over.
func (c *conn) closeIdle() {
	c.mu.Lock()
	busy := c.active > 0
	c.mu.Unlock()
	if !busy {
		c.close()
	}
}

// begun is called when h3 has taken the connection.
func (c *conn) begun() {
	c.mu.Lock()
	c.ready = true
	c.mu.Unlock()
	if c.server.leaving.Load() {
		c.leave()
	}
}

// leave sends GOAWAY and closes the connection once it has nothing more to say.
// The caller holds the server's lock, or runs below serveConn: so nothing is added to work once serveConn waits for it.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready || c.left {
		return
	}
	c.left = true
	c.work.Go(func() { _ = c.h3.Shutdown(c.qc.Context()) })
	c.work.Go(c.closeWhenQuiet)
}

func (c *conn) closeWhenQuiet() {
	tick := time.NewTicker(quietPoll)
	defer tick.Stop()
	var q quiet
	for {
		select {
		case <-c.qc.Context().Done():
			return
		case now := <-tick.C:
			c.mu.Lock()
			active := c.active
			c.mu.Unlock()
			if q.observe(now, active, c.qc.ConnectionStats()) {
				c.close()
				return
			}
		}
	}
}

// quiet decides when a connection that was told to leave has nothing more to say.
type quiet struct {
	sent, received   uint64
	idleAt, silentAt time.Time // since when without a request, without a packet
}

func (q *quiet) observe(now time.Time, active int, stats quic.ConnectionStats) bool {
	if active > 0 {
		*q = quiet{}
		return false
	}
	if q.idleAt.IsZero() {
		q.idleAt = now
	}
	if q.silentAt.IsZero() || stats.PacketsSent != q.sent || stats.PacketsReceived != q.received {
		q.silentAt = now
	}
	q.sent, q.received = stats.PacketsSent, stats.PacketsReceived
	return now.Sub(q.silentAt) >= quietMin+3*stats.SmoothedRTT || now.Sub(q.idleAt) >= quietMax
}

func (c *conn) close() {
	_ = c.qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}
