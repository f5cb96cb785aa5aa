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
	// Origins are URLs without a path, by region: http://, https:// or h2c:// (package upstream says what is spoken with each).
	Origins  map[string][]string `yaml:"origins"`
	Health   health.Config       `yaml:"health"`
	Upstream UpstreamConfig      `yaml:"upstream"`
	Cache    cache.Policy        `yaml:"cache"`
	// EarlyData says what becomes of requests that come before the handshake is complete (0-RTT): EarlyDataSafe or EarlyDataOff. It is of use
	// where early data is taken at all, or a hop in front of this one takes it. Default EarlyDataSafe.
	EarlyData string `yaml:"early_data"`
}

// SetDefaults fills in the defaults.
func (c *ServiceConfig) SetDefaults() {
	c.Paths, c.EarlyData = []string{"/"}, EarlyDataSafe
	c.Health.SetDefaults()
	c.Upstream.SetDefaults()
	c.Cache.SetDefaults()
}

// UpstreamConfig bounds the connections to a service's origins.
type UpstreamConfig struct {
	ConnectTimeout  time.Duration `yaml:"connect_timeout"`  // default 2s
	ResponseTimeout time.Duration `yaml:"response_timeout"` // last byte of the request to the response's header section, default 30s
	// ReadTimeout bounds each wait for a part of the response's body. Default 5m: a stream of events or a gRPC stream is quiet for as long
	// as nothing happens, and those that are quiet for longer send something to keep the connection (usually every 15 s to 60 s). An origin that has
	// died is noticed earlier, by TCP keep-alive. A tunnel is not bounded by it.
	ReadTimeout    time.Duration `yaml:"read_timeout"`
	MaxConnections int           `yaml:"max_connections"` // to one origin, tunnels among them, default 256
	MaxAttempts    int           `yaml:"max_attempts"`    // origins tried for one request, default 3

	// CAFile is a file of PEM certificates: who may vouch for https:// origins, in place of the system's. Default "": the system's.
	CAFile string `yaml:"ca_file"`
	// ServerName is the name that https:// origins are asked for (SNI) and must prove. Default "": the host of their URL.
	ServerName string `yaml:"server_name"`
}

// SetDefaults fills in the defaults.
func (c *UpstreamConfig) SetDefaults() {
	*c = UpstreamConfig{ConnectTimeout: 2 * time.Second, ResponseTimeout: 30 * time.Second, ReadTimeout: 5 * time.Minute, MaxConnections: 256, MaxAttempts: 3}
}
