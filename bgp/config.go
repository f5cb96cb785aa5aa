package bgp

import (
	"net/netip"
	"time"
)

// Config is the anycast section. No prefix, AS number, router id or neighbor has a default.
type Config struct {
	// Prefixes are announced while the edge can serve and withdrawn when it cannot.
	Prefixes []netip.Prefix `yaml:"prefixes"`
	BGP      SpeakerConfig  `yaml:"bgp"`

	AnnounceWhen AnnounceWhen `yaml:"announce_when"`
	SelfProbe    SelfProbe    `yaml:"self_probe"`
	Rise         Rise         `yaml:"rise"`
	Fall         Fall         `yaml:"fall"`
	HoldDown     HoldDown     `yaml:"hold_down"`
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
	HoldTime     time.Duration `yaml:"hold_time"`     // default 9s, 3s to 65535s, whole seconds
	NextHopIPv4  netip.Addr    `yaml:"next_hop_ipv4"` // default: the session's address, when that is IPv4
	NextHopIPv6  netip.Addr    `yaml:"next_hop_ipv6"` // default: the session's address, when that is IPv6
}

// AnnounceWhen says what must be true to hold the routes, besides the edge's own probe.
type AnnounceWhen struct {
	// HealthyOrigins is how many healthy origins each service needs, in any region. Default 1.
	HealthyOrigins int `yaml:"healthy_origins"`
	// HealthyRegionalOrigins is how many each service needs in the edge's own region. Default 0.
	HealthyRegionalOrigins int `yaml:"healthy_regional_origins"`
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

// Fall says how bad must have lasted before they are withdrawn.
type Fall struct {
	Consecutive int `yaml:"consecutive"` // failed self probes in a row, default 2
}

// HoldDown keeps the routes withdrawn after a withdrawal that health caused: First, then twice as long each time, up to Max.
// It starts over after the routes have been held for Max. Coming back is the lossy direction, so it is never hasty.
type HoldDown struct {
	First time.Duration `yaml:"first"` // default 30s
	Max   time.Duration `yaml:"max"`   // default 15m
}

// SetDefaults fills in the defaults.
func (c *Config) SetDefaults() {
	c.AnnounceWhen.HealthyOrigins = 1
	c.SelfProbe = SelfProbe{Interval: time.Second, Timeout: 500 * time.Millisecond}
	c.Rise = Rise{Consecutive: 3, For: 5 * time.Second}
	c.Fall.Consecutive = 2
	c.HoldDown = HoldDown{First: 30 * time.Second, Max: 15 * time.Minute}
}

// SetDefaults fills in the defaults.
func (c *NeighborConfig) SetDefaults() { c.Port, c.HoldTime = 179, 9*time.Second }
