package bgp

import (
	"fmt"
	"net/netip"
	"time"
)

// State is what decisions remember from one to the next, by prefix as in the configuration. The zero value is an edge that has announced
// nothing yet.
type State struct{ Prefixes []PrefixState }

// PrefixState is what is remembered of one prefix.
type PrefixState struct {
	Level Level
	Since time.Time // of the last change of Level, zero: none yet

	good       [numLevels]time.Time // since when health has allowed that level; zero: it does not
	worseSince time.Time            // since when health has asked for less than Level; zero: it does not
	rose       bool                 // since the last flap
	rescued    bool                 // it rose, held down, because nobody else was there

	Penalty       time.Duration // the last hold-down's length, zero: none or forgiven
	HoldDownUntil time.Time     // zero: never held down
	Flaps         int           // that are not forgiven
	thawed        time.Time

	leavingSince time.Time // the drain ladder's beginning; zero: not leaving
	leftFrom     Level     // what it was then

	unsureSince time.Time // since when an origin without a verdict has been in the way; zero: none is
	wantsSince  time.Time // since when it has been degraded, or about to be, while another region does better; zero: it is not
}

// Decision is what should hold for one prefix.
type Decision struct {
	Prefix           netip.Prefix
	Level            Level
	Prepend          uint8 // times our AS number, besides what is configured for every announcement
	GracefulShutdown bool  // RFC 8326
	Reason           Reason
	Detail           string    // which service or listener, for people; empty when the reason says it all
	Until            time.Time // when the decision changes by itself, zero: it waits for something else
	Step             int       // of the drain ladder, from 1; 0: not on it
	Wants            bool      // announce_when is not met: it would be withdrawn if another region did better; for the other edges to know
	Island           bool      // origins are gone and the route stays: serve what is there, and say of the rest that it will be back
	Frozen           bool      // an operator's order is needed
}

// Announced says whether there is a route.
func (d Decision) Announced() bool { return d.Level > LevelWithdrawn }

// ordered says whether it is as somebody wanted it.
func (d Decision) ordered() bool { return d.Reason == ReasonDraining || d.Reason == ReasonStopping }

func (d Decision) route() Route {
	return Route{Prefix: d.Prefix, Prepend: d.Prepend, GracefulShutdown: d.GracefulShutdown}
}

// Decide says for each prefix how to announce it. It is pure: the same arguments give the same result.
//
//	withdrawn ──▶ degraded ◀──▶ full     up: health allows it for rise.for, and the hold-down is over
//	    ▲            │           │       down: health forbids it for fall.for; begins a hold-down
//	    │            ▼           │
//	    └──────── draining ◀─────┘       an order: step by step, and back without a hold-down when it is taken back
//
// What only this edge can lack (its own probe) withdraws at once. What other regions may lack as well degrades first, and withdraws only
// while another region is known to do better, one region at a time.
func Decide(now time.Time, c *Config, s State, in Inputs, o Orders) (State, []Decision) {
	next := State{Prefixes: make([]PrefixState, len(c.Prefixes))}
	copy(next.Prefixes, s.Prefixes)
	out := make([]Decision, len(c.Prefixes))
	for i, p := range c.Prefixes {
		v := view{now: now, c: c, p: p, s: &next.Prefixes[i], in: &in, o: &o}
		v.announce, v.full = c.conditions(c.perPrefix(p))
		out[i] = v.decide()
	}
	return next, out
}

func (c *Config) perPrefix(p netip.Prefix) *PrefixConfig {
	for i := range c.PerPrefix {
		if c.PerPrefix[i].Prefix == p {
			return &c.PerPrefix[i]
		}
	}
	return nil
}

// view is one prefix at one moment.
type view struct {
	now            time.Time
	c              *Config
	p              netip.Prefix
	s              *PrefixState
	in             *Inputs
	o              *Orders
	announce, full *Conditions
}

// target is what health asks for, whatever the past.
type target struct {
	level  Level
	fault  fault
	until  time.Time // when it may change by itself
	wants  bool
	island bool
	urgent bool // do not wait for fall.for
}

func (v *view) decide() Decision {
	v.thaw()
	t := v.target()
	for l := LevelDegraded; l < numLevels; l++ {
		if t.level < l {
			v.s.good[l] = time.Time{}
		} else if v.s.good[l].IsZero() {
			v.s.good[l] = v.now
		}
	}
	if v.o.Stopping || v.o.Hurry || v.o.Drain.covers(v.p) {
		return v.leave(t)
	}
	v.comeBack(t)
	d := v.move(t)
	d.Wants, d.Island = t.wants, t.island && d.Level == LevelDegraded
	d.Frozen = v.frozen()
	if d.Level == LevelDegraded {
		d.Prepend = v.c.Degraded.Prepend
	}
	return d
}

