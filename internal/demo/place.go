package demo

import (
	"net/netip"
	"strconv"

	"nearcast/geo"
)

// place is a region of the demonstration: an edge, an origin and a client there.
type place struct {
	name     string
	number   byte // in its addresses
	location geo.Location
}

// places are the regions, in the order of their numbers.
var places = [3]place{
	{"nyc", 1, geo.Location{40.71, -74.01}},
	{"fra", 2, geo.Location{50.11, 8.68}},
	{"tyo", 3, geo.Location{35.68, 139.69}},
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

// distance is how far the router takes it from one place to another to be, in km along the ground. The edges choose
// origins by the same measure here: on the loopback interface every round trip is shorter than light could make it.
func distance(from, to int) int {
	return int(places[from].location.DistanceKM(places[to].location))
}

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
