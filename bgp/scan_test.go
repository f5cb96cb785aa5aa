package bgp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"nearcast/geo"
)

var (
	beaconOwn  = netip.MustParsePrefix("198.51.100.129/32")
	beaconNyc  = netip.MustParsePrefix("198.51.100.130/32")
	beaconTyo6 = netip.MustParsePrefix("2001:db8:99::/48")
)

// withView has the first neighbor's view, in the region fra, where nyc and tyo have beacons too.
func withView(c *Config, m ViewMode) {
	c.BGP.Neighbors[0].View = m
	c.SetRegions("fra", map[string]geo.Region{"fra": {Beacon: beaconOwn}, "nyc": {Beacon: beaconNyc}, "tyo": {Beacon: beaconTyo6}, "ams": {}})
}

func testWatchList() *watchList {
	c := testConfig(netip.MustParseAddrPort("198.51.100.1:179"))
	withView(c, ViewAddPath)
	return newWatchList(c)
}

func testScanner(addPath bool) *scanner {
	return &scanner{watched: testWatchList(), agreed: [2]bool{true, true}, addPath: [2]bool{addPath, addPath}, fourOctet: true}
}

// sightings are what a scanner found, as text.
func sightings(s *scanner) (out []string) {
	for _, f := range s.found {
		sign := "-"
		if f.announced {
			sign = "+"
		}
		out = append(out, fmt.Sprintf("%s%s#%d", sign, s.watched.prefixes[f.prefix].prefix, f.id))
	}
	return out
}

func TestScanFindsWhatIsWatched(t *testing.T) {
	const (
		origin  = "400101 00"
		path    = "40020a 0202 0000fbf5 0000fbf4"
		hop     = "400304 c6336401"
		reach6  = "800e1c 00020110 20010db8000100000000000000000001 00 3020010db80053"
		reach6i = "800e20 00020110 20010db8000100000000000000000001 00 00000007 3020010db80053"
		reach4  = "800e0d 000101 04 c6336401 00 18c00002"
		unreach = "800f0a 000201 3020010db80053"
		twoHops = "800e2c 00020120 20010db8000100000000000000000001 fe800000000000000000000000000001 00 3020010db80053"
	)
	cases := []struct {
		name                   string
		withdrawn, attrs, nlri string
		addPath                bool
		want                   string
		fault                  bool
	}{
		{"nothing of ours", "18cb0071", origin + path + hop, "18cb0072 10cb00", false, "", false},
		{"an anycast prefix among others", "", origin + path + hop, "18cb0071 18c00002 10cb00", false, "+192.0.2.0/24#0", false},
		{"a longer and a shorter prefix are others", "", origin + path + hop, "19c0000200 17c00002 20c0000201", false, "", false},
		{"a /48 is no IPv4 prefix", "", origin + path + hop, "30c00002ffffff", false, "", true},
		{"a beacon", "", origin + path + hop, "20c6336482", false, "+198.51.100.130/32#0", false},
		{"a withdrawal", "18c00002", "", "", false, "-192.0.2.0/24#0", false},
		{"withdrawn and announced: announced counts", "18c00002", origin + path + hop, "18c00002", false, "-192.0.2.0/24#0 +192.0.2.0/24#0", false},
		{"IPv6", "", origin + path + reach6, "", false, "+2001:db8:53::/48#0", false},
		{"IPv6 with a link-local next hop too", "", origin + path + twoHops, "", false, "+2001:db8:53::/48#0", false},
		{"IPv6 withdrawn", "", unreach, "", false, "-2001:db8:53::/48#0", false},
		{"both at once, withdrawal first", "", reach6 + unreach, "", false, "-2001:db8:53::/48#0 +2001:db8:53::/48#0", false},
		{"IPv4 in MP_REACH_NLRI", "", origin + path + reach4, "", false, "+192.0.2.0/24#0", false},
		{"multicast is another family", "", origin + path + "800e0d 000102 04 c6336401 00 18c00002", "", false, "", false},
		{"path identifiers", "00000009 18c00002", origin + path + hop, "00000007 18c00002 00000008 18c00002", true,
			"-192.0.2.0/24#9 +192.0.2.0/24#7 +192.0.2.0/24#8", false},
		{"path identifiers of IPv6", "", origin + path + reach6i, "", true, "+2001:db8:53::/48#7", false},
		{"End-of-RIB", "", "", "", false, "", false},
		{"a /33 behind ours", "", origin + path + hop, "18c00002 21c000020000", false, "+192.0.2.0/24#0", true},
		{"NLRI cut short", "", origin + path + hop, "18c000", false, "", true},
		{"a path identifier cut short", "", origin + path + hop, "00000007 18c00002 0000", true, "+192.0.2.0/24#7", true},
		{"a path identifier and no prefix", "", origin + path + hop, "00000007", true, "", true},
		{"an attribute longer than all", "18c00002", "4002ff", "", false, "-192.0.2.0/24#0", true},
		{"MP_REACH_NLRI twice", "", reach6 + reach6, "", false, "", true},
		{"MP_UNREACH_NLRI twice", "", unreach + unreach, "", false, "", true},
		{"MP_REACH_NLRI with a next hop beyond its end", "", "800e05 000201 ff 00", "", false, "", true},
		{"MP_UNREACH_NLRI without a family", "", "800f02 0002", "", false, "", true},
		{"a /129", "", "800f06 000201 81 2001", "", false, "", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := testScanner(c.addPath)
			err := s.scan(makeUpdate(unhex(t, c.withdrawn), unhex(t, c.attrs), unhex(t, c.nlri)).body())
			if (err != nil) != c.fault || strings.Join(sightings(s), " ") != c.want {
				t.Errorf("%v, error %v; want %q", sightings(s), err, c.want)
			}
		})
	}
	t.Run("host bits", func(t *testing.T) {
		s := testScanner(false)
		s.watched.add(watchedPrefix{prefix: netip.MustParsePrefix("203.0.113.128/25")})
		if err := s.scan(makeUpdate(nil, nil, []byte{25, 203, 0, 113, 0xff}).body()); err != nil || len(s.found) != 1 {
			t.Errorf("%v, %v", sightings(s), err)
		}
	})
	t.Run("a family that was not agreed on is passed over", func(t *testing.T) {
		s := testScanner(false)
		s.agreed[inet4] = false
		if err := s.scan(makeUpdate(nil, nil, []byte{24, 192, 0, 2, 77}).body()); err != nil || len(s.found) != 0 {
			t.Errorf("%v, %v", sightings(s), err)
		}
	})
	for _, body := range [][]byte{nil, {0}, {0, 0}, {0, 0, 0}, {0, 9, 0, 0}, {0, 0, 0, 9}} {
		if testScanner(false).scan(body) == nil {
			t.Errorf("%x was taken", body)
		}
	}
}

