package proxy

import (
	"net/netip"
	"strconv"
	"strings"
)

// canonicalAuthority is the authority in the one form that routing, the cache key and the origin all see: in lower case, without an empty port
// and without the scheme's default one (RFC 9110 §4.2.3). false when it is not a host, or a bracketed IPv6 address, with an optional port
// (RFC 3986 §3.2.2). Of the characters that the RFC allows in a name only those in use pass: commas, semicolons and quotes would mean
// something else in the fields that tell the origin of it.
func canonicalAuthority(scheme, authority string) (string, bool) {
	if !isLower(authority) {
		authority = strings.ToLower(authority)
	}
	host, port := authority, ""
	if strings.HasPrefix(authority, "[") {
		end := strings.LastIndexByte(authority, ']')
		if end < 0 || end+1 < len(authority) && authority[end+1] != ':' {
			return "", false
		}
		ip, err := netip.ParseAddr(authority[1:end])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", false
		}
		host, port = authority[:end+1], strings.TrimPrefix(authority[end+1:], ":")
	} else {
		host, port, _ = strings.Cut(authority, ":")
		if !isHostName(host) {
			return "", false
		}
	}
	if port != "" && !isPort(port) {
		return "", false
	}
	if port == "" || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		return host, true
	}
	return authority, true
}

// isLower reports whether s has no capital letter. Front ends leave none.
func isLower(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return true
}

func isHostName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' && c != '~' {
			return false
		}
	}
	return s != ""
}

func isPort(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}
