package proxy

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"nearcast/geo"
	"nearcast/health"
)

// suspectFor is how long an origin that failed a request stands behind the others: longer than one probe interval, so that a dead
// origin costs each request a failed attempt only until its health check has noticed, and short enough that
// one lost connection costs a good origin nothing.
const suspectFor = 2 * time.Second

// suspicion remembers a failed attempt.
type suspicion struct{ until atomic.Int64 } // Unix nanoseconds

func (s *suspicion) raise(now time.Time)       { s.until.Store(now.Add(suspectFor).UnixNano()) }
func (s *suspicion) clear()                    { s.until.Store(0) }
func (s *suspicion) active(now time.Time) bool { return now.UnixNano() < s.until.Load() }

// rotation spreads the requests over origins that are equally near.
type rotation struct{ n atomic.Uint32 }

// candidate is one origin as rank sees it.
type candidate struct {
	origin   int // index in the service
	region   string
	status   health.Status
	suspect  bool
	rtt      time.Duration // measured, 0 when not
	estimate time.Duration // by distance, 0 when a place is not known
}

// rank orders candidates, best first. It is pure.
//
// Healthy before not yet probed before down, and among the first two the unsuspected before the suspected: when nothing is healthy the checks may be what is
// broken, so the rest is tried rather than refused. Among those the nearest region first: by measured round-trip time, where there is
// none by the distance's estimate, unknown last. A region is as near as its nearest candidate. Within a region
// the origins take turns, turn by turn.
func rank(cs []candidate, turn uint32) {
	type group struct {
		class  int
		region string
	}
	near := map[group]time.Duration{}
	for _, c := range cs {
		g := group{c.class(), c.region}
		if d, ok := near[g]; !ok || c.distance() < d {
			near[g] = c.distance()
		}
	}
	slices.SortStableFunc(cs, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(a.class(), b.class()),
			cmp.Compare(near[group{a.class(), a.region}], near[group{b.class(), b.region}]),
			cmp.Compare(a.region, b.region),
		)
	})
	for i := 0; i < len(cs); {
		j := i + 1
		for j < len(cs) && cs[j].region == cs[i].region && cs[j].class() == cs[i].class() {
			j++
		}
		rotate(cs[i:j], int(turn%uint32(j-i)))
		i = j
	}
}

func rotate(cs []candidate, n int) {
	slices.Reverse(cs[:n])
	slices.Reverse(cs[n:])
	slices.Reverse(cs)
}

func (c *candidate) class() int {
	class := 4 // down
	switch c.status {
	case health.Up:
		class = 0
	case health.Unknown:
		class = 2
	}
	if c.suspect && class < 4 {
		class++
	}
	return class
}

func (c *candidate) distance() time.Duration {
	switch {
	case c.rtt > 0:
		// Nothing is faster than light: a measurement below that ended somewhere nearer than the origin.
		return max(c.rtt, c.estimate)
	case c.estimate > 0:
		return c.estimate
	}
	return math.MaxInt64
}

// order ranks the service's origins for this request.
func (p *Proxy) order(x *exchange, now time.Time) []*origin {
	s := x.service
	if len(s.origins) == 1 {
		return s.origins
	}
	snapshot := p.opts.Health.Snapshot()
	cs := make([]candidate, len(s.origins))
	for i, o := range s.origins {
		c := candidate{origin: i, region: o.region, suspect: o.suspect.active(now)}
		if st := snapshot.Get(o.id); st != nil {
			c.status, c.rtt = st.Status, st.RTT
		}
		if o.placed {
			if from, ok := p.standpoint(x); ok {
				// The same place is not "unknown": it is as near as can be.
				c.estimate = max(geo.RTTFloor(from, o.location), 1)
			}
		}
		cs[i] = c
	}
	rank(cs, s.rotation.n.Add(1))
	out := make([]*origin, len(cs))
	for i, c := range cs {
		out[i] = s.origins[c.origin]
	}
	return out
}
