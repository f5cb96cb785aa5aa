package fleet

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Config is the fleet section. Without one nothing is asked, nothing answered, and nothing known.
type Config struct {
	// Address is host:port of the listener that answers the other edges: a unicast address of this machine. Every address ("0.0.0.0", no
	// host) is refused: the anycast addresses would be among them, and the world could knock at them. No default.
	Address string `yaml:"address"`
	// SecretFile has the fleet's secret, the same in every edge. Each line is one, 32 to 1024 bytes, at most 8: questions are signed
	// with the first, and all are accepted. Not readable by everybody. It is read again when it changes. No default.
	SecretFile string `yaml:"secret_file"`
	// Interval is the time between two questions to one address, more or less a tenth. Default 500ms, 100ms to 10s.
	Interval time.Duration `yaml:"interval"`
	// Timeout is how long an answer may take, and a connection before it. A packet that is lost is sent again within it: less than twice the
	// longest round-trip time and 200ms makes a loss of one packet a failure. Default 1s, 50ms to 10s, at most SilentAfter.
	Timeout time.Duration `yaml:"timeout"`
	// SilentAfter is how long an edge may go without a valid answer before it is silent. Default 3 × Interval, at least 1s; at most 1m.
	SilentAfter time.Duration `yaml:"silent_after"`

	QUIC QUICConfig `yaml:"quic"`
}

const (
	minInterval    = 100 * time.Millisecond
	maxInterval    = 10 * time.Second
	minTimeout     = 50 * time.Millisecond
	maxTimeout     = 10 * time.Second
	minSilentAfter = time.Second
	maxSilentAfter = time.Minute
)

// MaxEdges is how many addresses of edges there may be in all regions together.
const MaxEdges = 256

// SetDefaults fills in the defaults. SilentAfter's depends on Interval: zero stands for it.
func (c *Config) SetDefaults() {
	c.Interval, c.Timeout = 500*time.Millisecond, time.Second
	c.QUIC.SetDefaults()
}

// Silence is SilentAfter with its default.
func (c *Config) Silence() time.Duration {
	if c.SilentAfter != 0 {
		return c.SilentAfter
	}
	return max(minSilentAfter, 3*c.Interval)
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *Config) Validate(report func(key, fault string)) {
	if fault := addressFault(c.Address); fault != "" {
		report("address", fault)
	}
	if c.SecretFile == "" {
		report("secret_file", "is missing; name a file with a line of at least 32 random bytes, the same in every edge")
	}
	if c.Interval < minInterval || c.Interval > maxInterval {
		report("interval", "must be from 100ms to 10s")
	}
	switch after := c.Silence(); {
	case c.Timeout < minTimeout || c.Timeout > maxTimeout:
		report("timeout", "must be from 50ms to 10s")
	case c.Timeout > max(after, minSilentAfter):
		report("timeout", fmt.Sprintf("must be at most silent_after, which is %s: an edge would be silent before its answer is given up", after))
	}
	switch after := c.SilentAfter; {
	case after == 0:
	case after < minSilentAfter || after > maxSilentAfter:
		report("silent_after", "must be from 1s to 1m")
	case after < 2*c.Interval:
		report("silent_after", "must be at least twice the interval, or one lost answer makes an edge silent")
	}
}

func addressFault(address string) string {
	if address == "" {
		return "is missing; write host:port of a unicast address of this machine, such as 198.51.100.2:9181"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "must be host:port, such as 198.51.100.2:9181"
	}
	a, err := netip.ParseAddr(host)
	switch n, portErr := strconv.ParseUint(port, 10, 16); {
	case host == "" || err == nil && a.IsUnspecified():
		return "must name one address: every address would answer at the anycast addresses too, where anybody can knock"
	case err != nil:
		return "must have an IP address as its host, such as 198.51.100.2:9181"
	case a.IsMulticast() || a.Zone() != "" || a.Is6() && a.IsLinkLocalUnicast():
		return "must have an address that the other regions reach"
	case portErr != nil || n == 0:
		return "must have a port from 1 to 65535"
	}
	return ""
}
