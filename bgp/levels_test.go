package bgp

import (
	"net/netip"
	"testing"
	"time"
)

// levelsConfig: rise.for 5s, hold_down 30s to 4m, degraded 4 prepends for at least 10s, a ladder of two steps.
func levelsConfig() *Config {
	c := decideConfig()
	c.LastRegion = LastServeStale
	c.FullWhen.HealthyRegionalOrigins = 1
	c.Drain = []DrainStep{{Community: gracefulShutdown, For: 10 * time.Second}, {Prepend: 3, For: 20 * time.Second}}
	return c
}

// elsewhere is what other edges say: each of "region:level", with "!" behind it when it wants to leave, "?" when it is silent.
func elsewhere(edges ...string) Others {
	o := Others{Region: "fra"}
	for _, e := range edges {
		region, level, _ := cutOnce(e)
		other := OtherEdge{Name: region + "-1", Region: region, Heard: true, Routes: map[netip.Prefix]OtherRoute{}}
		var r OtherRoute
		switch level[len(level)-1] {
		case '!':
			r.Wants, level = true, level[:len(level)-1]
		case '?':
			other.Heard, level = false, level[:len(level)-1]
		}
		r.Level = ParseLevel(level)
		other.Routes[testPrefix4], other.Routes[testPrefix6] = r, r
		o.Edges = append(o.Edges, other)
	}
	return o
}

