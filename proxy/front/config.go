// Package front opens the sockets, terminates TLS and hands each connection to the front end of its HTTP version.
package front

import (
	"net/netip"
	"runtime"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// ListenConfig is one socket to serve on.
type ListenConfig struct {
	// Address is host:port; without a host, every address of both families.
	Address string `yaml:"address"`
	// TLS terminates TLS and serves HTTP/1.1 and HTTP/2 by ALPN. Without it, HTTP/1.1 and HTTP/2 with prior knowledge.
	TLS bool `yaml:"tls"`
	// HTTP3 serves HTTP/3 on the UDP port of the same number. Default: true where TLS is and ProxyProtocol is not.
	HTTP3 *bool `yaml:"http3"`
	// QUICSockets is how many UDP sockets serve HTTP/3, each by threads of its own. 0, the default: one a core, 8 at most.
	QUICSockets int `yaml:"quic_sockets"`
	// RedirectToHTTPS answers every request with 308 to the same URL with https.
	RedirectToHTTPS bool `yaml:"redirect_to_https"`
	// ProxyProtocol is for a listener behind load balancers that name the client in a PROXY protocol header, version 1 or 2; nil for none.
	ProxyProtocol *ProxyProtocolConfig `yaml:"proxy_protocol"`
}

// ServeHTTP3 reports whether the listener serves HTTP/3.
func (c *ListenConfig) ServeHTTP3() bool {
	if c.HTTP3 == nil {
		return c.TLS && c.ProxyProtocol == nil
	}
	return c.TLS && *c.HTTP3
}

// maxOwnSockets bounds the number of UDP sockets where the configuration does not say it: beyond it, reading them is not what keeps the cores busy.
const maxOwnSockets = 8

func (c *ListenConfig) quicSockets() int {
	if c.QUICSockets > 0 {
		return c.QUICSockets
	}
	return min(runtime.GOMAXPROCS(0), maxOwnSockets)
}

// ProxyProtocolConfig says whose word on a client's address is taken.
type ProxyProtocolConfig struct {
	// From are the load balancers' addresses. A connection from one of them must begin with the header; from any other address it is
	// not looked for, so that it is what it is to HTTP or TLS: no request.
	From []netip.Prefix `yaml:"from"`
}

// TLSConfig names the certificates.
type TLSConfig struct {
	MinVersion   string              `yaml:"min_version"` // "1.2" or "1.3", default "1.2"
	EarlyData    bool                `yaml:"early_data"`  // take requests in 0-RTT over HTTP/3 (RFC 8470), default false
	Certificates []CertificateConfig `yaml:"certificates"`
}

// SetDefaults fills in the defaults.
func (c *TLSConfig) SetDefaults() { c.MinVersion = "1.2" }

// CertificateConfig is one PEM pair. The files are read again when they change.
type CertificateConfig struct {
	CertFile string `yaml:"cert_file"` // leaf first, then its chain
	KeyFile  string `yaml:"key_file"`
	OCSPFile string `yaml:"ocsp_file"` // the certificate's status in DER (RFC 6960), to be stapled; need not be there
}

// LimitsConfig bounds what clients may use.
type LimitsConfig struct {
	MaxConnections int           `yaml:"max_connections"` // open client connections on all listeners, default 65536
	MaxHeaderSize  cache.Size    `yaml:"max_header_size"` // default 64 KiB
	MaxBodySize    cache.Size    `yaml:"max_body_size"`   // default 1 GiB
	HeaderTimeout  time.Duration `yaml:"header_timeout"`  // default 10s
	IdleTimeout    time.Duration `yaml:"idle_timeout"`    // default 60s
	MaxStreams     int           `yaml:"max_streams"`     // concurrent requests on one h2 or h3 connection, default 128

	// MaxConnectionsPerAddress bounds the connections of one IPv4 address, or /64 of IPv6. Default 1024; 0: no limit.
	MaxConnectionsPerAddress int `yaml:"max_connections_per_address"`
	// HandshakesPerAddress bounds the TLS and QUIC handshakes that one such address begins.
	HandshakesPerAddress RateConfig `yaml:"handshakes_per_address"`

	// BodyTimeout is how long a client may keep us waiting, in all, in sending a request's body or taking a response; a second is
	// added for each MinRate bytes that it has moved. Default 60s.
	BodyTimeout time.Duration `yaml:"body_timeout"`
	MinRate     cache.Size    `yaml:"min_rate"` // a second, default 1 KiB
}

// RateConfig is a rate that may be exceeded by a burst.
type RateConfig struct {
	Rate  int `yaml:"rate"`  // a second; 0: no limit
	Burst int `yaml:"burst"` // at once after a silence
}

// SetDefaults fills in the defaults.
func (c *LimitsConfig) SetDefaults() {
	*c = LimitsConfig{MaxConnections: 65536, MaxHeaderSize: 64 << 10, MaxBodySize: 1 << 30,
		HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxStreams: 128,
		MaxConnectionsPerAddress: 1024, HandshakesPerAddress: RateConfig{Rate: 200, Burst: 1000},
		BodyTimeout: time.Minute, MinRate: 1 << 10}
}

// pace is the least speed of clients.
func (c *LimitsConfig) pace() message.Pace {
	return message.Pace{Grace: c.BodyTimeout, Rate: int64(c.MinRate)}
}
