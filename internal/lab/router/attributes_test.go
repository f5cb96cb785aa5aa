package router_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"nearcast/bgp"
	"nearcast/internal/lab/netns"

	"nearcast/internal/lab/router"
)

// These tests have the real daemons say what they hold of the speaker's announcements. They make two namespaces of their own, with one link.

const (
	routerSpace = netns.Namespace("attributes-r")
	edgeSpace   = netns.Namespace("attributes-e")
	edgeEnv     = "NEARCAST_TEST_EDGE"
	patience    = 20 * time.Second
)

// eventually polls.
func eventually(t *testing.T, what string, cond func() (bool, string)) {
	t.Helper()
	last := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ok, got := cond()
		if ok {
			return
		}
		last = got
	}
	t.Fatalf("wanted %s, got:\n%s", what, last)
}

// link makes the namespaces.
func link(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: making network namespaces needs root")
	}
	for _, program := range []string{"bird", router.FRRPrograms + "/bgpd", "vtysh"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIP: there is no %s", program)
		}
	}
	ctx := context.Background()
	t.Cleanup(func() {
		for _, n := range []netns.Namespace{routerSpace, edgeSpace} {
			if err := n.Delete(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	for _, n := range []netns.Namespace{routerSpace, edgeSpace} {
		if err := n.Create(ctx); err != nil {
			t.Fatal(err)
		}
	}
	err := edgeSpace.IP(ctx, "link add e0 type veth peer name r0 netns "+string(routerSpace), "link set e0 up",
		"addr add 198.51.100.2/30 dev e0", "addr add 2001:db8:1::2/64 dev e0 nodad")
	if err == nil {
		err = routerSpace.IP(ctx, "link set r0 up", "addr add 198.51.100.1/30 dev r0", "addr add 2001:db8:1::1/64 dev r0 nodad")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// scene is a router and how the edge is configured for it.
type scene struct {
	RouterASN, EdgeASN uint32
	TwoOctets          bool          // the router takes no longer AS numbers
	Limit              int           // of prefixes a family, 0: none
	HoldTime           time.Duration // the edge's, 0: the default
	OverIPv6           bool          // the session
}

func (s scene) Internal() bool { return s.RouterASN == s.EdgeASN }

// Edge is the edge's address, for the router.
func (s scene) Edge() string {
	if s.OverIPv6 {
		return "2001:db8:1::2"
	}
	return "198.51.100.2"
}

// prefixes: of the first family two, so that a limit of one can be reached.
// The anycast prefixes of the scenes.
var (
	anycast4 = netip.MustParsePrefix("192.0.2.0/24")
	anycast6 = netip.MustParsePrefix("2001:db8:53::/48")
)

var scenePrefixes = []netip.Prefix{anycast4, netip.MustParsePrefix("203.0.113.0/24"), anycast6}

func (s scene) config() *bgp.Config {
	c := new(bgp.Config)
	c.SetDefaults()
	c.Prefixes = scenePrefixes
	med, special, preference := uint32(100), uint32(7), uint32(150)
	c.Attributes = bgp.Attributes{
		Communities:         []bgp.Community{64511<<16 | 100, 0xffffff04},
		LargeCommunities:    []bgp.LargeCommunity{{64500, 1, 2}, {65536, 4294967295, 0}},
		ExtendedCommunities: []bgp.ExtendedCommunity{{0, 2, 0xfb, 0xf4, 0, 0, 0, 9}, {1, 3, 198, 51, 100, 1, 0, 5}, {2, 2, 0, 1, 0, 1, 0, 6}},
		MED:                 &med,
	}
	var n bgp.NeighborConfig
	n.SetDefaults()
	n.Address, n.ASN, n.NextHopIPv6 = netip.MustParseAddr("198.51.100.1"), s.RouterASN, netip.MustParseAddr("2001:db8:1::2")
	if s.OverIPv6 {
		n.Address, n.NextHopIPv4, n.NextHopIPv6 = netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("198.51.100.2"), netip.Addr{}
	}
	n.PerPrefix = []bgp.NeighborPrefixConfig{{Prefix: anycast6, Attributes: bgp.Attributes{MED: &special}}}
	if s.Internal() {
		n.Attributes.LocalPreference = &preference
	}
	if s.HoldTime > 0 {
		n.HoldTime = s.HoldTime
	}
	c.BGP = bgp.SpeakerConfig{ASN: s.EdgeASN, RouterID: netip.MustParseAddr("198.51.100.2"), Neighbors: []bgp.NeighborConfig{n}}
	return c
}

// TestRoutersHoldWhatIsAnnounced: path, MED, preference and communities of three kinds as BIRD and FRR show them, to external and internal
// neighbors, in both families; a change of them is no withdrawal to the router's kernel; a restarted router gets all of it again.
func TestRoutersHoldWhatIsAnnounced(t *testing.T) {
	link(t)
	daemons := []struct {
		name string
		make func(dir string) daemon
	}{
		{"BIRD", func(dir string) daemon { return &birdDaemon{dir} }},
		{"FRR", func(dir string) daemon { return &frrDaemon{dir} }},
	}
	for _, d := range daemons {
		for _, s := range []struct {
			name string
			scene
		}{
			{"external", scene{RouterASN: 64511, EdgeASN: 64500}},
			{"internal", scene{RouterASN: 64511, EdgeASN: 64511}},
			{"over IPv6", scene{RouterASN: 64511, EdgeASN: 64500, OverIPv6: true}},
			{"AS numbers of four octets", scene{RouterASN: 65551, EdgeASN: 65536}},
			{"a router that takes two octets", scene{RouterASN: 64511, EdgeASN: 64500, TwoOctets: true}},
		} {
			if s.TwoOctets && d.name == "FRR" {
				continue // it can't be told to
			}
			t.Run(d.name+" "+s.name, func(t *testing.T) { tryScene(t, d.make(t.TempDir()), s.scene) })
		}
	}
}

func tryScene(t *testing.T, d daemon, s scene) {
	stop := d.start(t, s)
	e := startEdge(t, s)
	watch, err := routerSpace.WatchRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	standard, shut, large, extended := d.lists()
	for _, step := range []struct {
		prepend uint8
		shut    bool
	}{{0, false}, {2, false}, {2, true}, {0, true}, {0, false}} {
		var routes []bgp.Route
		for _, p := range scenePrefixes {
			routes = append(routes, bgp.Route{Prefix: p, Prepend: step.prepend, GracefulShutdown: step.shut})
		}
		e.set(routes...)
		for _, p := range scenePrefixes {
			want := held{med: 100, standard: standard, large: large, extended: extended}
			if p == anycast6 {
				want.med = 7
			}
			if step.shut {
				want.standard = shut
			}
			if s.Internal() {
				want.preference = 150 - int(step.prepend)
				if step.shut {
					want.preference = 0
				}
			} else {
				want.path = strings.TrimSpace(strings.Repeat(fmt.Sprintf("%d ", s.EdgeASN), 1+int(step.prepend)))
			}
			eventually(t, fmt.Sprintf("%s: %+v", p, want), func() (bool, string) {
				got, text := d.held(t, p)
				if !s.Internal() {
					want.preference = got.preference // the router's own
				}
				return got == want, fmt.Sprintf("%+v\n%s", got, text)
			})
		}
	}
	for _, p := range scenePrefixes {
		changes := watch.Changes(p)
		if len(changes) == 0 || d.replaces(p) && slices.ContainsFunc(changes, func(c netns.RouteChange) bool { return c.Removed }) {
			t.Errorf("%s in the router's kernel: %+v", p, changes)
		}
	}
	// FRR's log is a second witness of what came over the wire.
	if log := stop(); strings.Contains(log, "withdraw") || !d.replaces(anycast6) && !strings.Contains(log, "rcvd "+anycast6.String()) {
		t.Errorf("the router was told of a withdrawal:\n%s", log)
	}
	eventually(t, "attempts to be refused", func() (bool, string) {
		st := e.status("")
		return strings.Contains(st.LastDown, "it refused the TCP connection"), st.LastDown
	})
	d.start(t, s)
	begun := time.Now()
	eventually(t, "all prefixes again", func() (bool, string) {
		st := e.status("")
		return len(st.Announcements) == len(scenePrefixes), fmt.Sprintf("%+v", st)
	})
	t.Logf("the edge was back %s after the router's start", time.Since(begun).Round(time.Millisecond))
}

// TestARouterThatIsCutOffIsSeen: what the router's kernel does not acknowledge is a mismatch before the hold time is over.
func TestARouterThatIsCutOffIsSeen(t *testing.T) {
	link(t)
	s := scene{RouterASN: 64511, EdgeASN: 64500}
	(&birdDaemon{t.TempDir()}).start(t, s)
	s.HoldTime = 30 * time.Second
	e := startEdge(t, s)
	e.set(bgp.Route{Prefix: anycast4}, bgp.Route{Prefix: anycast6})
	eventually(t, "both prefixes announced", func() (bool, string) {
		st := e.status("")
		return len(st.Announcements) == 2, fmt.Sprintf("%+v", st)
	})
	if err := routerSpace.IP(t.Context(), "link set r0 down"); err != nil {
		t.Fatal(err)
	}
	e.set(bgp.Route{Prefix: anycast6})
	eventually(t, "the withdrawal to be missed", func() (bool, string) {
		st := e.status("")
		return len(st.Mismatches) == 1 && st.Mismatches[0].Kind == "not acknowledged" && st.State == "established" && len(st.Announcements) == 1, fmt.Sprintf("%+v", st)
	})
	if err := routerSpace.IP(t.Context(), "link set r0 up", "addr replace 2001:db8:1::1/64 dev r0 nodad"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no mismatch any more", func() (bool, string) {
		st := e.status("")
		return len(st.Mismatches) == 0 && len(st.Announcements) == 1, fmt.Sprintf("%+v", st)
	})
}

// TestARoutersPrefixLimitIsNamed: the session goes, the cause is told, with the limit if the router says it, and when it is raised the
// session is back.
func TestARoutersPrefixLimitIsNamed(t *testing.T) {
	link(t)
	const cause = "it closed the session: Cease/Maximum Number of Prefixes Reached"
	for _, c := range []struct {
		name, want string
		d          daemon
	}{
		{"BIRD", cause, &birdDaemon{t.TempDir()}},
		{"FRR", cause + " (its limit is 1 for IPv4 unicast)", &frrDaemon{t.TempDir()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scene{RouterASN: 64511, EdgeASN: 64500, Limit: 1}
			stop := c.d.start(t, s)
			e := startEdge(t, s)
			e.set(bgp.Route{Prefix: scenePrefixes[0]})
			eventually(t, "the first prefix", func() (bool, string) {
				got, text := c.d.held(t, scenePrefixes[0])
				return got.path != "", text
			})
			e.set(bgp.Route{Prefix: scenePrefixes[0]}, bgp.Route{Prefix: scenePrefixes[1]})
			if c.name == "FRR" { // looks at the limit before it counts the prefix, so at the next change
				eventually(t, "the second prefix", func() (bool, string) {
					got, text := c.d.held(t, scenePrefixes[1])
					return got.path != "", text
				})
				e.set(bgp.Route{Prefix: scenePrefixes[0], Prepend: 1}, bgp.Route{Prefix: scenePrefixes[1]})
			}
			seen := ""
			eventually(t, "the cause", func() (bool, string) {
				if st := e.status(""); strings.Contains(st.LastDown, c.want) {
					return true, ""
				} else if !strings.HasSuffix(seen, st.LastDown+"\n") {
					seen += st.LastDown + "\n"
				}
				return false, seen
			})
			stop()
			s.Limit = 0
			c.d.start(t, s)
			eventually(t, "both prefixes", func() (bool, string) {
				st := e.status("")
				return st.State == "established" && len(st.Announcements) == 2, fmt.Sprintf("%+v", st)
			})
		})
	}
}
