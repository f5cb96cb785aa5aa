package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Attributes are path attributes of announcements. They are given at four places, from the general to the special: for everything,
// for a prefix, for a neighbor, and for a prefix at a neighbor. Lists add up; of a single value the most special one counts.
type Attributes struct {
	// Communities, LargeCommunities and ExtendedCommunities have at most 32 entries each at one place.
	Communities         []Community         `yaml:"communities"`          // RFC 1997
	LargeCommunities    []LargeCommunity    `yaml:"large_communities"`    // RFC 8092
	ExtendedCommunities []ExtendedCommunity `yaml:"extended_communities"` // RFC 4360, RFC 5668
	// MED is the MULTI_EXIT_DISC, RFC 4271 section 5.1.4. Not sent unless given.
	MED *uint32 `yaml:"med"`
	// Prepend is how many times more our AS number stands in the path than the once that it always does, up to 16
	// together with what the degraded state and the drain ladder add. To internal neighbors
	// the path is empty, always (RFC 4271 section 5.1.2). Default 0.
	Prepend *uint8 `yaml:"prepend"`
	// LocalPreference is the LOCAL_PREF for internal neighbors, RFC 4271 section 5.1.5. They are sent 100 unless it is given, external ones none.
	LocalPreference *uint32 `yaml:"local_preference"`
}

// NeighborPrefixConfig is what differs for one of the prefixes at one neighbor.
type NeighborPrefixConfig struct {
	Prefix     netip.Prefix `yaml:"prefix"` // one of Config.Prefixes
	Attributes Attributes   `yaml:"attributes"`
}

const (
	maxCommunities    = 32 // of a kind at one place: with all four places full an UPDATE has room for prefixes still
	defaultPreference = 100
)

// with is a and on top of it what is more special.
func (a Attributes) with(more Attributes) Attributes {
	a.Communities = union(a.Communities, more.Communities)
	a.LargeCommunities = union(a.LargeCommunities, more.LargeCommunities)
	a.ExtendedCommunities = union(a.ExtendedCommunities, more.ExtendedCommunities)
	if more.MED != nil {
		a.MED = more.MED
	}
	if more.Prepend != nil {
		a.Prepend = more.Prepend
	}
	if more.LocalPreference != nil {
		a.LocalPreference = more.LocalPreference
	}
	return a
}

// attributesFor is what the configuration says of a prefix at a neighbor. A prefix that it does not list has the general ones.
func (c *Config) attributesFor(n *NeighborConfig, p netip.Prefix) Attributes {
	a := c.Attributes
	if i := slices.IndexFunc(c.PerPrefix, func(o PrefixConfig) bool { return o.Prefix == p }); i >= 0 {
		a = a.with(c.PerPrefix[i].Attributes)
	}
	a = a.with(n.Attributes)
	if i := slices.IndexFunc(n.PerPrefix, func(o NeighborPrefixConfig) bool { return o.Prefix == p }); i >= 0 {
		a = a.with(n.PerPrefix[i].Attributes)
	}
	return a
}

// internal says whether the neighbor is of our own AS.
func (c *SpeakerConfig) internal(n *NeighborConfig) bool { return n.ASN == c.ASN }

// reach says what kinds of neighbors attributes at a place get to.
type reach struct {
	internal, external bool
	where              string // in an error
	added              int    // prepends that the degraded state and the drain ladder add
}

func (c *Config) validateAttributes(report func(key, fault string)) {
	all := reach{where: "every neighbor here", added: int(c.Degraded.Prepend)}
	for _, step := range c.Drain {
		all.added += int(step.Prepend)
	}
	for i := range c.BGP.Neighbors {
		internal := c.BGP.internal(&c.BGP.Neighbors[i])
		all.internal, all.external = all.internal || internal, all.external || !internal
	}
	if len(c.BGP.Neighbors) == 0 {
		all.internal, all.external = true, true // what is missing is told elsewhere
	}
	c.Attributes.validate("attributes", all, report)
	for i := range c.PerPrefix {
		c.PerPrefix[i].Attributes.validate(fmt.Sprintf("per_prefix[%d].attributes", i), all, report)
	}
	for i := range c.BGP.Neighbors {
		n := &c.BGP.Neighbors[i]
		at := fmt.Sprintf("bgp.neighbors[%d].", i)
		one := reach{internal: c.BGP.internal(n), external: !c.BGP.internal(n), where: "this neighbor", added: all.added}
		n.Attributes.validate(at+"attributes", one, report)
		seen := make(map[netip.Prefix]int)
		for j, o := range n.PerPrefix {
			key := fmt.Sprintf("%sper_prefix[%d]", at, j)
			c.validatePerPrefix(key, at+"per_prefix", j, o.Prefix, seen, report)
			o.Attributes.validate(key+".attributes", one, report)
		}
	}
}

// validatePerPrefix checks which prefix an entry is for; seen has those of the entries before it.
func (c *Config) validatePerPrefix(key, list string, i int, p netip.Prefix, seen map[netip.Prefix]int, report func(key, fault string)) {
	first, twice := seen[p]
	switch {
	case !p.IsValid():
		report(key+".prefix", "is missing; write one of anycast.prefixes")
	case !slices.Contains(c.Prefixes, p):
		report(key+".prefix", fmt.Sprintf("%s is not one of the prefixes; add it to anycast.prefixes, or write one that is there", p))
	case twice:
		report(key+".prefix", fmt.Sprintf("%s is %s[%d] again; write it once", p, list, first))
	default:
		seen[p] = i
	}
}

func (a *Attributes) validate(key string, to reach, report func(key, fault string)) {
	validateList(key+".communities", a.Communities, report)
	validateList(key+".large_communities", a.LargeCommunities, report)
	validateList(key+".extended_communities", a.ExtendedCommunities, report)
	if most := max(0, maxPrepend-to.added); a.Prepend != nil && int(*a.Prepend) > most {
		report(key+".prepend", fmt.Sprintf("must be at most %d: degraded.prepend and drain add %d, and some networks filter a path with more than %d", most, to.added, maxPrepend))
	}
	if a.Prepend != nil && *a.Prepend > 0 && !to.external {
		report(key+".prepend", to.where+" is internal, where the AS path is empty (RFC 4271); write local_preference, lower than the other sites'")
	}
	if a.LocalPreference != nil && !to.internal {
		report(key+".local_preference", to.where+" is external, and LOCAL_PREF is for neighbors of the own AS alone (RFC 4271); write med, prepend or the communities for which the neighbor sets its own")
	}
}

func validateList[E interface {
	comparable
	String() string
}](key string, list []E, report func(key, fault string)) {
	if len(list) > maxCommunities {
		report(key, fmt.Sprintf("has %d entries; at most %d", len(list), maxCommunities))
	}
	for i, e := range list {
		if j := slices.Index(list[:i], e); j >= 0 {
			report(fmt.Sprintf("%s[%d]", key, i), fmt.Sprintf("%s is %s[%d] again; write it once", e.String(), key[strings.LastIndexByte(key, '.')+1:], j))
		}
	}
}
