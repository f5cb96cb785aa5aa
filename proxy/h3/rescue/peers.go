package rescue

import (
	"net"
	"sync/atomic"
	"time"

	"nearcast/proxy/h3/rescue/tunnel"
)

// reach is what is known of another edge's process.
type reach uint8

const (
	unknown reach = iota // not heard since we started, which is not long ago
	up
	dead // silent for too long
)

func (r reach) String() string { return [...]string{"unknown", "up", "dead"}[r] }

// cause is why connections of another process are over.
type cause uint8

const (
	alive    cause = iota // they are not
	silence               // the edge is dead
	deafness              // it lives, but what we send it does not arrive
	gone                  // it says that it has ended
	replaced              // there is another process now
	causes
)

func (c cause) String() string { return [...]string{"", "silent", "deaf", "gone", "replaced"}[c] }

// peer is another edge.
type peer struct {
	edge  Edge
	index uint8
	near  bool // in our region: another way there than clients have
	addr  *net.UDPAddr
	link  *tunnel.Link

	out, back *rate // packets to the edge, and its answers to clients
	view      atomic.Pointer[view]
	spared    time.Time    // since when it would be dead if we had read everything; Run's own
	last      atomic.Int64 // the last packet that was sent on either way, since the hub's start
	metrics   peerMetrics
	chatter   chatter

	parametersDiffer, clockDiffers atomic.Bool
}

// firstAnswer is what a peer gets besides to be heard after our start. An answer takes a round trip, which may be longer than the silence that means
// death: until it is here, a living edge and a dead one look the same, and resets for the connections of a living one would end them.
const firstAnswer = time.Second

// view is what the decisions about packets are made from. Run alone replaces it.
type view struct {
	reach    reach
	state    State
	instance uint8 // if heard
	heard    bool
	since    time.Time // of reach
	deaf     time.Time // since when we hear it and it does not hear us; zero: that is not so
	past     [4]uint64 // the instances that are over, a bit each
}

// over says why the connections of an instance are over, if they are. An instance that we have not heard of may be a new one: it is not.
func (v *view) over(instance uint8) cause {
	switch {
	case v.past[instance>>6]>>(instance&63)&1 != 0:
		return replaced
	case v.heard && v.state == Gone:
		return gone
	case v.reach == dead && !v.deaf.IsZero():
		return deafness
	case v.reach == dead:
		return silence
	}
	return alive
}

// next is the view that follows from what the link says. A peer that we hear and that does not hear us is as good as dead, for those whose packets we
// send on to it; but that has to last, and begins anew when we stood still, which looks the same to the peer.
func (v *view) next(p tunnel.Peer, after time.Duration, now time.Time, stood bool) *view {
	w := *v
	if p.Hello.Number != 0 {
		w.state = State(p.Hello.State)
		if w.heard && w.instance != p.Hello.Instance {
			w.past[w.instance>>6] |= 1 << (w.instance & 63)
		}
		w.instance, w.heard = p.Hello.Instance, true
		w.past[w.instance>>6] &^= 1 << (w.instance & 63)
	}
	switch {
	case !p.Up || p.HearsUs || v.reach == unknown:
		w.deaf = time.Time{}
	case w.deaf.IsZero() || stood && v.reach != dead:
		w.deaf = now
	}
	switch {
	case p.Up && p.HearsUs:
		w.reach = up
	case v.reach == unknown && p.LastHeard.IsZero() && now.Sub(v.since) < after+firstAnswer: // it may be far away
	case p.Dead, !w.deaf.IsZero() && now.Sub(w.deaf) >= after+2*p.RTT: // a new process there takes two round trips to have heard us
		w.reach = dead
	}
	if w.reach != v.reach {
		w.since = now
	}
	return &w
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Reason is why packets arrive at another edge than that of their connection.
type Reason uint8

// The reasons.
const (
	ECMP    Reason = iota // both are in one region, whose routers spread flows over edges
	Drained               // the edge is draining: its route was withdrawn
	Moved                 // the route moved
	reasons
)

func (r Reason) String() string { return [...]string{"ecmp", "drained", "moved"}[r] }

// MarshalText makes the reason readable.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// reason says why packets for the edge arrive here.
func (p *peer) reason(v *view) Reason {
	switch {
	case p.near:
		return ECMP
	case v.state != Announcing:
		return Drained
	}
	return Moved
}

func (s State) String() string {
	if s > Gone {
		return "unknown"
	}
	return [...]string{"announcing", "draining", "gone"}[s]
}