// decision is one about this prefix as it is.
func (v *view) decision(f fault, until time.Time) Decision {
	return Decision{Prefix: v.p, Level: v.s.Level, Reason: f.reason, Detail: f.detail, Until: until}
}

// target judges health.
func (v *view) target() target {
	unsure := v.s.unsureSince
	v.s.unsureSince = time.Time{}
	if f := assessSelf(v.in); f != noFault {
		v.s.wantsSince = time.Time{}
		return target{level: LevelWithdrawn, fault: f, urgent: f.reason == ReasonStalled}
	}
	f := v.announce.assess(v.in)
	if f == noFault {
		v.s.wantsSince = time.Time{}
		if less := v.full.assess(v.in); less != noFault {
			return target{level: LevelDegraded, fault: less}
		}
		return target{level: LevelFull, fault: noFault}
	}
	if f.reason == ReasonNotProbed {
		if v.s.unsureSince = unsure; unsure.IsZero() {
			v.s.unsureSince = v.now
		}
		// One that answers every other probe never gets a verdict. It is no reason to stay away for longer than a dead one.
		if sure := v.s.unsureSince.Add(v.c.HoldDown.First); v.now.Before(sure) {
			return target{level: LevelWithdrawn, fault: f, until: sure}
		}
	}
	return v.lacking(f)
}

// lacking is for what other regions may lack too: it must not be the end of the last route.
func (v *view) lacking(f fault) target {
	if !v.in.Others.full(v.p) {
		v.s.wantsSince = time.Time{}
		switch v.c.LastRegion {
		case LastWithdraw:
			return target{level: LevelWithdrawn, fault: f}
		case LastKeep:
			return target{level: LevelFull, fault: fault{ReasonLastRegion, f.String()}, wants: true}
		}
		return target{level: LevelDegraded, fault: fault{ReasonLastRegion, f.String()}, wants: true, island: true}
	}
	if v.s.Level == LevelWithdrawn {
		return target{level: LevelWithdrawn, fault: f}
	}
	if v.s.wantsSince.IsZero() || v.s.Level > LevelDegraded { // fall.for goes before degraded.for
		v.s.wantsSince = v.now
	}
	ripe := v.s.wantsSince.Add(v.c.Degraded.For)
	if v.s.rescued && v.s.HoldDownUntil.After(ripe) { // or a view that comes and goes would have the route come and go without a hold-down
		ripe = v.s.HoldDownUntil
	}
	switch {
	case v.s.rescued && v.frozen():
		return target{level: LevelDegraded, fault: f, wants: true}
	case v.now.Before(ripe):
		return target{level: LevelDegraded, fault: f, until: ripe, wants: true}
	case !v.in.Others.mayWithdraw(v.p, v.c.MaxWithdrawn):
		return target{level: LevelDegraded, fault: fault{ReasonBudget, f.String()}, wants: true}
	}
	return target{level: LevelWithdrawn, fault: f}
}

// String is the fault in words.
func (f fault) String() string {
	if f.detail == "" {
		return f.reason.String()
	}
	return fmt.Sprintf("%s: %s", f.reason, f.detail)
}

// move brings the level towards the target.
func (v *view) move(t target) Decision {
	s := v.s
	v.forgive()
	if t.level < s.Level {
		if s.worseSince.IsZero() {
			s.worseSince = v.now
		}
		if falls := s.worseSince.Add(v.c.Fall.For); v.now.Before(falls) && !t.urgent {
			return v.decision(fault{ReasonFalling, t.fault.String()}, falls)
		}
		v.fall(t.level)
		return v.decision(t.fault, t.until)
	}
	s.worseSince = time.Time{}
	if t.level > s.Level {
		if wait, until := v.rise(t); wait != noFault {
			return v.decision(wait, until)
		}
	}
	return v.decision(t.fault, t.until)
}

// forgive forgets the flaps when the route has stayed where it rose to for the longest hold-down.
func (v *view) forgive() {
	if v.s.rose && !v.frozen() && v.now.Sub(v.s.Since) >= v.c.HoldDown.Max {
		v.s.Penalty, v.s.Flaps = 0, 0
	}
}

// fall goes down and begins a hold-down, which is longer if the route had come back since the last one.
func (v *view) fall(to Level) {
	s, h := v.s, v.c.HoldDown
	switch {
	case !s.rose && s.Penalty > 0:
	case s.Penalty == 0:
		s.Penalty, s.Flaps = h.First, s.Flaps+1
	default:
		s.Penalty, s.Flaps = min(2*s.Penalty, h.Max), s.Flaps+1
	}
	s.rose, s.rescued = false, false
	s.HoldDownUntil = v.now.Add(s.Penalty)
	s.Level, s.Since, s.worseSince = to, v.now, time.Time{}
}

