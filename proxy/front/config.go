// Package front opens the sockets, terminates TLS and hands each connection to the front end of its HTTP version.
package front

import (
	"time"

	"nearcast/cache"
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