func cutOnce(s string) (before, after string, found bool) {
	for i := range s {
		if s[i] == ':' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func (in Inputs) beside(edges ...string) Inputs {
	in.Others = elsewhere(edges...)
	return in
}

func (in Inputs) loaded(l LoadLevel) Inputs {
	in.Load, in.LoadDetail = l, "accept queue 0.95"
	return in
}

// like says how a route must be announced.
func like(prepend uint8, graceful bool) func(*testing.T, Decision) {
	return func(t *testing.T, d Decision) {
		t.Helper()
		if d.Prepend != prepend || d.GracefulShutdown != graceful {
			t.Errorf("%s: %d prepends, graceful shutdown %v; want %d, %v", d.Reason, d.Prepend, d.GracefulShutdown, prepend, graceful)
		}
	}
}

func wants(t *testing.T, d Decision) {
	t.Helper()
	if !d.Wants {
		t.Errorf("%s %s: does not say that it wants to leave", d.Level, d.Reason)
	}
}

func island(t *testing.T, d Decision) {
	t.Helper()
	if !d.Island {
		t.Errorf("%s %s: does not serve as an island", d.Level, d.Reason)
	}
}

var (
	noRegional = Inputs{Self: SelfOK, Services: []ServiceHealth{{Name: "shop", Healthy: 1}}}
	oldCert    = Inputs{Self: SelfOK, Services: allWell.Services, Certificate: Certificate{Known: true, Left: -time.Second, Detail: "shop.example.com expired"}}
	youngCert  = Inputs{Self: SelfOK, Services: allWell.Services, Certificate: Certificate{Known: true, Left: 59 * time.Minute, Detail: "shop.example.com"}}
	badDisk    = Inputs{Self: SelfOK, Services: allWell.Services, DiskFault: "write: input/output error"}
	drainOrder = Orders{Drain: &DrainOrder{By: "ops", Why: "maintenance"}}
	serving    = []step{{at: 0, in: allWell, want: ReasonRising, until: 5 * time.Second}, {at: 5 * time.Second, in: allWell, want: ReasonServing}}
)

func TestDecideLevels(t *testing.T) {
	const s, m = time.Second, time.Minute
	after := func(steps ...step) []step { return append(append([]step{}, serving...), steps...) }
	scenes := []scene{
		{"what full preference asks for and the route does not degrades, and comes back by the hold-down", after(
			step{at: 10 * s, in: noRegional, level: LevelDegraded, want: ReasonRegional, also: like(4, false)},
			step{at: 20 * s, in: allWell, level: LevelDegraded, want: ReasonHeldDown, until: 40 * s, also: like(4, false)},
			step{at: 40 * s, in: allWell, want: ReasonServing, also: like(0, false)},
		)},
		{"overload, an old certificate and a bad disk degrade", after(
			step{at: 10 * s, in: allWell.loaded(LoadHigh), level: LevelDegraded, want: ReasonLoad, detail: "accept queue 0.95"},
			step{at: 11 * s, in: allWell.loaded(LoadCritical), level: LevelDegraded, want: ReasonLoad},
			step{at: 12 * s, in: youngCert, level: LevelDegraded, want: ReasonCertificate},
			step{at: 13 * s, in: badDisk, level: LevelDegraded, want: ReasonDisk},
		)},
		{"an edge may begin degraded", []step{
			{at: 0, in: noRegional, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: noRegional, level: LevelDegraded, want: ReasonRegional},
			{at: 6 * s, in: allWell, level: LevelDegraded, want: ReasonRising, until: 11 * s},
			{at: 11 * s, in: allWell, want: ReasonServing},
		}},
		{"what may be had sooner is not waited for longer", []step{
			{at: 0, in: noRegional, want: ReasonRising, until: 5 * s},
			{at: 2 * s, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: allWell, level: LevelDegraded, want: ReasonRising, until: 7 * s},
			{at: 7 * s, in: allWell, want: ReasonServing},
		}},
		{"a shared origin dies: with nobody known to do better the route stays, and stale is served", after(
			step{at: 10 * s, in: noOrigins.beside("nyc:degraded", "tyo:withdrawn"), level: LevelDegraded, want: ReasonLastRegion, also: island,
				detail: "too few healthy origins: service shop: 0 of 1 healthy origins"},
			step{at: 10 * m, in: noOrigins.beside("nyc:degraded", "tyo:degraded"), level: LevelDegraded, want: ReasonLastRegion, also: like(4, false)},
			step{at: 11 * m, in: noOrigins.beside("nyc:full?", "tyo:full?"), level: LevelDegraded, want: ReasonLastRegion, also: island},
			step{at: 12 * m, in: noOrigins, level: LevelDegraded, want: ReasonLastRegion, also: island},
		)},
		{"a restart into it announces, degraded", []step{
			{at: 0, in: noOrigins, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: noOrigins, level: LevelDegraded, want: ReasonLastRegion, also: island},
		}},
		{"an expired certificate may be everybody's", after(
			step{at: 10 * s, in: oldCert.beside("nyc:degraded"), level: LevelDegraded, want: ReasonLastRegion},
			step{at: 20 * s, in: oldCert.beside("nyc:full"), level: LevelDegraded, want: ReasonCertificate, until: 30 * s, also: wants},
			step{at: 30 * s, in: oldCert.beside("nyc:full"), want: ReasonCertificate},
		)},
		{"another region does better: degraded first, withdrawn after degraded.for", after(
			step{at: 10 * s, in: noOrigins.beside("nyc:full"), level: LevelDegraded, want: ReasonOrigins, until: 20 * s, also: wants},
			step{at: 19 * s, in: noOrigins.beside("nyc:full"), level: LevelDegraded, want: ReasonOrigins, until: 20 * s, also: wants},
			step{at: 20 * s, in: noOrigins.beside("nyc:full"), want: ReasonOrigins},
			step{at: 21 * s, in: noOrigins.beside("nyc:full"), want: ReasonOrigins},
			step{at: 60 * s, in: noOrigins.beside("nyc:degraded"), want: ReasonRising, until: 65 * s},
			step{at: 65 * s, in: noOrigins.beside("nyc:degraded"), level: LevelDegraded, want: ReasonLastRegion, also: island},
		)},
		{"it did better, but not for degraded.for on end", after(
			step{at: 10 * s, in: noOrigins.beside("nyc:full"), level: LevelDegraded, want: ReasonOrigins, until: 20 * s},
			step{at: 15 * s, in: noOrigins.beside("nyc:degraded"), level: LevelDegraded, want: ReasonLastRegion},
			step{at: 16 * s, in: noOrigins.beside("nyc:full"), level: LevelDegraded, want: ReasonOrigins, until: 26 * s},
			step{at: 25 * s, in: noOrigins.beside("nyc:full"), level: LevelDegraded, want: ReasonOrigins, until: 26 * s},
		)},
		{"the budget: a region that is silent or withdrawn counts as gone", after(
			step{at: 10 * s, in: noOrigins.beside("nyc:full", "tyo:full?"), level: LevelDegraded, want: ReasonOrigins, until: 20 * s},
			step{at: 20 * s, in: noOrigins.beside("nyc:full", "tyo:full?"), level: LevelDegraded, want: ReasonBudget, also: wants},
			step{at: 30 * s, in: noOrigins.beside("nyc:full", "tyo:withdrawn"), level: LevelDegraded, want: ReasonBudget, also: wants},
			step{at: 40 * s, in: noOrigins.beside("nyc:full", "tyo:degraded"), want: ReasonOrigins},
		)},
		{"the budget: of several that want to leave, the names decide", after(
			step{at: 10 * s, in: noOrigins.beside("nyc:full", "tyo:degraded!", "ams:degraded!"), level: LevelDegraded, want: ReasonOrigins, until: 20 * s},
			step{at: 20 * s, in: noOrigins.beside("nyc:full", "tyo:degraded!", "ams:degraded!"), level: LevelDegraded, want: ReasonBudget},
			step{at: 30 * s, in: noOrigins.beside("nyc:full", "tyo:degraded!"), want: ReasonOrigins},
		)},
		{"the budget is not asked when the region keeps the route", after(
			step{at: 10 * s, in: noOrigins.beside("fra:full", "tyo:withdrawn"), level: LevelDegraded, want: ReasonOrigins, until: 20 * s},
			step{at: 20 * s, in: noOrigins.beside("fra:full", "tyo:withdrawn"), want: ReasonOrigins},
		)},
		{"its own probe fails: withdrawn at once, even the last region", after(
			step{at: 10 * s, in: selfDead.beside("nyc:withdrawn"), want: ReasonSelfFailing},
		)},
		{"held down, but everybody else is gone: degraded is better than nothing", after(
			step{at: 10 * s, in: selfDead.beside("nyc:full"), want: ReasonSelfFailing},
			step{at: 11 * s, in: allWell.beside("nyc:full"), want: ReasonHeldDown, until: 40 * s},
			step{at: 17 * s, in: allWell.beside("nyc:full?"), level: LevelDegraded, want: ReasonLastRegion, until: 40 * s, detail: "otherwise held down"},
			step{at: 40 * s, in: allWell.beside("nyc:full?"), want: ReasonServing},
		)},
		{"held down, everybody else gone, but not risen yet", after(
			step{at: 10 * s, in: selfDead.beside("nyc:withdrawn"), want: ReasonSelfFailing},
			step{at: 11 * s, in: allWell.beside("nyc:withdrawn"), want: ReasonHeldDown, until: 16 * s},
			step{at: 15 * s, in: allWell.beside("nyc:withdrawn"), want: ReasonHeldDown, until: 16 * s},
			step{at: 16 * s, in: allWell.beside("nyc:withdrawn"), level: LevelDegraded, want: ReasonLastRegion, until: 40 * s},
		)},
		{"a stall withdraws at once", after(
			step{at: 10 * s, in: Inputs{Self: SelfOK, Services: allWell.Services, Stalled: true, StallDetail: "x"}, want: ReasonStalled, detail: "x"},
			step{at: 11 * s, in: allWell, want: ReasonHeldDown, until: 40 * s},
		)},
	}
	for _, sc := range scenes {
		t.Run(sc.name, func(t *testing.T) { sc.play(t, levelsConfig()) })
	}
}

func TestDecideLastRegionPolicies(t *testing.T) {
	const s = time.Second
	for policy, want := range map[LastRegion]step{
		LastServeStale: {at: 10 * s, in: noOrigins, level: LevelDegraded, want: ReasonLastRegion, also: island},
		LastWithdraw:   {at: 10 * s, in: noOrigins, want: ReasonOrigins},
		LastKeep: {at: 10 * s, in: noOrigins, level: LevelFull, want: ReasonLastRegion, also: func(t *testing.T, d Decision) {
			if d.Island {
				t.Error("an island, though everything is to stay as it is")
			}
		}},
	} {
		c := levelsConfig()
		c.LastRegion = policy
		scene{"", append(append([]step{}, serving...), want)}.play(t, c)
	}
}

// TestDecideDrain: step by step, and back at each of them.
func TestDecideDrain(t *testing.T) {
	const s = time.Second
	after := func(steps ...step) []step { return append(append([]step{}, serving...), steps...) }
	down := []step{
		{at: 10 * s, in: allWell, orders: drainOrder, level: LevelDraining, want: ReasonDraining, until: 20 * s, also: like(0, true), detail: "ordered by ops: maintenance"},
		{at: 20 * s, in: allWell, orders: drainOrder, level: LevelDraining, want: ReasonDraining, until: 40 * s, also: like(3, true)},
		{at: 40 * s, in: allWell, orders: drainOrder, want: ReasonDraining},
	}
	scenes := []scene{
		{"to the end, and back without a hold-down", append(after(down...),
			step{at: 50 * s, in: allWell, want: ReasonServing})},
		{"back from the first step", append(after(down[:1]...), step{at: 12 * s, in: allWell, want: ReasonServing, also: like(0, false)})},
		{"back from the second step, and again from the beginning", append(after(down[:2]...),
			step{at: 22 * s, in: allWell, want: ReasonServing},
			step{at: 30 * s, in: allWell, orders: drainOrder, level: LevelDraining, want: ReasonDraining, until: 40 * s, also: like(0, true)})},
		{"a degraded route stays degraded on its way", after(
			step{at: 10 * s, in: noRegional, level: LevelDegraded, want: ReasonRegional},
			step{at: 20 * s, in: noRegional, orders: drainOrder, level: LevelDraining, want: ReasonDraining, until: 30 * s, also: like(4, true)},
			step{at: 30 * s, in: noRegional, orders: drainOrder, level: LevelDraining, want: ReasonDraining, until: 50 * s, also: like(7, true)},
			step{at: 31 * s, in: noRegional, level: LevelDegraded, want: ReasonRegional})},
		{"a drain is not what keeps a dead edge's route", append(after(down[:1]...), step{at: 12 * s, in: selfDead, orders: drainOrder, want: ReasonDraining})},
		{"a stop uses the same ladder", after(
			step{at: 10 * s, in: allWell, orders: stopping, level: LevelDraining, want: ReasonStopping, until: 20 * s, also: like(0, true)},
			step{at: 25 * s, in: allWell, orders: stopping, level: LevelDraining, want: ReasonStopping, until: 40 * s, also: like(3, true)},
			step{at: 40 * s, in: allWell, orders: stopping, want: ReasonStopping})},
		{"in a hurry it does not", after(
			step{at: 10 * s, in: allWell, orders: stopping, level: LevelDraining, want: ReasonStopping, until: 20 * s},
			step{at: 11 * s, in: allWell, orders: Orders{Stopping: true, Hurry: true}, want: ReasonStopping})},
		{"what is not announced does not climb onto it", []step{
			{at: 0, in: allWell, orders: drainOrder, want: ReasonDraining},
			{at: 60 * s, in: allWell, orders: drainOrder, want: ReasonDraining},
			{at: 61 * s, in: allWell, want: ReasonServing}}},
		{"health that went bad during the drain is held against it when it is to come back", append(after(down...),
			step{at: 50 * s, in: selfDead, orders: drainOrder, want: ReasonDraining},
			step{at: 51 * s, in: allWell, want: ReasonRising, until: 56 * s})},
	}
	for _, sc := range scenes {
		t.Run(sc.name, func(t *testing.T) { sc.play(t, levelsConfig()) })
	}
}

// TestDecideDrainsOnePrefix leaves the other alone.
func TestDecideDrainsOnePrefix(t *testing.T) {
	c := levelsConfig()
	c.Rise.For = 0
	now := time.Unix(1, 0)
	s, _ := Decide(now, c, State{}, allWell, Orders{})
	_, ds := Decide(now, c, s, allWell, Orders{Drain: &DrainOrder{Prefixes: []netip.Prefix{testPrefix6}}})
	if ds[0].Level != LevelFull || ds[1].Level != LevelDraining {
		t.Errorf("%s %s, want full draining", ds[0].Level, ds[1].Level)
	}
}

// TestDecidePerPrefix: one prefix for a service that lives in the region alone, one for all.
func TestDecidePerPrefix(t *testing.T) {
	c := levelsConfig()
	c.Rise.For, c.LastRegion = 0, LastWithdraw
	strict := AnnounceWhen{HealthyRegionalOrigins: 1, Services: []string{"bank"}, MaxLoad: LoadCritical}
	loose := FullWhen{MaxLoad: LoadCritical}
	c.PerPrefix = []PrefixConfig{{Prefix: testPrefix6, AnnounceWhen: &strict, FullWhen: &loose}}
	in := Inputs{Self: SelfOK, Services: []ServiceHealth{{Name: "bank", Healthy: 2}, {Name: "shop", Healthy: 1, HealthyRegional: 1}}}
	_, ds := Decide(time.Unix(1, 0), c, State{}, in, Orders{})
	if ds[0].Level != LevelDegraded || ds[1].Level != LevelWithdrawn || ds[1].Reason != ReasonRegional {
		t.Errorf("%s, %s %s; want degraded, withdrawn for regional origins", ds[0].Level, ds[1].Level, ds[1].Reason)
	}
	in.Services[0].HealthyRegional = 1
	if _, ds = Decide(time.Unix(1, 0), c, State{}, in, Orders{}); ds[1].Level != LevelFull {
		t.Errorf("%s %s, want full: the other service is of no concern to it", ds[1].Level, ds[1].Reason)
	}
}

// TestDecideFallFor: what does not last is no fall, and each lapse counts anew.
func TestDecideFallFor(t *testing.T) {
	const s = time.Second
	c := levelsConfig()
	c.Fall.For = 3 * s
	scene{"", append(append([]step{}, serving...),
		step{at: 10 * s, in: selfDead, level: LevelFull, want: ReasonFalling, until: 13 * s, detail: "self probe failing: " + selfDead.SelfDetail},
		step{at: 12 * s, in: allWell, want: ReasonServing},
		step{at: 12500 * time.Millisecond, in: selfDead, level: LevelFull, want: ReasonFalling, until: 15500 * time.Millisecond},
		step{at: 15500 * time.Millisecond, in: selfDead, want: ReasonSelfFailing},
		step{at: 70 * s, in: allWell, want: ReasonRising, until: 75 * s},
		step{at: 75 * s, in: allWell, want: ReasonServing},
		step{at: 80 * s, in: Inputs{Stalled: true}, want: ReasonStalled},
	)}.play(t, c)
}

// TestDecideFreezes after too many flaps, until an operator says so; and a freeze does not thaw by waiting.
func TestDecideFreezes(t *testing.T) {
	c := levelsConfig()
	c.HoldDown.FreezeAfter, c.Rise.For = 3, 0
	now, state := time.Unix(0, 0), State{}
	var ds []Decision
	look := func(after time.Duration, in Inputs, o Orders) Decision {
		now = now.Add(after)
		state, ds = Decide(now, c, state, in, o)
		return ds[0]
	}
	look(0, allWell, Orders{})
	for range 3 {
		look(time.Second, selfDead, Orders{})
		look(2*time.Minute, allWell, Orders{})
	}
	if d := look(24*time.Hour, allWell, Orders{}); d.Level != LevelWithdrawn || d.Reason != ReasonFrozen || !d.Frozen {
		t.Fatalf("%s %s after three flaps and a day, want frozen", d.Level, d.Reason)
	}
	if d := look(time.Second, allWell.beside("nyc:full?"), Orders{}); d.Level != LevelDegraded || d.Reason != ReasonLastRegion {
		t.Errorf("%s %s with nobody else there, want degraded", d.Level, d.Reason)
	}
	if d := look(time.Second, allWell, Orders{}); d.Level != LevelDegraded || !d.Frozen {
		t.Errorf("%s %s, want degraded and frozen still", d.Level, d.Reason)
	}
	if d := look(time.Second, allWell, Orders{Thawed: now}); d.Level != LevelFull || d.Frozen {
		t.Errorf("%s %s after the order, want full", d.Level, d.Reason)
	}
	look(time.Second, selfDead, Orders{Thawed: now.Add(-time.Second)})
	if d := look(29*time.Second, allWell, Orders{}); d.Reason != ReasonHeldDown {
		t.Errorf("%s, want held down: the next flap counts from the beginning", d.Reason)
	}
	if d := look(time.Second, allWell, Orders{}); d.Level != LevelFull {
		t.Errorf("%s %s, want full after the first hold-down's length", d.Level, d.Reason)
	}
}

// TestDegradingIsAFlapToo: a route that is made less attractive and more so by turns moves clients as often as one that is withdrawn.
func TestDegradingIsAFlapToo(t *testing.T) {
	c := levelsConfig()
	c.Rise.For = 0
	now, state := time.Unix(0, 0), State{}
	var ds []Decision
	rises := 0
	for i := range 600 { // ten minutes, a second well and a second ill
		was := Level(LevelWithdrawn)
		if len(ds) > 0 {
			was = ds[0].Level
		}
		in := allWell
		if i%2 == 1 {
			in = noRegional
		}
		if state, ds = Decide(now.Add(time.Duration(i)*time.Second), c, state, in, Orders{}); ds[0].Level > was {
			rises++
		}
	}
	// 0, and after 30, 60, 120 and 240 s.
	if rises < 3 || rises > 5 {
		t.Errorf("%d rises in ten minutes of flapping", rises)
	}
}

// TestFrozenAndAloneIsNoBusyLoop: a decision that waits for an order and not for a time says no time, least of all one that is over.
func TestFrozenAndAloneIsNoBusyLoop(t *testing.T) {
	c := levelsConfig()
	c.HoldDown.FreezeAfter, c.Rise.For = 1, 5*time.Second
	now, state := time.Unix(0, 0), State{}
	var ds []Decision
	look := func(after time.Duration, in Inputs) Decision {
		now = now.Add(after)
		state, ds = Decide(now, c, state, in, Orders{})
		return ds[0]
	}
	look(0, allWell)
	look(5*time.Second, allWell)
	look(time.Second, selfDead)
	alone := allWell.beside("nyc:withdrawn")
	if d := look(time.Minute, alone); d.Reason != ReasonFrozen || !d.Until.Equal(now.Add(5*time.Second)) {
		t.Errorf("%s %s until %s, want frozen for another 5s: nobody else is there", d.Level, d.Reason, d.Until.Sub(now))
	}
	for range 3 {
		if d := look(5*time.Second, alone); d.Level != LevelDegraded || d.Reason != ReasonLastRegion || !d.Until.IsZero() {
			t.Errorf("%s %s until %s, want degraded until an order", d.Level, d.Reason, d.Until.Sub(now))
		}
	}
}

// TestDegradedComesBeforeWithdrawn, for degraded.for at least, however long fall.for has kept the route as it was.
func TestDegradedComesBeforeWithdrawn(t *testing.T) {
	const s = time.Second
	c := levelsConfig()
	c.Fall.For = 30 * s
	ill := noOrigins.beside("nyc:full")
	scene{"", append(append([]step{}, serving...),
		step{at: 10 * s, in: ill, level: LevelFull, want: ReasonFalling, until: 40 * s},
		step{at: 39 * s, in: ill, level: LevelFull, want: ReasonFalling, until: 40 * s, also: wants},
		step{at: 40 * s, in: ill, level: LevelDegraded, want: ReasonOrigins, until: 50 * s, also: wants},
		step{at: 50 * s, in: ill, level: LevelDegraded, want: ReasonFalling, until: 80 * s},
		step{at: 80 * s, in: ill, want: ReasonOrigins},
	)}.play(t, c)
}

// TestWhoeverLacksTheSameIsNoBetter, though policy or fall.for still hold its route at full preference.
func TestWhoeverLacksTheSameIsNoBetter(t *testing.T) {
	const s = time.Second
	for policy, level := range map[LastRegion]Level{LastServeStale: LevelDegraded, LastKeep: LevelFull} {
		c := levelsConfig()
		c.LastRegion = policy
		scene{policy.String(), append(append([]step{}, serving...),
			step{at: 10 * s, in: noOrigins.beside("nyc:full!"), level: level, want: ReasonLastRegion, also: wants},
			step{at: 60 * s, in: noOrigins.beside("nyc:full!"), level: level, want: ReasonLastRegion, also: wants},
		)}.play(t, c)
	}
}

// TestAViewThatComesAndGoesIsHeldDown: an edge that lacks its origins, and hears of the others by turns, comes back when it seems to be
// alone; but it does not withdraw again before its hold-down is over, and when frozen not at all.
func TestAViewThatComesAndGoesIsHeldDown(t *testing.T) {
	for freeze, most := range map[int]int{0: 10, 2: 2} {
		c := levelsConfig()
		c.HoldDown.FreezeAfter = freeze
		now, state := time.Unix(0, 0), State{}
		var ds []Decision
		state, _ = Decide(now, c, state, allWell, Orders{})
		state, ds = Decide(now.Add(5*time.Second), c, state, allWell, Orders{})
		withdrawals := 0
		for i := 6; i < 1806; i++ { // half an hour: silence for 7 s, then a full route elsewhere for 13 s
			was := ds[0].Announced()
			in := noOrigins.beside("nyc:full")
			if i%20 < 7 {
				in = noOrigins.beside("nyc:full?")
			}
			if state, ds = Decide(now.Add(time.Duration(i)*time.Second), c, state, in, Orders{}); was && !ds[0].Announced() {
				withdrawals++
			}
		}
		// Not less than the hold-downs of 30, 60 and 120 s, and then 240 s, lie between.
		if withdrawals < 1 || withdrawals > most {
			t.Errorf("freeze_after %d: %d withdrawals in half an hour, of which the view is the reason", freeze, withdrawals)
		}
	}
}

// TestADrainStopsBeforeTheLastRoute: an order that was given while others held the route waits, on its last step, when they do no more.
func TestADrainStopsBeforeTheLastRoute(t *testing.T) {
	const s = time.Second
	forced := Orders{Drain: &DrainOrder{By: "ops", Force: true}}
	after := func(steps ...step) []step {
		return append(append(append([]step{}, serving...), step{at: 10 * s, in: allWell.beside("nyc:full"), orders: drainOrder, level: LevelDraining, want: ReasonDraining, until: 20 * s}), steps...)
	}
	last := step{at: 40 * s, in: allWell.beside("nyc:draining"), orders: drainOrder, level: LevelDraining, want: ReasonLastRegion, also: like(3, true),
		detail: "no other edge is known to hold the route in good health, so the drain goes no further; ordered by ops: maintenance"}
	for name, steps := range map[string][]step{
		"goes on when another holds it": after(last,
			step{at: 60 * s, in: allWell.beside("nyc:degraded"), orders: drainOrder, want: ReasonDraining},
			step{at: 61 * s, in: allWell.beside("nyc:withdrawn"), orders: drainOrder, want: ReasonDraining}),
		"is taken back":         after(last, step{at: 60 * s, in: allWell.beside("nyc:draining"), want: ReasonServing}),
		"with force":            after(step{at: 40 * s, in: allWell.beside("nyc:draining"), orders: forced, want: ReasonDraining}),
		"a stop does not wait":  after(last, step{at: 60 * s, in: allWell.beside("nyc:draining"), orders: Orders{Stopping: true, Drain: drainOrder.Drain}, want: ReasonStopping}),
		"nor does who is dead":  after(last, step{at: 60 * s, in: selfDead.beside("nyc:draining"), orders: drainOrder, want: ReasonDraining}),
		"routers see another's": after(step{at: 40 * s, in: seen(allWell.beside("nyc:draining")), orders: drainOrder, want: ReasonDraining}),
		"others lack their origins": after(
			step{at: 40 * s, in: allWell.beside("nyc:degraded!"), orders: drainOrder, level: LevelDraining, want: ReasonLastRegion},
			step{at: 50 * s, in: noOrigins.beside("nyc:degraded!"), orders: drainOrder, want: ReasonDraining}),
		"nobody else configured": after(step{at: 40 * s, in: allWell, orders: drainOrder, want: ReasonDraining}),
	} {
		t.Run(name, func(t *testing.T) { scene{name, steps}.play(t, levelsConfig()) })
	}
}

// seen is what routers show as well.
func seen(in Inputs) Inputs {
	in.Others.Seen = []netip.Prefix{testPrefix4, testPrefix6}
	return in
}

// TestAnOriginThatNeverGetsAVerdict, because it answers every other probe, is no reason to stay away for ever: no more than a dead one.
func TestAnOriginThatNeverGetsAVerdict(t *testing.T) {
	const s = time.Second
	unsure := Inputs{Self: SelfOK, Services: []ServiceHealth{{Name: "shop", Unprobed: 1}}}
	detail := "not probed yet: service shop: 0 of 1 healthy origins, 1 not probed yet"
	for name, steps := range map[string][]step{
		"with nobody else": {
			{at: 0, in: unsure, want: ReasonNotProbed, until: 30 * s},
			{at: 29 * s, in: unsure, want: ReasonNotProbed, until: 30 * s},
			{at: 30 * s, in: unsure, want: ReasonRising, until: 35 * s},
			{at: 35 * s, in: unsure, level: LevelDegraded, want: ReasonLastRegion, also: island, detail: detail},
			{at: 40 * s, in: allWell, level: LevelDegraded, want: ReasonRising, until: 45 * s},
			{at: 45 * s, in: allWell, want: ReasonServing},
		},
		"while another does better": {
			{at: 0, in: unsure.beside("nyc:full"), want: ReasonNotProbed, until: 30 * s},
			{at: 30 * s, in: unsure.beside("nyc:full"), want: ReasonNotProbed},
		},
		"each time anew": {
			{at: 0, in: unsure, want: ReasonNotProbed, until: 30 * s},
			{at: 1 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 20 * s, in: unsure, want: ReasonNotProbed, until: 50 * s},
		},
	} {
		t.Run(name, func(t *testing.T) { scene{name, steps}.play(t, levelsConfig()) })
	}
}
