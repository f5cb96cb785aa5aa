package bgp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// history is a random course of events for one prefix, and what has been seen of it. It knows nothing of how Decide comes to its decisions.
type history struct {
	r     *rand.Rand
	c     *Config
	now   time.Time
	in    Inputs
	o     Orders
	state State
	last  Decision

	selfGood  time.Time // since when the edge has answered itself; zero: it does not
	selfBad   time.Time // since when it has not; zero: it does
	mayDegr   time.Time // since when health has allowed that level at least, as far as can be said without knowing the others
	mayFull   time.Time
	fell      time.Time // the last fall for health
	thawed    time.Time
	rises     []time.Time // those that a hold-down must have allowed, since the last order to thaw
	ordered   bool        // an order covers the prefix
	undrained bool        // it did until this step
}

func newHistory(r *rand.Rand) *history {
	c := levelsConfig()
	c.Prefixes = []netip.Prefix{testPrefix4}
	c.LastRegion = LastRegion(r.IntN(int(numLastRegions)))
	c.Rise.For = time.Duration(r.IntN(6)) * time.Second
	c.Fall.For = time.Duration(r.IntN(3)) * time.Duration(r.IntN(10)) * time.Second
	c.HoldDown.FreezeAfter = r.IntN(6)
	c.Degraded.For = time.Duration(r.IntN(20)) * time.Second
	c.MaxWithdrawn = r.IntN(3)
	if r.IntN(3) == 0 {
		c.Drain = nil
	}
	return &history{r: r, c: c, now: time.Unix(1_700_000_000, 0), in: allWell}
}

// step lets time pass and something happen.
func (h *history) step() {
	r := h.r
	if d := h.last.Until.Sub(h.now); !h.last.Until.IsZero() && r.IntN(2) == 0 {
		h.now = h.now.Add(d) // as the announcer does
	} else {
		h.now = h.now.Add(time.Duration(1+r.IntN(8_000)) * time.Millisecond)
	}
	if r.IntN(400) == 0 {
		h.now = h.now.Add(time.Duration(r.IntN(20)) * time.Minute)
	}
	h.undrained = false
	switch r.IntN(9) {
	case 0, 1:
		h.in.Self = Verdict(r.IntN(3))
	case 2:
		h.in.Self = SelfOK
		h.in.Services = allWell.Services
		h.in.Load, h.in.DiskFault = LoadOK, ""
	case 3, 4:
		h.in.Services = []ServiceHealth{{Name: "shop", Healthy: r.IntN(2), HealthyRegional: r.IntN(2), Unprobed: r.IntN(8) / 7}}
	case 5:
		h.in.Load = LoadLevel(r.IntN(int(numLoadLevels)))
	case 6, 7:
		h.others()
	case 8:
		h.order()
	}
	h.in.Stalled = r.IntN(200) == 0
}

func (h *history) others() {
	h.in.Others = Others{Region: "fra"}
	levels := []string{"withdrawn", "draining", "degraded", "degraded!", "full", "full!", "full?"}
	for _, region := range []string{"ams", "fra", "nyc"}[:h.r.IntN(4)] {
		h.in.Others.Edges = append(h.in.Others.Edges, elsewhere(region+":"+levels[h.r.IntN(len(levels))]).Edges...)
	}
	if h.r.IntN(5) == 0 {
		h.in.Others.Seen = h.c.Prefixes
	}
}

func (h *history) order() {
	switch h.r.IntN(6) {
	case 0, 1:
		h.o.Drain = &DrainOrder{By: "ops", Force: h.r.IntN(2) == 0}
	case 2:
		h.o.Drain = &DrainOrder{By: "ops", Prefixes: []netip.Prefix{testPrefix6}} // of no concern here
	default:
		h.o.Drain, h.o.Thawed = nil, h.now
	}
	covered := h.o.Drain.covers(testPrefix4)
	h.ordered, h.undrained = covered, h.ordered && !covered
}

// look decides, and reports what must not be.
func (h *history) look() error {
	before := h.state
	state, ds := Decide(h.now, h.c, before, h.in, h.o)
	d := ds[0]
	if again, ds2 := Decide(h.now, h.c, before, h.in, h.o); ds2[0] != d || again.Prefixes[0] != state.Prefixes[0] {
		return fmt.Errorf("the same arguments give %+v and %+v", d, ds2[0])
	}
	if settled, ds2 := Decide(h.now, h.c, state, h.in, h.o); ds2[0] != d || settled.Prefixes[0].Flaps != state.Prefixes[0].Flaps {
		return fmt.Errorf("asked again at the same moment: %+v, then %+v", d, ds2[0])
	}
	h.note()
	err := h.judge(d, state.Prefixes[0])
	if err == nil {
		err = h.honest(d, state)
	}
	h.state, h.last = state, d
	return err
}

// note is what an observer of the inputs remembers.
func (h *history) note() {
	mark := func(t *time.Time, holds bool) {
		if !holds {
			*t = time.Time{}
		} else if t.IsZero() {
			*t = h.now
		}
	}
	self := h.in.Self == SelfOK && !h.in.Stalled
	s := h.in.Services[0]
	mark(&h.selfGood, self)
	mark(&h.selfBad, !self)
	mark(&h.mayDegr, self)
	mark(&h.mayFull, self && (s.Healthy > 0 && s.HealthyRegional > 0 && h.in.Load == LoadOK || h.c.LastRegion == LastKeep))
	if h.o.Thawed.After(h.thawed) {
		h.thawed, h.fell, h.rises = h.o.Thawed, time.Time{}, nil
	}
}

