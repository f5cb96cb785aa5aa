// Package front opens the sockets, terminates TLS and hands each connection to the front end of its HTTP version.
package front

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"nearcast/cache"
	"nearcast/proxy/h3"
	"nearcast/proxy/h3/flood"
	"nearcast/proxy/h3/replay"
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
	// QUICSockets is how many UDP sockets serve HTTP/3, each by threads of its own. 0, the default: one for two cores, 8 at most. One reads more than
	// a core can send, and each further one makes smaller batches of what comes.
	QUICSockets int `yaml:"quic_sockets"`
	// AltSvcMaxAge is how long clients may remember that HTTP/3 is here (RFC 7838 §3.1), to the second. 0: they are not told. Default: a day.
	AltSvcMaxAge *time.Duration `yaml:"alt_svc_max_age"`
	// AltSvcClear has clients forget the HTTP/3 that was here, for a listener that has it no longer (RFC 7838 §3). It is said when it is
	// asked for and not wherever there is no HTTP/3: most such listeners never had it, and would say so in each response.
	AltSvcClear bool `yaml:"alt_svc_clear"`
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
	return max(1, min(runtime.GOMAXPROCS(0)/2, maxOwnSockets))
}

// altSvc is the Alt-Svc value for what is served on a port; "" for none.
func (c *ListenConfig) altSvc(port uint16) string {
	age := h3.AltSvcMaxAge
	if c.AltSvcMaxAge != nil {
		age = *c.AltSvcMaxAge
	}
	switch {
	case c.AltSvcClear:
		return altSvcClear
	case c.ServeHTTP3() && age >= time.Second:
		return fmt.Sprintf(`h3=":%d"; ma=%d`, port, age/time.Second)
	}
	return ""
}

// altSvcClear tells clients that there is no alternative any more (RFC 7838 §3).
const altSvcClear = "clear"

// ProxyProtocolConfig says whose word on a client's address is taken.
type ProxyProtocolConfig struct {
	// From are the load balancers' addresses. A connection from one of them must begin with the header; from any other address it is
	// not looked for, so that it is what it is to HTTP or TLS: no request.
	From []netip.Prefix `yaml:"from"`
}

// TLSConfig names the certificates.
type TLSConfig struct {
	MinVersion string `yaml:"min_version"` // "1.2" or "1.3", default "1.2"
	EarlyData  bool   `yaml:"early_data"`  // take requests in 0-RTT over HTTP/3 (RFC 8470), default false
	// EarlyDataMaxAge is how old a session ticket may be that early data comes with: requests with an older one wait for the handshake. It bounds how
	// long a recorded flight is of use to anyone. Default 1h, at most 24h.
	EarlyDataMaxAge time.Duration       `yaml:"early_data_max_age"`
	ECH             *ECHConfig          `yaml:"ech"` // nil: the name that a client wants can be read on its way
	Certificates    []CertificateConfig `yaml:"certificates"`
}

// ECHConfig is Encrypted Client Hello (RFC 9849). Its keys come from the fleet's secret.
type ECHConfig struct {
	// PublicName is what everybody can read instead of the name that a client wants. Clients with an outdated key come to it, so that every edge
	// needs a certificate for it, and the same name.
	PublicName string `yaml:"public_name"`
}

// SetDefaults fills in the defaults.
func (c *TLSConfig) SetDefaults() {
	c.MinVersion, c.EarlyDataMaxAge = "1.2", replay.DefaultMaxAge
}

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

	// QUICInitialsPerPrefix and QUICInitials bound the QUIC clients that begin a handshake and do not come back: those of one /24 of IPv4, or /56 of
	// IPv6, and all. A client that proves its address is given back, so that honest ones need no more than what is under way within a round trip.
	QUICInitialsPerPrefix RateConfig `yaml:"quic_initials_per_prefix"`
	QUICInitials          RateConfig `yaml:"quic_initials"`
	// QUICRetryAbove is the number of QUIC handshakes in progress from which on a client must prove its address first (Retry), which costs it one
	// round trip. Default 256; 0: only when half of what strangers may use of quic_initials is gone.
	QUICRetryAbove int `yaml:"quic_retry_above"`
	// QUICHalfOpen is the largest number of QUIC handshakes in progress. Each may take some 70 KiB. Default 4096; 0: no limit.
	QUICHalfOpen int `yaml:"quic_half_open"`

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
		QUICInitialsPerPrefix: RateConfig{Rate: 32, Burst: 512}, QUICInitials: RateConfig{Rate: 256, Burst: 2048}, QUICRetryAbove: 256, QUICHalfOpen: 4096,
		BodyTimeout: time.Minute, MinRate: 1 << 10}
}

// guard are the limits of a flood of QUIC clients.
func (c *LimitsConfig) guard() flood.Limits {
	return flood.Limits{Prefix: c.QUICInitialsPerPrefix.guard(), All: c.QUICInitials.guard(), RetryAbove: c.QUICRetryAbove, HalfOpen: c.QUICHalfOpen}
}

func (c RateConfig) guard() flood.Rate { return flood.Rate{PerSecond: c.Rate, Burst: c.Burst} }

// pace is the least speed of clients.
func (c *LimitsConfig) pace() message.Pace {
	return message.Pace{Grace: c.BodyTimeout, Rate: int64(c.MinRate)}
}
