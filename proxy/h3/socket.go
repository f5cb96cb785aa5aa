package h3

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue"
)

// socket is one UDP socket of a server: the worker that connection IDs name. It has a generation for each epoch in which its connections
// began; the current one reads it, and hands the others what is theirs.
type socket struct {
	// immutable
	udp    *net.UDPConn
	batch  *ipv4.PacketConn // recvmmsg, whatever the family
	server *Server
	worker uint8

	// shared
	nonce       atomic.Uint32 // of the latest connection ID
	generations atomic.Pointer[[]*generation]
	reading     sync.Mutex  // held by the generation that reads
	woken       atomic.Bool // whoever reads is about to look up
}

func newSocket(s *Server, worker int, udp *net.UDPConn) *socket {
	return &socket{udp: udp, batch: ipv4.NewPacketConn(udp), server: s, worker: uint8(worker)}
}

// current is the generation that takes new connections.
func (s *socket) current() *generation { return (*s.generations.Load())[0] }

// holder is the generation whose low bits are those, or the current one.
func (s *socket) holder(low uint16) *generation {
	all := *s.generations.Load()
	for _, g := range all {
		if uint16(g.epoch) == low {
			return g
		}
	}
	return all[0]
}

// read reads datagrams for g until there are some, or it is woken. Entries of a batch must stay in their places: quic-go keeps a parallel list of buffers.
func (s *socket) read(g *generation, ms []ipv4.Message, flags int) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for s.current() == g {
		n, err := s.batch.ReadBatch(ms, flags)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			_ = s.udp.SetReadDeadline(time.Time{})
			s.woken.Store(false) // whoever finds it set has said before what for
			return 0, nil
		case err != nil:
			return 0, err
		}
		left := false
		for i := range n {
			s.sort(g, &ms[i])
			left = left || ms[i].N > 0
		}
		if hub := s.server.hub; hub != nil {
			hub.Flush(s.worker)
		}
		if left {
			return n, nil
		}
	}
	return 0, nil
}

// wake makes the generation that reads look at what it has been given.
func (s *socket) wake() {
	if !s.woken.Swap(true) {
		_ = s.udp.SetReadDeadline(time.Unix(1, 0))
	}
}

// sort finds whose a datagram is that g has read, and empties m unless it is g's: quic-go drops an empty datagram.
func (s *socket) sort(g *generation, m *ipv4.Message) {
	unpinInterface(m.OOB[:m.NN])
	srv := s.server
	b := m.Buffers[0][:m.N]
	tunnelled := srv.hub != nil && rescue.IsTunnel(b)
	if tunnelled {
		if !srv.hub.Tunnelled(s.worker, m) {
			m.N = 0
			return
		}
		b = m.Buffers[0][:m.N]
	}
	id, long := cid.Destination(b)
	p, by, ok := srv.codec.Decode(id)
	to := s.current()
	switch {
	case ok && p.Edge == srv.self.Edge && p.Instance == srv.self.Instance:
		if srv.hub != nil && !tunnelled {
			srv.hub.Home(s.worker, m)
		}
		if int(p.Worker) < len(srv.sockets) {
			to = srv.sockets[p.Worker].holder(p.Generation)
		}
	case ok && srv.hub != nil:
		if tunnelled && p.Edge != srv.self.Edge {
			srv.counts.stray.Inc() // sent on once already
		} else {
			srv.hub.Foreign(s.worker, m, id, p, by)
		}
		m.N = 0
		return
	case !long || !begins(b): // nobody has this from us
		if m.N > 0 {
			srv.counts.unknown.Inc()
		}
		m.N = 0
		return
	case srv.paused.Load() && opens(b):
		m.N = 0
		return
	}
	if long && !lets(srv.guard, m, ok) {
		m.N = 0
		return
	}
	if to != g {
		if to.sock != s {
			srv.counts.misdirected.Inc()
		}
		to.inject(m)
		m.N = 0
	}
}

// opens reports whether a datagram with a long header is a client's first: an Initial or 0-RTT packet (RFC 9000 §17.2, RFC 9369 §3.2). Once it
// has been answered, the client sends such packets to a connection ID of ours.
func opens(b []byte) bool {
	const fixed = 0x40
	if len(b) < 7 || b[0]&fixed == 0 {
		return false
	}
	kind := b[0] >> 4 & 3
	switch binary.BigEndian.Uint32(b[1:]) {
	case versionOne:
	case versionTwo:
		kind = (kind + 3) & 3 // the same types, each one higher
	default:
		return false
	}
	const initial, zeroRTT = 0, 1
	return (kind == initial || kind == zeroRTT) && len(b) >= 6+int(b[5])
}

// QUIC versions whose long header packets we can tell apart.
const (
	versionOne = 0x00000001
	versionTwo = 0x6b3343cf
)

// unpinInterface clears the interface index in a datagram's packet info. quic-go would send every answer out of the interface that
// the first packet came in on; with two uplinks the connection would die with one of them. Link-local addresses need the index.
func unpinInterface(oob []byte) {
	for len(oob) >= unix.SizeofCmsghdr {
		h, body, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(body) >= 12:
			binary.NativeEndian.PutUint32(body, 0)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(body) >= 20:
			if !net.IP(body[:16]).IsLinkLocalUnicast() {
				binary.NativeEndian.PutUint32(body[16:], 0)
			}
		}
		oob = rest
	}
}
