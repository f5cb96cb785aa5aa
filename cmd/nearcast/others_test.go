package main

import (
	"net/netip"
	"testing"
	"time"

	"nearcast/bgp"
	"nearcast/cache"
	"nearcast/fleet"
	"nearcast/health"
	"nearcast/proxy/front"
)

var somePrefix = netip.MustParsePrefix("192.0.2.0/24")

// TestWhatOtherEdgesSay: only what is heard, and new enough, counts.
func TestWhatOtherEdgesSay(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	says := func(level fleet.Level, age time.Duration, wants bool) *fleet.Report {
		r := &fleet.Report{Age: age, Prefixes: []fleet.PrefixReport{{Prefix: somePrefix, Level: level}}}
		if wants {
			r.Intents = []fleet.Intent{{Prefix: somePrefix}}
		}
		return r
	}
	at := netip.MustParseAddrPort("198.51.100.2:9181")
	for _, c := range []struct {
		what    string
		peer    fleet.Peer
		heard   bool
		unasked bool
		route   bgp.OtherRoute
	}{
		{"full", fleet.Peer{State: fleet.Heard, Report: says(fleet.LevelFull, 0, false), HeardAt: now}, true, false, bgp.OtherRoute{Level: bgp.LevelFull}},
		{"degraded, and lacks something", fleet.Peer{State: fleet.Heard, Report: says(fleet.LevelDegraded, 0, true), HeardAt: now}, true, false, bgp.OtherRoute{Level: bgp.LevelDegraded, Wants: true}},
		{"draining", fleet.Peer{State: fleet.Heard, Report: says(fleet.LevelDraining, 0, false), HeardAt: now}, true, false, bgp.OtherRoute{Level: bgp.LevelDraining}},
		{"a word of a later version", fleet.Peer{State: fleet.Heard, Report: says(fleet.LevelUnknown, 0, false), HeardAt: now}, true, false, bgp.OtherRoute{}},
		{"it answers and has not decided for long", fleet.Peer{State: fleet.Heard, Report: says(fleet.LevelFull, 4*time.Second, false), HeardAt: now.Add(-time.Second)}, false, false, bgp.OtherRoute{}},
		{"silent", fleet.Peer{State: fleet.Silent, Report: says(fleet.LevelFull, 0, false), HeardAt: now}, false, false, bgp.OtherRoute{}},
		{"hardly asked", fleet.Peer{State: fleet.Unknown}, false, true, bgp.OtherRoute{}},
	} {
		c.peer.Address, c.peer.Region = at, "nyc"
		got := heardEdges([]*fleet.Peer{&c.peer}, now)
		if len(got) != 1 || got[0].Heard != c.heard || got[0].Unasked != c.unasked || got[0].Routes[somePrefix] != c.route || got[0].Region != "nyc" || got[0].Name != at.String() {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
}

// TestARouteThatNoNeighborHasIsNotHeld: another edge that believed it would withdraw the last one that there is.
func TestARouteThatNoNeighborHasIsNotHeld(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	prefix := bgp.PrefixStatus{Prefix: somePrefix, Announced: true, Level: bgp.LevelFull, Reason: bgp.ReasonServing, Since: now.Add(-time.Hour), WantsToLeave: true}
	for _, c := range []struct {
		what      string
		announced bool
		level     bgp.Level
		sent      [][]netip.Prefix // by neighbor
		want      fleet.Level
		says      string
	}{
		{"one of two neighbors has it", true, bgp.LevelFull, [][]netip.Prefix{nil, {somePrefix}}, fleet.LevelFull, "serving"},
		{"no session", true, bgp.LevelFull, [][]netip.Prefix{nil, nil}, fleet.LevelWithdrawn, "no neighbor has been sent it"},
		{"a session without its family", true, bgp.LevelDegraded, [][]netip.Prefix{{netip.MustParsePrefix("2001:db8:53::/48")}}, fleet.LevelWithdrawn, "no neighbor has been sent it"},
		{"withdrawn", false, bgp.LevelWithdrawn, [][]netip.Prefix{nil}, fleet.LevelWithdrawn, "serving"},
	} {
		p := prefix
		p.Announced, p.Level = c.announced, c.level
		neighbors := make([]bgp.NeighborStatus, len(c.sent))
		for i, sent := range c.sent {
			neighbors[i].Prefixes = sent
		}
		r := newReport([]bgp.PrefixStatus{p}, neighbors, now)
		if len(r.Prefixes) != 1 || r.Prefixes[0].Level != c.want || r.Prefixes[0].Reason != c.says || len(r.Intents) != 1 {
			t.Errorf("%s: %+v", c.what, r)
		}
	}
}

// TestBeaconsSpeakForRegionsThatAreNotHeard.
func TestBeaconsSpeakForRegionsThatAreNotHeard(t *testing.T) {
	edges := []bgp.OtherEdge{{Name: "nyc-1", Region: "nyc", Heard: true}, {Name: "tyo-1", Region: "tyo"}}
	regions := []bgp.RegionView{{Region: "nyc", Seen: true, Known: true}, {Region: "tyo", Seen: true, Known: true}, {Region: "syd", Known: true}, {Region: "ams", Draining: true}}
	got := addBeacons(edges, regions, []netip.Prefix{somePrefix})
	if len(got) != 3 || got[2].Region != "tyo" || !got[2].Heard || got[2].Routes[somePrefix].Level != bgp.LevelFull {
		t.Errorf("%+v, want one more for Tokyo", got)
	}
}

// TestAnExpiredCertificateIsNotTheEdgeFailing: every region may have the same.
func TestAnExpiredCertificateIsNotTheEdgeFailing(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	in := selfInputs([]*health.State{
		{ID: health.ID{Name: ":443", Protocol: health.H2}, Status: health.Down, Reason: health.ReasonCertificate, At: at},
		{ID: health.ID{Name: ":80", Protocol: health.H1}, Status: health.Up, At: at.Add(-time.Second)}})
	if in.Self != bgp.SelfOK || !in.Certificate.Known || in.Certificate.Left >= 0 || !in.SelfAt.Equal(at.Add(-time.Second)) {
		t.Errorf("%+v", in)
	}
	if in := selfInputs([]*health.State{{Status: health.Up, At: at}, {Status: health.Unknown}}); in.Self != bgp.SelfUnknown || !in.SelfAt.IsZero() {
		t.Errorf("one has never been probed: %+v", in)
	}
	first := firstToExpire([]front.CertificateState{{File: "b", NotAfter: at.Add(2 * time.Hour)}, {File: "a", NotAfter: at.Add(time.Hour)}}, at)
	if !first.Known || first.Left != time.Hour {
		t.Errorf("%+v", first)
	}
	if firstToExpire(nil, at).Known || diskFault(nil) != "" || diskFault(&cache.DiskStatus{}) != "" {
		t.Error("faults of what is not there")
	}
}
