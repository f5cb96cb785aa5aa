package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	asTrans         = 23456 // RFC 6793: stands for an AS number that does not fit, never a real one
	minHoldTime     = 3 * time.Second
	maxHoldTime     = 65535 * time.Second
	maxNeighbors    = 64
	maxPrefixes     = 256
	maxAddresses    = 32 // the edge asks itself at each, over each protocol
	minSelfInterval = 100 * time.Millisecond
	maxConsecutive  = 1000 // more is a slip, and would hold back a withdrawal or an announcement for good
	minBitsIPv4     = 8    // no anycast prefix is shorter; halves of the default route are
	minBitsIPv6     = 16
	maxZone         = 15 // IFNAMSIZ
	minWatchdog     = 2 * time.Second
	maxHoldDown     = 24 * time.Hour
	minDegradedFor  = 2 * time.Second // more than it takes to hear of another edge, or that it is silent
	maxWait         = time.Hour       // longer is a slip, and would keep a route for good that should go, or away that should come
)

// Validate calls report with the key and the fault of each value that can't be.
func (c *Config) Validate(report func(key, fault string)) {
	c.validatePrefixes(report)
	c.validateAddresses(report)
	c.BGP.validate(report)
	has4, has6 := c.families()
	for i := range c.BGP.Neighbors {
		n := &c.BGP.Neighbors[i]
		at := func(key, fault string) { report(fmt.Sprintf("bgp.neighbors[%d].%s", i, key), fault) }
		n.Validate(at)
		n.validateNextHops(has4, has6, at)
		c.validateReach(n, at)
	}
	c.validateAttributes(report)
	c.validateNumbers(report)
}

// families says which families have prefixes.
func (c *Config) families() (has4, has6 bool) {
	for _, p := range c.Prefixes {
		has4 = has4 || p.Addr().Is4()
		has6 = has6 || p.Addr().Is6() && !p.Addr().Is4In6()
	}
	return has4, has6
}

func (c *Config) validatePrefixes(report func(key, fault string)) {
	if len(c.Prefixes) == 0 {
		report("prefixes", "has no prefix; write those you may announce, or leave the whole anycast section out to announce nothing")
	}
	if len(c.Prefixes) > maxPrefixes {
		report("prefixes", fmt.Sprintf("has %d prefixes; at most %d", len(c.Prefixes), maxPrefixes))
	}
	for i, p := range c.Prefixes {
		key := fmt.Sprintf("prefixes[%d]", i)
		if fault := prefixFault(p); fault != "" {
			report(key, fault)
			continue
		}
		for j, q := range c.Prefixes[:i] {
			switch {
			case p == q:
				report(key, fmt.Sprintf("%s is prefixes[%d] again; write it once", p, j))
			case prefixFault(q) == "" && p.Overlaps(q):
				report(key, fmt.Sprintf("%s overlaps with %s (prefixes[%d]); announce one of them", p, q, j))
			}
		}
	}
}

func prefixFault(p netip.Prefix) string {
	a := p.Addr()
	switch {
	case !p.IsValid():
		return "is not a prefix; write an address and a length, such as 192.0.2.0/24"
	case a.Is4In6():
		return fmt.Sprintf("%s is an IPv4 address in IPv6 form; write the IPv4 prefix", p)
	case p.Bits() == 0:
		return "is the default route, which would draw all traffic of the network here; write the anycast prefix"
	case a.Is4() && p.Bits() < minBitsIPv4, a.Is6() && p.Bits() < minBitsIPv6:
		return fmt.Sprintf("%s would draw a large part of all traffic here; write the anycast prefix", p)
	case p != p.Masked():
		return fmt.Sprintf("%s has host bits set; write %s", p, p.Masked())
	case a.IsMulticast() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified():
		return fmt.Sprintf("%s is not for unicast across networks; write the anycast prefix", p)
	}
	return ""
}

func (c *Config) validateAddresses(report func(key, fault string)) {
	if c.ManageAddresses && len(c.Addresses) == 0 {
		report("manage_addresses", "is true and there are no addresses; write them in anycast.addresses, or leave it out")
	}
	if len(c.Addresses) > maxAddresses {
		report("addresses", fmt.Sprintf("has %d addresses; at most %d", len(c.Addresses), maxAddresses))
	}
	for i, a := range c.Addresses {
		key := fmt.Sprintf("addresses[%d]", i)
		if fault := c.addressFault(a); fault != "" {
			report(key, fault)
		} else if j := slices.Index(c.Addresses, a); j < i {
			report(key, fmt.Sprintf("%s is addresses[%d] again; write it once", a, j))
		}
	}
}

