package front

import (
	"net"
	"net/netip"
)

// Takes reports whether a listener with that address, as it is configured, takes connections to addr: it is that address, or every one of
// its family, or without a host every one.
func Takes(address string, addr netip.Addr) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || !addr.IsValid() {
		return false
	}
	if host == "" {
		return true
	}
	own, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	own, addr = own.Unmap(), addr.Unmap()
	return own == addr || own.IsUnspecified() && own.Is4() == addr.Is4()
}
