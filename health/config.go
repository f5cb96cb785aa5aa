package health

import (
	"fmt"
	"strings"
	"time"
)

// maxConsecutive bounds rise and fall: more is a slip, and would keep a dead origin for good.
const maxConsecutive = 1000

// Config says how one service's origins are probed.
type Config struct {
	// Path is the request target of the probe. Default "/".
	Path string `yaml:"path"`
	// Host is the probe's Host field. Default: the service's first host without a wildcard, else the origin's own authority.
	Host string `yaml:"host"`
	// Interval is the time between the starts of two probes of one origin. Default 1s, at least 100ms.
	Interval time.Duration `yaml:"interval"`
	// Timeout ends a probe. Default 500ms, at most Interval.
	Timeout time.Duration `yaml:"timeout"`
	// Rise is the number of successes in a row that bring an origin up. Default 2.
	Rise int `yaml:"rise"`
	// Fall is the number of failures in a row that bring it down. Default 3.
	Fall int `yaml:"fall"`
}

// SetDefaults fills in the defaults.
func (c *Config) SetDefaults() {
	*c = Config{Path: "/", Interval: time.Second, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3}
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *Config) Validate(report func(key, fault string)) {
	if !strings.HasPrefix(c.Path, "/") {
		report("path", `must begin with "/"`)
	}
	if !sendable(c.Path) {
		report("path", "must be ASCII without spaces; write other characters percent-encoded")
	}
	if strings.Contains(c.Path, "#") {
		report("path", `must not have a "#": fragments are not sent`)
	}
	if !sendable(c.Host) || strings.ContainsAny(c.Host, "/?#@\\") {
		report("host", "must be a host name, with a port or without")
	}
	if c.Interval < 100*time.Millisecond {
		report("interval", "must be at least 100ms")
	}
	if c.Timeout <= 0 || c.Timeout > c.Interval {
		report("timeout", "must be more than 0 and at most the interval")
	}
	if c.Rise < 1 || c.Rise > maxConsecutive {
		report("rise", fmt.Sprintf("must be from 1 to %d", maxConsecutive))
	}
	if c.Fall < 1 || c.Fall > maxConsecutive {
		report("fall", fmt.Sprintf("must be from 1 to %d", maxConsecutive))
	}
}

// sendable reports whether s can stand in a request's line or field without being taken for several.
func sendable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
