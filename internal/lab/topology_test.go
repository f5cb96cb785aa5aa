package lab

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/router"
)

// permitted are the ranges that may appear in the lab: private and documentation ones.
var permitted = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"),
}

func TestOnlyPrivateAndDocumentationNumbers(t *testing.T) {
	check := func(p netip.Prefix) {
		if !slices.ContainsFunc(permitted, func(ok netip.Prefix) bool { return ok.Contains(p.Addr()) && p.Bits() >= ok.Bits() }) {
			t.Errorf("%s is somebody's", p)
		}
	}
	seen := map[netip.Prefix]bool{}
	unique := func(p netip.Prefix) {
		check(p)
		for other := range seen {
			if other.Overlaps(p) {
				t.Errorf("%s overlaps %s", p, other)
			}
		}
		seen[p] = true
	}
	unique(Prefix4)
	unique(Prefix6)
	for _, r := range regions {
		if r.ASN < 64496 || r.ASN > 64511 {
			t.Errorf("AS %d of %s is not for documentation (RFC 5398)", r.ASN, r.Name)
		}
		for _, p := range r.networks() {
			unique(p)
		}
		v4, v6 := r.subnet(Rogue)
		unique(v4)
		unique(v6)
	}
	for _, p := range paths {
		v4, v6 := p.subnet()
		unique(v4)
		unique(v6)
	}
	if !Prefix4.Contains(Service4) || !Prefix6.Contains(Service6) {
		t.Error("a service address is outside its prefix")
	}
}

func TestShortestPathInTimeIsShortestInHops(t *testing.T) {
	for name, want := range map[string][]string{"nyc": {"fra", "tyo"}, "fra": {"nyc", "tyo"}, "tyo": {"nyc", "fra"}} {
		if got := nearest(name); !slices.Equal(got, want) {
			t.Errorf("nearest to %s: %v, want %v", name, got, want)
		}
		r, err := region(name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := routerConfig(r, "/x", Options{HoldTime: 9 * time.Second})
		slices.SortFunc(cfg.Peers, func(a, b router.PeerSession) int { return a.Prepend - b.Prepend })
		if cfg.Peers[0].Name != want[0] || cfg.Peers[1].Name != want[1] || cfg.Peers[0].Prepend == cfg.Peers[1].Prepend {
			t.Errorf("prepends at %s do not follow the delays: %+v", name, cfg.Peers)
		}
	}
	if _, err := region("lon"); err == nil || !strings.Contains(err.Error(), "lon") {
		t.Errorf("an unknown region: %v", err)
	}
}

func TestBothDaemonsHaveASecuredSession(t *testing.T) {
	secured := map[router.Daemon]bool{}
	for _, r := range regions {
		cfg := routerConfig(r, "/x", Options{HoldTime: 9 * time.Second})
		for _, e := range cfg.Edges {
			if (e.Password != "") != e.TTLSecurity {
				t.Errorf("%s: half secured: %+v", r.Name, e)
			}
			secured[r.Daemon] = secured[r.Daemon] || e.TTLSecurity
		}
	}
	if !secured[router.BIRD] || !secured[router.FRR] {
		t.Errorf("secured sessions: %v", secured)
	}
}

// A second edge has names, networks and a session of its own, and the region's router announces its networks too.
func TestSites(t *testing.T) {
	var names []string
	devices := map[string]bool{}
	for _, s := range allSites() {
		names = append(names, s.Name())
		if found, err := site(s.Name()); err != nil || found != s {
			t.Errorf("%s: found %+v, %v", s.Name(), found, err)
		}
		if devices[s.Region.Name+s.device()] {
			t.Errorf("%s: its router has the device %s twice", s.Name(), s.device())
		}
		devices[s.Region.Name+s.device()] = true
		cfg := routerConfig(s.Region, "/x", Options{HoldTime: 9 * time.Second})
		v4, v6 := s.subnet()
		router4, router6, own4, own6 := s.addresses()
		if e := cfg.Edges[s.Number-1]; e.Address != own4 || !v4.Contains(router4) || !v6.Contains(router6) || !v6.Contains(own6) {
			t.Errorf("%s at %s and %s, its session is %+v", s.Name(), own4, own6, e)
		}
		if !slices.Contains(cfg.Networks, v4) || !slices.Contains(cfg.Networks, v6) {
			t.Errorf("%s: the other regions have no way to it: %v", s.Name(), cfg.Networks)
		}
	}
	if want := []string{"nyc-1", "nyc-2", "fra-1", "tyo-1"}; !slices.Equal(names, want) {
		t.Errorf("edges: %v", names)
	}
	if _, err := site("nyc-3"); err == nil || !strings.Contains(err.Error(), "nyc-3") {
		t.Errorf("an edge that there is not: %v", err)
	}
	if !of(bench.Record{Edge: "nyc-2"}, "nyc") || of(bench.Record{Edge: "fra-1"}, "nyc") || of(bench.Record{}, "nyc") {
		t.Error("who answered")
	}
}

// So many edges announce: prepends of their own are no other router's.
func TestOwnBy(t *testing.T) {
	one, farther := router.Path{ASPath: []uint32{edgeASN}}, router.Path{ASPath: []uint32{64502, edgeASN}}
	drained := router.Path{ASPath: []uint32{edgeASN, edgeASN, edgeASN}}
	for n, r := range map[int]router.Route{0: {Paths: []router.Path{farther}}, 1: {Paths: []router.Path{one, farther}}, 2: {Paths: []router.Path{farther, drained, one}}} {
		for edges := range 4 {
			if got := ownBy(edges)(r); got != (edges == n) {
				t.Errorf("%d edges, asked for %d: %v", n, edges, got)
			}
		}
	}
}

// Every line that a scenario depends on is there, for the usual edge and for the varied one.
func TestEdgeConfig(t *testing.T) {
	for _, c := range []struct {
		why, region string
		options     EdgeOptions
		has, hasNot []string
	}{
		{
			why: "a secured session in fra", region: "fra",
			has: []string{"name: fra-1", "address: 10.2.0.1", "asn: 64502", `next_hop_ipv6: "fd00:2::2"`, "hold_time: 9s", "password_file: /d/bgp.key",
				"ttl_security: true", "healthy_regional_origins: 0", "settle: 1s", "edges: [10.1.0.2, 10.1.11.2]", "address: 10.2.0.2:9181", "bfd: { interval: 300ms, multihop: true", `tyo: ["http://10.3.1.2:8080"]`, "location: [35.68, 139.69]"},
			hasNot: []string{"64511", "debug"},
		},
		{why: "a plain one in tyo", region: "tyo", has: []string{"asn: 64503"}, hasNot: []string{"password_file", "ttl_security"}},
		{
			why: "everything varied", region: "nyc", options: EdgeOptions{Password: "other", RegionalOrigins: 1, Rogue: true, Debug: true},
			has: []string{"password_file", "healthy_regional_origins: 1", "address: 10.1.9.1", "asn: 64511", "level: debug"},
		},
	} {
		r, err := region(c.region)
		if err != nil {
			t.Fatal(err)
		}
		conf, err := edgeConfig(r.First(), "/d", 9*time.Second, c.options)
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		for _, line := range c.has {
			if !strings.Contains(string(conf), line) {
				t.Errorf("%s: no %q in\n%s", c.why, line, conf)
			}
		}
		for _, line := range c.hasNot {
			if strings.Contains(string(conf), line) {
				t.Errorf("%s: %q in\n%s", c.why, line, conf)
			}
		}
	}
}