func (c *Config) addressFault(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "is not an address; write one such as 192.0.2.1"
	case a.Is4In6():
		return fmt.Sprintf("%s is an IPv4 address in IPv6 form; write %s", a, a.Unmap())
	case a.Zone() != "":
		return fmt.Sprintf("%s names an interface; write %s", a, a.WithZone(""))
	case slices.ContainsFunc(c.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }),
		len(c.Prefixes) == 0, // a fault of its own, as the next
		slices.ContainsFunc(c.Prefixes, func(p netip.Prefix) bool { return prefixFault(p) != "" }):
		return ""
	}
	return fmt.Sprintf("%s lies in none of the prefixes, so that no client would be led here by it; write an address in one of them", a)
}

func (c *SpeakerConfig) validate(report func(key, fault string)) {
	if fault := asnFault(c.ASN); fault != "" {
		report("bgp.asn", fault)
	}
	if !c.RouterID.Is4() || c.RouterID.IsUnspecified() || c.RouterID.IsMulticast() {
		report("bgp.router_id", "must be an IPv4 address other than 0.0.0.0, unlike every other speaker's; usually one of this machine's own")
	}
	if len(c.Neighbors) == 0 {
		report("bgp.neighbors", "has no neighbor; write the routers to announce to")
	}
	if len(c.Neighbors) > maxNeighbors {
		report("bgp.neighbors", fmt.Sprintf("has %d neighbors; at most %d", len(c.Neighbors), maxNeighbors))
	}
	seen := make(map[netip.AddrPort]int)
	for i := range c.Neighbors {
		to := netip.AddrPortFrom(c.Neighbors[i].Address, c.Neighbors[i].Port)
		if j, dup := seen[to]; dup && to.Addr().IsValid() {
			report(fmt.Sprintf("bgp.neighbors[%d].address", i), fmt.Sprintf("%s is bgp.neighbors[%d] again; write it once", to.Addr(), j))
			continue
		}
		seen[to] = i
	}
	c.validateBFD(report)
}

// validateBFD refuses two BFD sessions between the same two addresses: there can be one (RFC 5881 section 3).
func (c *SpeakerConfig) validateBFD(report func(key, fault string)) {
	first := make(map[netip.Addr]int)
	for i := range c.Neighbors {
		n := &c.Neighbors[i]
		if n.BFD == nil || !n.Address.IsValid() {
			continue
		}
		if j, dup := first[n.Address]; dup && c.Neighbors[j].Port != n.Port {
			report(fmt.Sprintf("bgp.neighbors[%d].bfd", i), fmt.Sprintf("%s has a BFD session already, that of bgp.neighbors[%d]; leave one of them out", n.Address, j))
			continue
		}
		first[n.Address] = i
	}
}

func asnFault(asn uint32) string {
	switch asn {
	case 0:
		return "must be an AS number from 1 to 4294967295; there is no default"
	case asTrans:
		return "23456 is AS_TRANS, a stand-in that nobody owns (RFC 6793); write the real AS number"
	case 65535, 4294967295:
		return fmt.Sprintf("%d is reserved and must not be used (RFC 7300); write the real AS number", asn)
	}
	return ""
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *NeighborConfig) Validate(report func(key, fault string)) {
	c.validateAddresses(report)
	if fault := asnFault(c.ASN); fault != "" {
		report("asn", fault)
	}
	if c.Port == 0 {
		report("port", "must be from 1 to 65535; BGP's own is 179")
	}
	if c.TTLSecurity && c.Multihop > 0 {
		report("ttl_security", "excludes multihop: it says that the neighbor is directly connected (RFC 5082); leave one of them out")
	}
	if c.BFD != nil {
		c.BFD.Validate(c.Multihop > 0, func(key, fault string) { report("bfd."+key, fault) })
	}
	switch {
	case c.HoldTime < minHoldTime:
		report("hold_time", "must be at least 3s (RFC 4271); 9s is the default")
	case c.HoldTime > maxHoldTime:
		report("hold_time", "must be at most 65535s")
	case c.HoldTime%time.Second != 0:
		report("hold_time", fmt.Sprintf("must be whole seconds; write %s or %s", c.HoldTime.Truncate(time.Second), c.HoldTime.Truncate(time.Second)+time.Second))
	}
}

