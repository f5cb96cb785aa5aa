package bgp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"nearcast/geo"
)

// maxBeacons bounds the table of what is looked for in routers' UPDATEs.
const maxBeacons = 256

// Beacon is a region's beacon: a prefix that its edges alone announce, exactly while they hold the anycast prefixes at full preference.
// Since each region has its own, a router that tells only its best paths shows them all.
type Beacon struct {
	Region string
	Prefix netip.Prefix
}

// SetRegions tells the region that the edge stands in, and all regions' beacons. It goes before everything else but SetDefaults.
func (c *Config) SetRegions(own string, regions map[string]geo.Region) {
	c.region, c.beacons = own, nil
	for _, name := range slices.Sorted(maps.Keys(regions)) {
		if p := regions[name].Beacon; p.IsValid() {
			c.beacons = append(c.beacons, Beacon{name, p})
		}
	}
}

// Beacon is what this edge announces as its region's beacon; ok is false when the region has none.
func (c *Config) Beacon() (p netip.Prefix, ok bool) {
	for _, b := range c.beacons {
		if b.Region == c.region {
			return b.Prefix, true
		}
	}
	return netip.Prefix{}, false
}

// ValidateBeacons calls report with the region and the fault of each beacon that can't be.
func (c *Config) ValidateBeacons(report func(region, fault string)) {
	if len(c.beacons) > maxBeacons {
		report(c.beacons[maxBeacons].Region, fmt.Sprintf("is one of %d; at most %d regions can have one", len(c.beacons), maxBeacons))
	}
	has4, has6 := c.families()
	for i, b := range c.beacons {
		fault := beaconFault(b.Prefix, has4, has6)
		for _, p := range c.Prefixes {
			if fault == "" && p.IsValid() && p.Overlaps(b.Prefix) {
				fault = fmt.Sprintf("%s overlaps with %s, which every region announces; write a prefix that this region alone announces", b.Prefix, p)
			}
		}
		for _, other := range c.beacons[:i] {
			if fault == "" && other.Prefix.Overlaps(b.Prefix) {
				fault = fmt.Sprintf("%s overlaps with %s, the beacon of %s; each region needs one of its own", b.Prefix, other.Prefix, other.Region)
			}
		}
		if fault == "" && b.Region == c.region {
			fault = c.beaconReach(b.Prefix)
		}
		if fault != "" {
			report(b.Region, fault)
		}
	}
}

func beaconFault(p netip.Prefix, has4, has6 bool) string {
	const write = "write a prefix that this region alone announces, such as a /32 or /128 within one's own network, a /24 or /48 across the internet"
	switch fault := prefixFault(p); {
	case fault != "" && p != p.Masked() && prefixFault(p.Masked()) == "":
		return fault
	case fault != "":
		return fmt.Sprintf("%s can't be a beacon; %s", p, write)
	case p.Addr().Is4() && !has4, p.Addr().Is6() && !has6:
		return fmt.Sprintf("%s is of another family than all of anycast.prefixes, so no session carries it; write one of their family", p)
	}
	return ""
}

// beaconReach refuses a beacon in which the way to it would have to be looked for.
func (c *Config) beaconReach(p netip.Prefix) string {
	for i := range c.BGP.Neighbors {
		n := &c.BGP.Neighbors[i]
		for _, a := range []netip.Addr{n.Address, n.LocalAddress, n.NextHopIPv4, n.NextHopIPv6} {
			if a.IsValid() && p.Contains(a.WithZone("")) {
				return fmt.Sprintf("%s has %s in it, over which it would be announced; write a prefix without the sessions' addresses and next hops", p, a)
			}
		}
	}
	return ""
}
