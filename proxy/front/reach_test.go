package front

import (
	"net/netip"
	"testing"
)

func TestWhichAddressesAListenerTakes(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:53::1")
	for address, want := range map[string][2]bool{
		":443": {true, true}, "0.0.0.0:443": {true, false}, "[::]:443": {false, true},
		"192.0.2.1:443": {true, false}, "192.0.2.2:443": {false, false}, "[2001:db8:53::1]:443": {false, true}, "[2001:db8:53:0::1]:443": {false, true},
		"[2001:db8:53::2]:443": {false, false}, "[::ffff:192.0.2.1]:443": {true, false}, "127.0.0.1:443": {false, false},
		"edge.example:443": {false, false}, "443": {false, false}, "": {false, false},
	} {
		if got := [2]bool{Takes(address, v4), Takes(address, v6)}; got != want {
			t.Errorf("%q: IPv4 %v, IPv6 %v; want %v", address, got[0], got[1], want)
		}
	}
	if Takes(":443", netip.Addr{}) {
		t.Error("no address is none")
	}
}
