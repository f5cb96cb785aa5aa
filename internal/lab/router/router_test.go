package router

import (
	"bufio"
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	anycast4 = netip.MustParsePrefix("192.0.2.0/24")
	anycast6 = netip.MustParsePrefix("2001:db8:53::/48")
	addr     = netip.MustParseAddr
)

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func birdReply(t testing.TB, name string) ([]birdLine, error) {
	t.Helper()
	return readBirdReply(bufio.NewReader(bytes.NewReader(recorded(t, name))))
}

// What BIRD 2.0.12 said in a lab in which nyc and fra announce.
func TestBirdRoute(t *testing.T) {
	for _, c := range []struct {
		why, reply string
		prefix     netip.Prefix
		want       Route
	}{
		{"its own edge's is the best of two", "bird-v4.txt", anycast4, Route{[]Path{
			{true, addr("10.1.0.2"), []uint32{64500}}, {false, addr("10.255.12.2"), []uint32{64502, 64500}}}}},
		{"of two IPv6 next hops the global one counts", "bird-v6.txt", anycast6, Route{[]Path{
			{true, addr("fd00:1::2"), []uint32{64500}}, {false, addr("fd00:ff00:c::2"), []uint32{64502, 64500}}}}},
		{"a direct route has no AS path", "bird-infra.txt", netip.MustParsePrefix("10.1.0.0/30"), Route{[]Path{{Best: true}}}},
		{"a longest match that is another prefix is no route", "bird-infra.txt", netip.MustParsePrefix("10.1.0.0/31"), Route{}},
	} {
		lines, err := birdReply(t, c.reply)
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		got, err := parseBirdRoute(lines, c.prefix)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v", c.why, got, err)
		}
	}
	_, err := birdReply(t, "bird-none.txt")
	var refused *birdError
	if !errors.As(err, &refused) || refused.code != birdNoRoute {
		t.Errorf("no route: %v", err)
	}
}

func TestBirdSession(t *testing.T) {
	for reply, want := range map[string]Session{
		"bird-session.txt":     {true, "up Established", time.Date(2026, 11, 24, 16, 25, 18, 99210000, time.Local), 0},
		"bird-tyo-session.txt": {false, "start Passive", time.Date(2026, 11, 24, 16, 25, 16, 330308000, time.Local), 0},
	} {
		lines, err := birdReply(t, reply)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseBirdSession(lines); err != nil || got != want {
			t.Errorf("%s: %+v, %v", reply, got, err)
		}
	}
	if _, err := parseBirdSession(nil); err == nil {
		t.Error("a session out of nothing")
	}
}

func TestBirdReplyThatIsNone(t *testing.T) {
	for _, text := range []string{"", "0", "0000", "abcd text\n", "0000x\n", "1007-never ends\n", "\n"} {
		if _, err := readBirdReply(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q was understood", text)
		}
	}
}

