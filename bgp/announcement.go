package bgp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// AnnouncementStatus is what a neighbor has been sent of a prefix.
type AnnouncementStatus struct {
	Prefix              netip.Prefix        `json:"prefix"`
	Since               time.Time           `json:"since"` // when it was sent on this session first, with just these attributes
	NextHop             netip.Addr          `json:"next_hop"`
	ASPath              []uint32            `json:"as_path"`                    // empty to an internal neighbor
	Prepend             int                 `json:"prepend"`                    // how many entries of ASPath are more than the one that is always there
	MED                 *uint32             `json:"med,omitempty"`              // nil: not sent
	LocalPreference     *uint32             `json:"local_preference,omitempty"` // nil: not sent
	Communities         []Community         `json:"communities,omitempty"`
	LargeCommunities    []LargeCommunity    `json:"large_communities,omitempty"`
	ExtendedCommunities []ExtendedCommunity `json:"extended_communities,omitempty"`
}

// announcement is what one prefix is announced with on one session. It follows from the configuration, the route and the session alone.
type announcement struct {
	asked      Route
	prefix     netip.Prefix
	nextHop    netip.Addr
	asn        uint32 // ours
	pathLength int    // how often it is in the path, 0 to an internal neighbor
	med        *uint32
	preference *uint32
	standard   []Community
	large      []LargeCommunity
	extended   []ExtendedCommunity
}

// outbound is what a session's announcements depend on besides the routes. It is immutable.
type outbound struct {
	config    *Config
	neighbor  *NeighborConfig
	hops      nextHops
	fourOctet bool // the neighbor takes AS numbers of four octets (RFC 6793)
}

// announcement is what the route is announced with.
//
// Prepends have no meaning to an internal neighbor, which needs the path empty: it would take it for a loop. What they are to
// achieve, that other ways are preferred, LOCAL_PREF does there: each that the route asks for takes one off.
func (o *outbound) announcement(r Route) *announcement {
	c := o.config.attributesFor(o.neighbor, r.Prefix)
	a := &announcement{
		asked: r, prefix: r.Prefix, nextHop: o.hops.v4, asn: o.config.BGP.ASN,
		med: c.MED, standard: c.Communities, large: c.LargeCommunities, extended: c.ExtendedCommunities,
	}
	if r.Prefix.Addr().Is6() {
		a.nextHop = o.hops.v6
	}
	if r.GracefulShutdown {
		a.standard = union(a.standard, []Community{communityShutdown})
	}
	if !o.config.BGP.internal(o.neighbor) {
		a.pathLength = 1 + min(int(value(c.Prepend, 0))+int(r.Prepend), maxPrepend)
		return a
	}
	preference := value(c.LocalPreference, defaultPreference)
	preference -= min(preference, uint32(r.Prepend))
	if r.GracefulShutdown {
		preference = 0 // RFC 8326 section 4: the lowest there is
	}
	a.preference = &preference
	return a
}

// value is what p points to, or the default.
func value[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

// status shows it.
func (a *announcement) status(since time.Time) AnnouncementStatus {
	return AnnouncementStatus{
		Prefix: a.prefix, Since: since, NextHop: a.nextHop,
		ASPath: slices.Repeat([]uint32{a.asn}, a.pathLength), Prepend: max(0, a.pathLength-1),
		MED: a.med, LocalPreference: a.preference,
		Communities: a.standard, LargeCommunities: a.large, ExtendedCommunities: a.extended,
	}
}

// Flags of path attributes, RFC 4271 section 4.3.
const (
	flagOptional   = 0x80
	flagTransitive = 0x40
)

// encode is the path attributes in the order of their types, without MP_REACH_NLRI. It is the same for announcements that can share
// an UPDATE, and for no other.
func (a *announcement) encode(fourOctet bool) []byte {
	b := appendAttribute(nil, flagTransitive, attrOrigin, []byte{originIGP})
	b = appendAttribute(b, flagTransitive, attrASPath, a.path(fourOctet))
	if a.prefix.Addr().Is4() {
		b = appendAttribute(b, flagTransitive, attrNextHop, a.nextHop.AsSlice())
	}
	if a.med != nil {
		b = appendAttribute(b, flagOptional, attrMED, binary.BigEndian.AppendUint32(nil, *a.med))
	}
	if a.preference != nil {
		b = appendAttribute(b, flagTransitive, attrLocalPref, binary.BigEndian.AppendUint32(nil, *a.preference))
	}
	var list []byte
	for _, c := range slices.Sorted(slices.Values(a.standard)) {
		list = binary.BigEndian.AppendUint32(list, uint32(c))
	}
	b = appendList(b, attrCommunities, list)
	list = nil
	for _, c := range a.extended {
		list = append(list, c[:]...)
	}
	b = appendList(b, attrExtended, list)
	if !fourOctet && a.asn > 0xffff && a.pathLength > 0 { // RFC 6793 section 4.2.2: only when AS_PATH does not say it all
		b = appendAttribute(b, flagOptional|flagTransitive, attrAS4Path, a.path(true))
	}
	list = nil
	for _, c := range a.large {
		for _, part := range c {
			list = binary.BigEndian.AppendUint32(list, part)
		}
	}
	return appendList(b, attrLarge, list)
}

// path is the AS_PATH, one AS_SEQUENCE or nothing.
func (a *announcement) path(fourOctet bool) []byte {
	if a.pathLength == 0 {
		return nil
	}
	b := []byte{asSequence, byte(a.pathLength)}
	for range a.pathLength {
		switch {
		case fourOctet:
			b = binary.BigEndian.AppendUint32(b, a.asn)
		case a.asn > 0xffff:
			b = binary.BigEndian.AppendUint16(b, asTrans)
		default:
			b = binary.BigEndian.AppendUint16(b, uint16(a.asn))
		}
	}
	return b
}

// appendList appends an optional transitive attribute, unless it is empty.
func appendList(b []byte, kind byte, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	return appendAttribute(b, flagOptional|flagTransitive, kind, value)
}

func appendAttribute(b []byte, flags, kind byte, value []byte) []byte {
	if len(value) > 255 {
		b = append(b, flags|attrExtendedLength, kind)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	} else {
		b = append(b, flags, kind, byte(len(value)))
	}
	return append(b, value...)
}
