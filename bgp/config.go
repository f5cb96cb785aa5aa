package bgp

import (
	"fmt"
	"net/netip"
	"time"

	"nearcast/bgp/bfd"
)

// Config is the anycast section. No prefix, AS number, router id or neighbor has a default.
type Config struct {
	// Prefixes are announced while the edge can serve and withdrawn when it cannot.
	Prefixes []netip.Prefix `yaml:"prefixes"`
	// Addresses are the service addresses, each in one of Prefixes; at most 32. The edge asks itself there. Default: none, and the edge
	// asks itself at the addresses that it listens on.
	Addresses []netip.Addr `yaml:"addresses"`
	// ManageAddresses has the edge put Addresses on the loopback interface before it listens, keep them there, and remove them when it
	// stops, after the routes have been withdrawn and the last connection has ended. Linux, with CAP_NET_ADMIN. Default false.
	ManageAddresses bool `yaml:"manage_addresses"`
	// Attributes of every announcement.
	Attributes Attributes    `yaml:"attributes"`
	BGP        SpeakerConfig `yaml:"bgp"`

	AnnounceWhen AnnounceWhen   `yaml:"announce_when"`
	FullWhen     FullWhen       `yaml:"full_when"`
	PerPrefix    []PrefixConfig `yaml:"per_prefix"`
	SelfProbe    SelfProbe      `yaml:"self_probe"`
	Rise         Rise           `yaml:"rise"`
	Fall         Fall           `yaml:"fall"`
	HoldDown     HoldDown       `yaml:"hold_down"`
	Degraded     Degraded       `yaml:"degraded"`
	Drain        []DrainStep    `yaml:"drain"`
	// LastRegion is what happens instead of a withdrawal for something that other regions may share, when none of them is known to serve in full.
	LastRegion LastRegion `yaml:"last_region"`
	// MaxWithdrawn is how many regions may be without their routes at once before this edge gives its own up for something that it could
	// live with. Default 1.
	MaxWithdrawn int `yaml:"max_withdrawn"`
	// Watchdog is how long the parts of the process that the routes depend on may go without a sign of life before the sessions are closed.
	// Default 5s.
	Watchdog time.Duration `yaml:"watchdog"`
	// StateFile keeps orders and hold-downs over a restart. Default: none, a restart forgets them.
	StateFile string `yaml:"state_file"`

	// from SetRegions
	region  string   // the edge's own
	beacons []Beacon // sorted by region
}

// PrefixConfig is what differs for one prefix.
type PrefixConfig struct {
	Prefix netip.Prefix `yaml:"prefix"`
	// AnnounceWhen and FullWhen stand in the place of the general ones, whole; nil: the general ones.
	AnnounceWhen *AnnounceWhen `yaml:"announce_when"`
	FullWhen     *FullWhen     `yaml:"full_when"`
	// Attributes of announcements of this prefix, besides the general ones.
	Attributes Attributes `yaml:"attributes"`
}

// SpeakerConfig is the BGP speaker's own part.
type SpeakerConfig struct {
	ASN       uint32           `yaml:"asn"`
	RouterID  netip.Addr       `yaml:"router_id"` // IPv4 form
	Neighbors []NeighborConfig `yaml:"neighbors"`
}

// NeighborConfig is one router that the edge announces to.
type NeighborConfig struct {
	Address      netip.Addr    `yaml:"address"`
	ASN          uint32        `yaml:"asn"`
	Port         uint16        `yaml:"port"`          // default 179
	LocalAddress netip.Addr    `yaml:"local_address"` // default: the kernel's choice
	PasswordFile string        `yaml:"password_file"` // TCP MD5, RFC 2385; one line, at most 80 bytes
	TTLSecurity  bool          `yaml:"ttl_security"`  // GTSM, RFC 5082; excludes Multihop
	Multihop     uint8         `yaml:"multihop"`      // TTL of the session's packets, 0: directly connected
	BFD          *bfd.Config   `yaml:"bfd"`           // over several hops with Multihop; nil: none
	HoldTime     time.Duration `yaml:"hold_time"`     // default 9s, 3s to 65535s, whole seconds
	NextHopIPv4  netip.Addr    `yaml:"next_hop_ipv4"` // default: the session's address, when that is IPv4
	NextHopIPv6  netip.Addr    `yaml:"next_hop_ipv6"` // default: the session's address, when that is IPv6
	View         ViewMode      `yaml:"view"`          // what to learn from this router of other regions' announcements, default off

	// Attributes of announcements to this neighbor, and what differs for some of the prefixes.
	Attributes Attributes             `yaml:"attributes"`
	PerPrefix  []NeighborPrefixConfig `yaml:"per_prefix"`
}

