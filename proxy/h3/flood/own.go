package flood

import "net/netip"

// What is kept for the machine itself. An edge asks itself whether it answers, and takes back its routes when it does not: that a flood
// must not bring about, for it would then move on to the next edge, and so through all.
//
// It does so from a loopback address. The kernel lets nothing in that pretends to come from there (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3), so what is kept is out
// of reach of a flood, and nothing has to be proved. It is bounded all the same: a load balancer on this machine may bring everybody from there.
var ownRate = Rate{PerSecond: 256, Burst: 512}

// ownHalfOpen is how many handshakes may be in progress beyond the limit, of the machine with itself.
const ownHalfOpen = 256

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

func own(from netip.AddrPort) bool {
	a := from.Addr().Unmap()
	return a == loopback4 || a == loopback6
}