func TestASPath(t *testing.T) {
	cases := []struct {
		name          string
		path, as4     string
		two           bool
		want          []uint32
		set           bool
		fault         bool
		origin        origin
		upstream      uint32
		neighbor, own uint32
	}{
		{name: "our echo", path: "0202 0000fbff 0000fbf4", want: []uint32{64511, 64500}, origin: originOurs, upstream: 64511},
		{name: "our echo, prepended", path: "0204 0000fbff 0000fbf4 0000fbf4 0000fbf4", want: []uint32{64511, 64500, 64500, 64500}, origin: originOurs, upstream: 64511},
		{name: "prepended by the neighbor", path: "0203 0000fbff 0000fbff 0000fbf4", want: []uint32{64511, 64511, 64500}, origin: originOurs, upstream: 64511},
		{name: "another region, prepended", path: "0204 0000fbff 0000fbf5 0000fbf4 0000fbf4", want: []uint32{64511, 64501, 64500, 64500}, origin: originOurs, upstream: 64501},
		{name: "a route server's", path: "0201 0000fbf4", want: []uint32{64500}, origin: originOurs, upstream: 64511},
		{name: "our AS on the way, not at the end", path: "0203 0000fbff 0000fbf4 0000fbf5", want: []uint32{64511, 64500, 64501}, origin: originForeign},
		{name: "another AS", path: "0202 0000fbff 0000fbf5", want: []uint32{64511, 64501}, origin: originForeign},
		{name: "the router's own", path: "0201 0000fbff", want: []uint32{64511}, origin: originNone},
		{name: "an empty path", path: "", origin: originNone},
		{name: "two sequences", path: "0201 0000fbff 0202 0000fbf5 0000fbf4", want: []uint32{64511, 64501, 64500}, origin: originOurs, upstream: 64501},
		{name: "an aggregate's set", path: "0201 0000fbff 0102 0000fbf5 0000fbf4", want: []uint32{64511, 64501, 64500}, set: true, origin: originUnclear},
		{name: "a confederation's segments do not count", path: "0301 0000fc00 0202 0000fbff 0000fbf4 0402 00000001 00000002", want: []uint32{64511, 64500}, origin: originOurs, upstream: 64511},
		{name: "two octets", path: "0202 fbff fbf4", two: true, want: []uint32{64511, 64500}, origin: originOurs, upstream: 64511},
		{name: "two octets with AS4_PATH", path: "0203 fbff 5ba0 5ba0", as4: "0202 00010001 00010000", two: true, own: 65536, want: []uint32{64511, 65537, 65536}, origin: originOurs, upstream: 65537},
		{name: "an old speaker on the way: AS4_PATH replaces the end alone", path: "0203 fbff fbf5 5ba0", as4: "0201 00010000", two: true, own: 65536, want: []uint32{64511, 64501, 65536}, origin: originOurs, upstream: 64501},
		{name: "AS4_PATH longer than AS_PATH is ignored", path: "0202 fbff fbf4", as4: "0203 00000001 00000002 00000003", two: true, want: []uint32{64511, 64500}, origin: originOurs, upstream: 64511},
		{name: "a malformed AS4_PATH is ignored", path: "0202 fbff fbf4", as4: "0203 00000001", two: true, want: []uint32{64511, 64500}, origin: originOurs, upstream: 64511},
		{name: "AS_TRANS with nothing to tell for whom it stands", path: "0203 fbff 5ba0 fbf4", two: true, want: []uint32{64511, 23456, 64500}, origin: originUnclear},
		{name: "AS4_PATH between speakers of four octets is ignored", path: "0202 0000fbff 0000fbf4", as4: "0201 00000001", want: []uint32{64511, 64500}, origin: originOurs, upstream: 64511},
		{name: "a segment longer than the path", path: "0203 0000fbff 0000fbf4", fault: true},
		{name: "an empty segment", path: "0200", fault: true},
		{name: "half a segment header", path: "0201 0000fbff 02", fault: true},
		{name: "segment type 5", path: "0501 0000fbff", fault: true},
		{name: "segment type 0", path: "0001 0000fbff", fault: true},
		{name: "AS4_PATH alone", path: "none", as4: "0201 00000001", fault: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := testScanner(false)
			s.fourOctet = !c.two
			attrs := ""
			if c.path != "none" {
				attrs = fmt.Sprintf("4002%02x", len(unhex(t, c.path))) + c.path
			}
			if c.as4 != "" {
				attrs += fmt.Sprintf("c011%02x", len(unhex(t, c.as4))) + c.as4
			}
			if err := s.scan(makeUpdate(nil, unhex(t, attrs), []byte{24, 192, 0, 2}).body()); err != nil {
				t.Fatal(err)
			}
			got, set, ok := s.asPath()
			if ok == c.fault {
				t.Fatalf("path %v, ok %v", got, ok)
			}
			if c.fault {
				return
			}
			if !slices.Equal(got, c.want) || set != c.set {
				t.Errorf("path %v, set %v; want %v, %v", got, set, c.want, c.set)
			}
			own := uint32(64500)
			if c.own != 0 {
				own = c.own
			}
			if o, up := originOf(got, 64511, own); !set && (o != c.origin || up != c.upstream) {
				t.Errorf("origin %v, upstream %d; want %v, %d", o, up, c.origin, c.upstream)
			}
		})
	}
}

