package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func ptr[T any](v T) *T { return &v }

// testOutbound is a session with an external neighbor that is announced a bit of everything.
func testOutbound(fourOctet bool) *outbound {
	c := testConfig(netip.MustParseAddrPort("198.51.100.1:179"))
	c.BGP.ASN = 65536
	c.Attributes = everyAttribute()
	return &outbound{config: c, neighbor: &c.BGP.Neighbors[0], fourOctet: fourOctet, hops: nextHops{netip.MustParseAddr("203.0.113.1"), testHop6}}
}

func everyAttribute() Attributes {
	return Attributes{
		Communities:         []Community{0xfbff0064, 0xffffff01},
		LargeCommunities:    []LargeCommunity{{64500, 1, 2}},
		ExtendedCommunities: []ExtendedCommunity{{0, 2, 0xfb, 0xf4, 0, 0, 0, 1}},
		MED:                 ptr[uint32](100),
		Prepend:             ptr[uint8](2),
	}
}

// fullAttributes has as much as the configuration takes at one place, all of it unlike that of another place.
func fullAttributes(place byte) (a Attributes) {
	for i := range byte(maxCommunities) {
		a.Communities = append(a.Communities, Community(uint32(place)<<16|uint32(i)))
		a.LargeCommunities = append(a.LargeCommunities, LargeCommunity{64500, uint32(place), uint32(i)})
		a.ExtendedCommunities = append(a.ExtendedCommunities, ExtendedCommunity{0, 2, 0, place, i})
	}
	a.MED, a.Prepend = ptr[uint32](1), ptr[uint8](9)
	return a
}

// manyRoutes has as many prefixes of each family, announced in two ways.
func manyRoutes(n int) (rs []Route) {
	for i := range n {
		four := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 32)
		six := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})
		rs = append(rs, Route{Prefix: four, Prepend: uint8(i & 1)}, Route{Prefix: netip.PrefixFrom(six, 128), GracefulShutdown: i&1 == 1})
	}
	return rs
}

// checkOutgoing reads the UPDATEs again: whole messages of the right size, which say together what u does.
func checkOutgoing(t *testing.T, out []outgoing, u update) {
	t.Helper()
	var got update
	for _, o := range out {
		size, kind, err := checkHeader(o.m[:headerSize])
		if err != nil || size != len(o.m) || kind != typeUpdate || size > maxMessageSize {
			t.Fatalf("UPDATE of %d bytes: %v", len(o.m), err)
		}
		part, err := parseUpdate(o.m.body())
		if err != nil {
			t.Fatalf("UPDATE %x: %v", o.m, err)
		}
		var announced []netip.Prefix
		for _, a := range o.announced {
			announced = append(announced, a.prefix)
		}
		if !slices.Equal(part.announced, announced) || !slices.Equal(part.withdrawn, o.withdrawn) || len(announced)+len(o.withdrawn) == 0 {
			t.Fatalf("UPDATE %x says %v, want %v and %v", o.m, part, announced, o.withdrawn)
		}
		got.announced, got.withdrawn = append(got.announced, announced...), append(got.withdrawn, o.withdrawn...)
	}
	if !sameSet(got.announced, u.announced) || !sameSet(got.withdrawn, u.withdrawn) {
		t.Fatalf("UPDATEs say %v, want %v", got, u)
	}
}

func sameSet(a, b []netip.Prefix) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.Prefix.Compare)
	slices.SortFunc(b, netip.Prefix.Compare)
	return slices.Equal(a, b)
}

// TestUpdatesFit: with every list full at all four places and as many prefixes as there may be, no UPDATE is longer than BGP allows.
func TestUpdatesFit(t *testing.T) {
	o := testOutbound(false)
	o.config.Attributes, o.neighbor.Attributes = fullAttributes(1), fullAttributes(2)
	routes := manyRoutes(maxPrefixes)
	var u update
	for _, r := range routes {
		u.announced = append(u.announced, r.Prefix)
		o.config.PerPrefix = append(o.config.PerPrefix, PrefixConfig{Prefix: r.Prefix, Attributes: fullAttributes(3)})
		o.neighbor.PerPrefix = append(o.neighbor.PerPrefix, NeighborPrefixConfig{r.Prefix, fullAttributes(4)})
	}
	out := o.announce(routes)
	checkOutgoing(t, out, u)
	if n := len(out[0].attrs); n < 4*maxCommunities*24 {
		t.Errorf("only %d bytes of attributes", n)
	}
	u.withdrawn, u.announced = u.announced, nil
	checkOutgoing(t, withdraw(u.withdrawn), u)
}

