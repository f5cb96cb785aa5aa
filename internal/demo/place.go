package demo

import (
	"net/netip"
	"strconv"
)

// place is a region of the demonstration: an edge, an origin and a client there.
type place struct {
	name     string
	number   byte // in its addresses
	location string
	// distance is the one-way delay to each place in milliseconds, in the order of places. The router goes by it; nothing
	// is delayed.
	distance [3]int
}

// places are the regions, in the order of their numbers.
var places = [3]place{
	{"nyc", 1, "[40.71, -74.01]", [3]int{0, 40, 75}},
	{"fra", 2, "[50.11, 8.68]", [3]int{40, 0, 115}},
	{"tyo", 3, "[35.68, 139.69]", [3]int{75, 115, 0}},
}

const (
	nyc = iota
	fra
	tyo
)

// The routes that the edges announce, and who is who in BGP: documentation prefixes (RFC 5737, RFC 3849) and AS numbers (RFC 5398).
var (
	prefixIPv4 = netip.MustParsePrefix("192.0.2.0/24")
	prefixIPv6 = netip.MustParsePrefix("2001:db8:53::/48")
)

const (
	edgeASN   = 64500
	routerASN = 64511
)

func (p place) edgeName() string { return p.name + "-1" }

// The loopback addresses: edges are 127.0.R.1, origins 127.0.R.2; what the anycast address is to a client in a region is
// 127.0.10.R, since one machine can be in one place only.
func (p place) edgeAddr() netip.Addr    { return netip.AddrFrom4([4]byte{127, 0, p.number, 1}) }
func (p place) originAddr() netip.Addr  { return netip.AddrFrom4([4]byte{127, 0, p.number, 2}) }
func (p place) anycastAddr() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 10, p.number}) }

var routerAddr = netip.AddrFrom4([4]byte{127, 0, 10, 254})

// ports are the same on all addresses. None needs a privilege.
type ports struct{ https, http, bgp, admin, origin uint16 }

func portsFrom(base uint16) ports {
	if base == 0 {
		return ports{https: 8443, http: 8080, bgp: 1790, admin: 9180, origin: 8000}
	}
	return ports{https: base, http: base + 1, bgp: base + 2, admin: base + 3, origin: base + 4}
}

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

func (p place) url(port ports, path string) string {
	return "https://" + p.anycastAddr().String() + ":" + strconv.Itoa(int(port.https)) + path
}