// SelfProbe says how the edge asks itself through its own listeners.
type SelfProbe struct {
	Interval time.Duration `yaml:"interval"` // default 1s, at least 100ms
	Timeout  time.Duration `yaml:"timeout"`  // default 500ms, at most Interval
}

// Rise says how good must have lasted before the routes are announced.
type Rise struct {
	Consecutive int           `yaml:"consecutive"` // successful self probes in a row, default 3
	For         time.Duration `yaml:"for"`         // default 5s
}

// Fall says how bad must have lasted before the routes are withdrawn or made less attractive.
type Fall struct {
	Consecutive int           `yaml:"consecutive"` // failed self probes in a row, default 2
	For         time.Duration `yaml:"for"`         // default 0s
}

// HoldDown keeps the routes from coming back after health has taken them away or made them less attractive: First, then twice as long each
// time, up to Max. It starts over after a time of Max without another flap. Coming back is the lossy direction, so it is never hasty.
type HoldDown struct {
	First time.Duration `yaml:"first"` // default 30s
	Max   time.Duration `yaml:"max"`   // default 15m
	// FreezeAfter flaps that were not forgiven the route stays where it has fallen to until an operator's order. Default 8, 0: never.
	FreezeAfter int `yaml:"freeze_after"`
}

// Degraded is how a route is announced that another region's should win against.
type Degraded struct {
	// Prepend is how many times our AS number is put before the path: more than the paths to the regions differ by. Default 4.
	Prepend uint8 `yaml:"prepend"`
	// For is how long at least a route is degraded before a withdrawal for something that this edge could live with. Default 10s,
	// at least 2s.
	For time.Duration `yaml:"for"`
}

// DrainStep is one step on the way out; they add up, and after the last one the routes are withdrawn.
type DrainStep struct {
	Community string        `yaml:"community"` // "graceful-shutdown" (RFC 8326) or none
	Prepend   uint8         `yaml:"prepend"`
	For       time.Duration `yaml:"for"`
}

// LastRegion is a policy for a region that may be the last one.
type LastRegion uint8

// The policies.
const (
	LastServeStale LastRegion = iota // stay, less attractive, serve what the cache has and 503 for the rest
	LastWithdraw                     // withdraw all the same
	LastKeep                         // stay as it is
	numLastRegions
)

var lastRegionNames = [numLastRegions]string{"serve-stale", "withdraw", "keep"}

// String is the policy as the configuration writes it.
func (l LastRegion) String() string {
	if l < numLastRegions {
		return lastRegionNames[l]
	}
	return "unknown policy"
}

// UnmarshalText accepts the names alone.
func (l *LastRegion) UnmarshalText(b []byte) error {
	for i, name := range lastRegionNames {
		if string(b) == name {
			*l = LastRegion(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no policy; write serve-stale, withdraw or keep", b)
}

// SetDefaults fills in the defaults.
func (c *Config) SetDefaults() {
	c.AnnounceWhen.SetDefaults()
	c.FullWhen.SetDefaults()
	c.SelfProbe = SelfProbe{Interval: time.Second, Timeout: 500 * time.Millisecond}
	c.Rise = Rise{Consecutive: 3, For: 5 * time.Second}
	c.Fall.Consecutive = 2
	c.HoldDown = HoldDown{First: 30 * time.Second, Max: 15 * time.Minute, FreezeAfter: 8}
	c.Degraded = Degraded{Prepend: 4, For: 10 * time.Second}
	c.Drain = []DrainStep{{Community: gracefulShutdown, For: 5 * time.Second}, {Prepend: 3, For: 5 * time.Second}}
	c.MaxWithdrawn = 1
	c.Watchdog = 5 * time.Second
}

// SetDefaults fills in the defaults.
func (c *NeighborConfig) SetDefaults() { c.Port, c.HoldTime = 179, 9*time.Second }
