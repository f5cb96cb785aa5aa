package bgp

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Path attribute types: RFC 4271 section 5, RFC 1997, RFC 4760, RFC 4360, RFC 6793, RFC 8092.
const (
	attrOrigin      = 1
	attrASPath      = 2
	attrNextHop     = 3
	attrMED         = 4
	attrLocalPref   = 5
	attrCommunities = 8
	attrMPReach     = 14
	attrMPUnreach   = 15
	attrExtended    = 16
	attrAS4Path     = 17
	attrLarge       = 32

	attrExtendedLength = 0x10

	originIGP  = 0
	asSequence = 2
)

var errOwnUpdate = errors.New("our own UPDATE is not of the expected form")

// nextHops is what a session announces as next hops; an invalid one means that its family is not announced.
type nextHops struct{ v4, v6 netip.Addr }

func (h nextHops) has(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return h.v4.IsValid()
	}
	return h.v6.IsValid()
}

// update is what one of our own UPDATEs changes.
type update struct{ announced, withdrawn []netip.Prefix }

// parseUpdate says what one of our own UPDATEs changes, IPv4 and IPv6 unicast. Of what it announces the prefixes with is all the same.
func parseUpdate(body []byte) (update, error) {
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
	for len(attrs) > 0 {
		var kind byte
		var value []byte
		if kind, value, attrs, ok = nextAttribute(attrs); !ok {
			return u, errOwnUpdate
		}
		switch kind {
		case attrMPReach: // RFC 4760 section 3; with one global next hop, as all that we send
			if ok = len(value) >= mpReachHead && [4]byte(value) == [4]byte{0, 2, 1, 16}; ok {
				u.announced, ok = appendPrefixes(u.announced, value[mpReachHead:], true)
			}
		case attrMPUnreach:
			if ok = len(value) >= mpUnreachHead && [mpUnreachHead]byte(value) == [...]byte{0, 2, 1}; ok {
				u.withdrawn, ok = appendPrefixes(u.withdrawn, value[mpUnreachHead:], true)
			}
		}
		if !ok {
			return u, errOwnUpdate
		}
	}
	return u, nil
}

const (
	mpReachHead   = 4 + 16 + 1 // family, next hop with its length, a reserved octet
	mpUnreachHead = 3
	attrHead      = 4                               // with an extended length
	bodyRoom      = maxMessageSize - headerSize - 4 // for what stands in an UPDATE besides its two lengths
)

// outgoing is one UPDATE to a router, and what it changes.
type outgoing struct {
	m         message
	withdrawn []netip.Prefix
	announced []*announcement
	attrs     string // of what is announced, as encode has them
}

// withdraw makes UPDATEs that take the prefixes back.
func withdraw(ps []netip.Prefix) []outgoing {
	var out []outgoing
	v4, v6 := byFamily(ps, func(p netip.Prefix) netip.Prefix { return p })
	for rest := v4; len(rest) > 0; {
		nlri, n := packPrefixes(rest, bodyRoom, func(p netip.Prefix) netip.Prefix { return p })
		out = append(out, outgoing{m: makeUpdate(nlri, nil, nil), withdrawn: rest[:n]})
		rest = rest[n:]
	}
	for rest := v6; len(rest) > 0; {
		nlri, n := packPrefixes(rest, bodyRoom-attrHead-mpUnreachHead, func(p netip.Prefix) netip.Prefix { return p })
		attr := appendAttribute(nil, flagOptional, attrMPUnreach, append([]byte{0, 2, 1}, nlri...))
		out = append(out, outgoing{m: makeUpdate(nil, attr, nil), withdrawn: rest[:n]})
		rest = rest[n:]
	}
	return out
}

// announce makes UPDATEs of the routes, those with the same attributes together as far as they fit. Every route must have a next hop.
func (o *outbound) announce(routes []Route) []outgoing {
	var out []outgoing
	var order []string
	groups := make(map[string][]*announcement)
	for _, r := range routes {
		a := o.announcement(r)
		key := string(a.encode(o.fourOctet))
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], a)
	}
	prefix := func(a *announcement) netip.Prefix { return a.prefix }
	for _, attrs := range order {
		v4, v6 := byFamily(groups[attrs], prefix)
		for rest := v4; len(rest) > 0; {
			nlri, n := packPrefixes(rest, bodyRoom-len(attrs), prefix)
			out = append(out, outgoing{m: makeUpdate(nil, []byte(attrs), nlri), announced: rest[:n], attrs: attrs})
			rest = rest[n:]
		}
		for rest := v6; len(rest) > 0; {
			nlri, n := packPrefixes(rest, bodyRoom-len(attrs)-attrHead-mpReachHead, prefix)
			out = append(out, outgoing{m: makeUpdate(nil, append(o.mpReach(nlri), attrs...), nil), announced: rest[:n], attrs: attrs})
			rest = rest[n:]
		}
	}
	return out
}

// mpReach is MP_REACH_NLRI, which stands before all others (RFC 7606 section 5.1).
func (o *outbound) mpReach(nlri []byte) []byte {
	hop := o.hops.v6.As16()
	v := append([]byte{0, 2, 1, 16}, hop[:]...)
	return appendAttribute(nil, flagOptional, attrMPReach, append(append(v, 0), nlri...))
}

// makeUpdate is an UPDATE of its three parts, which must fit.
func makeUpdate(withdrawn, attrs, nlri []byte) message {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(withdrawn)))
	b = append(b, withdrawn...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(attrs)))
	b = append(b, attrs...)
	return makeMessage(typeUpdate, append(b, nlri...))
}

func byFamily[E any](all []E, prefix func(E) netip.Prefix) (v4, v6 []E) {
	for _, e := range all {
		if prefix(e).Addr().Is4() {
			v4 = append(v4, e)
		} else {
			v6 = append(v6, e)
		}
	}
	return v4, v6
}

// packPrefixes encodes as many as there is room for, and says how many those are. There is room for one always.
func packPrefixes[E any](all []E, room int, prefix func(E) netip.Prefix) (nlri []byte, n int) {
	for _, e := range all {
		p := prefix(e)
		octets := (p.Bits() + 7) / 8
		if n > 0 && len(nlri)+1+octets > room {
			break
		}
		nlri = append(append(nlri, byte(p.Bits())), p.Addr().AsSlice()[:octets]...)
		n++
	}
	return nlri, n
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
