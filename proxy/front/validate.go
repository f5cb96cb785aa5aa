package front

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"nearcast/proxy/front/ech"
	"nearcast/proxy/h3/cid"
)

// maxAltSvcAge is a year: whoever writes more means something else.
const maxAltSvcAge = 365 * 24 * time.Hour

// Validate calls report with the key and the fault of each value that can't be.
func (c *ListenConfig) Validate(report func(key, fault string)) {
	if err := validAddress(c.Address); err != nil {
		report("address", err.Error())
	}
	if c.HTTP3 != nil && *c.HTTP3 && !c.TLS {
		report("http3", "needs tls: true: HTTP/3 has no plain form")
	}
	if c.HTTP3 != nil && *c.HTTP3 && c.ProxyProtocol != nil {
		report("http3", "is not possible with proxy_protocol: no load balancer can say in UDP whose packets it sends")
	}
	if c.QUICSockets < 0 || c.QUICSockets > cid.MaxWorkers {
		report("quic_sockets", "must be from 1 to "+strconv.Itoa(cid.MaxWorkers)+", or 0 for one for two cores")
	}
	if c.QUICSockets > 0 && !c.ServeHTTP3() {
		report("quic_sockets", "is for HTTP/3, which this listener does not serve")
	}
	if age := c.AltSvcMaxAge; age != nil && (*age < 0 || *age > maxAltSvcAge || *age%time.Second != 0) {
		report("alt_svc_max_age", "must be whole seconds, from 0s, which tells clients nothing, to 8760h")
	}
	if c.AltSvcClear && (!c.TLS || c.ServeHTTP3()) {
		report("alt_svc_clear", "is for a listener with tls: true and http3: false, which had HTTP/3 before")
	}
	if c.RedirectToHTTPS && c.TLS {
		report("redirect_to_https", "is for plain listeners: this one is https already")
	}
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *ProxyProtocolConfig) Validate(report func(key, fault string)) {
	if len(c.From) == 0 {
		report("from", "must name the load balancers' addresses: whoever may send the header can pass for anybody")
	}
	for _, p := range c.From {
		switch {
		case p != p.Masked():
			report("from", p.String()+" has bits beyond its length; write "+p.Masked().String())
		case p.Addr().Is4In6():
			report("from", p.String()+" is an IPv4 prefix in IPv6 form; write it as IPv4")
		}
	}
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *TLSConfig) Validate(report func(key, fault string)) {
	if c.MinVersion != "1.2" && c.MinVersion != "1.3" {
		report("min_version", `must be "1.2" or "1.3", in quotes`)
	}
	if c.EarlyDataMaxAge < time.Second || c.EarlyDataMaxAge > maxEarlyDataAge {
		report("early_data_max_age", "must be from 1s to 24h: each ticket that was used within it is remembered")
	}
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *ECHConfig) Validate(report func(key, fault string)) {
	if err := ech.CheckPublicName(c.PublicName); err != nil {
		report("public_name", err.Error())
	}
}

// maxEarlyDataAge keeps what is remembered of tickets within its bound.
const maxEarlyDataAge = 24 * time.Hour

// validAddress checks host:port, where the host is empty or an IP address.
func validAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New(`must be host:port, such as ":443", "192.0.2.1:443" or "[2001:db8::1]:443"`)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("must have a port from 1 to 65535")
	}
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return errors.New("must have an IP address as its host, or none for every address")
	}
	return nil
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *CertificateConfig) Validate(report func(key, fault string)) {
	if c.CertFile == "" {
		report("cert_file", "must name a PEM file with the certificate and its chain")
	}
	if c.KeyFile == "" {
		report("key_file", "must name a PEM file with the private key")
	}
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *LimitsConfig) Validate(report func(key, fault string)) {
	if c.MaxConnections < 1 {
		report("max_connections", "must be at least 1")
	}
	if c.MaxHeaderSize < 1<<10 || c.MaxHeaderSize > 1<<20 {
		report("max_header_size", "must be from 1KiB to 1MiB")
	}
	if c.MaxBodySize < 0 {
		report("max_body_size", "must not be negative")
	}
	if c.HeaderTimeout < 100*time.Millisecond {
		report("header_timeout", "must be at least 100ms")
	}
	if c.IdleTimeout < time.Second {
		report("idle_timeout", "must be at least 1s")
	}
	if c.MaxStreams < 1 || c.MaxStreams > 65536 {
		report("max_streams", "must be from 1 to 65536")
	}
	if c.MaxConnectionsPerAddress < 0 {
		report("max_connections_per_address", "must not be negative; 0 is no limit")
	}
	if c.QUICRetryAbove < 0 {
		report("quic_retry_above", "must not be negative; 0 is only when quic_initials run short")
	}
	if c.QUICHalfOpen < 0 {
		report("quic_half_open", "must not be negative; 0 is no limit")
	}
	if c.QUICHalfOpen > 0 && c.QUICRetryAbove >= c.QUICHalfOpen {
		report("quic_half_open", fmt.Sprintf("must be more than quic_retry_above, which is %d: else clients are refused before they are asked to prove their address", c.QUICRetryAbove))
	}
	if p, all := c.QUICInitialsPerPrefix, c.QUICInitials; p.Rate > 0 && all.Rate > 0 && p.Burst > all.Burst {
		report("quic_initials_per_prefix.burst", fmt.Sprintf("must be at most that of quic_initials, which is %d: else one prefix can use up what is for all", all.Burst))
	}
	if c.BodyTimeout != 0 && c.BodyTimeout < time.Second {
		report("body_timeout", "must be at least 1s, or 0s for no limit")
	}
	if c.MinRate < 0 {
		report("min_rate", "must not be negative")
	}
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *RateConfig) Validate(report func(key, fault string)) {
	if c.Rate < 0 || c.Rate > 1e9 {
		report("rate", "must be from 0, which is no limit, to 1000000000")
	}
	if c.Burst < 1 && c.Rate > 0 || c.Burst > 1e9 {
		report("burst", "must be from 1 to 1000000000")
	}
}
