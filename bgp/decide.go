package bgp

import (
	"fmt"
	"net/netip"
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

// Inputs is everything that a decision looks at besides the time.
type Inputs struct {
	Self       Verdict
	SelfDetail string // what fails, for example "listener :443 over h2: connection refused"
	Services   []ServiceHealth
	Stopping   bool // an order: withdraw, whatever the health
}

// State is what decisions remember from one to the next. The zero value is an edge that has announced nothing yet.
type State struct {
	Announced     bool
	Since         time.Time     // of the last change of Announced, zero: none yet
	GoodSince     time.Time     // zero: not all is well
	Penalty       time.Duration // the last hold-down's length, zero: none or forgiven
	HoldDownUntil time.Time     // zero: never held down
}

// Decision is what should hold for one prefix.
type Decision struct {
	Prefix   netip.Prefix
	Announce bool
	Reason   Reason
	Detail   string    // which service or listener, for people; empty when the reason says it all
	Until    time.Time // when the decision changes by itself, zero: it waits for something else
}

// Decide says for each prefix whether to announce it. It is pure: the same arguments give the same result.
//
//	              all is well for rise.for,
//	              and the hold-down is over
//	withdrawn  ─────────────────────────────▶  announced
//	    ▲                                          │
//	    └──────────────────────────────────────────┘
//	      not all is well: begins a hold-down
//	      stopping: does not
func Decide(now time.Time, c *Config, s State, in Inputs) (State, []Decision) {
	reason, detail := assess(&c.AnnounceWhen, in)
	var until time.Time
	if reason != ReasonServing {
		s = s.bad(now, c.HoldDown)
	} else {
		s, reason, until = s.good(now, c)
	}
	if in.Stopping {
		reason, detail, until = ReasonStopping, "", time.Time{}
	}
	if announce := reason == ReasonServing; announce != s.Announced {
		s.Announced, s.Since = announce, now
	}
	out := make([]Decision, len(c.Prefixes))
	for i, p := range c.Prefixes {
		out[i] = Decision{Prefix: p, Announce: s.Announced, Reason: reason, Detail: detail, Until: until}
	}
	return s, out
}

// bad notes that not all is well, and begins a hold-down when that takes the routes away.
func (s State) bad(now time.Time, h HoldDown) State {
	s.GoodSince = time.Time{}
	if !s.Announced {
		return s
	}
	if s.Penalty == 0 || now.Sub(s.Since) >= h.Max {
		s.Penalty = h.First
	} else {
		s.Penalty = min(2*s.Penalty, h.Max)
	}
	s.HoldDownUntil = now.Add(s.Penalty)
	return s
}

// good notes that all is well, and says what is still to be waited for.
func (s State) good(now time.Time, c *Config) (State, Reason, time.Time) {
	if s.GoodSince.IsZero() {
		s.GoodSince = now
	}
	if s.Announced {
		if now.Sub(s.Since) >= c.HoldDown.Max {
			s.Penalty = 0
		}
		return s, ReasonServing, time.Time{}
	}
	risen := s.GoodSince.Add(c.Rise.For)
	switch {
	case now.Before(s.HoldDownUntil) && s.HoldDownUntil.After(risen):
		return s, ReasonHeldDown, s.HoldDownUntil
	case now.Before(risen):
		return s, ReasonRising, risen
	}
	return s, ReasonServing, time.Time{}
}

// assess says whether all is well, and if not, what is first in the way.
func assess(w *AnnounceWhen, in Inputs) (Reason, string) {
	switch in.Self {
	case SelfOK:
	case SelfFailing:
		return ReasonSelfFailing, in.SelfDetail
	default:
		return ReasonNotProbed, "the edge itself"
	}
	var reason = ReasonServing
	var detail string
	more := 0
	for _, v := range in.Services {
		r, d := assessService(w, v)
		switch {
		case r == ReasonServing:
		case reason == ReasonServing || reason == ReasonNotProbed && r != ReasonNotProbed:
			if reason != ReasonServing {
				more++
			}
			reason, detail = r, d
		default:
			more++
		}
	}
	if more > 0 {
		detail += fmt.Sprintf(", and %d more", more)
	}
	return reason, detail
}

func assessService(w *AnnounceWhen, v ServiceHealth) (Reason, string) {
	switch {
	case v.Healthy+v.Unprobed >= w.HealthyOrigins && v.Healthy < w.HealthyOrigins:
		return ReasonNotProbed, fmt.Sprintf("service %s: %d of %d healthy origins, %d not probed yet", v.Name, v.Healthy, w.HealthyOrigins, v.Unprobed)
	case v.Healthy < w.HealthyOrigins:
		return ReasonOrigins, fmt.Sprintf("service %s: %d of %d healthy origins", v.Name, v.Healthy, w.HealthyOrigins)
	case v.HealthyRegional < w.HealthyRegionalOrigins:
		return ReasonRegional, fmt.Sprintf("service %s: %d of %d healthy origins in this region", v.Name, v.HealthyRegional, w.HealthyRegionalOrigins)
	}
	return ReasonServing, ""
}
