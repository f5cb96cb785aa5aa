package h3

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"

	"nearcast/proxy/h3/flood"
	"nearcast/proxy/message"
)

// retryAbove is the number of handshakes in progress from which on clients must prove their address first (RFC 9000 §8.1.2), without a guard that
// knows better: it costs an honest client one round trip, and a spoofed flood most of what a handshake costs us.
const retryAbove = 256

// minInitial is the size that every datagram with an Initial has at least (RFC 9000 §14.1).
const minInitial = 1200

// opening is what a datagram's first packet says that begins a handshake or goes on with one. Packets after it in the same datagram are for the
// same connection or none (RFC 9000 §12.2).
type opening struct {
	id      []byte // destination connection ID
	initial bool   // of a version that we know
	token   bool
}

// parseOpening reads the long header of an Initial or 0-RTT packet (RFC 9000 §17.2, RFC 9369 §3.2), or of a version that we don't know and that is to be
// answered with those that we do. ok is false for all others: they go to a connection that is there, or to none.
func parseOpening(b []byte) (o opening, ok bool) {
	const long = 0x80
	if len(b) < 7 || b[0]&long == 0 || len(b) < 7+int(b[5]) {
		return opening{}, false
	}
	o.id = b[6 : 6+int(b[5])]
	kind := b[0] >> 4 & 3
	switch binary.BigEndian.Uint32(b[1:]) {
	case versionOne:
	case versionTwo:
		kind = (kind + 3) & 3 // the same types, each one higher
	case 0: // Version Negotiation
		return opening{}, false
	default:
		return o, true
	}
	const initial, zeroRTT = 0, 1
	switch kind {
	case initial:
		rest := b[6+len(o.id):]
		token := 1 + int(rest[0])                                        // after the source connection ID
		o.initial, o.token = true, token < len(rest) && rest[token] != 0 // a 0 in more octets passes for a token, as a forged one does
		return o, true
	case zeroRTT:
		return o, true
	}
	return opening{}, false
}

// begins reports whether a packet with a long header may begin something: others can only be for a connection ID that we gave out.
func begins(b []byte) bool {
	_, ok := parseOpening(b)
	return ok
}

// lets reports whether a datagram may go on to QUIC. ours: its destination connection ID is one that we gave out.
func lets(g *flood.Guard, m *ipv4.Message, ours bool) bool {
	b := m.Buffers[0][:m.N]
	o, ok := parseOpening(b)
	if !ok {
		return true
	}
	if o.initial && len(b) < minInitial {
		g.Short()
		return false
	}
	return g.Initial(time.Now(), flood.Packet{From: message.AddrPort(m.Addr), ID: o.id, Ours: ours, Token: o.token}) == flood.Passed
}

// admission is what a connection's context knows of its beginning.
type admission struct {
	to     *generation
	client netip.AddrPort
	proved bool        // the client has proved its address already
	over   atomic.Bool // the handshake is complete, or has failed
}

// begin counts a handshake in, unless the owner does not want it.
func (s *Server) begin(client netip.AddrPort, proved bool) (*admission, error) {
	if !s.guard.Begin(client) {
		return nil, errHalfOpen
	}
	if admit := s.cfg.Events.Admit; admit != nil && !admit(client) {
		s.guard.End() // and it is no proof: whoever is refused here has to pay at the door
		return nil, errRefused
	}
	if proved {
		s.guard.Proved(time.Now(), client)
	}
	return &admission{client: client, proved: proved}, nil
}

// finish counts the handshake out; false when it was.
func (s *Server) finish(a *admission, complete bool) bool {
	if !a.over.CompareAndSwap(false, true) {
		return false
	}
	s.guard.End()
	if complete && !a.proved {
		s.guard.Proved(time.Now(), a.client)
	}
	return true
}
