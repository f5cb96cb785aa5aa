package fleet

import (
	"net/netip"
	"slices"
	"time"
)

// State is what is known of an address. A peer's life:
//
//	Unknown ──answer──▶ Heard ──no answer for silent_after──▶ Silent ──answer──▶ Heard
//	Unknown ──no answer for silent_after──▶ Silent
//	Heard   ──this process itself stood still for longer──▶ Unknown
//	any     ──our own answer──▶ Self ──another answer──▶ Heard
type State uint8

// The states. Nothing but Heard says anything of what an edge does.
const (
	Unknown State = iota // not asked for long enough
	Heard                // it has answered within silent_after
	Silent               // it has not, though it was asked
	Self                 // the address leads to this process
	stateCount
)

var stateNames = [stateCount]string{"unknown", "heard", "silent", "self"}

func (s State) String() string {
	if s >= stateCount {
		return "unknown"
	}
	return stateNames[s]
}

// MarshalText writes the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Peer is what is known of one address of another edge. It is never changed once it is in a View.
type Peer struct {
	Address netip.AddrPort
	Region  string // as it is configured
	Edge    string // the name that was in the latest valid answer, "" before the first

	State State
	Since time.Time // when State last changed; for Unknown, when it began to be asked

	// Report is the latest valid one, nil before the first; it stays when the peer falls silent. What it says was true between HeardAt
	// less RTT, and HeardAt.
	Report  *Report
	HeardAt time.Time // zero before the first valid answer
	RTT     time.Duration

	Outcome  Outcome // of the latest question
	Err      error   // of the latest question, nil after a valid answer
	Failures int     // questions in a row, up to the latest, without a valid answer
}

// Level is how the edge holds a prefix, as far as it is known now: unknown unless it is heard.
func (p *Peer) Level(prefix netip.Prefix) Level {
	if p == nil || p.State != Heard {
		return LevelUnknown
	}
	return p.Report.Level(prefix)
}

// Hears reports whether the edge is heard and hears the named one: that they know of each other.
func (p *Peer) Hears(edge string) bool {
	return p != nil && p.State == Heard && slices.Contains(p.Report.Hears, edge)
}

// View is what is known of all addresses at one moment. It is immutable, and nil is a view of nobody.
type View struct {
	// Peers are in the order in which they were given.
	Peers []*Peer
}

// Others returns one peer for each edge but the one of that name. Of several addresses of one edge it is the one that was heard last.
// An address that has never answered counts as an edge of its own, since nothing says that it is not one. Two processes that
// both answer with one name are two.
func (v *View) Others(self string) []*Peer {
	if v == nil {
		return nil
	}
	var out []*Peer
	for _, p := range v.Peers {
		if p.State == Self || p.Edge == self && self != "" {
			continue
		}
		i := slices.IndexFunc(out, func(o *Peer) bool { return sameEdge(o, p) })
		switch {
		case i < 0:
			out = append(out, p)
		case better(p, out[i]):
			out[i] = p
		}
	}
	return out
}

// sameEdge reports whether two addresses lead to one edge, as far as is known.
func sameEdge(a, b *Peer) bool {
	if a.Edge == "" || a.Edge != b.Edge {
		return false
	}
	return a.State != Heard || b.State != Heard || a.Report.Instance == b.Report.Instance
}

// better reports whether a says more of the edge than b.
func better(a, b *Peer) bool {
	if (a.State == Heard) != (b.State == Heard) {
		return a.State == Heard
	}
	return a.HeardAt.After(b.HeardAt)
}

// hears are the names of those that are heard, in order.
func (v *View) hears(self string) []string {
	names := []string{}
	for _, p := range v.Peers {
		if p.State == Heard && p.Edge != self {
			names = append(names, p.Edge)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// twins are the names with which several processes answer; that of this edge is one of them when another process has it.
func (v *View) twins(self string) []string {
	instances := make(map[string]string)
	var names []string
	for _, p := range v.Peers {
		if p.State != Heard {
			continue
		}
		if first, ok := instances[p.Edge]; ok && first != p.Report.Instance || p.Edge == self {
			names = append(names, p.Edge)
		}
		instances[p.Edge] = p.Report.Instance
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// with returns a view in which one peer is another.
func (v *View) with(i int, p *Peer) *View {
	peers := slices.Clone(v.Peers)
	peers[i] = p
	return &View{Peers: peers}
}