// rise goes up as far as may be now, and says what is still to be waited for.
func (v *view) rise(t target) (wait fault, until time.Time) {
	s := v.s
	r := riser{held: s.HoldDownUntil.After(v.now) || v.frozen()}
	r.alone = r.held && v.in.Others.alone(v.p)
	next := s.Level
	for l := LevelDegraded; l <= t.level; l++ {
		if at := v.mayRise(l, r); !at.IsZero() && !at.After(v.now) {
			next = max(next, l)
		}
	}
	if next > s.Level {
		s.Level, s.Since, s.rose, s.rescued = next, v.now, true, r.alone
		if next == t.level {
			return noFault, time.Time{}
		}
	}
	for l := max(s.Level+1, LevelDegraded); l <= t.level; l++ {
		if at := v.mayRise(l, r); !at.IsZero() && (until.IsZero() || at.Before(until)) {
			until = at
		}
	}
	holding := v.holding(s.good[t.level].Add(v.c.Rise.For))
	if s.Level == LevelDegraded && r.alone {
		return fault{ReasonLastRegion, "otherwise " + holding.String()}, until
	}
	return holding, until
}

// riser is what stands in the way of a rise besides rise.for.
type riser struct {
	held  bool // by a hold-down or the freeze
	alone bool // held, though nobody else is there
}

// mayRise is when the route may rise to a level that health allows; zero: not before something else changes.
func (v *view) mayRise(to Level, r riser) time.Time {
	at := v.s.good[to].Add(v.c.Rise.For)
	switch {
	case r.alone && to == LevelDegraded: // whoever would be flapped on has nowhere else to go
	case v.frozen():
		return time.Time{}
	case r.held && v.s.HoldDownUntil.After(at):
		at = v.s.HoldDownUntil
	}
	return at
}

// holding says what holds the route down.
func (v *view) holding(risen time.Time) fault {
	switch {
	case v.frozen():
		return fault{ReasonFrozen, fmt.Sprintf("the route fell %d times; look why, then: nearcast undrain", v.s.Flaps)}
	case v.s.HoldDownUntil.After(v.now) && v.s.HoldDownUntil.After(risen):
		return fault{ReasonHeldDown, ""}
	}
	return fault{ReasonRising, ""}
}

func (v *view) frozen() bool {
	return v.c.HoldDown.FreezeAfter > 0 && v.s.Flaps >= v.c.HoldDown.FreezeAfter
}

// thaw forgives, on an operator's order.
func (v *view) thaw() {
	if v.o.Thawed.After(v.s.thawed) {
		v.s.thawed = v.o.Thawed
		v.s.Penalty, v.s.Flaps, v.s.HoldDownUntil = 0, 0, time.Time{}
	}
}

// leave goes down the drain ladder.
func (v *view) leave(t target) Decision {
	s := v.s
	f := fault{reason: ReasonStopping}
	if !v.o.Stopping && !v.o.Hurry {
		f = fault{ReasonDraining, v.o.Drain.String()}
	}
	s.worseSince, s.wantsSince = time.Time{}, time.Time{}
	if s.leavingSince.IsZero() {
		s.leavingSince, s.leftFrom = v.now, s.Level
	}
	at, onLadder := v.c.rungAt(v.now.Sub(s.leavingSince))
	waits := false
	to := LevelDraining
	switch {
	case s.Level == LevelWithdrawn || v.o.Hurry || assessSelf(v.in) != noFault:
		to = LevelWithdrawn
	case onLadder:
	case f.reason == ReasonDraining && !v.o.Drain.Force && !v.in.Others.spare(v.p, t.wants): // others were drained at the same time, or have died since
		waits = true
		f = fault{ReasonLastRegion, ErrLastRegion.Error() + ", so the drain goes no further; " + v.o.Drain.String()}
	default:
		to = LevelWithdrawn
	}
	if to != s.Level {
		s.Level, s.Since = to, v.now
	}
	d := v.decision(f, time.Time{})
	if to == LevelDraining {
		if d.Until = s.leavingSince.Add(at.ends); waits {
			d.Until = t.until
		}
		d.Prepend, d.GracefulShutdown, d.Step = at.prepend, at.gracefulShutdown, at.step+1
		if s.leftFrom == LevelDegraded {
			d.Prepend += v.c.Degraded.Prepend
		}
	}
	return d
}

// comeBack ends a drain whose order was taken back. What has not been withdrawn yet is as it was: nobody need wait.
func (v *view) comeBack(t target) {
	s := v.s
	if s.leavingSince.IsZero() {
		return
	}
	s.leavingSince = time.Time{}
	if s.Level == LevelDraining {
		s.Level, s.Since = s.leftFrom, v.now
	}
}

// String is who ordered it and why.
func (d *DrainOrder) String() string {
	if d == nil {
		return ""
	}
	if d.Why == "" {
		return "ordered by " + d.By
	}
	return "ordered by " + d.By + ": " + d.Why
}