// gobgpSightings is what GoBGP's parser sees of watched prefixes in an UPDATE, in the scanner's order; ok is false when it does not like it.
func gobgpSightings(s *scanner, body []byte) (found []sighting, path []uint32, ok bool) {
	opt := &packet.MarshallingOption{AddPath: map[packet.Family]packet.BGPAddPathMode{}}
	if s.addPath[inet4] {
		opt.AddPath[packet.RF_IPv4_UC] = packet.BGP_ADD_PATH_RECEIVE
	}
	if s.addPath[inet6] {
		opt.AddPath[packet.RF_IPv6_UC] = packet.BGP_ADD_PATH_RECEIVE
	}
	u := &packet.BGPUpdate{}
	if u.DecodeFromBytes(body, opt) != nil {
		return nil, nil, false
	}
	add := func(ps []packet.PathNLRI, announced bool) {
		for _, p := range ps {
			prefix, err := netip.ParsePrefix(p.NLRI.String())
			if err != nil {
				continue // of another family
			}
			for i, w := range s.watched.prefixes {
				if w.prefix == prefix.Masked() {
					found = append(found, sighting{i, p.ID, announced})
				}
			}
		}
	}
	var reach []packet.PathNLRI
	add(u.WithdrawnRoutes, false)
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *packet.PathAttributeMpReachNLRI:
			if a.SAFI == packet.SAFI_UNICAST {
				reach = a.Value
			}
		case *packet.PathAttributeMpUnreachNLRI:
			if a.SAFI == packet.SAFI_UNICAST {
				add(a.Value, false)
			}
		case *packet.PathAttributeAsPath:
			path = []uint32{}
			for _, v := range a.Value {
				if t := v.GetType(); t == segmentSequence || t == segmentSet {
					path = append(path, v.GetAS()...)
				}
			}
		}
	}
	add(u.NLRI, true)
	add(reach, true)
	return found, path, true
}

