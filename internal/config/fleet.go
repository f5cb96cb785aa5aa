package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"nearcast/fleet"
)

// fleet checks the addresses at which edges ask each other, and that there is a section when there is anybody to ask.
func (r *rules) fleet() {
	if f := r.c.Fleet; f != nil {
		if own, err := netip.ParseAddrPort(f.Address); err == nil {
			r.notAnycast("fleet.address", own.Addr())
		}
		if a := r.c.Anycast; a != nil && a.Degraded.For <= f.Silence() {
			r.d.report("anycast.degraded.for", fmt.Sprintf("is %s, and an edge may be silent for %s (fleet.silent_after) before it counts as gone, so that regions could withdraw together",
				a.Degraded.For, f.Silence()), "write more")
		}
	}
	if r.c.TLS.ECH != nil && r.c.Fleet == nil {
		r.d.report("tls.ech", "has keys that come from the fleet's secret, and there is no fleet section", "write one with address and secret_file, also for an edge that is alone")
	}
	taken := make(map[netip.AddrPort]string) // by address, the path that has it
	own, other := "", ""                     // the paths of an address in this edge's region, and of one more that must be another edge's
	for _, region := range slices.Sorted(maps.Keys(r.c.Regions)) {
		for i, e := range r.c.Regions[region].Edges {
			path := entry(join("regions", region)+".edges", i)
			if first, ok := taken[e.AddrPort]; ok && e.IsValid() {
				r.d.report(path, "is the same address as "+first, "write each edge once, in the region in which it stands")
				continue
			}
			taken[e.AddrPort] = path
			r.notAnycast(path, e.Addr())
			if region == r.c.Edge.Region && own == "" {
				own = path
			} else if other == "" {
				other = path
			}
		}
	}
	if len(taken) > fleet.MaxEdges {
		r.d.report("regions", fmt.Sprintf("have the addresses of %d edges; at most %d", len(taken), fleet.MaxEdges), "")
	}
	if r.c.Fleet == nil && other != "" {
		r.d.reportAt(r.d.spanOf(other), "fleet", "is missing, and here is another edge to ask", "write the section with address and secret_file, or leave the edges out")
	}
}

// notAnycast reports an address that is every edge's.
func (r *rules) notAnycast(path string, a netip.Addr) {
	if r.c.Anycast == nil {
		return
	}
	for _, p := range r.c.Anycast.Prefixes {
		if p.Contains(a.Unmap()) {
			r.d.report(path, fmt.Sprintf("%s lies in the anycast prefix %s, and leads to whichever edge is nearest", a, p), "write the edge's own unicast address")
		}
	}
}
