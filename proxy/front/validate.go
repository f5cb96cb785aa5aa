package front

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Validate calls report with the key and the fault of each value that can't be.
func (c *ListenConfig) Validate(report func(key, fault string)) {
	if err := validAddress(c.Address); err != nil {
		report("address", err.Error())
	}
	if c.HTTP3 != nil && *c.HTTP3 && !c.TLS {
		report("http3", "needs tls: true: HTTP/3 has no plain form")
	}
	if c.RedirectToHTTPS && c.TLS {
		report("redirect_to_https", "is for plain listeners: this one is https already")
	}
}

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
}
