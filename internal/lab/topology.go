package lab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/router"
)

// Region is one place of the lab: a router with an AS number of its own and, behind it, an edge, an origin and a client.
type Region struct {
	Name      string
	Index     byte // in every address of the region
	ASN       uint32
	Daemon    router.Daemon
	Secured   bool // the session with the edge has TCP MD5 and TTL security
	Latitude  float64
	Longitude float64
}

// EdgeName is the name of the region's edge, and the common name of its certificate.
func (r Region) EdgeName() string { return r.Name + "-1" }

// regions are the places. Both daemons are met with a secured session and one daemon with a plain one.
var regions = []Region{
	{Name: "nyc", Index: 1, ASN: 64501, Daemon: router.BIRD, Secured: true, Latitude: 40.71, Longitude: -74.01},
	{Name: "fra", Index: 2, ASN: 64502, Daemon: router.FRR, Secured: true, Latitude: 50.11, Longitude: 8.68},
	{Name: "tyo", Index: 3, ASN: 64503, Daemon: router.BIRD, Latitude: 35.68, Longitude: 139.69},
}

// path is a wide-area link. Every router is one AS away from every other, so the longer links are prepended: then the shortest AS
// path is the shortest in time too.
type path struct {
	a, b    string
	delay   time.Duration // one way
	prepend int
}

var paths = []path{
	{"nyc", "fra", 40 * time.Millisecond, 0},
	{"nyc", "tyo", 75 * time.Millisecond, 1},
	{"fra", "tyo", 115 * time.Millisecond, 2},
}

// The numbers of the lab, all from documentation and private ranges.
const (
	edgeASN = 64500
	// Host is the name that the edges' certificates are for.
	Host = "www.lab.example"
	// password is the TCP MD5 key of the secured sessions.
	password   = "lab-session-key"
	originPort = 8080
	// bfdInterval is of the BFD sessions between routers and edges.
	bfdInterval = 300 * time.Millisecond
)

// The anycast prefixes, and the service address in each.
var (
	Prefix4  = netip.MustParsePrefix("192.0.2.0/24")
	Prefix6  = netip.MustParsePrefix("2001:db8:53::/48")
	Service4 = netip.MustParseAddr("192.0.2.1")
	Service6 = netip.MustParseAddr("2001:db8:53::1")
)

// Role is what a namespace is in its region.
type Role string

// The roles of a region.
const (
	Router Role = "router"
	Edge   Role = "edge"
	Origin Role = "origin"
	Client Role = "client"
	Rogue  Role = "rogue" // a second BGP neighbor of the edge; exists only while a scenario needs it
)

// behindRouter are the roles with a link to the region's router. The position is part of their addresses.
var behindRouter = []Role{Edge, Origin, Client}

const prefix = "nc-" // of every namespace's name

// Namespace is where a role of a region lives, such as nc-edge-nyc.
func Namespace(role Role, region string) netns.Namespace {
	return netns.Namespace(prefix + string(role) + "-" + region)
}

// Regions returns the names of the regions.
func Regions() []string {
	var names []string
	for _, r := range regions {
		names = append(names, r.Name)
	}
	return names
}

func region(name string) (Region, error) {
	i := slices.IndexFunc(regions, func(r Region) bool { return r.Name == name })
	if i < 0 {
		return Region{}, fmt.Errorf("the lab has no region %q, it has %v", name, Regions())
	}
	return regions[i], nil
}

// subnet is the pair of networks between the region's router (host 1) and a role behind it (host 2).
func (r Region) subnet(role Role) (v4, v6 netip.Prefix) {
	n := byte(slices.Index(behindRouter, role))
	if role == Rogue {
		n = 9
	}
	v6bytes := [16]byte{0: 0xfd, 3: r.Index, 5: n}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, r.Index, n, 0}), 30), netip.PrefixFrom(netip.AddrFrom16(v6bytes), 64)
}

// addresses are the router's and the role's own in their subnet.
func (r Region) addresses(role Role) (router4, router6, own4, own6 netip.Addr) {
	v4, v6 := r.subnet(role)
	return host(v4, 1), host(v6, 1), host(v4, 2), host(v6, 2)
}

// subnet is the pair of networks on the link, a is host 1 and b host 2.
func (p path) subnet() (v4, v6 netip.Prefix) {
	a, _ := region(p.a)
	b, _ := region(p.b)
	n := a.Index*10 + b.Index
	v6bytes := [16]byte{0: 0xfd, 2: 0xff, 5: n}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 255, n, 0}), 30), netip.PrefixFrom(netip.AddrFrom16(v6bytes), 64)
}

// end returns the addresses of the named region on the link, and the region at the other end with its addresses.
func (p path) end(name string) (own4, own6 netip.Addr, other string, other4, other6 netip.Addr, ok bool) {
	v4, v6 := p.subnet()
	switch name {
	case p.a:
		return host(v4, 1), host(v6, 1), p.b, host(v4, 2), host(v6, 2), true
	case p.b:
		return host(v4, 2), host(v6, 2), p.a, host(v4, 1), host(v6, 1), true
	}
	return
}

func host(p netip.Prefix, n byte) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-1] = n
	a, _ := netip.AddrFromSlice(b)
	return a
}

// nearest orders the other regions by their delay from the named one.
func nearest(name string) []string {
	type other struct {
		name  string
		delay time.Duration
	}
	var others []other
	for _, p := range paths {
		if _, _, o, _, _, ok := p.end(name); ok {
			others = append(others, other{o, p.delay})
		}
	}
	slices.SortFunc(others, func(a, b other) int { return int(a.delay - b.delay) })
	var names []string
	for _, o := range others {
		names = append(names, o.name)
	}
	return names
}

// routerConfig is what the region's router is told.
func routerConfig(r Region, dir string, o Options) router.Config {
	router4, _, edge4, _ := r.addresses(Edge)
	cfg := router.Config{
		Name: r.Name, Dir: dir, ASN: r.ASN, RouterID: router4, Log: filepath.Join(o.LogDir, r.Name+"-router.log"),
		Anycast: []netip.Prefix{Prefix4, Prefix6},
		Edge:    router.EdgeSession{Address: edge4, ASN: edgeASN, HoldTime: o.HoldTime, TTLSecurity: r.Secured, BFD: bfdInterval, Export: o.Export},
	}
	if r.Secured {
		cfg.Edge.Password = password
	}
	for _, role := range behindRouter {
		v4, v6 := r.subnet(role)
		cfg.Networks = append(cfg.Networks, v4, v6)
	}
	for _, p := range paths {
		own4, own6, other, other4, other6, ok := p.end(r.Name)
		if !ok {
			continue
		}
		peer, _ := region(other)
		cfg.Peers = append(cfg.Peers, router.PeerSession{Name: other, ASN: peer.ASN,
			Local4: own4, Remote4: other4, Local6: own6, Remote6: other6, Prepend: p.prepend,
			Passive: p.b == r.Name})
	}
	return cfg
}