// TestAnnouncement: what the attributes become on the wire, by kind of neighbor.
func TestAnnouncement(t *testing.T) {
	const (
		two, four = "0202 fbf4 fbf4", "0202 0000fbf4 0000fbf4"
		everyList = "fbff0064 ffffff01"
	)
	plain := map[byte]string{attrOrigin: "00", attrASPath: "0201 0000fbf4"}
	cases := []struct {
		name   string
		change func(*outbound)
		route  Route
		want   map[byte]string
	}{
		{"nothing configured", func(*outbound) {}, Route{}, plain},
		{"a router that takes two octets", func(o *outbound) { o.fourOctet = false }, Route{Prepend: 1}, map[byte]string{attrOrigin: "00", attrASPath: two}},
		{"degraded", func(*outbound) {}, Route{Prepend: 1}, map[byte]string{attrOrigin: "00", attrASPath: four}},
		{"draining", func(*outbound) {}, Route{GracefulShutdown: true}, map[byte]string{attrOrigin: "00", attrASPath: plain[attrASPath], attrCommunities: "ffff0000"}},
		{"an AS number of four octets", func(o *outbound) { o.config.BGP.ASN = 65536 }, Route{}, map[byte]string{attrOrigin: "00", attrASPath: "0201 00010000"}},
		{"an AS number of four octets to a router that takes two", func(o *outbound) { o.config.BGP.ASN, o.fourOctet = 65536, false }, Route{Prepend: 1},
			map[byte]string{attrOrigin: "00", attrASPath: "0202 5ba0 5ba0", attrAS4Path: "0202 00010000 00010000"}},
		{"a bit of everything", func(o *outbound) { o.config.Attributes = everyAttribute() }, Route{GracefulShutdown: true, Prepend: 1}, map[byte]string{
			attrOrigin: "00", attrASPath: "0204" + strings.Repeat("0000fbf4", 4), attrMED: "00000064", attrCommunities: "fbff0064 ffff0000 ffffff01",
			attrExtended: "0002fbf400000001", attrLarge: "0000fbf40000000100000002"}},
		{"more prepends than a path should have", func(o *outbound) { o.config.Attributes.Prepend = ptr[uint8](8) }, Route{Prepend: 255},
			map[byte]string{attrOrigin: "00", attrASPath: "0211" + strings.Repeat("0000fbf4", 17)}},
		{"an internal neighbor", internal, Route{}, map[byte]string{attrOrigin: "00", attrASPath: "", attrLocalPref: "00000064"}},
		{"a bit of everything to an internal neighbor", func(o *outbound) {
			internal(o)
			o.config.Attributes = everyAttribute()
			o.config.Attributes.LocalPreference = ptr[uint32](200)
		}, Route{}, map[byte]string{attrOrigin: "00", attrASPath: "", attrMED: "00000064", attrLocalPref: "000000c8", attrCommunities: everyList,
			attrExtended: "0002fbf400000001", attrLarge: "0000fbf40000000100000002"}},
		{"degraded to an internal neighbor: the path stays empty", internal, Route{Prepend: 3}, map[byte]string{attrOrigin: "00", attrASPath: "", attrLocalPref: "00000061"}},
		{"a preference below the prepends", func(o *outbound) { internal(o); o.neighbor.Attributes.LocalPreference = ptr[uint32](2) }, Route{Prepend: 3},
			map[byte]string{attrOrigin: "00", attrASPath: "", attrLocalPref: "00000000"}},
		{"draining to an internal neighbor", internal, Route{GracefulShutdown: true}, map[byte]string{attrOrigin: "00", attrASPath: "", attrLocalPref: "00000000", attrCommunities: "ffff0000"}},
		{"an AS number of four octets to an internal neighbor that takes two", func(o *outbound) { internal(o); o.fourOctet = false }, Route{},
			map[byte]string{attrOrigin: "00", attrASPath: "", attrLocalPref: "00000064"}},
	}
	for _, c := range cases {
		for _, p := range []netip.Prefix{testPrefix4, testPrefix6} {
			t.Run(c.name+" "+p.String(), func(t *testing.T) {
				o := testOutbound(true)
				o.config.BGP.ASN, o.config.Attributes = 64500, Attributes{}
				c.change(o)
				c.route.Prefix = p
				out := o.announce([]Route{c.route})
				checkOutgoing(t, out, update{announced: []netip.Prefix{p}})
				want := map[byte]string{}
				for k, v := range c.want {
					want[k] = strings.ReplaceAll(v, " ", "")
				}
				if got := sentAttributes(out[0].m.body()); !maps.Equal(got, want) {
					t.Errorf("attributes %v, want %v", got, want)
				}
				hop4, hop6 := sentHops(out[0].m.body())
				if p.Addr().Is4() && hop4 != o.hops.v4 || p.Addr().Is6() && (hop6 != o.hops.v6 || hop4.IsValid()) {
					t.Errorf("next hops %s and %s", hop4, hop6)
				}
				checkFlags(t, out[0].m.body())
			})
		}
	}
}

