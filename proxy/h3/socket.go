package h3

import (
	"encoding/binary"
	"net"
	"sync/atomic"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/flood"
)

// socket is the UDP socket as quic-go gets it. It embeds *net.UDPConn, for quic-go gives up GSO, ECN and batches on anything else,
// and its ReadBatch, which quic-go then calls, is the one place that every datagram passes before QUIC sees it.
// Entries of a batch must stay in their places: quic-go keeps a parallel list of buffers.
type socket struct {
	*net.UDPConn
	batch *ipv4.PacketConn // recvmmsg, whatever the family
	codec *CIDCodec
	guard *flood.Guard

	paused atomic.Bool // new clients get no answer
}

func newSocket(c *net.UDPConn, codec *CIDCodec, guard *flood.Guard) *socket {
	return &socket{UDPConn: c, batch: ipv4.NewPacketConn(c), codec: codec, guard: guard}
}

// ReadBatch reads as many datagrams as there are for QUIC, at least one.
func (s *socket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	for {
		n, err := s.batch.ReadBatch(ms, flags)
		left := false
		for i := range max(n, 0) {
			s.sort(&ms[i])
			left = left || ms[i].N > 0
		}
		if left || err != nil {
			return n, err
		}
	}
}

// sort empties m if QUIC is not to see it: quic-go drops an empty datagram, and every entry stays in its place.
func (s *socket) sort(m *ipv4.Message) {
	unpinInterface(m.OOB[:m.NN])
	b := m.Buffers[0][:m.N]
	if s.paused.Load() && s.opens(b) {
		m.N = 0
		return
	}
	if id, long := cid.Destination(b); long {
		if _, ours := s.codec.Decode(id); !lets(s.guard, m, ours) {
			m.N = 0
		}
	}
}

// opens reports whether a datagram is a client's first: an Initial or 0-RTT packet (RFC 9000 §17.2, RFC 9369 §3.2) to a connection ID
// that the client made up. Once it has been answered, the client uses one of ours.
func (s *socket) opens(b []byte) bool {
	const long, fixed = 0x80, 0x40
	if len(b) < 7 || b[0]&(long|fixed) != long|fixed {
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
	if kind != initial && kind != zeroRTT {
		return false
	}
	n := int(b[5])
	if len(b) < 6+n {
		return false
	}
	_, ours := s.codec.Decode(b[6 : 6+n])
	return !ours
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
