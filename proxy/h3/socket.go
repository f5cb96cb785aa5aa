package h3

import (
	"encoding/binary"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// socket is the UDP socket as quic-go gets it. It embeds *net.UDPConn, for quic-go gives up GSO, ECN and batches on anything else,
// and its ReadBatch, which quic-go then calls, is the one place that every datagram passes before QUIC sees it.
// Entries of a batch must stay in their places: quic-go keeps a parallel list of buffers.
type socket struct {
	*net.UDPConn
	batch *ipv4.PacketConn // recvmmsg, whatever the family
}

func newSocket(c *net.UDPConn) *socket {
	return &socket{UDPConn: c, batch: ipv4.NewPacketConn(c)}
}

// ReadBatch reads as many datagrams as there are, at least one.
func (s *socket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	n, err := s.batch.ReadBatch(ms, flags)
	for i := range max(n, 0) {
		unpinInterface(ms[i].OOB[:ms[i].NN])
	}
	return n, err
}

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
