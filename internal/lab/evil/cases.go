package evil

import (
	"encoding/binary"
	"slices"
)

// Case is one bad message.
type Case struct {
	Name    string
	TwoByte bool   // on a session of two-byte AS numbers
	Message []byte // whole, with its header
}

// Well-formed parts to build bad UPDATEs from. The announced prefix is 203.0.113.0/24.
var (
	nlri      = []byte{24, 203, 0, 113}
	origin    = attribute(0x40, 1, 0)
	asPath4   = attribute(0x40, 2, 2, 1, 0, 0, 0xfb, 0xff)
	asPath2   = attribute(0x40, 2, 2, 1, 0xfb, 0xff)
	nextHop   = attribute(0x40, 3, 10, 1, 9, 1)
	as4Path   = attribute(0xc0, 17, 2, 1, 0, 0, 0xfb, 0xff)
	multicast = attribute(0x80, 14, 0, 1, 2, 4, 10, 1, 9, 1, 0, 24, 203, 0, 113)
)

// attribute is a path attribute, RFC 4271 §4.3.
func attribute(flags, kind byte, value ...byte) []byte {
	return append([]byte{flags, kind, byte(len(value))}, value...)
}

// Cases are messages that broke some speaker once, or that RFC 7606 and RFC 4271 §6 have rules for. The first is harmless.
func Cases() []Case {
	attrs := func(list ...[]byte) []byte { return slices.Concat(list...) }
	usual := attrs(origin, asPath4, nextHop)
	announce := func(name string, attributes ...[]byte) Case {
		return Case{Name: name, Message: Update(nil, attrs(attributes...), nlri)}
	}
	twoByte := func(name string, attributes ...[]byte) Case {
		return Case{Name: name, TwoByte: true, Message: Update(nil, attrs(attributes...), nlri)}
	}
	other := func(name string, body []byte) Case { return Case{Name: name, Message: Message(TypeUpdate, body)} }
	return slices.Concat([]Case{
		announce("a valid UPDATE", usual),
		announce("unknown well-known attribute", usual, attribute(0x40, 99, 0)),
		announce("unknown well-known attribute first", attribute(0x40, 99, 0), usual),
		announce("ORIGIN not transitive", attribute(0, 1, 0), asPath4, nextHop),
		announce("ORIGIN too long", attribute(0x40, 1, 0, 0), asPath4, nextHop),
		announce("ORIGIN undefined", attribute(0x40, 1, 9), asPath4, nextHop),
		announce("NEXT_HOP empty", origin, asPath4, attribute(0x40, 3)),
		announce("NEXT_HOP of 5 bytes", origin, asPath4, attribute(0x40, 3, 1, 2, 3, 4, 5)),
		announce("NEXT_HOP of 16 bytes", origin, asPath4, attribute(0x40, 3, make([]byte, 16)...)),
		announce("NEXT_HOP with bad flags, empty", origin, asPath4, attribute(0, 3)),
		announce("NEXT_HOP with bad flags, first", attribute(0, 3, 1), origin, asPath4),
		announce("AS_PATH empty", origin, attribute(0x40, 2), nextHop),
		announce("AS_PATH segment longer than the attribute", origin, attribute(0x40, 2, 2, 255, 0, 0, 0xfb, 0xff), nextHop),
		announce("AS4_PATH before a last AS_PATH, four-byte session", origin, nextHop, as4Path, asPath4),
		announce("attribute header cut off", usual, []byte{0xc0, 8, 8, 0, 0}),
		announce("COMMUNITIES of 3 bytes", usual, attribute(0xc0, 8, 0, 0, 0)),
		announce("EXTENDED COMMUNITIES of 7 bytes", usual, attribute(0xc0, 16, make([]byte, 7)...)),
		announce("LARGE_COMMUNITY of 5 bytes", usual, attribute(0xc0, 32, make([]byte, 5)...)),
		announce("AGGREGATOR of 3 bytes", usual, attribute(0xc0, 7, 1, 1, 1)),
		announce("every attribute twice", origin, origin, asPath4, asPath4, nextHop, nextHop),
		announce("MP_REACH_NLRI cut off, then NLRI", usual, attribute(0x80, 14, 0, 2, 1, 16, 0)),
		announce("TUNNEL_ENCAPSULATION of rubbish", usual, attribute(0xc0, 23, 0, 1, 0, 9, 1, 1)),
		announce("PREFIX_SID of rubbish", usual, attribute(0xc0, 40, 5, 0, 200, 0)),
		announce("AIGP of rubbish", usual, attribute(0x80, 26, 1, 0, 1)),
		announce("BGP-LS of rubbish", usual, attribute(0x80, 29, 4, 4, 0, 0, 9)),
		announce("PMSI_TUNNEL of rubbish", usual, attribute(0xc0, 22, 1, 1)),
		twoByte("AS4_PATH before AS_PATH", origin, as4Path, asPath2, nextHop),
		twoByte("AS4_PATH before a last AS_PATH", origin, nextHop, as4Path, asPath2),
		twoByte("AS4_PATH longer than AS_PATH", origin, asPath2, nextHop, attribute(0xc0, 17, 2, 3, 0, 0, 0xfb, 0xff, 0, 0, 0, 1, 0, 0, 0, 2)),
		twoByte("AS4_AGGREGATOR without AGGREGATOR", origin, asPath2, nextHop, attribute(0xc0, 18, 0, 0, 0, 1, 1, 1, 1, 1)),
		other("NLRI without attributes", updateBody(nil, nil, nlri)),
		other("attributes longer than the message", append([]byte{0, 0, 0, 200}, origin...)),
		other("withdrawn routes longer than the message", []byte{0xff, 0xff, 0, 0}),
		other("a body of one byte", []byte{0}),
		other("a body of no byte", nil),
		other("withdrawn prefix of 33 bits", updateBody([]byte{33, 1, 2, 3, 4, 5}, nil, nil)),
		other("announced prefix of 200 bits", updateBody(nil, usual, []byte{200, 1, 2, 3})),
		other("MP_REACH_NLRI of a family that was not negotiated", updateBody(nil, attrs(origin, asPath4, attribute(0x80, 14, 0, 25, 70, 4, 10, 1, 9, 1, 0)), nil)),
		other("MP_UNREACH_NLRI of a family that was not negotiated", updateBody(nil, attribute(0x80, 15, 0, 25, 70), nil)),
		other("an error to be treated as withdrawal, with multicast MP_REACH_NLRI", updateBody(nil, attrs(attribute(0, 1, 0), asPath4, multicast), nil)),
		other("bad COMMUNITIES after multicast MP_REACH_NLRI", updateBody(nil, attrs(origin, asPath4, multicast, attribute(0xc0, 8, 0, 0, 0)), nil)),
		other("the largest UPDATE there may be, all rubbish", make([]byte, maxLength-headerLength)),
	}, framing())
}

// framing are messages whose header is wrong, RFC 4271 §6.1. They end the session, as they must.
func framing() []Case {
	length := func(n uint16) []byte {
		m := Update(nil, nil, nil)
		binary.BigEndian.PutUint16(m[16:], n)
		return m
	}
	return []Case{
		{Name: "an UPDATE larger than the protocol allows", Message: append(length(60000), make([]byte, 60000-headerLength-4)...)},
		{Name: "a message shorter than its header", Message: length(headerLength - 1)},
		{Name: "a marker that is not all ones", Message: append(make([]byte, 16), 0, 23, TypeUpdate, 0, 0, 0, 0)},
		{Name: "a message of an unknown type", Message: Message(200, nil)},
	}
}