func FuzzBirdReply(f *testing.F) {
	for _, name := range []string{"bird-v4.txt", "bird-v6.txt", "bird-session.txt", "bird-none.txt"} {
		f.Add(recorded(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, err := readBirdReply(bufio.NewReader(bytes.NewReader(data)))
		if err == nil {
			_, _ = parseBirdRoute(lines, anycast4)
			_, _ = parseBirdSession(lines)
		}
	})
}

// What FRR 8.4.4 said in the same lab.
func TestFRRRoute(t *testing.T) {
	for _, c := range []struct {
		why    string
		reply  []byte
		prefix netip.Prefix
		paths  int
		best   Path
		from   bool
	}{
		{"the best of three comes last", recorded(t, "frr-v4.json"), anycast4, 3, Path{true, addr("10.2.0.2"), []uint32{64500}}, true},
		{"IPv6 over the IPv4 session", recorded(t, "frr-v6.json"), anycast6, 2, Path{true, addr("fd00:2::2"), []uint32{64500}}, true},
		{"the router's own network", recorded(t, "frr-local.json"), netip.MustParsePrefix("10.2.0.0/30"), 1, Path{true, addr("0.0.0.0"), nil}, false},
		{"none", []byte("{}\n"), anycast4, 0, Path{}, false},
		{"another prefix", recorded(t, "frr-v4.json"), netip.MustParsePrefix("192.0.2.0/25"), 0, Path{}, false},
	} {
		got, err := parseFRRRoute(c.reply, c.prefix)
		if err != nil || len(got.Paths) != c.paths {
			t.Errorf("%s: %+v, %v", c.why, got, err)
			continue
		}
		if best, _ := got.Best(); !reflect.DeepEqual(best, c.best) || got.From(64500) != c.from {
			t.Errorf("%s: best %+v, from the edge %v", c.why, best, got.From(64500))
		}
	}
	for _, bad := range []string{"", "% Unknown command", `{"prefix":"192.0.2.0/24","paths":[{"aspath":{"string":"x"}}]}`,
		`{"prefix":"192.0.2.0/24","paths":[{"nexthops":[{"ip":"x"}]}]}`} {
		if _, err := parseFRRRoute([]byte(bad), anycast4); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}

func TestFRRSession(t *testing.T) {
	edge := addr("10.2.0.2")
	got, err := parseFRRSession(recorded(t, "frr-session.json"), edge)
	if want := (Session{true, "Established", time.Time{}, 1}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", `{"bgpNoSuchNeighbor":true}`, `{"10.2.0.2":7}`} {
		if _, err := parseFRRSession([]byte(bad), edge); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}

func FuzzFRRReply(f *testing.F) {
	f.Add(recorded(f, "frr-v4.json"))
	f.Add(recorded(f, "frr-session.json"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = parseFRRRoute(data, anycast4)
		_, _ = parseFRRSession(data, addr("10.2.0.2"))
	})
}

func config() Config {
	return Config{
		Name: "nyc", Dir: "/d", Log: "/l", ASN: 64501, RouterID: addr("10.1.0.1"), Anycast: []netip.Prefix{anycast4, anycast6},
		Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/30"), netip.MustParsePrefix("fd00:1::/64")},
		Edges: []EdgeSession{{Address: addr("10.1.0.2"), ASN: 64500, HoldTime: 9 * time.Second},
			{Address: addr("10.1.11.2"), ASN: 64500, HoldTime: 9 * time.Second}},
		Peers: []PeerSession{{Name: "tyo", ASN: 64503, Prepend: 2, Passive: true, Local4: addr("10.255.13.1"), Remote4: addr("10.255.13.2"),
			Local6: addr("fd00:ff00:d::1"), Remote6: addr("fd00:ff00:d::2")}},
	}
}

// The lines that the safety of the real internet, or a scenario, hangs on.
func TestConfiguration(t *testing.T) {
	secured := config()
	secured.Export = ExportAll
	secured.Edges = []EdgeSession{{Address: addr("10.1.0.2"), ASN: 64500, HoldTime: 3 * time.Second, Password: "k", TTLSecurity: true}}
	bfd := config()
	allPaths := config()
	allPaths.Export = ExportAddPath
	bfd.Edges[0].BFD, bfd.Edges[1].BFD = 300*time.Millisecond, 300*time.Millisecond
	for _, c := range []struct {
		why        string
		daemon     Daemon
		cfg        Config
		has, hasNo []string
	}{
		{
			"BIRD takes exactly the anycast prefixes and tells nothing", BIRD, config(),
			[]string{"if (net !~ [ 192.0.2.0/24 ]) then reject;", "if (net !~ [ 2001:db8:53::/48 ]) then reject;", "passive on;", "hold time 9;",
				"ipv4 { import filter edge_in4; export none; };", "graceful restart off;", "protocol bgp edge1 {", "neighbor 10.1.11.2 as 64500;", "merge paths on", "source address 10.255.13.1; passive on;", "bgp_path.prepend(64501);\n  bgp_path.prepend(64501);\n  accept"},
			[]string{"password", "ttl security", "bfd"},
		},
		{
			"BIRD secured, telling all", BIRD, secured,
			[]string{`password "k";`, "ttl security on;", "hold time 3;", "export where source ~ [ RTS_BGP, RTS_DEVICE ];"}, []string{"export none; };\n  ipv6", "add paths"},
		},
		{
			"FRR takes exactly the anycast prefixes and tells nothing", FRR, config(),
			[]string{"ip prefix-list ANYCAST4 permit 192.0.2.0/24\n", "ipv6 prefix-list ANYCAST6 permit 2001:db8:53::/48\n", " neighbor 10.1.0.2 passive\n",
				" neighbor 10.1.0.2 timers 3 9\n", " neighbor 10.1.11.2 remote-as 64500\n", "  neighbor 10.1.11.2 route-map EDGE-IN6 in\n", "  maximum-paths 8\n", "  neighbor 10.1.0.2 route-map EDGE-IN4 in\n", "  neighbor 10.1.0.2 route-map EDGE-IN6 in\n",
				"  neighbor 10.1.0.2 route-map NOTHING out\n", " bgp graceful-restart-disable\n", " neighbor 10.255.13.2 passive\n", "set as-path prepend 64501 64501\n", "  network fd00:1::/64\n"},
			[]string{"password", "ttl-security", " bfd "},
		},
		{
			"FRR secured, telling all", FRR, secured,
			[]string{" neighbor 10.1.0.2 password k\n", " neighbor 10.1.0.2 ttl-security hops 1\n", " neighbor 10.1.0.2 timers 1 3\n"}, []string{"NOTHING out"},
		},
		{
			"BIRD tells every path", BIRD, allPaths,
			[]string{"ipv4 { import filter edge_in4; export where source ~ [ RTS_BGP, RTS_DEVICE ]; add paths tx; };",
				"ipv6 { import filter edge_in6; export where source ~ [ RTS_BGP, RTS_DEVICE ]; add paths tx; };"}, nil,
		},
		{
			"FRR tells every path", FRR, allPaths,
			[]string{"  neighbor 10.1.0.2 route-map EDGE-IN4 in\n  neighbor 10.1.0.2 addpath-tx-all-paths\n",
				"  neighbor 10.1.0.2 route-map EDGE-IN6 in\n  neighbor 10.1.0.2 addpath-tx-all-paths\n"}, []string{"NOTHING out"},
		},
		{
			"BIRD with BFD", BIRD, bfd,
			[]string{`interface "edge*" { min rx interval 300 ms; min tx interval 300 ms; multiplier 3; };`, "  bfd on;\n"}, nil,
		},
		{"FRR with BFD", FRR, bfd, []string{" neighbor 10.1.0.2 bfd\n neighbor 10.1.0.2 bfd profile edge\n", " neighbor 10.1.11.2 bfd profile edge\n"}, nil},
	} {
		got, err := render(c.daemon, c.cfg)
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		for _, line := range c.has {
			if !strings.Contains(string(got), line) {
				t.Errorf("%s: no %q in\n%s", c.why, line, got)
			}
		}
		for _, line := range c.hasNo {
			if strings.Contains(string(got), line) {
				t.Errorf("%s: %q in\n%s", c.why, line, got)
			}
		}
	}
	half := config()
	half.Anycast = half.Anycast[:1]
	if _, err := render(BIRD, half); err == nil {
		t.Error("a filter without a prefix, which would take everything or nothing")
	}
	if _, err := New("quagga", config()); err == nil {
		t.Error("an unknown daemon")
	}
}

func TestSameSession(t *testing.T) {
	at := time.Unix(1000, 0)
	first := Session{Established: true, Since: at, Number: 1}
	for _, c := range []struct {
		why   string
		other Session
		same  bool
	}{
		{"BIRD's clock is never twice the same", Session{Established: true, Since: at.Add(10 * time.Microsecond), Number: 1}, true},
		{"a later one", Session{Established: true, Since: at.Add(2 * time.Second), Number: 1}, false},
		{"the next by FRR's count", Session{Established: true, Since: at, Number: 2}, false},
		{"a lost one", Session{Since: at, Number: 1}, false},
	} {
		if got := first.Same(c.other); got != c.same {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}

func TestRouteInWords(t *testing.T) {
	r := Route{[]Path{{NextHop: addr("10.0.0.1")}, {Best: true, NextHop: addr("10.0.0.2"), ASPath: []uint32{1, 2}}}}
	if got := r.String(); got != "via 10.0.0.2 path [1 2]" || r.From(1) || (Route{}).String() != "none" {
		t.Errorf("%q %v", got, r.From(1))
	}
}