// randomUpdate is a well-formed UPDATE with watched and other prefixes, written by GoBGP.
func randomUpdate(t *testing.T, r *rand.Rand, w *watchList, addPath bool) []byte {
	pick := func(v6 bool) (out []packet.PathNLRI) {
		for range r.IntN(5) {
			var p netip.Prefix
			for p = w.prefixes[r.IntN(len(w.prefixes))].prefix; p.Addr().Is6() != v6; p = w.prefixes[r.IntN(len(w.prefixes))].prefix {
			}
			if r.IntN(2) == 0 {
				a := p.Addr().AsSlice()
				a[r.IntN(len(a))] ^= byte(1 << r.IntN(8))
				addr, _ := netip.AddrFromSlice(a)
				p = netip.PrefixFrom(addr, r.IntN(p.Addr().BitLen()+1)).Masked()
			}
			n, err := packet.NewIPAddrPrefix(p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, packet.PathNLRI{NLRI: n, ID: r.Uint32() * uint32(b2i(addPath))})
		}
		return out
	}
	var segments []packet.AsPathParamInterface
	for range r.IntN(3) {
		as := make([]uint32, 1+r.IntN(4))
		for i := range as {
			as[i] = []uint32{64500, 64511, 65536, r.Uint32()}[r.IntN(4)]
		}
		segments = append(segments, packet.NewAs4PathParam(uint8(1+r.IntN(2)), as))
	}
	attrs := []packet.PathAttributeInterface{packet.NewPathAttributeOrigin(0), packet.NewPathAttributeAsPath(segments)}
	if ns := pick(true); len(ns) > 0 {
		a, err := packet.NewPathAttributeMpReachNLRI(packet.RF_IPv6_UC, ns, netip.MustParseAddr("2001:db8::1"))
		if err != nil {
			t.Fatal(err)
		}
		attrs = append(attrs, a)
	}
	if ns := pick(true); len(ns) > 0 {
		a, err := packet.NewPathAttributeMpUnreachNLRI(packet.RF_IPv6_UC, ns)
		if err != nil {
			t.Fatal(err)
		}
		attrs = append(attrs, a)
	}
	hop, err := packet.NewPathAttributeNextHop(netip.MustParseAddr("198.51.100.1"))
	if err != nil {
		t.Fatal(err)
	}
	attrs = append(attrs, hop)
	r.Shuffle(len(attrs), func(i, j int) { attrs[i], attrs[j] = attrs[j], attrs[i] })
	opt := &packet.MarshallingOption{AddPath: map[packet.Family]packet.BGPAddPathMode{}}
	if addPath {
		opt.AddPath[packet.RF_IPv4_UC], opt.AddPath[packet.RF_IPv6_UC] = packet.BGP_ADD_PATH_SEND, packet.BGP_ADD_PATH_SEND
	}
	b, err := packet.NewBGPUpdateMessage(pick(false), attrs, pick(false)).Body.Serialize(opt)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestScanAgreesWithAnotherParser on UPDATEs of all shapes: the same prefixes, identifiers and paths.
func TestScanAgreesWithAnotherParser(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	found := 0
	for i := range 20_000 {
		s := testScanner(i%2 == 0)
		body := randomUpdate(t, r, s.watched, i%2 == 0)
		want, path, ok := gobgpSightings(s, body)
		if !ok {
			t.Fatalf("the other parser does not take %x", body)
		}
		if err := s.scan(body); err != nil || !slices.Equal(s.found, want) {
			t.Fatalf("%x: %v (%v), want %v", body, s.found, err, want)
		}
		if got, _, ok := s.asPath(); !ok || !slices.Equal(got, path) {
			t.Fatalf("%x: path %v (%v), want %v", body, got, ok, path)
		}
		found += len(want)
	}
	if found < 1000 {
		t.Errorf("only %d prefixes found in all: nothing was compared", found)
	}
}

// FuzzScan: whatever comes there is no panic, nothing is found that is not in the UPDATE, and where another parser has no complaint it
// has seen the same.
func FuzzScan(f *testing.F) {
	for _, m := range evilUpdates() {
		f.Add([]byte(m.body()), false, true)
		f.Add([]byte(m.body()), true, true)
		f.Add([]byte(m.body()), false, false)
	}
	r := rand.New(rand.NewPCG(3, 4))
	w := testWatchList()
	for i := range 50 {
		f.Add(randomUpdate(&testing.T{}, r, w, i%2 == 0), i%2 == 0, true)
	}
	watched := func(b []byte, p netip.Prefix) bool {
		n := (p.Bits() + 7) / 8
		return bytes.Contains(b, append([]byte{byte(p.Bits())}, p.Addr().AsSlice()[:n]...))
	}
	s4, s4x := testScanner(false), testScanner(true)
	f.Fuzz(func(t *testing.T, body []byte, addPath, fourOctet bool) {
		s := s4
		if addPath {
			s = s4x
		}
		s.fourOctet = fourOctet
		err := s.scan(body)
		for _, f := range s.found { // all watched prefixes here are of whole octets
			if !watched(body, s.watched.prefixes[f.prefix].prefix) {
				t.Fatalf("%v is not in %x", s.watched.prefixes[f.prefix].prefix, body)
			}
		}
		in := testAdjIn(ViewAddPath)
		in.heard(s, err, epoch)
		in.heard(s, err, epoch)
		if n := len(in.session.paths); n > len(s.found) || err != nil && n > 0 {
			t.Fatalf("%d paths of %d sightings, error %v", n, len(s.found), err)
		}
		if want, _, ok := gobgpSightings(s, body); ok && err == nil && !slices.Equal(s.found, want) {
			t.Fatalf("%x: found %v, another parser %v", body, s.found, want)
		}
	})
}

// fullTable is a hundred thousand UPDATEs of five routes each, none of which is watched, though of the same lengths.
func fullTable() (bodies [][]byte) {
	attrs, _ := hex.DecodeString("40010100" + "40020e0203" + "0000fbff0000fbf50000fbf6" + "400304c6336401" + "c00808fbff0001fbff0002")
	for i := range 100_000 {
		var nlri []byte
		for j := range 5 {
			nlri = append(nlri, 24, byte(20+j), byte(i>>8), byte(i))
		}
		bodies = append(bodies, makeUpdate(nil, attrs, nlri).body())
	}
	return bodies
}

// TestUninterestingUpdatesCostNoMemory: a full table goes by without an allocation.
func TestUninterestingUpdatesCostNoMemory(t *testing.T) {
	s := testScanner(false)
	bodies := fullTable()[:1000]
	in := testAdjIn(ViewBest)
	if n := testing.AllocsPerRun(5, func() {
		for _, b := range bodies {
			in.heard(s, s.scan(b), epoch)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkScanFullTable(b *testing.B) {
	s := testScanner(false)
	bodies := fullTable()
	in := testAdjIn(ViewBest)
	b.ReportAllocs()
	for b.Loop() {
		for _, body := range bodies {
			in.heard(s, s.scan(body), epoch)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500_000, "ns/route")
}
