package main

import (
	"net/netip"
	"testing"

	"nearcast/bgp"
)

func TestHealthyMeansThatANeighborHasTheRoutes(t *testing.T) {
	v4, v6 := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:53::/48")
	up := []bgp.PrefixStatus{{Prefix: v4, Announced: true, Level: bgp.LevelFull, Reason: bgp.ReasonServing}, {Prefix: v6, Announced: true, Level: bgp.LevelFull, Reason: bgp.ReasonServing}}
	neighbor := func(state bgp.SessionState, down string, sent ...netip.Prefix) bgp.NeighborStatus {
		return bgp.NeighborStatus{Address: netip.MustParseAddr("198.51.100.1"), State: state, LastDown: down, Prefixes: sent}
	}
	for _, c := range []struct {
		what      string
		prefixes  []bgp.PrefixStatus
		neighbors []bgp.NeighborStatus
		want      bool
		says      string
	}{
		{"everything is there", up, []bgp.NeighborStatus{neighbor(bgp.SessionEstablished, "", v4, v6)}, true, "serving"},
		{"one neighbor is enough for each", up, []bgp.NeighborStatus{neighbor(bgp.SessionEstablished, "", v4), neighbor(bgp.SessionEstablished, "", v6)}, true, "serving"},
		{"nothing is decided yet", nil, nil, false, "starting"},
		{"withdrawn", []bgp.PrefixStatus{{Prefix: v4, Reason: bgp.ReasonOrigins, Detail: "service shop: 0 of 1 healthy origins"}}, nil, false,
			"192.0.2.0/24 is withdrawn: too few healthy origins service shop: 0 of 1 healthy origins"},
		{"on its way out", []bgp.PrefixStatus{{Prefix: v4, Announced: true, Level: bgp.LevelDraining, Reason: bgp.ReasonDraining}},
			[]bgp.NeighborStatus{neighbor(bgp.SessionEstablished, "", v4)}, false, "192.0.2.0/24 is draining: draining"},
		{"no session", up, []bgp.NeighborStatus{neighbor(bgp.SessionConnect, "connection refused")}, false,
			"192.0.2.0/24 has been sent to no neighbor: 198.51.100.1 is connect (connection refused)"},
		{"a family that no neighbor agreed to", up, []bgp.NeighborStatus{neighbor(bgp.SessionEstablished, "", v4)}, false,
			"2001:db8:53::/48 has been sent to no neighbor: 198.51.100.1 is established"},
	} {
		if got, says := announced(c.prefixes, c.neighbors); got != c.want || says != c.says {
			t.Errorf("%s: %t, %q; want %t, %q", c.what, got, says, c.want, c.says)
		}
	}
}
