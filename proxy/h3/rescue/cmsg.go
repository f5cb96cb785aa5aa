package rescue

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	ecnMask = 3 // of the TOS octet and the traffic class, RFC 3168 §5

	// maxControl is room for what appendControl writes: an IPv6 address and a traffic class.
	maxControl = 64
)

// control is what the control messages of a datagram say: of one that was received, where it was sent to; of one to be sent, where from.
type control struct {
	local   netip.Addr // never a mapped one; invalid: not said
	ecn     uint8      // RFC 3168 §5
	segment int        // UDP_SEGMENT, octets: what to split it into; 0: not at all
}

// parseControl reads the control messages of a datagram of either family.
func parseControl(oob []byte) (c control) {
	for len(oob) >= unix.SizeofCmsghdr {
		h, body, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return c
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(body) >= 1:
			c.ecn = body[0] & ecnMask
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(body) == unix.SizeofInet4Pktinfo:
			// Received: both are the address. Sent: the first is, the second is not read.
			c.local = netip.AddrFrom4([4]byte(body[4:8]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(body) == 4:
			c.ecn = uint8(binary.NativeEndian.Uint32(body)) & ecnMask
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(body) == unix.SizeofInet6Pktinfo:
			c.local = netip.AddrFrom16([16]byte(body[:16])).Unmap()
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_SEGMENT && len(body) == 2:
			c.segment = int(binary.NativeEndian.Uint16(body))
		}
		oob = rest
	}
	return c
}

// appendControl appends control messages that say local and ecn, in the form in which the kernel gives and takes them for a datagram of local's
// family, whatever the socket's. It names no interface: what is sent leaves where the route says.
func appendControl(b []byte, c control) []byte {
	switch {
	case c.local.Is4():
		a := c.local.As4()
		var info [unix.SizeofInet4Pktinfo]byte
		copy(info[4:], a[:]) // where from
		copy(info[8:], a[:]) // where to
		b = appendMessage(b, unix.IPPROTO_IP, unix.IP_PKTINFO, info[:])
		if c.ecn != 0 {
			b = appendMessage(b, unix.IPPROTO_IP, unix.IP_TOS, []byte{c.ecn})
		}
	case c.local.Is6():
		a := c.local.As16()
		var info [unix.SizeofInet6Pktinfo]byte
		copy(info[:], a[:])
		b = appendMessage(b, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info[:])
		if c.ecn != 0 {
			var class [4]byte
			binary.NativeEndian.PutUint32(class[:], uint32(c.ecn))
			b = appendMessage(b, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, class[:])
		}
	}
	return b
}

// appendMessage appends one control message, padded as the next one needs it.
func appendMessage(b []byte, level, kind int32, body []byte) []byte {
	size, end := unix.CmsgLen(len(body)), len(b)+unix.CmsgSpace(len(body))
	if unix.SizeofCmsghdr == 16 { // the length is a machine word
		b = binary.NativeEndian.AppendUint64(b, uint64(size))
	} else {
		b = binary.NativeEndian.AppendUint32(b, uint32(size))
	}
	b = binary.NativeEndian.AppendUint32(b, uint32(level))
	b = binary.NativeEndian.AppendUint32(b, uint32(kind))
	b = append(b, body...)
	for len(b) < end {
		b = append(b, 0)
	}
	return b
}

// addrPort is a socket's address; invalid when it is not one of UDP.
func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok || u == nil {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// udpAddr is a in the very form that a socket gives it in, since QUIC's address tokens hold those octets: 16 on a socket for IPv6, even where
// a is an IPv4 address.
func udpAddr(a netip.AddrPort, six bool) *net.UDPAddr {
	u := &net.UDPAddr{Port: int(a.Port()), Zone: a.Addr().Zone()}
	if ip := a.Addr(); six || ip.Is6() {
		b := ip.As16()
		u.IP = b[:]
	} else {
		b := ip.As4()
		u.IP = b[:]
	}
	return u
}
