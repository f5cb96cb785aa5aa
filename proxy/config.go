package proxy

import (
	"time"

	"nearcast/cache"
	"nearcast/health"
)

// ServiceConfig is one service: what requests it takes and which origins answer them.
type ServiceConfig struct {
	// Hosts are exact names, "*.name" for every name below it, or "*" for every host that no other service names.
	Hosts []string `yaml:"hosts"`
	// Paths are prefixes of whole segments. Default "/".
	Paths []string `yaml:"paths"`
	// Origins are http:// URLs without a path, by region.
	Origins  map[string][]string `yaml:"origins"`
	Health   health.Config       `yaml:"health"`
	Upstream UpstreamConfig      `yaml:"upstream"`
	Cache    cache.Policy        `yaml:"cache"`
}

// SetDefaults fills in the defaults.
func (c *ServiceConfig) SetDefaults() {
	c.Paths = []string{"/"}
	c.Health.SetDefaults()
	c.Upstream.SetDefaults()
	c.Cache.SetDefaults()
}

// UpstreamConfig bounds the connections to a service's origins.
type UpstreamConfig struct {
	ConnectTimeout  time.Duration `yaml:"connect_timeout"`  // default 2s
	ResponseTimeout time.Duration `yaml:"response_timeout"` // last byte of the request to the response's header section, default 30s
	MaxConnections  int           `yaml:"max_connections"`  // to one origin, default 256
	MaxAttempts     int           `yaml:"max_attempts"`     // origins tried for one request, default 3
}

// SetDefaults fills in the defaults.
func (c *UpstreamConfig) SetDefaults() {
	*c = UpstreamConfig{ConnectTimeout: 2 * time.Second, ResponseTimeout: 30 * time.Second, MaxConnections: 256, MaxAttempts: 3}
}
