package proxy

import (
	"time"

	"nearcast/cache"
	"nearcast/health"
)

// ListenConfig is one socket to serve on.
type ListenConfig struct {
	// Address is host:port; without a host, every address of both families.
	Address string `yaml:"address"`
	// TLS terminates TLS and serves HTTP/1.1 and HTTP/2 by ALPN. Without it, HTTP/1.1 and HTTP/2 with prior knowledge.
	TLS bool `yaml:"tls"`
	// HTTP3 serves HTTP/3 on the UDP port of the same number. Default: true where TLS is.
	HTTP3 *bool `yaml:"http3"`
	// RedirectToHTTPS answers every request with 308 to the same URL with https.
	RedirectToHTTPS bool `yaml:"redirect_to_https"`
}

// ServeHTTP3 reports whether the listener serves HTTP/3.
func (c *ListenConfig) ServeHTTP3() bool { return c.TLS && (c.HTTP3 == nil || *c.HTTP3) }

// TLSConfig names the certificates.
type TLSConfig struct {
	Certificates []CertificateConfig `yaml:"certificates"`
}

// CertificateConfig is one PEM pair.
type CertificateConfig struct {
	CertFile string `yaml:"cert_file"` // leaf first, then its chain
	KeyFile  string `yaml:"key_file"`
}

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

// LimitsConfig bounds what clients may use.
type LimitsConfig struct {
	MaxConnections int           `yaml:"max_connections"` // open client connections on all listeners, default 65536
	MaxHeaderSize  cache.Size    `yaml:"max_header_size"` // default 64 KiB
	MaxBodySize    cache.Size    `yaml:"max_body_size"`   // default 1 GiB
	HeaderTimeout  time.Duration `yaml:"header_timeout"`  // default 10s
	IdleTimeout    time.Duration `yaml:"idle_timeout"`    // default 60s
	MaxStreams     int           `yaml:"max_streams"`     // concurrent requests on one h2 or h3 connection, default 128
}

// SetDefaults fills in the defaults.
func (c *LimitsConfig) SetDefaults() {
	*c = LimitsConfig{MaxConnections: 65536, MaxHeaderSize: 64 << 10, MaxBodySize: 1 << 30,
		HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxStreams: 128}
}
