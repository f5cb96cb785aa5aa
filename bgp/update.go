package bgp

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Path attribute types, RFC 4271 section 5 and RFC 4760.
const (
	attrNextHop   = 3
	attrMPReach   = 14
	attrMPUnreach = 15

	attrExtendedLength = 0x10
)

var errOwnUpdate = errors.New("our own UPDATE is not of the expected form")

// nextHops is what a session announces as next hops; an invalid one means that its family is not announced.
type nextHops struct{ v4, v6 netip.Addr }

// update is what one of our own UPDATEs changes.
type update struct{ announced, withdrawn []netip.Prefix }

// rewriteUpdate puts the session's next hops into one of our own UPDATEs, in place, and says what it changes. Our speaker has one
// table for all neighbors, so the next hops in it can't be right for each.
func rewriteUpdate(body []byte, nh nextHops) (update, error) {
	var u update
	withdrawn, rest, ok := cutSized(body)
	if !ok {
		return u, errOwnUpdate
	}
	attrs, nlri, ok := cutSized(rest)
	if !ok {
		return u, errOwnUpdate
	}
	if u.withdrawn, ok = appendPrefixes(u.withdrawn, withdrawn, false); !ok {
		return u, errOwnUpdate
	}
	if u.announced, ok = appendPrefixes(u.announced, nlri, false); !ok {
		return u, errOwnUpdate
	}
	hopSet := len(u.announced) == 0
	for len(attrs) > 0 {
		var kind byte
		var value []byte
		if kind, value, attrs, ok = nextAttribute(attrs); !ok {
			return u, errOwnUpdate
		}
		switch kind {
		case attrNextHop:
			if len(value) != 4 || !nh.v4.Is4() {
				return u, errOwnUpdate
			}
			copy(value, nh.v4.AsSlice())
			hopSet = true
		case attrMPReach:
			ok = rewriteMPReach(&u, value, nh.v6)
		case attrMPUnreach:
			ok = len(value) >= 3 && [3]byte(value) == [3]byte{0, 2, 1}
			if ok {
				u.withdrawn, ok = appendPrefixes(u.withdrawn, value[3:], true)
			}
		}
		if !ok {
			return u, errOwnUpdate
		}
	}
	if !hopSet {
		return u, errOwnUpdate
	}
	return u, nil
}

// rewriteMPReach handles MP_REACH_NLRI, RFC 4760 section 3: IPv6 unicast with one global next hop is all that we send.
func rewriteMPReach(u *update, value []byte, nh netip.Addr) (ok bool) {
	const head = 4 + 16 + 1
	if len(value) < head || [4]byte(value) != [4]byte{0, 2, 1, 16} || !nh.Is6() {
		return false
	}
	hop := nh.As16()
	copy(value[4:], hop[:])
	u.announced, ok = appendPrefixes(u.announced, value[head:], true)
	return ok
}

// cutSized cuts off a part that its length, in two bytes, stands before.
func cutSized(b []byte) (part, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}

func nextAttribute(b []byte) (kind byte, value, rest []byte, ok bool) {
	head := 3
	if len(b) >= 1 && b[0]&attrExtendedLength != 0 {
		head = 4
	}
	if len(b) < head {
		return 0, nil, nil, false
	}
	n := int(b[2])
	if head == 4 {
		n = int(binary.BigEndian.Uint16(b[2:]))
	}
	if len(b) < head+n {
		return 0, nil, nil, false
	}
	return b[1], b[head : head+n], b[head+n:], true
}

// appendPrefixes decodes NLRI, RFC 4271 section 4.3.
func appendPrefixes(to []netip.Prefix, b []byte, v6 bool) ([]netip.Prefix, bool) {
	size := 4
	if v6 {
		size = 16
	}
	for len(b) > 0 {
		bits := int(b[0])
		n := (bits + 7) / 8
		if bits > 8*size || len(b) < 1+n {
			return to, false
		}
		var a [16]byte
		copy(a[:], b[1:1+n])
		addr := netip.AddrFrom16(a)
		if !v6 {
			addr = netip.AddrFrom4([4]byte(a[:4]))
		}
		to = append(to, netip.PrefixFrom(addr, bits).Masked())
		b = b[1+n:]
	}
	return to, true
}