func internal(o *outbound) { o.neighbor.ASN = o.config.BGP.ASN }

// checkFlags: routers reset a session over the wrong ones. The types must be in order too, MP_REACH_NLRI excepted, which comes first.
func checkFlags(t *testing.T, body []byte) {
	t.Helper()
	flags := map[byte]byte{attrOrigin: 0x40, attrASPath: 0x40, attrNextHop: 0x40, attrMED: 0x80, attrLocalPref: 0x40, attrCommunities: 0xc0,
		attrMPReach: 0x80, attrExtended: 0xc0, attrAS4Path: 0xc0, attrLarge: 0xc0}
	attrs := body[4 : 4+binary.BigEndian.Uint16(body[2:])]
	last := byte(0)
	for len(attrs) > 0 {
		kind, _, rest, ok := nextAttribute(attrs)
		if !ok || attrs[0]&^attrExtendedLength != flags[kind] {
			t.Fatalf("attribute %d has flags %#x", kind, attrs[0])
		}
		if kind != attrMPReach {
			if kind <= last {
				t.Errorf("attribute %d after %d", kind, last)
			}
			last = kind
		} else if last != 0 {
			t.Error("MP_REACH_NLRI is not first")
		}
		attrs = rest
	}
}

// TestSpecialOverGeneral: lists add up without doubles, of single values the most special counts.
func TestSpecialOverGeneral(t *testing.T) {
	o := testOutbound(true)
	o.config.Attributes = Attributes{Communities: []Community{1, 2}, MED: ptr[uint32](1), Prepend: ptr[uint8](1)}
	o.config.PerPrefix = []PrefixConfig{{Prefix: testPrefix4, Attributes: Attributes{Communities: []Community{2, 3}, MED: ptr[uint32](2)}}}
	o.neighbor.Attributes = Attributes{Communities: []Community{4}, LargeCommunities: []LargeCommunity{{1, 2, 3}}, MED: ptr[uint32](3)}
	o.neighbor.PerPrefix = []NeighborPrefixConfig{{testPrefix4, Attributes{Communities: []Community{1, 5}, Prepend: ptr[uint8](0)}}}
	for _, c := range []struct {
		p    netip.Prefix
		want Attributes
	}{
		{testPrefix4, Attributes{Communities: []Community{1, 2, 3, 4, 5}, LargeCommunities: []LargeCommunity{{1, 2, 3}}, MED: ptr[uint32](3), Prepend: ptr[uint8](0)}},
		{testPrefix6, Attributes{Communities: []Community{1, 2, 4}, LargeCommunities: []LargeCommunity{{1, 2, 3}}, MED: ptr[uint32](3), Prepend: ptr[uint8](1)}},
	} {
		if got := o.config.attributesFor(o.neighbor, c.p); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.p, got, c.want)
		}
	}
	if got := o.config.Attributes.Communities; !slices.Equal(got, []Community{1, 2}) {
		t.Errorf("the configuration itself is %v now", got)
	}
}

