package bgp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// Capability codes that pass, in either direction (RFC 5492). Everything else is left out of OPENs:
//   - Graceful Restart (64, RFC 4724) and its long-lived kin (71) would have routers keep the routes of a dead edge;
//   - Extended Message (6, RFC 8654) would lift the bound on messages;
//   - Extended Next Hop (5) and the rest would change what UPDATEs look like. ADD-PATH (69) does that to the router's UPDATEs, which the
//     embedded speaker never sees: it is between the router and the filter alone, and only when the view asks for it;
//   - FQDN (73) and software version (75) tell the neighbor what it need not know.
const (
	capMultiprotocol = 1  // RFC 4760
	capRouteRefresh  = 2  // RFC 2918
	capFourOctetAS   = 65 // RFC 6793
	capAddPath       = 69 // RFC 7911
)

// Send/Receive values of the ADD-PATH capability, RFC 7911 section 4.
const (
	addPathReceive = 1
	addPathSend    = 2
)

const paramCapabilities = 2 // RFC 5492

// family is an AFI and SAFI pair as the multiprotocol capability carries it; the reserved byte is zero.
type family [4]byte

var (
	familyIPv4 = family{0, 1, 0, 1}
	familyIPv6 = family{0, 2, 0, 1}
)

func familyOf(p netip.Prefix) family {
	if p.Addr().Is4() {
		return familyIPv4
	}
	return familyIPv6
}

// addPathFamily is one entry of the ADD-PATH capability.
type addPathFamily struct {
	family family
	mode   byte // addPathReceive, addPathSend or both
}

// open is what matters of an OPEN message, RFC 4271 section 4.2.
type open struct {
	asn      uint32 // the four-octet one where there is one
	holdTime time.Duration
	id       netip.Addr
	families []family // IPv4 and IPv6 unicast only
	addPath  []addPathFamily
	refresh  bool
	fourOct  bool
	noMP     bool // no multiprotocol capability at all: IPv4 unicast goes without saying
}

var errOpen = &wireError{code: 2, subcode: 0, text: "its OPEN is malformed"}

// parseOpen reads an OPEN's body, which the framing has found to have at least ten bytes.
func parseOpen(b []byte) (open, error) {
	if len(b) < 10 {
		return open{}, errOpen
	}
	if b[0] != 4 {
		return open{}, &wireError{code: 2, subcode: 1, data: []byte{0, 4}, text: "its OPEN is of another BGP version than 4"}
	}
	o := open{
		asn:      uint32(binary.BigEndian.Uint16(b[1:])),
		holdTime: time.Duration(binary.BigEndian.Uint16(b[3:])) * time.Second,
		id:       netip.AddrFrom4([4]byte(b[5:9])),
		noMP:     true,
	}
	params, wide, ok := optionalParameters(b[9:])
	for ok && len(params) > 0 {
		var kind byte
		var value []byte
		if kind, value, params, ok = nextParameter(params, wide); !ok {
			break
		}
		if kind != paramCapabilities {
			return open{}, &wireError{code: 2, subcode: 4, text: "its OPEN has an optional parameter that is not capabilities"}
		}
		ok = o.addCapabilities(value)
	}
	if !ok {
		return open{}, errOpen
	}
	return o, nil
}

// optionalParameters splits off the length, RFC 9072's extended form included.
func optionalParameters(b []byte) (params []byte, wide, ok bool) {
	if len(b) >= 4 && b[0] == 255 && b[1] == 255 {
		params = b[4:]
		return params, true, len(params) == int(binary.BigEndian.Uint16(b[2:]))
	}
	params = b[1:]
	return params, false, len(params) == int(b[0])
}

func nextParameter(b []byte, wide bool) (kind byte, value, rest []byte, ok bool) {
	head := 2
	if wide {
		head = 3
	}
	if len(b) < head {
		return 0, nil, nil, false
	}
	n := int(b[1])
	if wide {
		n = int(binary.BigEndian.Uint16(b[1:]))
	}
	if len(b) < head+n {
		return 0, nil, nil, false
	}
	return b[0], b[head : head+n], b[head+n:], true
}

func (o *open) addCapabilities(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return false
		}
		code, value := b[0], b[2:2+int(b[1])]
		b = b[2+len(value):]
		switch code {
		case capMultiprotocol:
			if len(value) != 4 {
				return false
			}
			o.noMP = false
			f := family{value[0], value[1], 0, value[3]}
			if (f == familyIPv4 || f == familyIPv6) && !slices.Contains(o.families, f) {
				o.families = append(o.families, f)
			}
		case capRouteRefresh:
			o.refresh = true
		case capFourOctetAS:
			if len(value) != 4 {
				return false
			}
			o.asn, o.fourOct = binary.BigEndian.Uint32(value), true
		case capAddPath:
			o.addPaths(value)
		}
	}
	return true
}

// addPaths reads the ADD-PATH capability. Values other than those of RFC 7911 section 4 are ignored, as it asks for; so is the rest of a
// capability of odd length, since a session need not be lost over what only the view uses.
func (o *open) addPaths(b []byte) {
	for ; len(b) >= 4 && len(o.addPath) < 16; b = b[4:] {
		f := family{b[0], b[1], 0, b[2]}
		if mode := b[3]; (f == familyIPv4 || f == familyIPv6) && mode >= addPathReceive && mode <= addPathReceive|addPathSend {
			o.addPath = append(o.addPath, addPathFamily{f, mode})
		}
	}
}

// sendsPaths says whether the sender of the OPEN sends path identifiers to whoever is ready to receive them.
func (o *open) sendsPaths(f family) bool {
	return slices.ContainsFunc(o.addPath, func(a addPathFamily) bool { return a.family == f && a.mode&addPathSend != 0 })
}

// has says whether the family can be used with this speaker.
func (o *open) has(f family) bool {
	return o.noMP && f == familyIPv4 || slices.Contains(o.families, f)
}

// capability is the multiprotocol capabilities of the families.
func capability(fs []family) (b []byte) {
	for _, f := range fs {
		b = append(append(b, capMultiprotocol, 4), f[:]...)
	}
	return b
}

// encode is the whole message, with nothing in it but what open has.
func (o *open) encode() message {
	caps := capability(o.families)
	if o.refresh {
		caps = append(caps, capRouteRefresh, 0)
	}
	if o.fourOct {
		caps = binary.BigEndian.AppendUint32(append(caps, capFourOctetAS, 4), o.asn)
	}
	if len(o.addPath) > 0 {
		caps = append(caps, capAddPath, byte(4*len(o.addPath)))
		for _, a := range o.addPath {
			caps = append(caps, a.family[0], a.family[1], a.family[3], a.mode)
		}
	}
	b := []byte{4}
	if o.asn > 0xffff {
		b = binary.BigEndian.AppendUint16(b, asTrans)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(o.asn))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(o.holdTime/time.Second))
	id := o.id.As4()
	b = append(b, id[:]...)
	if len(caps) == 0 {
		return makeMessage(typeOpen, append(b, 0))
	}
	b = append(b, byte(len(caps)+2), paramCapabilities, byte(len(caps)))
	return makeMessage(typeOpen, append(b, caps...))
}
