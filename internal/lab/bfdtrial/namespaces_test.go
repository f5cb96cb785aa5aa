package bfdtrial

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"testing"
	"time"

	"nearcast/bgp/bfd"
	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/process"
	"nearcast/internal/lab/router"
)

const (
	edge   = netns.Namespace("bfd-edge")
	middle = netns.Namespace("bfd-middle")
	hub    = netns.Namespace("bfd-router")

	patience   = 30 * time.Second
	interval   = 300 * time.Millisecond
	multiplier = 3
)

// path is one pair of addresses that a session goes between, as the edge sees it.
type path struct {
	name        string
	own, router netip.Addr // own has the edge's interface as its zone where it is link-local, router the edge's too
	multihop    bool
}

var paths = []path{
	{"IPv4", netip.MustParseAddr("10.99.0.2"), netip.MustParseAddr("10.99.0.1"), false},
	{"IPv6", netip.MustParseAddr("fd99::2"), netip.MustParseAddr("fd99::1"), false},
	{"link-local", netip.MustParseAddr("fe80::2%up0"), netip.MustParseAddr("fe80::1%up0"), false},
	{"IPv4 over a hop", netip.MustParseAddr("10.99.1.2"), netip.MustParseAddr("10.99.2.1"), true},
	{"IPv6 over a hop", netip.MustParseAddr("fd99:1::2"), netip.MustParseAddr("fd99:2::1"), true},
}

// peers are the edge's sessions.
func peers() (ps []bfd.Peer) {
	for _, p := range paths {
		c := bfd.Config{}
		c.SetDefaults()
		c.Interval, c.Multiplier = interval, multiplier
		if p.multihop {
			c.MinimumTTL = 60 // BIRD sends with the system's 64
		}
		ps = append(ps, bfd.Peer{Name: p.name, Address: p.router, Local: p.own, Multihop: p.multihop, Config: c})
	}
	return ps
}

func needs(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: network namespaces need root")
	}
	for _, p := range []string{"ip", "nft", "bird", "birdc", "vtysh", router.FRRPrograms + "/bfdd"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIP: %s is not here; run make setup", p)
		}
	}
	g, err := user.LookupGroup("frrvty")
	if err != nil {
		t.Skipf("SKIP: FRR wants its group: %v; run make setup", err)
	}
	root, err := user.Lookup("root")
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := root.GroupIds(); err != nil || !slices.Contains(ids, g.Gid) {
		t.Skip("SKIP: FRR wants root in its group; run make setup")
	}
}

// build makes the namespaces, which go with the test.
func build(t *testing.T) {
	t.Helper()
	all := []netns.Namespace{edge, middle, hub}
	remove := func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, n := range all {
			if err := n.Delete(ctx); err != nil {
				t.Error(err)
			}
		}
	}
	remove()
	t.Cleanup(remove)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range all {
		must(n.Create(ctx))
	}
	must(middle.Sysctl(map[string]string{"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}))
	must(hub.IP(ctx, "link add edge0 type veth peer name up0 netns bfd-edge", "link add mid0 type veth peer name right0 netns bfd-middle"))
	must(edge.IP(ctx, "link add mid0 type veth peer name left0 netns bfd-middle"))
	for n, links := range map[netns.Namespace][]string{edge: {"up0", "mid0"}, middle: {"left0", "right0"}, hub: {"edge0", "mid0"}} {
		for _, l := range links {
			if l == "up0" || l == "edge0" { // their link-local addresses are given
				must(n.IP(ctx, "link set "+l+" addrgenmode none"))
			}
			must(n.IP(ctx, "link set "+l+" up"))
		}
	}
	must(edge.IP(ctx, "addr add 10.99.0.2/30 dev up0", "addr add fd99::2/64 dev up0 nodad", "addr add fe80::2/64 dev up0 nodad",
		"addr add 10.99.1.2/30 dev mid0", "addr add fd99:1::2/64 dev mid0 nodad",
		"route add 10.99.2.0/30 via 10.99.1.1", "route add fd99:2::/64 via fd99:1::1"))
	must(middle.IP(ctx, "addr add 10.99.1.1/30 dev left0", "addr add fd99:1::1/64 dev left0 nodad",
		"addr add 10.99.2.2/30 dev right0", "addr add fd99:2::2/64 dev right0 nodad"))
	must(hub.IP(ctx, "addr add 10.99.0.1/30 dev edge0", "addr add fd99::1/64 dev edge0 nodad", "addr add fe80::1/64 dev edge0 nodad",
		"addr add 10.99.2.1/30 dev mid0", "addr add fd99:2::1/64 dev mid0 nodad",
		"route add 10.99.1.0/30 via 10.99.2.2", "route add fd99:1::/64 via fd99:2::2"))
}

// cut has the BFD packets in both directions vanish on arrival, until the function returned is called.
func cut(t *testing.T) (heal func()) {
	t.Helper()
	const rules = "table inet cut {\n chain arrival {\n type filter hook prerouting priority -300;\n udp dport { 3784, 4784 } drop\n }\n}\n"
	for _, n := range []netns.Namespace{edge, hub} {
		if _, err := n.Command(t.Context(), rules, "nft", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		for _, n := range []netns.Namespace{edge, hub} {
			if _, err := n.Command(t.Context(), "", "nft", "delete", "table", "inet", "cut"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// programs keeps what the test starts, and stops it with the test.
func programs(t *testing.T) *process.Group {
	t.Helper()
	g := process.NewGroup(t.TempDir())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := g.StopAll(ctx, 5*time.Second); err != nil {
			t.Error(err)
		}
	})
	return g
}

// want waits until cond holds.
func want(t *testing.T, what string, cond func() bool, describe func() string) time.Duration {
	t.Helper()
	begun := time.Now()
	for !cond() {
		if time.Since(begun) > patience {
			t.Fatalf("wanted %s within %s; %s", what, patience, describe())
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(begun)
}