// TestEachNeighborItsOwn: two routers, one of them internal, are told of the same prefixes with different attributes; the status says so.
func TestEachNeighborItsOwn(t *testing.T) {
	a, b := newRouter(t, "127.0.0.2:0", 64511), newRouter(t, "127.0.0.3:0", 64500)
	c := testConfig(a.addrPort())
	c.Attributes.Communities = []Community{0xfbf40001}
	second := c.BGP.Neighbors[0]
	second.Address, second.Port, second.ASN = b.addrPort().Addr(), b.addrPort().Port(), 64500
	second.PerPrefix = []NeighborPrefixConfig{{testPrefix6, Attributes{MED: ptr[uint32](7), LocalPreference: ptr[uint32](150)}}}
	c.BGP.Neighbors = append(c.BGP.Neighbors, second)
	c.BGP.Neighbors[0].Attributes = Attributes{Prepend: ptr[uint8](1)}
	e := startEdge(t, c)
	e.setRoutes(testPrefix4, testPrefix6)
	sa, sb := a.session(0), b.session(0)
	a.want("both prefixes", func() bool { return len(sa.routes) == 2 })
	b.want("both prefixes", func() bool { return len(sb.routes) == 2 })
	for _, w := range []struct {
		s    *routerSession
		p    netip.Prefix
		want map[byte]string
	}{
		{sa, testPrefix4, map[byte]string{attrOrigin: "00", attrASPath: "02020000fbf40000fbf4", attrCommunities: "fbf40001"}},
		{sa, testPrefix6, map[byte]string{attrOrigin: "00", attrASPath: "02020000fbf40000fbf4", attrCommunities: "fbf40001"}},
		{sb, testPrefix4, map[byte]string{attrOrigin: "00", attrASPath: "", attrLocalPref: "00000064", attrCommunities: "fbf40001"}},
		{sb, testPrefix6, map[byte]string{attrOrigin: "00", attrASPath: "", attrLocalPref: "00000096", attrMED: "00000007", attrCommunities: "fbf40001"}},
	} {
		if got := w.s.attrs[w.p]; !maps.Equal(got, w.want) {
			t.Errorf("%s: %v, want %v", w.p, got, w.want)
		}
	}
	e.eventually("the status to have both", func() bool { return len(e.Status()[1].Announcements) == 2 })
	st := e.Status()
	if got := st[0].Announcements[0]; got.Prefix != testPrefix4 || !slices.Equal(got.ASPath, []uint32{64500, 64500}) || got.Prepend != 1 || got.LocalPreference != nil || got.MED != nil || got.Since.IsZero() {
		t.Errorf("the external neighbor's status is %+v", got)
	}
	if got := st[1].Announcements[1]; got.Prefix != testPrefix6 || len(got.ASPath) != 0 || *got.LocalPreference != 150 || *got.MED != 7 || got.NextHop != testHop6 || fmt.Sprint(got.Communities) != "[64500:1]" {
		t.Errorf("the internal neighbor's status is %+v", got)
	}
}

// TestChangeWithoutWithdrawal: degraded, draining and back, each a new announcement in the place of the old on the same session; a change
// of one prefix leaves the other alone.
func TestChangeWithoutWithdrawal(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	e := startEdge(t, testConfig(r.addrPort()))
	e.setRoutes(testPrefix4, testPrefix6)
	s := r.session(0)
	r.want("both prefixes", func() bool { return len(s.routes) == 2 })
	e.eventually("the status to have both", func() bool { return len(e.Status()[0].Announcements) == 2 })
	before := e.Status()[0].Announcements
	for _, step := range []struct {
		route      Route
		path, list string
	}{
		{Route{Prepend: 3}, "0204" + strings.Repeat("0000fbf4", 4), ""},
		{Route{Prepend: 3, GracefulShutdown: true}, "0204" + strings.Repeat("0000fbf4", 4), "ffff0000"},
		{Route{GracefulShutdown: true}, "02010000fbf4", "ffff0000"},
		{Route{}, "02010000fbf4", ""},
	} {
		step.route.Prefix = testPrefix6
		e.SetRoutes([]Route{{Prefix: testPrefix4}, step.route})
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.want(fmt.Sprintf("%+v", step.route), func() bool {
			return s.attrs[testPrefix6][attrASPath] == step.path && s.attrs[testPrefix6][attrCommunities] == step.list
		})
	}
	if s.withdrawals != 0 {
		t.Errorf("%d withdrawals", s.withdrawals)
	}
	after := e.Status()[0].Announcements
	if !after[0].Since.Equal(before[0].Since) {
		t.Errorf("the prefix that did not change was announced at %s, then at %s", before[0].Since, after[0].Since)
	}
	if !after[1].Since.After(before[1].Since) {
		t.Error("the prefix that changed is said not to have")
	}
}

// TestChangeWhileOpening: a route that changes between the OPENs and the first UPDATE arrives as it was declared last.
func TestChangeWhileOpening(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	c := testConfig(r.addrPort())
	e := startEdge(t, c)
	done := make(chan struct{})
	go func() { // as fast as it goes, until the session is up and a little longer
		defer close(done)
		for i, up := 0, 0; up < 100; i++ {
			e.SetRoutes([]Route{{Prefix: testPrefix4, Prepend: uint8(i % 5)}, {Prefix: testPrefix6, GracefulShutdown: i%2 == 0}})
			if e.Status()[0].State == SessionEstablished {
				up++
			}
			time.Sleep(time.Millisecond)
		}
	}()
	s := r.session(0)
	<-done
	e.SetRoutes([]Route{{Prefix: testPrefix4, Prepend: 9}, {Prefix: testPrefix6, Prepend: 1, GracefulShutdown: true}})
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want("what was declared last", func() bool {
		return s.attrs[testPrefix4][attrASPath] == "020a"+strings.Repeat("0000fbf4", 10) && s.attrs[testPrefix4][attrCommunities] == "" &&
			s.attrs[testPrefix6][attrASPath] == "0202"+strings.Repeat("0000fbf4", 2) && s.attrs[testPrefix6][attrCommunities] == "ffff0000"
	})
}

