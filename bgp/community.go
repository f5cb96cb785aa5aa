package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Community is a standard community, RFC 1997: two numbers of 16 bits, the first of them an AS number.
type Community uint32

// The well-known communities that have a meaning here.
const (
	communityShutdown  Community = 0xffff0000 // RFC 8326
	communityBlackhole Community = 0xffff029a // RFC 7999
)

// wellKnown are the communities that have a name, IANA's registry "BGP Well-known Communities".
var wellKnown = []struct {
	name  string
	value Community
}{
	{"no-export", 0xffffff01},
	{"no-advertise", 0xffffff02},
	{"no-export-subconfed", 0xffffff03},
	{"no-peer", 0xffffff04}, // RFC 3765
	{"graceful-shutdown", communityShutdown},
	{"blackhole", communityBlackhole},
}

// String is the name of a well-known community, and "64500:1" else.
func (c Community) String() string {
	for _, w := range wellKnown {
		if w.value == c {
			return w.name
		}
	}
	return fmt.Sprintf("%d:%d", c>>16, c&0xffff)
}

// MarshalText is String, for JSON.
func (c Community) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads "64500:1" or a well-known name. It refuses graceful-shutdown and blackhole in either form.
func (c *Community) UnmarshalText(b []byte) error {
	v, err := parseCommunity(string(b))
	switch {
	case err != nil:
		return err
	case v == communityBlackhole:
		return fmt.Errorf("%q is BLACKHOLE (RFC 7999), with which routers drop all traffic to the prefix; it is never announced, leave it out", b)
	case v == communityShutdown:
		return fmt.Errorf("%q is GRACEFUL_SHUTDOWN (RFC 8326), which belongs to the drain and is added and removed there; leave it out", b)
	}
	*c = v
	return nil
}

func parseCommunity(text string) (Community, error) {
	plain := strings.ReplaceAll(strings.ToLower(text), "_", "-")
	for _, w := range wellKnown {
		if w.name == text {
			return w.value, nil
		}
		if w.name == plain && w.value != communityBlackhole && w.value != communityShutdown {
			return 0, fmt.Errorf("%q is not a community; write %s", text, w.name)
		}
		if w.name == plain {
			return w.value, nil
		}
	}
	parts, ok := numbers(text, 16, 16)
	if !ok {
		if parts, ok := numbers(text, 32, 16); ok {
			return 0, fmt.Errorf("%q does not fit in a standard community, which has no room for an AS number of more than 16 bits; "+
				"write a large community, %d:%d:0 say, in large_communities", text, parts[0], parts[1])
		}
		return 0, fmt.Errorf("%q is not a community; write two numbers from 0 to 65535, such as \"64500:1\", or no-export, no-advertise, no-export-subconfed, no-peer", text)
	}
	return Community(parts[0]<<16 | parts[1]), nil
}

// LargeCommunity is a large community, RFC 8092: three numbers of 32 bits, the first of them an AS number.
type LargeCommunity [3]uint32

// String is "64500:1:2".
func (c LargeCommunity) String() string { return fmt.Sprintf("%d:%d:%d", c[0], c[1], c[2]) }

// MarshalText is String, for JSON.
func (c LargeCommunity) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the canonical form alone, RFC 8092 section 4.1.
func (c *LargeCommunity) UnmarshalText(b []byte) error {
	parts, ok := numbers(string(b), 32, 32, 32)
	if !ok {
		return fmt.Errorf("%q is not a large community; write three numbers from 0 to 4294967295, such as \"64500:1:2\"", b)
	}
	if parts[0] == 0 || parts[0] == 65535 || parts[0] == 4294967295 {
		return fmt.Errorf("%q begins with %d, which is reserved (RFC 8092); write an AS number first", b, parts[0])
	}
	*c = LargeCommunity(parts)
	return nil
}

// ExtendedCommunity is an extended community as it is on the wire, RFC 4360: type, in most cases a subtype, and value.
type ExtendedCommunity [8]byte

// Types of extended communities that have a text form. Bit 0x40 of the type says that a community is not transitive.
const (
	extTwoOctetAS  = 0x00 // RFC 4360 section 3.1
	extIPv4        = 0x01 // RFC 4360 section 3.2
	extFourOctetAS = 0x02 // RFC 5668
	extTarget      = 0x02
	extOrigin      = 0x03
)

