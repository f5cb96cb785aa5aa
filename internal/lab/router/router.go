// Package router runs a real BGP daemon as one of the lab's routers, BIRD or FRR: it writes the configuration, says which programs to
// start, and asks what the daemon holds.
package router

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Daemon is the routing software.
type Daemon string

// The daemons.
const (
	BIRD Daemon = "bird" // BIRD 2
	FRR  Daemon = "frr"
)

// Export says what a router tells the edge.
type Export string

// What a router may tell an edge. Nothing is what an operator should configure.
const (
	ExportNone    Export = ""
	ExportAll     Export = "all"      // the best path of every prefix
	ExportAddPath Export = "add-path" // every path of every prefix, where the edge asks for it (RFC 7911)
)

// Config is one router. The session with the edge is over IPv4 and carries both families; sessions between routers are one a family.
type Config struct {
	Name     string // of the region
	Dir      string // for configuration and sockets; exists, and its path is short enough for a Unix socket
	Log      string // file for the daemon's own log
	ASN      uint32
	RouterID netip.Addr
	Anycast  []netip.Prefix // exactly what the edge may announce
	Networks []netip.Prefix // what the router itself announces to other routers
	Edges    []EdgeSession
	Export   Export // what the edges are told
	Peers    []PeerSession
}

// EdgeSession is the session with an edge of the region, which dials.
type EdgeSession struct {
	Address     netip.Addr
	ASN         uint32
	HoldTime    time.Duration // whole seconds, at least 3
	Password    string        // TCP MD5; empty: none
	TTLSecurity bool
	BFD         time.Duration // interval of BFD, whole milliseconds, the same for all edges; BFDMultiplier of them in silence are a failure; 0: no BFD
}

// BFDMultiplier is how many BFD packets in a row the routers miss before an edge counts as gone. One that does not speak BFD keeps its session.
const BFDMultiplier = 3

// PeerSession is the pair of sessions with another router.
type PeerSession struct {
	Name            string // of the other region
	ASN             uint32
	Local4, Remote4 netip.Addr
	Local6, Remote6 netip.Addr
	Passive         bool // the other router dials, so that two connections never collide
	Prepend         int  // how many times more the own AS number goes on the path, which makes the link a last resort
}

// Program is a daemon to keep running in the router's namespace, in the foreground.
type Program struct {
	Name  string
	Args  []string
	Ready string // file that is there once the next program may be started; empty: it may be at once
}

// Path is one way to a prefix that the router knows.
type Path struct {
	Best    bool
	NextHop netip.Addr // for IPv6 the global one
	ASPath  []uint32   // empty: the router's own
}

// Route is all that the router holds for a prefix. Without paths it has none.
type Route struct{ Paths []Path }

// Best is the path in use.
func (r Route) Best() (Path, bool) {
	i := slices.IndexFunc(r.Paths, func(p Path) bool { return p.Best })
	if i < 0 {
		return Path{}, false
	}
	return r.Paths[i], true
}

// From reports whether the path in use was announced by a direct neighbor with that AS number.
func (r Route) From(asn uint32) bool {
	best, ok := r.Best()
	return ok && len(best.ASPath) == 1 && best.ASPath[0] == asn
}

// String is the path in use, for a table.
func (r Route) String() string {
	best, ok := r.Best()
	if !ok {
		return "none"
	}
	return fmt.Sprintf("via %s path %v", best.NextHop, best.ASPath)
}

// Session is the state of the session with an edge.
type Session struct {
	Established bool
	State       string    // in the daemon's own words
	Since       time.Time // of the state, if the daemon says
	Number      int       // of the session among those that there were, if the daemon counts them
}

// Same reports whether both are of one session, seen twice.
func (s Session) Same(other Session) bool {
	const tolerance = 500 * time.Millisecond // BIRD works the time out anew whenever it is asked
	return s.Established == other.Established && s.Number == other.Number && s.Since.Sub(other.Since).Abs() < tolerance
}

// Router is a running daemon.
type Router interface {
	// Prepare writes the configuration and returns the programs to start, in order.
	Prepare() ([]Program, error)
	// Configure does what is left once the programs run. It waits for them.
	Configure(ctx context.Context) error
	// Route returns what the router holds for exactly this prefix.
	Route(ctx context.Context, prefix netip.Prefix) (Route, error)
	// Session returns the state of the session with the edge of that address.
	Session(ctx context.Context, edge netip.Addr) (Session, error)
	// ClearSession resets the session with that edge, as an operator would.
	ClearSession(ctx context.Context, edge netip.Addr) error
	// Console is the command with which an operator asks the daemon.
	Console() string
}

// New returns a handle on a router. It starts nothing, so it serves for a router that runs already too.
func New(daemon Daemon, cfg Config) (Router, error) {
	switch daemon {
	case BIRD:
		return &bird{cfg: cfg}, nil
	case FRR:
		return &frr{cfg: cfg}, nil
	}
	return nil, fmt.Errorf("router %s: no daemon is called %q", cfg.Name, daemon)
}

// commandTime bounds one question to a daemon. It answers within milliseconds unless something is wrong with it.
const commandTime = 5 * time.Second

// poll calls f every few milliseconds until it succeeds or ctx is done, and returns the last error.
func poll(ctx context.Context, f func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
