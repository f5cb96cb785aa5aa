package bfd

import (
	"fmt"
	"net/netip"
	"time"
)

// Config is what an operator says of one session. The router's values count too: packets go out at the larger of both intervals, and
// the time until a loss is noticed is the sender's multiplier times the larger interval of its direction.
type Config struct {
	// Interval is between packets, in both directions. Default 300ms, 50ms to 10s. Below 50 ms a process that shares its processors with
	// requests can't keep its word; above 10 s the hold timer is faster.
	Interval time.Duration `yaml:"interval"`
	// Multiplier is how many packets the router may miss. Default 3, 2 to 20. RFC 5880 has 1 to 255, but one lost packet is no loss of a
	// path, and with more than 20 the hold timer is faster.
	Multiplier int `yaml:"multiplier"`
	// OnDown is what a lost session does to the BGP session. Default close.
	OnDown OnDown `yaml:"on_down"`
	// Passive waits for the router's first packet (RFC 5880 section 6.1). The router must not be passive too.
	Passive bool `yaml:"passive"`
	// Multihop is for a neighbor without multihop that takes BFD over several hops all the same (port 4784, RFC 5883), as FRR does with ttl-security.
	// A neighbor with multihop has it anyway.
	Multihop bool `yaml:"multihop"`
	// MinimumTTL is the least TTL or hop limit of packets received over several hops, as packets that are sent with 255 have left; 0: any. Over
	// one hop it is 255 always (RFC 5881 section 5).
	MinimumTTL int `yaml:"minimum_ttl"`
}

// The limits.
const (
	minInterval   = 50 * time.Millisecond
	maxInterval   = 10 * time.Second
	minMultiplier = 2
	maxMultiplier = 20
)

// SetDefaults fills in the defaults.
func (c *Config) SetDefaults() {
	c.Interval, c.Multiplier, c.OnDown = 300*time.Millisecond, 3, OnDownClose
}

// Validate calls report with the key and the fault of each value that can't be.
// The neighbor's own multihop counts as c.Multihop does.
func (c *Config) Validate(multihop bool, report func(key, fault string)) {
	switch {
	case c.Interval < minInterval || c.Interval > maxInterval:
		report("interval", fmt.Sprintf("must be from %s to %s; 300ms is the default", minInterval, maxInterval))
	case c.Interval%time.Microsecond != 0:
		report("interval", fmt.Sprintf("must be whole microseconds, as packets carry it; write %s", c.Interval.Truncate(time.Microsecond)))
	}
	if c.Multiplier < minMultiplier || c.Multiplier > maxMultiplier {
		report("multiplier", fmt.Sprintf("must be from %d to %d; 3 is the default", minMultiplier, maxMultiplier))
	}
	if c.OnDown != OnDownClose && c.OnDown != OnDownIgnore {
		report("on_down", "must be close or ignore")
	}
	switch {
	case c.MinimumTTL < 0 || c.MinimumTTL > 255:
		report("minimum_ttl", "must be from 0 to 255; 0 takes any")
	case c.MinimumTTL != 0 && !multihop && !c.Multihop:
		report("minimum_ttl", "is for BFD with multihop; over one hop it is 255 anyway (RFC 5881), so leave it out")
	}
}

// OnDown is what a lost session does to the BGP session.
type OnDown string

// The values of on_down.
const (
	OnDownClose  OnDown = "close"  // it is closed with Cease, BFD Down
	OnDownIgnore OnDown = "ignore" // nothing: it is only observed from here; the router drops the routes when it loses the session
)

// Peer is the other end of a session.
type Peer struct {
	Name     string     // in metrics and log lines
	Address  netip.Addr // with its zone if it is link-local
	Local    netip.Addr // invalid: the kernel's choice
	Multihop bool       // RFC 5883 instead of RFC 5881
	Config   Config     // valid
}

// Destination ports, RFC 5881 section 4 and RFC 5883 section 5.
const (
	portSingleHop = 3784
	portMultihop  = 4784
)

func (p *Peer) port() uint16 {
	if p.Multihop {
		return portMultihop
	}
	return portSingleHop
}

// leastTTL is what packets received must have.
func (p *Peer) leastTTL() int {
	if p.Multihop {
		return p.Config.MinimumTTL
	}
	return 255 // RFC 5881 section 5
}
