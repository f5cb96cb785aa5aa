package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Validate calls report with the key and the fault of each value that can't be.
func (c *ServiceConfig) Validate(report func(key, fault string)) {
	if len(c.Hosts) == 0 {
		report("hosts", `must name at least one host, or "*" for all`)
	}
	validateList("hosts", c.Hosts, strings.ToLower, validHost, report)
	if len(c.Paths) == 0 {
		report("paths", `must have at least one prefix, such as "/"`)
	}
	validateList("paths", c.Paths, CanonicalPath, validPath, report)

	if err := validEarlyData(c.EarlyData); err != nil {
		report("early_data", err.Error())
	}

	total, secure := 0, false
	seen := make(map[string]bool)
	for _, region := range slices.Sorted(maps.Keys(c.Origins)) {
		for i, o := range c.Origins[region] {
			total++
			key := fmt.Sprintf("origins.%s[%d]", region, i)
			u, err := ParseOrigin(o)
			if err != nil {
				report(key, err.Error())
				continue
			}
			if seen[u.Host] {
				report(key, "is the same origin as an earlier one")
			}
			seen[u.Host] = true
			secure = secure || u.Scheme == "https"
		}
	}
	for _, k := range [...]struct{ key, value string }{{"ca_file", c.Upstream.CAFile}, {"server_name", c.Upstream.ServerName}} {
		if k.value != "" && !secure && total > 0 {
			report("upstream."+k.key, "is of use to https:// origins alone, and the service has none")
		}
	}
	if total == 0 {
		report("origins", "must have at least one origin, such as http://10.0.0.10:8080")
	}
}

// validateList reports every entry that valid refuses or that is the same as an earlier one.
func validateList(key string, list []string, canonical func(string) string, valid func(string) error, report func(key, fault string)) {
	seen := make(map[string]bool)
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", key, i)
		if err := valid(s); err != nil {
			report(at, err.Error())
			continue
		}
		if seen[canonical(s)] {
			report(at, "is the same as an earlier one")
		}
		seen[canonical(s)] = true
	}
}

// CanonicalPath is a path prefix without its trailing slash, "/" alone apart: prefixes are whole segments, so that "/a" and "/a/" are the same.
func CanonicalPath(path string) string {
	if p := strings.TrimRight(path, "/"); p != "" {
		return p
	}
	return "/"
}

// validPath checks a path prefix.
func validPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New(`must begin with "/"`)
	case strings.ContainsAny(path, "?#*"):
		return errors.New(`is a prefix of the path alone, without "?", "#" or "*"`)
	case strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return errors.New("must be ASCII without spaces; write other characters percent-encoded")
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return errors.New(`must not have "." or ".." as a segment: requests are matched without them`)
		}
	}
	return nil
}

// validHost checks a name of Hosts: a host name, "*.name", "*", or an IP address as a URL has it.
func validHost(host string) error {
	if host == "*" {
		return nil
	}
	if _, ok := netipHost(host); ok {
		return nil
	}
	name := strings.TrimPrefix(host, "*.")
	switch {
	case strings.Contains(name, "*"):
		return errors.New(`may have a wildcard as its whole first label alone: "*.example.com", or "*" for every host`)
	case strings.Contains(name, "/"):
		return errors.New("must be a host name alone, without a scheme or a path")
	case strings.Contains(name, ":"):
		return errors.New("must be without a port; an IPv6 address is written in brackets")
	}
	return validHostName(name)
}

// validHostName checks a DNS name (RFC 1123 §2.1), and lets underscores pass, which are in use.
func validHostName(name string) error {
	if len(name) == 0 || len(name) > 253 {
		return errors.New("must have 1 to 253 characters")
	}
	for label := range strings.SplitSeq(name, ".") {
		bad := strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		})
		switch {
		case label == "":
			return errors.New("has an empty label: no dot at either end, nor two in a row")
		case len(label) > 63:
			return errors.New("has a label of more than 63 characters")
		case bad:
			return errors.New(`may have letters, digits, "-" and "." alone; write an international name in its xn-- form`)
		case strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-"):
			return errors.New(`has a label that begins or ends with "-"`)
		}
	}
	return nil
}

// netipHost parses an IP address as the host of a URL: IPv6 in brackets.
func netipHost(host string) (netip.Addr, bool) {
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		var ok bool
		if inner, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
	}
	ip, err := netip.ParseAddr(inner)
	return ip, err == nil && ip.Is6() == bracketed && ip.Zone() == ""
}

// originPorts are the schemes of origins and the ports that they stand for.
var originPorts = map[string]string{"http": "80", "https": "443", "h2c": "80"}

// ParseOrigin parses an origin as the configuration writes it: scheme://host or scheme://host:port, the scheme being http, https or h2c. The
// URL returned always has a port and a host in lower case.
func ParseOrigin(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Opaque != "" || u.Scheme == "":
		return nil, errors.New("must be a URL such as http://10.0.0.10:8080")
	case originPorts[u.Scheme] == "":
		return nil, fmt.Errorf("has the scheme %q; write an http://, https:// or h2c:// URL", u.Scheme)
	case u.User != nil:
		return nil, errors.New("must not hold a user name or password")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("must end after the port: the path, query and fragment of each request are its own")
	}
	host := strings.ToLower(u.Hostname())
	if ip, err := netip.ParseAddr(host); err != nil {
		if err := validHostName(host); err != nil {
			return nil, fmt.Errorf("has a host that %w", err)
		}
	} else if ip.Zone() != "" {
		return nil, errors.New("must be without a zone: an origin is reached by routing")
	}
	port, err := strconv.ParseUint(cmp.Or(u.Port(), originPorts[u.Scheme]), 10, 16)
	if err != nil || port == 0 || strings.HasSuffix(u.Host, ":") {
		return nil, errors.New("must have a port from 1 to 65535, or none for port " + originPorts[u.Scheme])
	}
	return &url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(host, strconv.FormatUint(port, 10))}, nil
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *UpstreamConfig) Validate(report func(key, fault string)) {
	if c.ConnectTimeout <= 0 {
		report("connect_timeout", "must be more than 0")
	}
	if c.ResponseTimeout <= 0 {
		report("response_timeout", "must be more than 0")
	}
	if c.ReadTimeout <= 0 {
		report("read_timeout", "must be more than 0")
	}
	if c.ServerName != "" {
		if _, ok := netipHost(c.ServerName); !ok {
			if err := validHostName(c.ServerName); err != nil {
				report("server_name", err.Error())
			}
		}
	}
	if c.MaxConnections < 1 {
		report("max_connections", "must be at least 1")
	}
	if c.MaxAttempts < 1 {
		report("max_attempts", "must be at least 1")
	}
}
