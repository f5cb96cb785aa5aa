package bgp

import (
	"net/netip"
	"slices"
	"time"
)

// View is what the routers tell of the anycast prefixes and the beacons. It is a snapshot and does not change.
//
// It is a hint, not a proof: a path lingers elsewhere for up to minutes after its end, and a partition looks as if all others were gone.
type View struct {
	Neighbors []NeighborView // those with a view, in the configuration's order

	echoes map[netip.Prefix][]uint32 // AS numbers of the neighbors that may be telling others what they have from us, one a session
}

// NeighborView is what one router tells.
type NeighborView struct {
	Name        string       `json:"-"`
	ASN         uint32       `json:"-"`
	Mode        ViewMode     `json:"mode"`
	Established bool         `json:"-"`
	Complete    bool         `json:"complete"`           // it has told all that it has, of each family of the session
	Damaged     bool         `json:"damaged,omitempty"`  // a malformed UPDATE has made what it tells uncertain, until it has repeated all
	Prefixes    []PrefixView `json:"prefixes,omitempty"` // all that are watched: the anycast prefixes, then the beacons
}

// PrefixView is what one router tells of one prefix.
type PrefixView struct {
	Prefix     netip.Prefix `json:"prefix"`
	Region     string       `json:"beacon_of,omitempty"`  // "": an anycast prefix
	Own        bool         `json:"-"`                    // the beacon is this edge's own region's
	Complete   bool         `json:"complete"`             // it has told all of the prefix's family
	AddPath    bool         `json:"add_path,omitempty"`   // it tells all paths of the prefix's family, else its best one
	Announced  bool         `json:"announced"`            // this edge announces the prefix to it
	Shown      bool         `json:"shown"`                // it has told of a path of our AS to it in this session, or of any to a beacon, so it does not keep them from us, as some routers do
	Overflowed bool         `json:"overflowed,omitempty"` // it has told more paths than are kept
	Paths      []Path       `json:"paths,omitempty"`      // by ID, at most 64
}

// Path is one path to a prefix.
type Path struct {
	ID               uint32    `json:"id,omitempty"` // path identifier (RFC 7911), 0 without add-path
	Kind             PathKind  `json:"kind"`
	ASPath           []uint32  `json:"as_path"`                     // the neighbor's AS first, at most 64 numbers
	GracefulShutdown bool      `json:"graceful_shutdown,omitempty"` // RFC 8326: it is about to be withdrawn
	Since            time.Time `json:"since"`
}

// PathKind says whose announcement a path leads to.
type PathKind uint8

// The kinds. The AS that a path of our AS number left it for, its upstream, tells edges apart: what entered the network where we enter it may be our own.
const (
	PathUnclear PathKind = iota // its AS_PATH is malformed, has a set, or lacks numbers
	PathOwn                     // our AS number's, by an upstream that has the prefix from this edge, or had until a moment ago, before a restart perhaps: our own, come back, or that of an edge behind the same AS, which looks alike
	PathOther                   // another edge's for certain: our AS number's by an upstream that does not have it from here, or another region's beacon
	PathForeign                 // of another AS number, or the router's own
)

var pathKinds = [...]string{"unclear", "own", "other", "foreign"}

// String is the kind's name.
func (k PathKind) String() string {
	if int(k) < len(pathKinds) {
		return pathKinds[k]
	}
	return "unknown"
}

// MarshalText is String, for JSON.
func (k PathKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// RegionView is what the routers tell of one region's beacon.
type RegionView struct {
	Region   string       `json:"region"`
	Beacon   netip.Prefix `json:"beacon"`
	Seen     bool         `json:"seen"`     // its beacon is announced, and not about to be withdrawn
	Draining bool         `json:"draining"` // its beacon is about to be withdrawn (RFC 8326); not Seen then
	Known    bool         `json:"known"`    // when false, Seen is false for lack of knowledge, as before the beacon has been seen for the first time
}

// Regions says of every other region that has a beacon whether it is seen, in the order of their names.
func (v View) Regions() []RegionView {
	if len(v.Neighbors) == 0 {
		return nil
	}
	var out []RegionView
	for _, p := range v.Neighbors[0].Prefixes {
		if p.Region == "" || p.Own {
			continue
		}
		r := RegionView{Region: p.Region, Beacon: p.Prefix}
		r.Seen, r.Draining, r.Known = v.others(p.Prefix)
		out = append(out, r)
	}
	return out
}

// Others says whether the routers show another edge's announcement of the prefix than this one's, apart from those that are about to be withdrawn
// (RFC 8326). When known is false they can't tell, and seen is false: no session with a view is established and has told all; or those
// that are tell their best paths while this edge announces the prefix, which hides the others; or they have never shown a path of our AS
// to it, and may be keeping those to themselves; or there is a path that can't be read.
func (v View) Others(prefix netip.Prefix) (seen, known bool) {
	seen, _, known = v.others(prefix)
	return seen, known
}

// Seen is those of the prefixes of which the routers show another edge's announcement; see Others.
func (v View) Seen(prefixes []netip.Prefix) (seen []netip.Prefix) {
	for _, p := range prefixes {
		if other, _ := v.Others(p); other {
			seen = append(seen, p)
		}
	}
	return seen
}

func (v View) others(prefix netip.Prefix) (seen, draining, known bool) {
	conclusive, doubt := false, false
	for i := range v.Neighbors {
		n := &v.Neighbors[i]
		p := n.prefix(prefix)
		if p == nil || !n.Established {
			continue
		}
		for _, path := range p.Paths {
			switch {
			case path.Kind == PathUnclear:
				doubt = true
			case path.Kind == PathOther && path.GracefulShutdown:
				draining = true
			case path.Kind == PathOther:
				seen = true
			}
		}
		doubt = doubt || p.Overflowed || v.surplus(n, p)
		hides := !p.AddPath && p.anycast() && len(v.echoes[prefix]) > 0
		conclusive = conclusive || p.Complete && p.Shown && !hides
	}
	return seen, draining && !seen, seen || conclusive && !doubt
}

// surplus says whether a router tells of more direct paths from its AS to ours than this edge can be the cause of: there is another edge behind
// that AS, or the router has one path twice.
func (v View) surplus(n *NeighborView, p *PrefixView) bool {
	direct, own := 0, 0
	for _, path := range p.Paths {
		if path.Kind == PathOwn && path.direct(n.ASN) {
			direct++
		}
	}
	for _, asn := range v.echoes[p.Prefix] {
		if asn == n.ASN {
			own++
		}
	}
	return direct > own
}

// direct says whether a path goes from the neighbor's AS to the originating one and nowhere else.
func (p Path) direct(neighbor uint32) bool {
	if len(p.ASPath) == 0 {
		return true
	}
	last := p.ASPath[len(p.ASPath)-1]
	return !slices.ContainsFunc(p.ASPath, func(n uint32) bool { return n != neighbor && n != last })
}

func (p *PrefixView) anycast() bool { return p.Region == "" || p.Own }

// Accepted says whether the router shows this edge its own announcement of the prefix, which proves that it has taken it. Many never do, so
// false proves nothing.
func (n *NeighborView) Accepted(prefix netip.Prefix) bool {
	p := n.prefix(prefix)
	return p != nil && p.Announced && slices.ContainsFunc(p.Paths, func(path Path) bool { return path.Kind == PathOwn && path.direct(n.ASN) })
}

func (n *NeighborView) prefix(p netip.Prefix) *PrefixView {
	for i := range n.Prefixes {
		if n.Prefixes[i].Prefix == p {
			return &n.Prefixes[i]
		}
	}
	return nil
}
