package geo

import (
	"fmt"
	"net/netip"
	"strings"
)

// EdgePort is the port at which an edge is asked unless its address names another.
const EdgePort = 9181

// EdgeAddress is where an edge is asked by other edges: an IP address, and a port unless it is EdgePort.
type EdgeAddress struct{ netip.AddrPort }

// UnmarshalText reads 198.51.100.2, 198.51.100.2:9181, 2001:db8::2, [2001:db8::2] or [2001:db8::2]:9181.
func (e *EdgeAddress) UnmarshalText(text []byte) error {
	s := string(text)
	host := s
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]")
	}
	if a, err := netip.ParseAddr(host); err == nil {
		e.AddrPort = netip.AddrPortFrom(a, EdgePort)
		return nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return fmt.Errorf("%q is not the address of an edge", s)
	}
	e.AddrPort = ap
	return nil
}

// fault says why no edge can be asked there, or "".
func (e EdgeAddress) fault() string {
	switch a := e.Addr(); {
	case !a.IsValid():
		return "is no address"
	case a.Is4In6():
		return fmt.Sprintf("%s is an IPv4 address in IPv6 form; write %s", a, a.Unmap())
	case a.IsUnspecified() || a.IsMulticast():
		return fmt.Sprintf("%s is no edge's address", a)
	case a.Zone() != "" || a.IsLinkLocalUnicast():
		return fmt.Sprintf("%s is not reached from other regions", a)
	case e.Port() == 0:
		return "must have a port from 1 to 65535"
	}
	return ""
}
