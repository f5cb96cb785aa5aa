package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"nearcast/proxy/front"
	"nearcast/proxy/h3/cid"
)

// maxPeers is how many other edges may send QUIC packets on to each other.
const maxPeers = 255

// Rescues says whether edges send QUIC packets of each other's connections on.
func (c *Config) Rescues() bool {
	return c.Fleet != nil && c.Fleet.QUIC.Rescue && slices.ContainsFunc(c.Listen, func(l front.ListenConfig) bool { return l.ServeHTTP3() })
}

// rescue checks that packets of other edges' connections can be sent on, and come back.
func (r *rules) rescue() {
	if !r.c.Rescues() {
		return
	}
	own, err := netip.ParseAddrPort(r.c.Fleet.Address)
	if err != nil {
		return // said already
	}
	listed, numbers := false, make(map[uint32]string) // the path of the edge with a number
	hosts := make(map[netip.Addr]string)              // and of one with an address
	var addresses []netip.Addr
	for _, region := range slices.Sorted(maps.Keys(r.c.Regions)) {
		for i, e := range r.c.Regions[region].Edges {
			path := entry(join("regions", region)+".edges", i)
			listed = listed || same(e.AddrPort, own) && region == r.c.Edge.Region
			addresses = append(addresses, e.Addr())
			n := cid.EdgeNumber(e.AddrPort)
			if first, ok := numbers[n]; ok && !r.d.refused(path) {
				r.d.report(path, "has by chance the same number in QUIC connection IDs as "+first, "give one of them another port")
			}
			numbers[n] = path
			host := e.Addr().Unmap()
			if first, ok := hosts[host]; ok && !r.d.refused(path) {
				r.d.report(path, "has the address of "+first+", and QUIC packets are sent on to an edge by its address alone, at the port of the QUIC listener",
					"give each edge an address of its own, or write fleet.quic.rescue: false in every edge")
			}
			hosts[host] = path
		}
	}
	if len(addresses) == 0 || len(addresses) == 1 && listed {
		return // alone, so far
	}
	if !listed {
		r.d.report("fleet.address", "is not among the edges of this edge's region, where the other edges look for the owner of a QUIC connection",
			fmt.Sprintf("write %s in %s.edges, in the configuration of every edge, or fleet.quic.rescue: false", own, join("regions", r.c.Edge.Region)))
	}
	if len(numbers) > maxPeers+1 {
		r.d.report("regions", fmt.Sprintf("have %d edges; at most %d send each other QUIC packets on", len(numbers), maxPeers+1), "write fleet.quic.rescue: false")
	}
	for i := range r.c.Listen {
		r.rescueListener(entry("listen", i)+".address", &r.c.Listen[i], addresses)
	}
}

// rescueListener checks that a QUIC listener has its port at this machine's unicast address too, in the families of the edges' addresses.
func (r *rules) rescueListener(path string, l *front.ListenConfig, edges []netip.Addr) {
	host, port, err := net.SplitHostPort(l.Address)
	if err != nil || !l.ServeHTTP3() {
		return
	}
	hint := fmt.Sprintf(`write ":%s", once for all addresses at this port; or fleet.quic.rescue: false, with which QUIC connections end when the route moves`, port)
	if host == "" {
		return
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return // said already
	}
	if !a.IsUnspecified() {
		r.d.report(path, "is one address, and the other edges send QUIC packets on to this edge's unicast address at that port", hint)
		return
	}
	for _, e := range edges {
		if e.Is4() != a.Is4() {
			r.d.report(path, fmt.Sprintf("is of one family, and QUIC packets can't be sent on to %s from it", e), hint)
			return
		}
	}
}

func same(a, b netip.AddrPort) bool {
	return a.Addr().Unmap() == b.Addr().Unmap() && a.Port() == b.Port()
}