// judge compares a decision with the rules.
func (h *history) judge(d Decision, s PrefixState) error {
	was := h.last.Level
	alone := h.in.Others.alone(testPrefix4)
	frozen := h.c.HoldDown.FreezeAfter > 0 && s.Flaps >= h.c.HoldDown.FreezeAfter
	switch {
	case !h.selfBad.IsZero() && d.Announced() && (h.ordered || h.in.Stalled || h.now.Sub(h.selfBad) >= h.c.Fall.For):
		return fmt.Errorf("%s though the edge has not answered itself for %s", d.Level, h.now.Sub(h.selfBad))
	case h.ordered && d.Level > LevelDraining:
		return fmt.Errorf("%s though it is drained", d.Level)
	case h.ordered && was == LevelWithdrawn && d.Announced():
		return fmt.Errorf("%s again though it is drained", d.Level)
	case d.Level == LevelDraining && !h.ordered:
		return fmt.Errorf("draining without an order")
	case d.Frozen != (frozen && !h.ordered):
		return fmt.Errorf("frozen %v with %d flaps, ordered %v", d.Frozen, s.Flaps, h.ordered)
	case s.Penalty > h.c.HoldDown.Max || s.HoldDownUntil.Sub(h.now) > h.c.HoldDown.Max:
		return fmt.Errorf("a hold-down of %s until %s from now", s.Penalty, s.HoldDownUntil.Sub(h.now))
	case d.Level == LevelWithdrawn && was == LevelDraining && h.ordered && alone && !h.o.Drain.Force && h.selfBad.IsZero():
		return fmt.Errorf("drained to the end though nobody else holds the route")
	case d.Island && (d.Level != LevelDegraded || h.in.Self == SelfFailing && h.c.Fall.For == 0):
		return fmt.Errorf("an island that is %s", d.Level)
	}
	// Others' routes are no reason to have none at once.
	soft := h.selfBad.IsZero() && h.in.Services[0].Unprobed == 0 && !h.ordered && h.c.LastRegion != LastWithdraw
	if soft && was > LevelDegraded && !d.Announced() && h.c.Degraded.For > 0 {
		return fmt.Errorf("from %s to withdrawn at once for %s", was, d.Reason)
	}
	if soft && was > LevelWithdrawn && !d.Announced() && !h.in.Others.full(testPrefix4) {
		return fmt.Errorf("withdrawn for %s though nobody does better", d.Reason)
	}
	switch {
	case d.Level < was && !h.ordered:
		h.fell = h.now
	case d.Level > was && !h.undrained:
		return h.judgeRise(d, alone, frozen)
	}
	return nil
}

func (h *history) judgeRise(d Decision, alone, frozen bool) error {
	good := h.mayDegr
	if d.Level == LevelFull {
		good = h.mayFull
	}
	switch {
	case good.IsZero() || h.now.Sub(good) < h.c.Rise.For:
		return fmt.Errorf("%s though health has allowed it for %s alone", d.Level, h.now.Sub(good))
	case alone && d.Level == LevelDegraded:
		return nil
	case frozen:
		return fmt.Errorf("%s though it is frozen", d.Level)
	case !h.fell.IsZero() && h.now.Sub(h.fell) < h.c.HoldDown.First:
		return fmt.Errorf("%s only %s after a fall", d.Level, h.now.Sub(h.fell))
	}
	// From withdrawn by way of degraded to full are two at most for each hold-down.
	h.rises = append(h.rises, h.now)
	if n := len(h.rises); n > 4 && h.now.Sub(h.rises[n-5]) < h.c.HoldDown.First {
		return fmt.Errorf("five rises within %s", h.now.Sub(h.rises[n-5]))
	}
	return nil
}

// honest checks that nothing changes by itself before Until, that something does then, and that it is not over yet.
func (h *history) honest(d Decision, state State) error {
	if !d.Until.IsZero() && !d.Until.After(h.now) {
		return fmt.Errorf("%s %s until %s from now: the announcer would spin", d.Level, d.Reason, d.Until.Sub(h.now))
	}
	later := h.now.Add(100 * time.Hour)
	if !d.Until.IsZero() {
		later = d.Until.Add(-1)
	}
	// From one moment straight to another: what a decision remembers of the time between is the same inputs.
	_, ds := Decide(later, h.c, state, h.in, h.o)
	if e := ds[0]; !h.in.Stalled && (e.Level != d.Level || e.Prepend != d.Prepend || e.GracefulShutdown != d.GracefulShutdown) {
		return fmt.Errorf("%s %s (%s) until %s, but %s %s after %s", d.Level, d.Reason, d.Detail, d.Until.Sub(h.now), e.Level, e.Reason, later.Sub(h.now))
	}
	if d.Until.IsZero() {
		return nil
	}
	if _, ds = Decide(d.Until, h.c, state, h.in, h.o); !h.in.Stalled && ds[0] == d {
		return fmt.Errorf("%s %s (%s) until %s from now, and then the same", d.Level, d.Reason, d.Detail, d.Until.Sub(h.now))
	}
	return nil
}

// TestDecideModel holds random histories against what must be true of every decision, whatever has gone before.
func TestDecideModel(t *testing.T) {
	t.Parallel()
	seeds := 150
	if testing.Short() {
		seeds = 50
	}
	for seed := range uint64(seeds) {
		h := newHistory(rand.New(rand.NewPCG(seed, 8)))
		for i := range 1000 {
			if i > 0 {
				h.step()
			}
			if err := h.look(); err != nil {
				t.Fatalf("seed %d, step %d: %v\nbefore: %+v\ninputs: %+v\norders: %+v\nconfig: last region %s, rise %s, fall %s, degraded for %s, freeze after %d", seed, i, err,
					h.state, h.in, h.o, h.c.LastRegion, h.c.Rise.For, h.c.Fall.For, h.c.Degraded.For, h.c.HoldDown.FreezeAfter)
			}
		}
	}
}
