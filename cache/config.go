package cache

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Config is the store's part of the configuration.
type Config struct {
	// Memory is the hard budget in bytes for everything stored: bodies, fields, keys and index. Default 256 MiB.
	Memory Size `yaml:"memory"`
	// MaxObject is the largest body that is stored; larger responses pass through. Default 16 MiB, at most Memory.
	MaxObject Size `yaml:"max_object"`
}

// SetDefaults fills in the defaults.
func (c *Config) SetDefaults() { c.Memory, c.MaxObject = 256<<20, 16<<20 }

// Validate calls report with the key and the fault of each value that can't be.
func (c *Config) Validate(report func(key, fault string)) {
	if c.Memory < 1<<20 {
		report("memory", "must be at least 1MiB")
	}
	if c.MaxObject < 0 || c.MaxObject > c.Memory {
		report("max_object", "must be between 0 and the memory budget")
	}
}

// Policy is one service's part of the configuration.
type Policy struct {
	// Enabled switches the cache on for the service. Default true.
	Enabled bool `yaml:"enabled"`
	// DefaultTTL is the freshness of a cacheable response that states none (no Cache-Control lifetime, no Expires) and gives
	// no ground for a heuristic one. Default 0: such a response is not reused.
	DefaultTTL time.Duration `yaml:"default_ttl"`
	// StaleIfError is how long past its freshness a response may serve when every origin fails (RFC 5861 §4).
	// A stale-if-error directive of the response wins. Default 0.
	StaleIfError time.Duration `yaml:"stale_if_error"`
	// CacheStatus adds the Cache-Status field to responses (RFC 9211). Default true.
	CacheStatus bool `yaml:"cache_status"`
	// Compress says which responses are coded, once, for clients that accept it.
	Compress Compress `yaml:"compress"`
}

// SetDefaults fills in the defaults.
func (p *Policy) SetDefaults() {
	p.Enabled, p.CacheStatus = true, true
	p.Compress.SetDefaults()
}

// Validate calls report with the key and the fault of each value that can't be.
func (p *Policy) Validate(report func(key, fault string)) {
	if p.DefaultTTL < 0 {
		report("default_ttl", "must not be negative")
	}
	if p.StaleIfError < 0 {
		report("stale_if_error", "must not be negative")
	}
}

// Size is a number of bytes, written as 512, 64KiB, 256MiB or 2GiB.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"", 1}}

// UnmarshalText parses a size. Fractions, negative numbers and decimal units (kB, MB) are refused: they are too often meant as the binary ones.
func (s *Size) UnmarshalText(text []byte) error {
	t := string(text)
	for _, u := range sizeUnits {
		num, ok := strings.CutSuffix(t, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(num, 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.bytes {
			break
		}
		*s = Size(int64(n) * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size: write a whole number of bytes, KiB, MiB, GiB or TiB, such as 64MiB", t)
}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for i := len(sizeUnits) - 2; i >= 0; i-- {
		if u := sizeUnits[i]; s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
