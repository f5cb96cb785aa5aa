package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"nearcast/bgp"
	"nearcast/fleet"
	"nearcast/geo"
	"nearcast/internal/config"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue"
)

func TestPeersOfQUICAreTheOtherEdges(t *testing.T) {
	edge := func(a string) geo.EdgeAddress { return geo.EdgeAddress{AddrPort: netip.MustParseAddrPort(a)} }
	cfg := &config.Config{
		Edge: config.Edge{Name: "fra-1", Region: "fra"},
		Regions: map[string]geo.Region{
			"nyc": {Edges: []geo.EdgeAddress{edge("198.51.100.19:9181"), edge("[2001:db8::18]:9999")}},
			"fra": {Edges: []geo.EdgeAddress{edge("198.51.100.2:9181"), edge("198.51.100.3:9181")}},
		},
		Fleet: &fleet.Config{Address: "198.51.100.2:9181"},
	}
	cfg.Fleet.SetDefaults()
	cfg.Fleet.QUIC.Reply = fleet.ReplyTunnel
	r := newRescue(cfg)
	if r.Self != (rescue.Edge{Number: cid.EdgeNumber(netip.MustParseAddrPort("198.51.100.2:9181")), Region: "fra", Address: netip.MustParseAddr("198.51.100.2")}) {
		t.Errorf("we are %+v", r.Self)
	}
	if len(r.Peers) != 3 || r.Reply != rescue.ReplyTunnel || r.DeadAfter != 300*time.Millisecond || r.MaxRate != 100_000 {
		t.Fatalf("%+v", r)
	}
	if p := r.Peers[2]; p.Region != "nyc" || p.Address != netip.MustParseAddr("2001:db8::18") || p.Number != cid.EdgeNumber(netip.MustParseAddrPort("[2001:db8::18]:9999")) {
		t.Errorf("the last is %+v", p)
	}
}

func TestRoutesTellWhatIsAnnounced(t *testing.T) {
	to := &declared{}
	r := newRoutes(to, netip.Prefix{})
	var told []rescue.State
	r.tell = func(s rescue.State) { told = append(told, s) }
	at, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.3.1")
	if r.announces(at) {
		t.Error("announced before anything was")
	}
	r.SetRoutes([]bgp.Route{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}})
	if !r.announces(at) || r.announces(other) {
		t.Error("not what was declared")
	}
	drained := []bgp.Route{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), GracefulShutdown: true}}
	to.set = func() {
		if r.announces(at) {
			t.Error("the routers hear of it before our own hub")
		}
	}
	r.SetRoutes(drained)
	if r.announces(at) || told[0] != rescue.Draining || told[len(told)-1] != rescue.Draining || !slices.Contains(told, rescue.Announcing) {
		t.Errorf("a route that is drained leads elsewhere; the others were told %v", told)
	}
	r.SetRoutes(nil)
	if r.announces(at) {
		t.Error("announced after the withdrawal")
	}
}

func TestStatusShowsQUIC(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	nyc, tyo := netip.MustParseAddr("198.51.100.18"), netip.MustParseAddr("2001:db8:1234:5678::2")
	s := status{Edge: "fra-1", Region: "fra", Started: now, QUIC: []rescue.Status{{Port: 443, State: "announcing",
		Peers: []rescue.PeerStatus{{Region: "nyc", Address: nyc, Reach: "up", Since: now.Add(-time.Minute), State: "draining", RTT: 80.5, MTU: 1452,
			ForwardedOut: 17, ForwardedIn: 3, ReturnedOut: 2, ReturnedIn: 1, LastPacket: now.Add(-3 * time.Second), ParametersDiffer: true, ClockDiffers: true},
			{Region: "tyo", Address: tyo, Reach: "dead", Since: now.Add(-time.Minute), MTU: 1232}},
		Moves: []rescue.Move{{Client: netip.MustParsePrefix("203.0.113.0/24"), From: nyc, Reason: "drained", At: now.Add(-7 * time.Second), Packets: 17}},
	}}}
	table := tableOf(t, s, now)
	var lines []string
	for l := range strings.Lines(table) {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	whole := strings.Join(lines, "\n")
	for _, want := range []string{
		"QUIC 443 WITH REGION REACH FOR STATE RTT MTU SENT/CAME REPLIES LATEST\n198.51.100.18 nyc up 1m0s draining 80.5 ms 1452 17/3 2/1 3s ago\n2001:db8:1234:5678::2 tyo dead 1m0s - - - 0/0 0/0 -",
		"LIMITS DIFFER at 198.51.100.18", "CLOCK DIFFERS at 198.51.100.18",
		"CLIENTS OF EDGE WHY FIRST SEEN HERE PACKETS\n203.0.113.0/24 198.51.100.18 drained 7s ago 17",
	} {
		if !strings.Contains(whole, want) {
			t.Errorf("no %q in:\n%s", want, whole)
		}
	}
}