// TestAStandbySiteHasTheLongerPath: active-passive is a prepend in the configuration, in every state of the edge.
func TestAStandbySiteHasTheLongerPath(t *testing.T) {
	active, standby := testOutbound(true), testOutbound(true)
	active.config.Attributes, standby.config.Attributes = Attributes{}, Attributes{Prepend: ptr[uint8](4)}
	for _, r := range []Route{{Prefix: testPrefix4}, {Prefix: testPrefix4, Prepend: 3}, {Prefix: testPrefix6, GracefulShutdown: true}} {
		if a, b := active.announcement(r).pathLength, standby.announcement(r).pathLength; b != a+4 {
			t.Errorf("%+v: the active site has %d in the path, the other %d", r, a, b)
		}
	}
}

// TestTwoOctetRouter: to one that has not learned of longer AS numbers (RFC 6793), ours is AS_TRANS and AS4_PATH.
func TestTwoOctetRouter(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	r.open.fourOct = false
	c := testConfig(r.addrPort())
	c.BGP.ASN = 65550
	e := startEdge(t, c)
	e.setRoutes(testPrefix4, testPrefix6)
	s := r.session(0)
	r.want("both prefixes", func() bool { return len(s.routes) == 2 })
	for p, got := range s.attrs {
		if got[attrASPath] != "02015ba0" || got[attrAS4Path] != "02010001000e" {
			t.Errorf("%s: %v", p, got)
		}
	}
}

// TestFourOctetNeighbor: a router whose AS number does not fit in its OPEN's own field.
func TestFourOctetNeighbor(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 65551)
	c := testConfig(r.addrPort())
	c.BGP.ASN, c.BGP.Neighbors[0].ASN = 65536, 65551
	e := startEdge(t, c)
	e.setRoutes(testPrefix4)
	s := r.session(0)
	r.want("the prefix", func() bool { return s.attrs[testPrefix4][attrASPath] == "020100010000" })
}

// FuzzAnnouncement: whatever is configured, what is sent can be read again and is what was asked for.
func FuzzAnnouncement(f *testing.F) {
	f.Add(uint32(65536), uint32(64511), false, uint8(3), true, []byte("0123456789abcdef0123456789abcdef"), uint16(300))
	f.Add(uint32(64500), uint32(64500), true, uint8(255), false, []byte{}, uint16(1))
	f.Fuzz(func(t *testing.T, asn, neighbor uint32, fourOctet bool, prepend uint8, shut bool, lists []byte, count uint16) {
		o := testOutbound(fourOctet)
		o.config.BGP.ASN, o.neighbor.ASN = asn, neighbor
		var a Attributes
		for l := lists; len(l) >= 12 && len(a.Communities) < maxCommunities; l = l[12:] {
			a.Communities = append(a.Communities, Community(binary.BigEndian.Uint32(l)))
			a.ExtendedCommunities = append(a.ExtendedCommunities, ExtendedCommunity(l[4:]))
			a.LargeCommunities = append(a.LargeCommunities, LargeCommunity{binary.BigEndian.Uint32(l), binary.BigEndian.Uint32(l[4:]), binary.BigEndian.Uint32(l[8:])})
		}
		o.config.Attributes, o.neighbor.Attributes = a, fullAttributes(9)
		routes := manyRoutes(int(count) % (maxPrefixes / 2))
		var u update
		for i := range routes {
			u.announced = append(u.announced, routes[i].Prefix)
			routes[i].Prepend, routes[i].GracefulShutdown = prepend, shut
		}
		out := o.announce(routes)
		checkOutgoing(t, out, u)
		for _, m := range out {
			checkFlags(t, m.m.body())
			sent := sentAttributes(m.m.body())
			if path, _ := hex.DecodeString(sent[attrASPath]); (asn == neighbor) != (len(path) == 0) || len(path) > 2+4*(maxPrepend+1) {
				t.Fatalf("AS_PATH %x", path)
			}
			if _, has := sent[attrLocalPref]; has != (asn == neighbor) {
				t.Fatalf("LOCAL_PREF: %t", has)
			}
			if o := m.announced[0]; shut && !slices.Contains(o.standard, communityShutdown) {
				t.Fatal("no GRACEFUL_SHUTDOWN")
			}
		}
	})
}
