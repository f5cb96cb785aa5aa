// Package h3 serves HTTP/3 (RFC 9114) over QUIC (RFC 9000) on the UDP sockets of one port.
package h3

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/flood"
	"nearcast/proxy/h3/rescue"
	"nearcast/proxy/message"
)

// AltSvcMaxAge is how long a client may remember that HTTP/3 is here. It is a day and not the usual month,
// for an anycast client may wake up in a region that has lost UDP.
const AltSvcMaxAge = 24 * time.Hour

// maxUniStreams is the number of unidirectional streams that a client may open: it needs three, the rest is for extensions.
const maxUniStreams = 16

// What a client may send ahead of what is read, in octets: that of one stream, and that of all of a connection. The windows begin small, and
// grow to the most for who fills them, and is read from, fast.
const (
	streamWindow, streamWindowMost = 256 << 10, 1 << 20
	connWindow, connWindowMost     = 1 << 20, 2 << 20
)

// listener is a *quic.Listener or a *quic.EarlyListener.
type listener interface {
	Accept(context.Context) (*quic.Conn, error)
	Close() error
}

// Server serves HTTP/3 on one port. Its life is Listen, Serve, Drain, CloseIdle, StopAccepting; Serve returns after that
// when the last connection has ended.
type Server struct {
	// immutable
	cfg     Config
	log     *slog.Logger
	tls     *tls.Config
	quic    *quic.Config
	codec   *cid.Codec
	tokens  *keys.Secret // of address tokens
	self    cid.Place    // what the places of our connections have in common
	guard   *flood.Guard
	hub     *rescue.Hub // nil: packets of other edges' connections stay here
	sockets []*socket
	counts  counters
	stop    sync.Once

	// set by Serve
	handler message.Handler
	quick   message.QuickHandler // nil when the handler is none
	refuser message.Refuser      // likewise

	// shared
	awaiting atomic.Int64 // requests, for their handshakes
	paused   atomic.Bool  // new clients get no answer
	draining atomic.Bool  // a connection leaves after its request
	leaving  atomic.Bool  // a connection leaves when it has no request
	admitted sync.WaitGroup
	mu       sync.Mutex
	conns    map[*conn]struct{}

	opening sync.Mutex // held while generations come or go
	serving *serving   // nil before Serve
	sealed  bool       // none comes or goes any more
}

// Listen opens a server on the sockets, which are all of one address and the server's from then on. Handshakes begin at once, so Serve should
// follow soon.
func Listen(sockets []*net.UDPConn, cfg Config) (*Server, error) {
	cfg = cfg.withDefaults().withParameters()
	if len(sockets) == 0 || len(sockets) > cid.MaxWorkers {
		return nil, fmt.Errorf("starting QUIC: %d sockets, and there can be from 1 to %d", len(sockets), cid.MaxWorkers)
	}
	s := &Server{cfg: cfg, log: cfg.Log, tls: cfg.quicTLS(cfg.now), quic: cfg.quic(), guard: cfg.Guard, counts: newCounters(cfg.Metrics, cfg.Name), conns: map[*conn]struct{}{}}
	now := cfg.now()
	if err := s.takeKeys(now); err != nil {
		return nil, err
	}
	for i, udp := range sockets {
		s.sockets = append(s.sockets, newSocket(s, i, udp))
	}
	if err := s.seed(); err != nil {
		return nil, err
	}
	s.joinFleet()
	if len(sockets) > 1 {
		if err := steer(sockets); err != nil {
			s.log.Warn("the kernel does not steer datagrams to the socket of their connection; they are handed on within the process, which costs more",
				"listener", cfg.Name, "error", err)
		}
	}
	silenceBufferWarning()
	for _, sock := range s.sockets {
		if _, err := newGeneration(sock, keys.At(now), true); err != nil {
			s.closeTransports()
			return nil, err
		}
	}
	s.checkBuffers()
	s.gauge(cfg.Metrics)
	return s, nil
}

