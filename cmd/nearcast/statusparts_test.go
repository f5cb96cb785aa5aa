package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nearcast/bgp"
	"nearcast/bgp/bfd"
	"nearcast/fleet"
	"nearcast/health/load"
	"nearcast/internal/loopback"
)

// tableOf is the table of what the edge itself would answer with: the names of fields on both sides are tested with it.
func tableOf(t *testing.T, s status, now time.Time) string {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var st statusView
	if err := json.Unmarshal(raw, &st); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := st.write(&out, now); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestStatusShowsWhatIsWrongAroundTheEdge(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	v4, v6 := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:53::/48")
	says := &fleet.Report{Load: "high", Prefixes: []fleet.PrefixReport{{Prefix: v4, Level: fleet.LevelFull}, {Prefix: v6, Level: fleet.LevelDegraded}}}
	s := status{
		Edge: "fra-1", Region: "fra", Started: now,
		Prefixes: []bgp.PrefixStatus{{Prefix: v4, Level: bgp.LevelFull, Reason: bgp.ReasonServing, Since: now}},
		Neighbors: []bgp.NeighborStatus{
			{Address: netip.MustParseAddr("198.51.100.1"), State: bgp.SessionEstablished, Since: now, Prefixes: []netip.Prefix{v4},
				BFD: &bfd.Status{State: bfd.Down, Since: ago(7 * time.Second), Detail: "no packets from the neighbor yet"},
				Mismatches: []bgp.Mismatch{{Prefix: v4, Kind: bgp.MismatchFamily, Since: ago(3 * time.Second)}, {Prefix: v6, Kind: bgp.MismatchFamily, Since: ago(3 * time.Second)},
					{Prefix: v4, Kind: bgp.MismatchUnacknowledged, Since: ago(9 * time.Second)}}},
			{Address: netip.MustParseAddr("198.51.100.3"), State: bgp.SessionConnect, Since: now, LastDown: "hold timer expired"},
		},
		Addresses: []loopback.Status{{Address: netip.MustParseAddr("192.0.2.1")}, {Address: netip.MustParseAddr("192.0.2.2"), Present: true}},
		Fleet: &fleet.Status{Edges: []fleet.PeerStatus{
			{Address: netip.MustParseAddrPort("198.51.100.18:9181"), Region: "nyc", Edge: "nyc-1", State: fleet.Heard, Since: ago(3 * time.Minute), Says: says, Result: "ok"},
			{Address: netip.MustParseAddrPort("198.51.100.19:9181"), Region: "nyc", State: fleet.Silent, Since: ago(12 * time.Second), Says: says, Result: "timeout"},
		}},
		Load: &load.State{Level: load.High, Since: ago(4 * time.Second), Detail: "cpu 0.95"},
	}
	var got []string
	for line := range strings.Lines(tableOf(t, s, now)) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	for _, want := range []string{
		"LOAD high for 4s: cpu 0.95",
		"ADDRESS MISSING 192.0.2.1: packets to it do not stay on this machine",
		"198.51.100.1 0 established 0s 1 down 7s -",
		"BFD at 198.51.100.1: no packets from the neighbor yet",
		"198.51.100.3 0 connect 0s 0 - hold timer expired",
		"MISMATCH at 198.51.100.1 for 3s: family not agreed: 192.0.2.0/24 and 1 more",
		"MISMATCH at 198.51.100.1 for 9s: not acknowledged: 192.0.2.0/24",
		"nyc-1 nyc heard 3m0s 192.0.2.0/24 full, 2001:db8:53::/48 degraded, load high",
		"198.51.100.19:9181 nyc silent 12s timeout",
	} {
		found := false
		for _, line := range got {
			found = found || line == want
		}
		if !found {
			t.Errorf("no line %q in\n%s", want, strings.Join(got, "\n"))
		}
	}
}

func TestTheRoutesOfAnEdgeThatHasManyAreCounted(t *testing.T) {
	var p peerView
	const heard = `{"state":"heard","result":"answered","says":{"prefixes":[
		{"prefix":"192.0.2.0/28","level":"full"},{"prefix":"192.0.2.16/28","level":"full"},{"prefix":"192.0.2.32/28","level":"withdrawn"},
		{"prefix":"192.0.2.48/28","level":"full"},{"prefix":"192.0.2.64/28","level":"degraded"}]}}`
	if err := json.Unmarshal([]byte(heard), &p); err != nil {
		t.Fatal(err)
	}
	if got := p.routes(); got != "1 degraded, 3 full, 1 withdrawn" {
		t.Error(got)
	}
}

// TestStatusIsSilentOfWhatIsWell: an edge without anycast and other edges has no line of them.
func TestStatusIsSilentOfWhatIsWell(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	out := tableOf(t, status{Edge: "fra-1", Started: now, Load: &load.State{Level: load.OK}, Fleet: &fleet.Status{},
		Addresses: []loopback.Status{{Address: netip.MustParseAddr("192.0.2.2"), Present: true}}}, now)
	if strings.Count(out, "\n") != 1 {
		t.Errorf("more than the first line:\n%s", out)
	}
}
