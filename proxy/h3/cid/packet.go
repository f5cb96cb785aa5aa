package cid

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// EdgeNumber is the number of the edge with that address for questions of other edges (regions.*.edges), the same wherever it is computed. Two of
// N edges have the same with a probability of N²/2^33.
func EdgeNumber(address netip.AddrPort) uint32 {
	a := netip.AddrPortFrom(address.Addr().Unmap(), address.Port())
	sum := sha256.Sum256([]byte("nearcast edge " + a.String()))
	return binary.BigEndian.Uint32(sum[:])
}

// Destination is the destination connection ID of a QUIC packet with a short header, of Len octets, or with a long one (RFC 8999 §5); nil when
// there is none. It is part of b.
func Destination(b []byte) (id []byte, long bool) {
	if len(b) == 0 {
		return nil, false
	}
	if b[0]&0x80 == 0 {
		if b[0]&0x40 == 0 || len(b) < 1+Len {
			return nil, false
		}
		return b[1 : 1+Len], false
	}
	if len(b) < 6 || len(b) < 6+int(b[5]) {
		return nil, true
	}
	return b[6 : 6+int(b[5])], true
}