// takeKeys takes the secrets from the fleet, or makes one up. The keys of connection IDs and resets live and die with this process unless packets
// that come to the wrong edge are sent on: a reset key that another edge knew would let an attacker use that edge to end connections here (RFC 9000 §21.11).
func (s *Server) takeKeys(now time.Time) error {
	random, err := keys.New([]string{rand.Text()})
	if err != nil {
		return err
	}
	ring := func() *keys.Ring { return random }
	s.tokens = random.First()
	if f := s.cfg.Fleet; f != nil {
		s.tokens = f.Keys().First()
		if f.Rescue != nil {
			ring = f.Keys
			s.self = cid.Place{Edge: f.Rescue.Self.Number, Instance: f.Rescue.Instance}
		}
	}
	s.codec = cid.NewCodec(ring, now)
	return nil
}

// seed lets the connection IDs of each worker begin somewhere else than those of an earlier process that happens to have our instance.
func (s *Server) seed() error {
	var b [4]byte
	for _, sock := range s.sockets {
		if _, err := rand.Read(b[:]); err != nil {
			return err
		}
		sock.nonce.Store(binary.BigEndian.Uint32(b[:]))
	}
	return nil
}

// joinFleet makes the part of the port that talks with other edges.
func (s *Server) joinFleet() {
	if s.cfg.Fleet == nil || s.cfg.Fleet.Rescue == nil {
		return
	}
	port := message.AddrPort(s.sockets[0].udp.LocalAddr()).Port()
	s.hub = rescue.New(*s.cfg.Fleet.Rescue, port)
	for _, sock := range s.sockets {
		s.hub.Add(sock.worker, sock.udp)
	}
}

// Rescue is the part of the port that talks with other edges; nil when there is none.
func (s *Server) Rescue() *rescue.Hub { return s.hub }

type admissionKey struct{}

var errRefused, errHalfOpen = errors.New("connection limit"), errors.New("too many handshakes in progress")

// verify reports whether a client must prove its address before its handshake begins.
func (s *Server) verify(client net.Addr) bool {
	return s.guard.Verify(time.Now(), message.AddrPort(client))
}

// admit is asked for each client that begins a handshake. ctx ends with the connection.
func (s *Server) admit(ctx context.Context, info *quic.ClientInfo, to *generation) (context.Context, error) {
	ev := &s.cfg.Events
	a, err := s.begin(message.AddrPort(info.RemoteAddr), info.AddrVerified)
	if err != nil {
		return nil, err
	}
	a.to = to
	s.admitted.Add(1)
	context.AfterFunc(ctx, func() {
		defer s.admitted.Done()
		if s.finish(a, false) && ev.HandshakeFailed != nil {
			ev.HandshakeFailed(context.Cause(ctx))
		}
		if ev.Closed != nil {
			ev.Closed(a.client)
		}
	})
	return context.WithValue(s.admitEarly(ctx), admissionKey{}, a), nil
}

// accepted notes that a handshake is complete.
func (s *Server) accepted(qc *quic.Conn) {
	if !s.finish(qc.Context().Value(admissionKey{}).(*admission), true) {
		return // it ended before we saw it begin
	}
	if s.cfg.Events.Accepted != nil {
		s.cfg.Events.Accepted()
	}
}

// serving is a server while it serves.
type serving struct {
	ctx  context.Context // of the connections
	work sync.WaitGroup  // connections, and loops that accept them
	die  func(error)     // cuts all, since a socket has died
}

// Serve hands every request to h until StopAccepting was called and the last connection has ended, or ctx is done, which cuts all.
// It closes the sockets. The error says why a socket died, if one did. h may also be a QuickHandler and a Refuser.
func (s *Server) Serve(ctx context.Context, h message.Handler) error {
	s.handler = h
	s.quick, _ = h.(message.QuickHandler)
	s.refuser, _ = h.(message.Refuser)
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	defer context.AfterFunc(ctx, s.StopAccepting)()
	var once sync.Once
	var dead error
	v := &serving{ctx: ctx, die: func(err error) {
		once.Do(func() { dead = err; cut(err) })
		s.seal()
	}}
	s.opening.Lock()
	s.serving = v
	for _, sock := range s.sockets {
		for _, g := range *sock.generations.Load() {
			v.work.Go(func() { s.accept(v, g.ln) })
		}
	}
	s.opening.Unlock()
	leave := s.keepUp()
	v.work.Wait()
	leave()
	s.Close()
	s.admitted.Wait() // their last events
	return dead
}