func (c *NeighborConfig) validateAddresses(report func(key, fault string)) {
	a, l := c.Address, c.LocalAddress
	switch {
	case !a.IsValid():
		report("address", "is missing; write the router's IP address")
	case a.Is4In6():
		report("address", fmt.Sprintf("%s is an IPv4 address in IPv6 form; write %s", a, a.Unmap()))
	case a.IsUnspecified() || a.IsMulticast():
		report("address", fmt.Sprintf("%s is not a router's address", a))
	case a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "":
		report("address", fmt.Sprintf("%s needs its interface; write %s%%eth0, say", a, a))
	case zoneFault(a):
		report("address", fmt.Sprintf("%s names no interface after the %%", a))
	}
	switch {
	case !l.IsValid():
	case l.Is4In6() || l.IsUnspecified() || l.IsMulticast():
		report("local_address", fmt.Sprintf("%s is not an address of this machine; leave it out for the kernel's choice", l))
	case a.IsValid() && l.Is4() != a.Is4():
		report("local_address", fmt.Sprintf("%s and the neighbor's %s are of different families; write an address of the neighbor's family", l, a))
	case l == a && !a.IsLoopback():
		report("local_address", fmt.Sprintf("%s is the neighbor's own; write an address of this machine", l))
	case l.Is6() && l.IsLinkLocalUnicast() && l.Zone() == "":
		report("local_address", fmt.Sprintf("%s needs its interface; write %s%%eth0, say", l, l))
	case zoneFault(l):
		report("local_address", fmt.Sprintf("%s names no interface after the %%", l))
	}
}

