package tunnel

import (
	"encoding/binary"
	"net/netip"
)

const (
	// Magic is the first octet of every datagram of the tunnel: 00xxxxxx is never QUIC (RFC 9443 §3).
	Magic = 0x0e
	// MaxDatagram is the largest datagram of the tunnel, in octets of UDP payload: that is what the receiver reads.
	MaxDatagram = 1452
	// BaseDatagram is what every path carries: a packet of 1280 octets with the headers of IPv6 and UDP (RFC 8200 §5).
	BaseDatagram = 1232
	// MaxPacket is the largest packet of a client that is carried.
	MaxPacket = 1452
)

// The header in clear.
const (
	version        = 1 << 6 // of octet 1: version, type, epoch
	versionMask    = 0xc0
	typeShift      = 2
	typeMask       = 0x0f << typeShift
	epochMask      = 3
	nonceLen       = 12
	dataHeaderLen  = 22
	dataNonceAt    = dataHeaderLen - nonceLen
	helloHeaderLen = 24
	helloNonceAt   = helloHeaderLen - nonceLen
	tagLen         = 16
	minDatagram    = dataHeaderLen + tagLen + 1
)

// The types of datagrams: hello, and what [Kind] names.
const typeHello = 0

// Octet 3 of a datagram with a packet.
const (
	ecnMask      = 3
	familyIPv6   = 1 << 2
	pieceShift   = 4
	pieceMask    = 3 << pieceShift
	reservedMask = 0xff &^ (ecnMask | familyIPv6 | pieceMask)
)

// piece is what of a packet a datagram has.
type piece uint8

const (
	whole piece = iota
	first
	second
)

// Kind says where a packet is going.
type Kind uint8

// The kinds.
const (
	Forward Kind = 1 // a client's packet, to the edge that holds its connection
	Return  Kind = 2 // that edge's packet, to a client by way of the edge that has the route
)

// Client is what travels with a packet.
type Client struct {
	Remote netip.AddrPort // the client's address
	Local  netip.AddrPort // the anycast address that it writes to
	ECN    uint8          // the two bits of RFC 3168 §5
}

// Peek says whose datagram it is, from the header in clear, without trust in it. ok is false when it can't be one of the tunnel.
func Peek(b []byte) (from, to uint32, ok bool) {
	if len(b) < minDatagram || len(b) > MaxDatagram || b[0] != Magic || b[1]&versionMask != version {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), true
}

// Buffer holds a datagram. It is large: keep it, rather than make one for each.
type Buffer struct {
	n int
	b [MaxDatagram]byte
}

// Bytes is the datagram, valid until the buffer is used again.
func (b *Buffer) Bytes() []byte { return b.b[:b.n] }

// putHeader writes the header of a datagram with a packet or a part of one.
func putHeader(b []byte, k Kind, worker, octet3 uint8, from, to, session uint32, sequence uint64) {
	b[0] = Magic
	b[1] = version | byte(k)<<typeShift
	b[2] = worker
	b[3] = octet3
	binary.BigEndian.PutUint32(b[4:], from)
	binary.BigEndian.PutUint32(b[8:], to)
	binary.BigEndian.PutUint32(b[12:], session)
	binary.BigEndian.PutUint16(b[16:], uint16(sequence>>32))
	binary.BigEndian.PutUint32(b[18:], uint32(sequence))
}

// sequenceOf reads 48 bits.
func sequenceOf(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint16(b[16:]))<<32 | uint64(binary.BigEndian.Uint32(b[18:]))
}

const maxSequence = 1<<48 - 1

// Lengths of the two addresses and ports before a packet.
const (
	clientLen4 = 2 * (4 + 2)
	clientLen6 = 2 * (16 + 2)
)

// family returns the bit for octet 3, and how long the addresses are. IPv4 addresses that are written as IPv6 are IPv4.
func (c *Client) family() (bit uint8, length int) {
	if r, l := c.Remote.Addr(), c.Local.Addr(); (r.Is4() || r.Is4In6()) && (l.Is4() || l.Is4In6()) {
		return 0, clientLen4
	}
	return familyIPv6, clientLen6
}

func (c *Client) put(b []byte, family uint8) {
	n := 0
	for _, a := range [...]netip.AddrPort{c.Remote, c.Local} {
		if family == 0 {
			v := a.Addr().Unmap().As4()
			n += copy(b[n:], v[:])
		} else {
			v := a.Addr().As16()
			n += copy(b[n:], v[:])
		}
		binary.BigEndian.PutUint16(b[n:], a.Port())
		n += 2
	}
}

// client reads the addresses and returns what follows them.
func client(b []byte, octet3 uint8) (c Client, rest []byte, ok bool) {
	c.ECN = octet3 & ecnMask
	if octet3&familyIPv6 == 0 {
		if len(b) < clientLen4 {
			return c, nil, false
		}
		c.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), binary.BigEndian.Uint16(b[4:]))
		c.Local = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[6:])), binary.BigEndian.Uint16(b[10:]))
		return c, b[clientLen4:], true
	}
	if len(b) < clientLen6 {
		return c, nil, false
	}
	c.Remote = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), binary.BigEndian.Uint16(b[16:]))
	c.Local = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[18:])).Unmap(), binary.BigEndian.Uint16(b[34:]))
	return c, b[clientLen6:], true
}