// extKinds are the subtypes with a text form.
var extKinds = map[string]byte{"rt": extTarget, "ro": extOrigin}

// String is "rt:64500:1", "ro:198.51.100.1:1" or "rt:65536:1" for transitive route targets and route origins, and "0x" with the
// eight octets for everything else.
func (c ExtendedCommunity) String() string {
	for name, sub := range extKinds {
		if c[1] != sub {
			continue
		}
		four, two := binary.BigEndian.Uint32(c[2:]), binary.BigEndian.Uint16(c[6:])
		switch {
		case c[0] == extTwoOctetAS:
			return fmt.Sprintf("%s:%d:%d", name, binary.BigEndian.Uint16(c[2:]), binary.BigEndian.Uint32(c[4:]))
		case c[0] == extIPv4:
			return fmt.Sprintf("%s:%s:%d", name, netip.AddrFrom4([4]byte(c[2:6])), two)
		case c[0] == extFourOctetAS && four > 0xffff: // a smaller one would be read as a two-octet AS number
			return fmt.Sprintf("%s:%d:%d", name, four, two)
		}
	}
	return "0x" + hex.EncodeToString(c[:])
}

// MarshalText is String, for JSON.
func (c ExtendedCommunity) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what String writes. An AS number up to 65535 makes a two-octet AS community, whose value has 32 bits; a
// greater one, or an IPv4 address, leaves 16 bits for the value.
func (c *ExtendedCommunity) UnmarshalText(b []byte) error {
	text := string(b)
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		raw, err := hex.DecodeString(digits)
		if err != nil || len(raw) != len(c) {
			return fmt.Errorf("%q is not an extended community; write 0x and the 16 hexadecimal digits of its eight octets", text)
		}
		*c = ExtendedCommunity(raw)
		return nil
	}
	kind, rest, _ := strings.Cut(text, ":")
	sub, known := extKinds[kind]
	admin, value, _ := strings.Cut(rest, ":")
	v, ok := targetValue(admin, value)
	if !known || !ok {
		return fmt.Errorf("%q is not an extended community; write rt: (route target) or ro: (route origin) before an AS number or IPv4 address and a number, "+
			"such as \"rt:64500:1\", \"ro:198.51.100.1:1\" or \"rt:65536:1\" (up to 65535 after an address or an AS number of more than 16 bits), or 0x and 16 hexadecimal digits", text)
	}
	v[1] = sub
	*c = v
	return nil
}

// targetValue is a community with the administrator and the value that belong to it, without subtype.
func targetValue(admin, value string) (c ExtendedCommunity, ok bool) {
	if a, err := netip.ParseAddr(admin); err == nil && a.Is4() {
		v, ok := numbers(value, 16)
		if !ok {
			return c, false
		}
		c[0] = extIPv4
		copy(c[2:], a.AsSlice())
		binary.BigEndian.PutUint16(c[6:], uint16(v[0]))
		return c, true
	}
	if v, ok := numbers(admin+":"+value, 16, 32); ok {
		binary.BigEndian.PutUint16(c[2:], uint16(v[0]))
		binary.BigEndian.PutUint32(c[4:], v[1])
		return c, true
	}
	if v, ok := numbers(admin+":"+value, 32, 16); ok && v[0] > 0xffff {
		c[0] = extFourOctetAS
		binary.BigEndian.PutUint32(c[2:], v[0])
		binary.BigEndian.PutUint16(c[6:], uint16(v[1]))
		return c, true
	}
	return c, false
}

// numbers reads decimal numbers with colons between them, each of so many bits, without signs and leading zeros.
func numbers(text string, bits ...int) (out []uint32, ok bool) {
	parts := strings.Split(text, ":")
	if len(parts) != len(bits) {
		return nil, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, bits[i])
		if err != nil || p != strconv.FormatUint(n, 10) {
			return nil, false
		}
		out = append(out, uint32(n))
	}
	return out, true
}

// union is a with what b has more.
func union[E comparable](a, b []E) []E {
	out := slices.Clip(a)
	for _, e := range b {
		if !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}
