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

// Region is one place of the lab: a router with an AS number of its own and, behind it, edges, an origin and a client.
type Region struct {
	Name      string
	Index     byte // in every address of the region
	ASN       uint32
	Daemon    router.Daemon
	Secured   bool // the sessions with the edges have TCP MD5 and TTL security
	Edges     byte // more than one: the router spreads flows over them (ECMP)
	Latitude  float64
	Longitude float64
}

// Site is one edge of a region, with a namespace and a link of its own.
type Site struct {
	Region Region
	Number byte // from 1
}

// Name is the edge's, and the common name of its certificate.
func (s Site) Name() string { return fmt.Sprintf("%s-%d", s.Region.Name, s.Number) }

// Sites are the region's edges. The first is the one that always runs, the others do where a scenario is about them.
func (r Region) Sites() []Site {
	var sites []Site
	for n := byte(1); n <= r.Edges; n++ {
		sites = append(sites, Site{r, n})
	}
	return sites
}

// First is the region's edge where one is meant.
func (r Region) First() Site { return Site{r, 1} }

// regions are the places. Both daemons are met with a secured session and one daemon with a plain one.
var regions = []Region{
	{Name: "nyc", Index: 1, ASN: 64501, Daemon: router.BIRD, Secured: true, Edges: 2, Latitude: 40.71, Longitude: -74.01},
	{Name: "fra", Index: 2, ASN: 64502, Daemon: router.FRR, Secured: true, Edges: 1, Latitude: 50.11, Longitude: 8.68},
	{Name: "tyo", Index: 3, ASN: 64503, Daemon: router.BIRD, Edges: 1, Latitude: 35.68, Longitude: 139.69},
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

// behindRouter are the roles with a link to the region's router. The position is part of their addresses, that of an edge the first one's.
var behindRouter = []Role{Edge, Origin, Client}

const prefix = "nc-" // of every namespace's name

// Namespace is where a role of a region lives, such as nc-client-nyc. An edge's is by its own name, such as nc-edge-nyc-1.
func Namespace(role Role, name string) netns.Namespace {
	return netns.Namespace(prefix + string(role) + "-" + name)
}

// allSites are the edges of all regions.
func allSites() []Site {
	var sites []Site
	for _, r := range regions {
		sites = append(sites, r.Sites()...)
	}
	return sites
}

// site is the edge of that name.
func site(name string) (Site, error) {
	all := allSites()
	i := slices.IndexFunc(all, func(s Site) bool { return s.Name() == name })
	if i < 0 {
		return Site{}, fmt.Errorf("the lab has no edge %q", name)
	}
	return all[i], nil
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
	return r.network(n)
}

// network is the region's pair of networks with that number.
func (r Region) network(n byte) (v4, v6 netip.Prefix) {
	v6bytes := [16]byte{0: 0xfd, 3: r.Index, 5: n}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, r.Index, n, 0}), 30), netip.PrefixFrom(netip.AddrFrom16(v6bytes), 64)
}

// subnet is the pair of networks between the region's router (host 1) and the edge (host 2).
func (s Site) subnet() (v4, v6 netip.Prefix) {
	if s.Number == 1 {
		return s.Region.subnet(Edge)
	}
	return s.Region.network(9 + s.Number) // 9 is the rogue's
}

// addresses are the router's and the role's own in their subnet.
func (r Region) addresses(role Role) (router4, router6, own4, own6 netip.Addr) {
	return pair(r.subnet(role))
}

// addresses are the router's and the edge's own in their subnet.
func (s Site) addresses() (router4, router6, own4, own6 netip.Addr) { return pair(s.subnet()) }

func pair(v4, v6 netip.Prefix) (router4, router6, own4, own6 netip.Addr) {
	return host(v4, 1), host(v6, 1), host(v4, 2), host(v6, 2)
}

// device is the router's end of the link with the edge.
func (s Site) device() string { return fmt.Sprintf("%s%d", Edge, s.Number) }

// networks are those behind the region's router.
func (r Region) networks() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range r.Sites() {
		v4, v6 := s.subnet()
		all = append(all, v4, v6)
	}
	for _, role := range behindRouter {
		if role != Edge {
			v4, v6 := r.subnet(role)
			all = append(all, v4, v6)
		}
	}
	return all
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
	router4, _, _, _ := r.First().addresses()
	cfg := router.Config{
		Name: r.Name, Dir: dir, ASN: r.ASN, RouterID: router4, Log: filepath.Join(o.LogDir, r.Name+"-router.log"),
		Anycast: []netip.Prefix{Prefix4, Prefix6}, Networks: r.networks(), Export: o.Export,
	}
	for _, s := range r.Sites() {
		_, _, own4, _ := s.addresses()
		e := router.EdgeSession{Address: own4, ASN: edgeASN, HoldTime: o.HoldTime, TTLSecurity: r.Secured, BFD: bfdInterval}
		if r.Secured {
			e.Password = password
		}
		cfg.Edges = append(cfg.Edges, e)
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