// keepUp does what connections need as long as there are any. leave ends it, and tells the other edges that there are none any more.
func (s *Server) keepUp() (leave func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { s.upkeep(ctx) })
	if s.hub != nil {
		work.Go(func() { s.lookAfter(ctx) })
		work.Go(func() {
			if err := s.hub.Run(ctx); err != nil {
				s.log.Error("HTTP/3 connections of other edges are not kept alive any more; restart the edge", "listener", s.cfg.Name, "error", err)
			}
		})
	}
	return func() {
		if s.hub != nil {
			s.hub.SetState(rescue.Gone)
		}
		cancel()
		work.Wait()
	}
}

// accept serves the connections of a listener until that ends, and gives out what has finished its handshake first.
func (s *Server) accept(v *serving, ln listener) {
	for {
		qc, err := ln.Accept(context.Background())
		if err != nil {
			if !errors.Is(err, quic.ErrServerClosed) {
				v.die(err)
			}
			return
		}
		select {
		case <-qc.HandshakeComplete():
			s.accepted(qc)
		default: // early
			v.work.Go(func() {
				select {
				case <-qc.HandshakeComplete():
					s.accepted(qc)
				case <-qc.Context().Done():
				}
			})
		}
		v.work.Go(func() { s.serveConn(v.ctx, qc) })
	}
}

func (s *Server) count(kind string) {
	if s.cfg.CountError != nil {
		s.cfg.CountError(kind)
	}
}

// Drain tells every client to leave: GOAWAY, the requests in flight are finished, then the connection is closed. A client that
// connects later is served, and told with its first response.
func (s *Server) Drain() {
	s.draining.Store(true)
	if s.hub != nil {
		s.hub.SetState(rescue.Draining)
	}
	s.each(func(c *conn) { c.leave() })
}

// Leave tells the clients that there are to leave, as Drain does, those that have just come with their first request. Later ones are served as usual.
func (s *Server) Leave() { s.each(func(c *conn) { c.leaveSoon() }) }

// Pause leaves the first packets of new clients unanswered until Resume: they send them again, within a second or so. Handshakes that
// have been answered go on.
func (s *Server) Pause() { s.paused.Store(true) }

// Resume ends Pause.
func (s *Server) Resume() { s.paused.Store(false) }

// CloseIdle makes those leave too that connected during the drain and have no request.
func (s *Server) CloseIdle() {
	s.leaving.Store(true)
	s.Drain()
}

// seal keeps generations from coming and going, so that nothing is added to the work of Serve any more.
func (s *Server) seal() {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.sealed = true
}

// StopAccepting refuses new connections. It waits for the handshakes in progress.
func (s *Server) StopAccepting() {
	s.stop.Do(s.stopAccepting)
}

func (s *Server) stopAccepting() {
	s.seal()
	var work sync.WaitGroup
	for g := range s.generations {
		work.Go(func() { g.ln.Close() })
	}
	work.Wait()
}

// Close closes the sockets and everything on them.
func (s *Server) Close() {
	s.StopAccepting()
	s.closeTransports()
	for _, sock := range s.sockets {
		sock.udp.Close()
	}
}

// closeTransports stops reading the sockets.
func (s *Server) closeTransports() {
	for g := range s.generations {
		g.tr.Close()
	}
}

// generations are all that there are.
func (s *Server) generations(yield func(*generation) bool) {
	for _, sock := range s.sockets {
		if all := sock.generations.Load(); all != nil {
			for _, g := range *all {
				if !yield(g) {
					return
				}
			}
		}
	}
}

func (s *Server) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		do(c)
	}
}
