// Package config reads the YAML file into the components' own Config types.
package config

import (
	"log/slog"
	"time"

	"nearcast/admin"
	"nearcast/bgp"
	"nearcast/cache"
	"nearcast/fleet"
	"nearcast/geo"
	"nearcast/health/load"
	"nearcast/proxy"
	"nearcast/proxy/front"
)

// Config is the whole file.
type Config struct {
	Version  int                            `yaml:"version"`
	Edge     Edge                           `yaml:"edge"`
	Listen   []front.ListenConfig           `yaml:"listen"`
	TLS      front.TLSConfig                `yaml:"tls"`
	Anycast  *bgp.Config                    `yaml:"anycast"` // nil: a plain caching proxy
	Regions  map[string]geo.Region          `yaml:"regions"`
	Fleet    *fleet.Config                  `yaml:"fleet"` // nil: the other edges are not known
	Services map[string]proxy.ServiceConfig `yaml:"services"`
	Geo      geo.Config                     `yaml:"geo"`
	Cache    cache.Config                   `yaml:"cache"`
	Limits   front.LimitsConfig             `yaml:"limits"`
	Overload load.Config                    `yaml:"overload"`
	Shutdown Shutdown                       `yaml:"shutdown"`
	Admin    admin.Config                   `yaml:"admin"`
	Log      Log                            `yaml:"log"`
}

// Edge names this instance.
type Edge struct {
	Name   string `yaml:"name"`
	Region string `yaml:"region"`
}

// Shutdown bounds a graceful stop.
type Shutdown struct {
	// Pause is how long around the withdrawal attempts to connect get no answer, so that they are repeated and find the next edge.
	// Default 300ms, at most 900ms: TCP repeats after a second. 0: never.
	Pause        time.Duration `yaml:"pause"`
	Settle       time.Duration `yaml:"settle"`        // serving goes on this long after the withdrawal, default 2s
	DrainTimeout time.Duration `yaml:"drain_timeout"` // requests in flight get this long, default 30s
}

// SetDefaults fills in the defaults.
func (s *Shutdown) SetDefaults() {
	*s = Shutdown{Pause: 300 * time.Millisecond, Settle: 2 * time.Second, DrainTimeout: 30 * time.Second}
}

// maxPause is below the second after which TCP repeats an attempt to connect (RFC 6298 §2).
const maxPause = 900 * time.Millisecond

// A stop that takes longer is a slip, and looks like a process that does not end.
const (
	maxSettle = 10 * time.Minute
	maxDrain  = 24 * time.Hour
)

// Validate calls report with the key and the fault of each value that can't be.
func (s *Shutdown) Validate(report func(key, fault string)) {
	if s.Pause < 0 || s.Pause > maxPause {
		report("pause", "must be from 0 to 900ms")
	}
	if s.Settle < 0 || s.Settle > maxSettle {
		report("settle", "must be from 0 to 10m")
	}
	if s.DrainTimeout < 0 || s.DrainTimeout > maxDrain {
		report("drain_timeout", "must be from 0 to 24h")
	}
}

// Log says what is logged and where.
type Log struct {
	Level  slog.Level `yaml:"level"`  // default info; the process log goes to standard error
	Access string     `yaml:"access"` // stdout, stderr or off; default stdout
}

// SetDefaults fills in the defaults.
func (l *Log) SetDefaults() { l.Access = "stdout" }
