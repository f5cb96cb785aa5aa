package bgp

import (
	"net/netip"
	"slices"
	"time"
)

// Verdict is what the edge's own probe says. The streaks of rise.consecutive and fall.consecutive are already behind it.
type Verdict uint8

// The verdicts. The zero value is unknown, and unknown is never up.
const (
	SelfUnknown Verdict = iota
	SelfOK
	SelfFailing
)

// ServiceHealth counts one service's origins.
type ServiceHealth struct {
	Name            string
	Healthy         int // in any region
	HealthyRegional int // in the edge's own region
	Unprobed        int // in any region, no verdict yet: never counted as healthy, but told apart from dead
}

// Certificate is the one that expires first.
type Certificate struct {
	Known  bool          // false: the edge has none
	Left   time.Duration // negative once it has expired
	Detail string
}

// Inputs is everything that a decision looks at besides the time and the orders.
type Inputs struct {
	Self       Verdict
	SelfDetail string // what fails, for example "listener :443 over h2: connection refused"
	// SelfAt is when the slowest of the edge's own probes last ended, well or not: a sign of life of what decides. Zero: none yet.
	SelfAt      time.Time
	Stalled     bool // the watchdog's
	StallDetail string
	Services    []ServiceHealth
	Load        LoadLevel
	LoadDetail  string
	Certificate Certificate
	DiskFault   string // what the disk tier fails of, empty: nothing, or there is none
	Others      Others
}

// Others is what is known of the other edges. The zero value knows nothing.
type Others struct {
	Region string // this edge's own
	Edges  []OtherEdge
	// Seen are the prefixes of which the routers show an announcement that is not this edge's.
	Seen []netip.Prefix
}

// OtherEdge is another edge, as it last said itself.
type OtherEdge struct {
	Name    string
	Region  string
	Heard   bool // lately; what one that is silent once said does not count
	Unasked bool // not for long enough to call it silent
	Routes  map[netip.Prefix]OtherRoute
}

// OtherRoute is how another edge announces a prefix.
type OtherRoute struct {
	Level Level
	Wants bool // it lacks what it should have to hold it: no better than an edge that lacks the same
}

// level is what the edge is known to announce.
func (e *OtherEdge) level(p netip.Prefix) Level {
	if !e.Heard {
		return LevelWithdrawn
	}
	return e.Routes[p].Level
}

// full says whether another edge is known to hold the route at full preference, and to have what it takes.
func (o *Others) full(p netip.Prefix) bool {
	return slices.ContainsFunc(o.Edges, func(e OtherEdge) bool { return e.level(p) == LevelFull && !e.Routes[p].Wants })
}

// alone says whether there are other edges and none of them is known to hold the route: one that is silent may be dead, one that has hardly been
// asked is not known to be.
func (o *Others) alone(p netip.Prefix) bool {
	return len(o.Edges) > 0 && !slices.Contains(o.Seen, p) &&
		!slices.ContainsFunc(o.Edges, func(e OtherEdge) bool { return e.Unasked || e.level(p) >= LevelDegraded })
}

// spare says whether the others can do without this edge, as far as is known: one of them holds the route, and has what it takes, unless
// this edge lacks it as well.
func (o *Others) spare(p netip.Prefix, lacking bool) bool {
	return len(o.Edges) == 0 || slices.Contains(o.Seen, p) ||
		slices.ContainsFunc(o.Edges, func(e OtherEdge) bool { return e.level(p) >= LevelDegraded && (lacking || !e.Routes[p].Wants) })
}

// mayWithdraw says whether the region may go without the route besides those that do already, of which there may be most. Of regions
// that want to at the same time those go first whose names come first, which is the same in every region's eyes.
func (o *Others) mayWithdraw(p netip.Prefix, most int) bool {
	ahead := 0
	for _, region := range o.regions() {
		held, wanting := false, false
		for _, e := range o.Edges {
			if e.Region != region || e.level(p) < LevelDegraded {
				continue
			}
			if e.Routes[p].Wants {
				wanting = true
			} else {
				held = true
			}
		}
		switch {
		case region == o.Region:
			if held {
				return true // the region keeps the route
			}
		case !held && (!wanting || region < o.Region):
			ahead++
		}
	}
	return ahead < most
}

// regions are those of the edges, each once.
func (o *Others) regions() []string {
	var names []string
	for _, e := range o.Edges {
		if !slices.Contains(names, e.Region) {
			names = append(names, e.Region)
		}
	}
	return names
}

// Orders are what people, or the process's own end, ask for.
type Orders struct {
	Stopping bool        // leave by the ladder, for good
	Hurry    bool        // leave without the ladder
	Drain    *DrainOrder // nil: none
	Thawed   time.Time   // what fell before is forgiven; zero: nothing is
}

// DrainOrder takes prefixes away until it is taken back.
type DrainOrder struct {
	At       time.Time      `json:"at"`
	By       string         `json:"by"`
	Why      string         `json:"why,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes,omitempty"` // none: all
	Force    bool           `json:"force,omitempty"`    // though nobody else is known to hold the route; set by Announcer.Drain
}

// NewDrainOrder is an order that is given now. What it says of its origin is cut and made fit for logs.
func NewDrainOrder(by, why string, prefixes []netip.Prefix) DrainOrder {
	return DrainOrder{At: time.Now(), By: printable(cut(by)), Why: printable(cut(why)), Prefixes: prefixes}
}

// covers says whether the order is about the prefix.
func (d *DrainOrder) covers(p netip.Prefix) bool {
	return d != nil && (len(d.Prefixes) == 0 || slices.Contains(d.Prefixes, p))
}
