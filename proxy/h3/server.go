// Package h3 serves HTTP/3 (RFC 9114) over QUIC (RFC 9000) on one UDP socket.
package h3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/flood"
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

// Server serves HTTP/3 on one socket. Its life is Listen, Serve, Drain, CloseIdle, StopAccepting; Serve returns after that
// when the last connection has ended.
type Server struct {
	// immutable
	cfg  Config
	log  *slog.Logger
	udp  *net.UDPConn
	sock *socket
	tr   *quic.Transport
	ln   listener
	stop sync.Once

	guard *flood.Guard

	// set by Serve
	handler message.Handler
	quick   message.QuickHandler // nil when the handler is none
	refuser message.Refuser      // likewise

	// shared
	draining atomic.Bool // a connection leaves after its request
	leaving  atomic.Bool // a connection leaves when it has no request
	admitted sync.WaitGroup
	mu       sync.Mutex
	conns    map[*conn]struct{}
}

// Listen opens a server on udp, which is the server's from then on. Handshakes begin at once, so Serve should follow soon.
func Listen(udp *net.UDPConn, cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	s := &Server{cfg: cfg, log: cfg.Log, udp: udp, guard: cfg.Guard, conns: map[*conn]struct{}{}}
	tr, err := s.transport()
	if err != nil {
		return nil, err
	}
	s.tr = tr
	qcfg := &quic.Config{
		HandshakeIdleTimeout:           cfg.HandshakeTimeout / 2, // the whole handshake may take twice this
		MaxIdleTimeout:                 cfg.IdleTimeout,
		MaxIncomingStreams:             int64(cfg.MaxStreams),
		MaxIncomingUniStreams:          maxUniStreams,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindowMost,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     connWindowMost,
		RequireStreamCreditRelease:     true, // a stream counts until its exchange is over, however fast it was reset
		Allow0RTT:                      cfg.EarlyData,
	}
	if cfg.EarlyData {
		s.ln, err = early(tr.ListenEarly(serverTLS(cfg.TLS, time.Now), qcfg))
	} else {
		s.ln, err = late(tr.Listen(serverTLS(cfg.TLS, time.Now), qcfg))
	}
	if err != nil {
		return nil, fmt.Errorf("starting QUIC: %w", err)
	}
	s.checkBuffers()
	return s, nil
}

// early and late keep a nil pointer from becoming a listener.
func early(l *quic.EarlyListener, err error) (listener, error) { return l, err }
func late(l *quic.Listener, err error) (listener, error)       { return l, err }

// transport sets up what is below the connections. Its keys live and die with this process: a reset key that another edge knew
// would let an attacker use that edge to end connections here (RFC 9000 §21.11).
func (s *Server) transport() (*quic.Transport, error) {
	var resetKey quic.StatelessResetKey
	var cidKey CIDKey
	if _, err := rand.Read(resetKey[:]); err != nil {
		return nil, err
	}
	if _, err := rand.Read(cidKey[:]); err != nil {
		return nil, err
	}
	silenceBufferWarning()
	codec := NewCIDCodec(cidKey)
	s.sock = newSocket(s.udp, codec, s.guard)
	return &quic.Transport{
		Conn:                  s.sock,
		ConnectionIDGenerator: &cidGenerator{codec: codec, place: s.cfg.Place},
		StatelessResetKey:     &resetKey,
		VerifySourceAddress:   s.verify,
		ConnContext:           s.admit,
	}, nil
}

// verify reports whether a client must prove its address before its handshake begins.
func (s *Server) verify(client net.Addr) bool {
	return s.guard.Verify(time.Now(), message.AddrPort(client))
}

type acceptedKey struct{}

var errRefused, errHalfOpen = errors.New("connection limit"), errors.New("too many handshakes in progress")

// admit is asked for each client that begins a handshake. ctx ends with the connection.
func (s *Server) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	ev := &s.cfg.Events
	a, err := s.begin(message.AddrPort(info.RemoteAddr), info.AddrVerified)
	if err != nil {
		return nil, err
	}
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
	return context.WithValue(ctx, acceptedKey{}, a), nil
}

// accepted notes that a handshake is complete.
func (s *Server) accepted(qc *quic.Conn) {
	if !s.finish(qc.Context().Value(acceptedKey{}).(*admission), true) {
		return // it ended before we saw it begin
	}
	if s.cfg.Events.Accepted != nil {
		s.cfg.Events.Accepted()
	}
}

// Serve hands every request to h until StopAccepting was called and the last connection has ended, or ctx is done, which cuts all.
// It closes the socket. The error says why the socket died, if it did. h may also be a QuickHandler and a Refuser.
func (s *Server) Serve(ctx context.Context, h message.Handler) error {
	s.handler = h
	s.quick, _ = h.(message.QuickHandler)
	s.refuser, _ = h.(message.Refuser)
	defer context.AfterFunc(ctx, s.StopAccepting)()
	var conns sync.WaitGroup
	var dead error
	for {
		// The listener's end is what ends Accept: it gives out what has finished its handshake first.
		qc, err := s.ln.Accept(context.Background())
		if err != nil {
			if !errors.Is(err, quic.ErrServerClosed) {
				dead = err
			}
			break
		}
		select {
		case <-qc.HandshakeComplete():
			s.accepted(qc)
		default: // early
			conns.Go(func() {
				select {
				case <-qc.HandshakeComplete():
					s.accepted(qc)
				case <-qc.Context().Done():
				}
			})
		}
		conns.Go(func() { s.serveConn(ctx, qc) })
	}
	conns.Wait()
	s.Close()
	s.admitted.Wait() // their last events
	return dead
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
	s.each(func(c *conn) { c.leave() })
}

// Leave tells the clients that there are to leave, as Drain does, those that have just come with their first request. Later ones are served as usual.
func (s *Server) Leave() { s.each(func(c *conn) { c.leaveSoon() }) }

// Pause leaves the first packets of new clients unanswered until Resume: they send them again, within a second or so. Handshakes that
// have been answered go on.
func (s *Server) Pause() { s.sock.paused.Store(true) }

// Resume ends Pause.
func (s *Server) Resume() { s.sock.paused.Store(false) }

// CloseIdle makes those leave too that connected during the drain and have no request.
func (s *Server) CloseIdle() {
	s.leaving.Store(true)
	s.Drain()
}

// StopAccepting refuses new connections.
func (s *Server) StopAccepting() {
	s.stop.Do(func() { s.ln.Close() })
}

// Close closes the socket and everything on it.
func (s *Server) Close() {
	s.StopAccepting()
	s.tr.Close()
	s.udp.Close()
}

func (s *Server) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		do(c)
	}
}
