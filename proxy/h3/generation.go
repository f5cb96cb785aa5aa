package h3

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
)

// generation is a QUIC transport of a socket, and the socket as that transport sees it. The keys of resets and address tokens are those of one
// epoch for as long as a transport lives, so each epoch has its own; the connections that began in it stay with it.
//
// It embeds *net.UDPConn, for quic-go gives up GSO, ECN and batches on anything else, and its ReadBatch, which quic-go then calls, is the one place
// that every datagram passes before QUIC sees it.
type generation struct {
	*net.UDPConn
	sock  *socket
	epoch keys.Epoch
	tr    *quic.Transport
	ln    listener
	inbox inbox         // what others have read of ours
	call  chan struct{} // something has changed
	ended atomic.Bool   // nothing is to be read any more
}

// newGeneration opens the transport of an epoch on s. first: s has none yet.
func newGeneration(s *socket, epoch keys.Epoch, first bool) (*generation, error) {
	srv := s.server
	g := &generation{UDPConn: s.udp, sock: s, epoch: epoch, call: make(chan struct{}, 1)}
	reset := quic.StatelessResetKey(srv.codec.Own().Key(keys.Reset, epoch, ""))
	token := quic.TokenGeneratorKey(srv.tokens.Key(keys.Token, epoch, ""))
	place := srv.self
	place.Generation, place.Worker = uint16(epoch), s.worker
	g.tr = &quic.Transport{
		Conn:                  g,
		ConnectionIDGenerator: &cidGenerator{codec: srv.codec, place: place, nonce: &s.nonce},
		StatelessResetKey:     &reset,
		TokenGeneratorKey:     &token,
		VerifySourceAddress:   srv.verify,
		ConnContext: func(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
			return srv.admit(ctx, info, g)
		},
	}
	if first {
		s.generations.Store(&[]*generation{g}) // before it reads
	}
	var err error
	if srv.cfg.EarlyData {
		g.ln, err = early(g.tr.ListenEarly(srv.tls, srv.quic))
	} else {
		g.ln, err = late(g.tr.Listen(srv.tls, srv.quic))
	}
	if err != nil {
		g.tr.Close()
		return nil, fmt.Errorf("starting QUIC: %w", err)
	}
	return g, nil
}

// early and late keep a nil pointer from becoming a listener.
func early(l *quic.EarlyListener, err error) (listener, error) { return l, err }
func late(l *quic.Listener, err error) (listener, error)       { return l, err }

// ReadBatch reads as many datagrams as there are, at least one.
func (g *generation) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	for {
		if n := g.inbox.take(ms); n > 0 {
			return n, nil
		}
		if g.ended.Load() {
			return nothing(ms, os.ErrDeadlineExceeded)
		}
		if g.sock.current() != g {
			<-g.call
			continue
		}
		if n, err := g.sock.read(g, ms, flags); err != nil {
			return nothing(ms, err)
		} else if n > 0 {
			return n, nil
		}
	}
}

// nothing empties a batch that could not be read: quic-go looks at it all the same.
func nothing(ms []ipv4.Message, err error) (int, error) {
	for i := range ms {
		ms[i].N, ms[i].NN = 0, 0
	}
	return 0, err
}

// inject hands g a copy of a datagram.
func (g *generation) inject(m *ipv4.Message) {
	if !g.inbox.put(m) {
		g.sock.server.counts.full.Inc()
		return
	}
	g.wake()
}

// wake makes g look at its inbox, at whether it has ended, and at whether it is the current one.
func (g *generation) wake() {
	select {
	case g.call <- struct{}{}:
	default: // it has not looked since
	}
	if g.sock.current() == g {
		g.sock.wake()
	}
}

// SetReadDeadline is how quic-go stops reading. The socket's own would stop the generations that go on.
func (g *generation) SetReadDeadline(t time.Time) error {
	g.ended.Store(!t.IsZero())
	g.wake()
	return nil
}

// WriteMsgUDP sends what QUIC sends, all of it: through the tunnel if that is the client's way.
func (g *generation) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	if hub := g.sock.server.hub; hub != nil {
		if n, oobn, err, ok := hub.Write(g.sock.worker, b, oob, to); ok {
			return n, oobn, err
		}
	}
	return g.UDPConn.WriteMsgUDP(b, oob, to)
}

// cidGenerator gives out connection IDs of one place.
type cidGenerator struct {
	codec *cid.Codec
	place cid.Place
	nonce *atomic.Uint32
}

// GenerateConnectionID implements quic.ConnectionIDGenerator.
func (g *cidGenerator) GenerateConnectionID() (quic.ConnectionID, error) {
	id := g.codec.Encode(g.place, g.nonce.Add(1))
	return quic.ConnectionIDFromBytes(id[:]), nil
}

// ConnectionIDLen implements quic.ConnectionIDGenerator.
func (g *cidGenerator) ConnectionIDLen() int { return cid.Len }