// zoneFault says whether an address has a zone that can't be the name of an interface.
func zoneFault(a netip.Addr) bool {
	return len(a.Zone()) > maxZone || strings.ContainsFunc(a.Zone(), func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' || r == '"' || r == '\\' })
}

// validateReach refuses next hops that would have the routers look for the way to a prefix in that prefix, or at themselves.
func (c *Config) validateReach(n *NeighborConfig, report func(key, fault string)) {
	for _, hop := range []struct {
		key  string
		addr netip.Addr
	}{{"local_address", n.LocalAddress}, {"next_hop_ipv4", n.NextHopIPv4}, {"next_hop_ipv6", n.NextHopIPv6}} {
		if !hop.addr.IsValid() {
			continue
		}
		if hop.addr == n.Address && !hop.addr.IsLoopback() && hop.key != "local_address" {
			report(hop.key, fmt.Sprintf("%s is the neighbor's own; write the address by which it reaches this machine", hop.addr))
		}
		for _, p := range c.Prefixes {
			if prefixFault(p) == "" && p.Contains(hop.addr.WithZone("")) {
				report(hop.key, fmt.Sprintf("%s lies in %s, which is to be announced; write an address of this machine that is its alone", hop.addr, p))
			}
		}
	}
}

func (c *NeighborConfig) validateNextHops(has4, has6 bool, report func(key, fault string)) {
	nh4, nh6 := c.NextHopIPv4, c.NextHopIPv6
	switch {
	case nh4.IsValid() && (!nh4.Is4() || nh4.IsUnspecified() || nh4.IsMulticast()):
		report("next_hop_ipv4", fmt.Sprintf("%s is not a host's IPv4 address; write the one by which this neighbor reaches this machine", nh4))
	case !nh4.IsValid() && has4 && c.Address.Is6():
		report("next_hop_ipv4", "is missing: the session is IPv6 and there are IPv4 prefixes; write the IPv4 address by which this neighbor reaches this machine")
	}
	needs6 := c.Address.Is4() || c.Address.IsLinkLocalUnicast()
	switch {
	case nh6.IsValid() && (!nh6.Is6() || nh6.Is4In6() || nh6.IsUnspecified() || nh6.IsMulticast() || nh6.Zone() != ""):
		report("next_hop_ipv6", fmt.Sprintf("%s is not a host's IPv6 address; write the one by which this neighbor reaches this machine", nh6))
	case !nh6.IsValid() && has6 && needs6:
		report("next_hop_ipv6", "is missing: there are IPv6 prefixes and the session has no global IPv6 address; write the IPv6 address by which this neighbor reaches this machine")
	}
}

func (c *Config) validateNumbers(report func(key, fault string)) {
	if c.SelfProbe.Interval < minSelfInterval {
		report("self_probe.interval", "must be at least 100ms")
	}
	if c.SelfProbe.Timeout <= 0 || c.SelfProbe.Timeout > c.SelfProbe.Interval {
		report("self_probe.timeout", "must be more than 0 and at most the interval")
	}
	if c.Rise.Consecutive < 1 || c.Rise.Consecutive > maxConsecutive {
		report("rise.consecutive", fmt.Sprintf("must be from 1 to %d", maxConsecutive))
	}
	if c.Rise.For < 0 {
		report("rise.for", "must be at least 0s")
	}
	if c.Fall.Consecutive < 1 || c.Fall.Consecutive > maxConsecutive {
		report("fall.consecutive", fmt.Sprintf("must be from 1 to %d", maxConsecutive))
	}
	if c.HoldDown.First <= 0 {
		report("hold_down.first", "must be more than 0s: without it a flapping edge resets clients' requests at every return")
	}
	if c.HoldDown.Max < c.HoldDown.First {
		report("hold_down.max", fmt.Sprintf("must be at least hold_down.first, which is %s", c.HoldDown.First))
	}
	if c.HoldDown.Max > maxHoldDown {
		report("hold_down.max", fmt.Sprintf("must be at most %s; what flaps for longer freezes (hold_down.freeze_after)", maxHoldDown))
	}
	if c.HoldDown.FreezeAfter < 0 || c.HoldDown.FreezeAfter > maxConsecutive {
		report("hold_down.freeze_after", fmt.Sprintf("must be from 0, which is never, to %d", maxConsecutive))
	}
	if c.Rise.For > maxWait {
		report("rise.for", fmt.Sprintf("must be at most %s", maxWait))
	}
	if c.Fall.For < 0 || c.Fall.For > maxWait {
		report("fall.for", fmt.Sprintf("must be from 0s to %s", maxWait))
	}
	if c.Degraded.Prepend < 1 || c.Degraded.Prepend > maxPrepend {
		report("degraded.prepend", fmt.Sprintf("must be from 1 to %d: more than the paths to the regions differ by, and not so many that networks filter the route", maxPrepend))
	}
	if c.Degraded.For < minDegradedFor || c.Degraded.For > maxWait {
		report("degraded.for", fmt.Sprintf("must be from %s, so that regions that fail at the same time have heard of each other before one withdraws, to %s", minDegradedFor, maxWait))
	}
	if c.MaxWithdrawn < 0 {
		report("max_withdrawn", "must be at least 0, which is never to withdraw for what other regions may lack too")
	}
	if least := max(minWatchdog, 3*c.SelfProbe.Interval); c.Watchdog < least || c.Watchdog > maxWait {
		report("watchdog", fmt.Sprintf("must be from %s, 2s or three times self_probe.interval, to %s", least, maxWait))
	}
	c.validateDrain(report)
	c.validateConditions(report)
}

func (c *Config) validateConditions(report func(key, fault string)) {
	at := func(path string) func(key, fault string) {
		return func(key, fault string) { report(path+"."+key, fault) }
	}
	announce, full := c.conditions(nil)
	announce.validate(at("announce_when"))
	full.validate(at("full_when"))
	seen := map[netip.Prefix]int{}
	for i := range c.PerPrefix {
		p := &c.PerPrefix[i]
		path := fmt.Sprintf("per_prefix[%d]", i)
		first, twice := seen[p.Prefix]
		switch {
		case !slices.Contains(c.Prefixes, p.Prefix):
			report(path+".prefix", fmt.Sprintf("%s is not one of the prefixes", p.Prefix))
		case twice:
			report(path+".prefix", fmt.Sprintf("%s is per_prefix[%d] again; write it once", p.Prefix, first))
		}
		seen[p.Prefix] = i
		if p.AnnounceWhen != nil {
			(*Conditions)(p.AnnounceWhen).validate(at(path + ".announce_when"))
		}
		if p.FullWhen != nil {
			(*Conditions)(p.FullWhen).validate(at(path + ".full_when"))
		}
	}
}

func (w *Conditions) validate(report func(key, fault string)) {
	if w.HealthyOrigins < 0 {
		report("healthy_origins", "must be at least 0")
	}
	if w.HealthyRegionalOrigins < 0 {
		report("healthy_regional_origins", "must be at least 0")
	}
	if w.CertificateValidFor < 0 {
		report("certificate_valid_for", "must be at least 0s, which is not expired")
	}
}
