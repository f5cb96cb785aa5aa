package bgp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// simEdge is one edge of a simulated fleet.
type simEdge struct {
	region string
	c      *Config
	state  State
	d      Decision
	said   []Decision // by tick
}

// simFleet is a fleet whose edges hear each other late, and of which some notice a fault later than others.
type simFleet struct {
	edges  []*simEdge
	delay  int                           // ticks until one edge knows what another decided
	cut    func(tick, from, to int) bool // the message is lost
	in     func(tick, edge int) Inputs   // without the others
	dead   func(tick, edge int) bool     // it says and decides nothing
	order  func(tick, edge int) Orders   // nil: none
	check  func(t *testing.T, tick int)  // after each tick
	before func(tick int)                // each tick, nil: nothing
	tick   int
	heard  [][]int // tick of the last word, by edge and other
}

const simTick = 100 * time.Millisecond

func newSimFleet(regions ...string) *simFleet {
	f := &simFleet{delay: 3}
	for _, r := range regions {
		c := levelsConfig()
		c.Prefixes, c.Rise.For = []netip.Prefix{testPrefix4}, time.Second
		f.edges = append(f.edges, &simEdge{region: r, c: c})
	}
	f.heard = make([][]int, len(regions))
	for i := range f.heard {
		f.heard[i] = make([]int, len(regions))
		for j := range f.heard[i] {
			f.heard[i][j] = -1 << 20
		}
	}
	return f
}

// others is what one edge knows at a tick.
func (f *simFleet) others(tick, me int) Others {
	const silent = 15 // ticks
	o := Others{Region: f.edges[me].region}
	for j, e := range f.edges {
		if j == me {
			continue
		}
		from := tick - f.delay
		if from >= 0 && from < len(e.said) && !f.dead(from, j) && (f.cut == nil || !f.cut(tick, j, me)) {
			f.heard[me][j] = from
		}
		other := OtherEdge{Name: fmt.Sprint(e.region, j), Region: e.region, Heard: tick-f.heard[me][j] < silent+f.delay}
		if at := f.heard[me][j]; at >= 0 {
			other.Routes = map[netip.Prefix]OtherRoute{testPrefix4: {Level: e.said[at].Level, Wants: e.said[at].Wants}}
		}
		o.Edges = append(o.Edges, other)
	}
	return o
}

func (f *simFleet) run(t *testing.T, ticks int) {
	begin := time.Unix(1_700_000_000, 0)
	for tick := range ticks {
		if f.tick = tick; f.before != nil {
			f.before(tick)
		}
		for i, e := range f.edges {
			if f.dead(tick, i) {
				e.state, e.d = State{}, Decision{}
				e.said = append(e.said, e.d)
				continue
			}
			in := f.in(tick, i)
			in.Others = f.others(tick, i)
			var o Orders
			if f.order != nil {
				o = f.order(tick, i)
			}
			var ds []Decision
			e.state, ds = Decide(begin.Add(time.Duration(tick)*simTick), e.c, e.state, in, o)
			e.d = ds[0]
			e.said = append(e.said, e.d)
		}
		f.check(t, tick)
		if t.Failed() {
			return
		}
	}
}

// announced counts the regions with a route.
func (f *simFleet) announced() int {
	regions := map[string]bool{}
	for _, e := range f.edges {
		if e.d.Announced() {
			regions[e.region] = true
		}
	}
	return len(regions)
}

func alive(int, int) bool { return false }

// TestFleetLosesASharedOrigin at moments that differ by edge, with messages that get lost: the world is never left without a route, never
// more than one region withdraws, and when all have noticed all hold the route.
func TestFleetLosesASharedOrigin(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 5))
		f := newSimFleet("ams", "fra", "fra", "nyc", "tyo")
		f.delay = 1 + r.IntN(12)
		notice := make([]int, len(f.edges))
		for i := range notice {
			notice[i] = 200 + r.IntN(60) // within six seconds of each other
		}
		loss := r.Float64() * 0.3
		f.cut = func(int, int, int) bool { return r.Float64() < loss }
		f.dead = alive
		f.in = func(tick, edge int) Inputs {
			if tick >= notice[edge] {
				return noOrigins
			}
			return allWell
		}
		f.check = func(t *testing.T, tick int) {
			if tick < 100 {
				return
			}
			if n := f.announced(); n < 3 {
				t.Errorf("seed %d: %d regions hold the route at tick %d, want 3 of 4 at least", seed, n, tick)
			}
			if tick > 320 && f.announced() != 4 {
				t.Errorf("seed %d: at tick %d, when all know, %d regions hold the route", seed, tick, f.announced())
			}
		}
		f.run(t, 900)
	}
}

// TestFleetOneRegionIsCutOff from its origins alone: it withdraws, nobody else does, and it comes back.
func TestFleetOneRegionIsCutOff(t *testing.T) {
	f := newSimFleet("fra", "nyc", "tyo")
	f.dead = alive
	f.in = func(tick, edge int) Inputs {
		if edge == 0 && tick >= 200 && tick < 600 {
			return noOrigins
		}
		return allWell
	}
	gone, back := 0, 0
	f.check = func(t *testing.T, tick int) {
		if tick > 100 && (f.edges[1].d.Level != LevelFull || f.edges[2].d.Level != LevelFull) {
			t.Errorf("tick %d: the others are %s and %s", tick, f.edges[1].d.Level, f.edges[2].d.Level)
		}
		switch {
		case tick >= 200 && gone == 0 && !f.edges[0].d.Announced():
			gone = tick
		case tick >= 600 && back == 0 && f.edges[0].d.Level == LevelFull:
			back = tick
		}
	}
	f.run(t, 1000)
	if gone < 300 || gone > 305 || back < 610 || back > 650 {
		t.Errorf("withdrawn at tick %d and back at %d, want 300 (degraded.for) and 611 (rise.for)", gone, back)
	}
}

// TestFleetLoadDoesNotCascade: the load of those that go is carried by those that stay, and too much for them. One may go, no more.
func TestFleetLoadDoesNotCascade(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 6))
		f := newSimFleet("ams", "fra", "nyc", "tyo")
		f.delay = 1 + r.IntN(10)
		f.dead = alive
		for _, e := range f.edges {
			e.c.AnnounceWhen.MaxLoad = LoadHigh // the operator lets load withdraw
		}
		f.in = func(tick, edge int) Inputs {
			if tick < 150 {
				return allWell
			}
			carrying := 0
			for _, e := range f.edges {
				if e.d.Announced() {
					carrying++
				}
			}
			if edge == 0 || carrying < len(f.edges) { // what the first can't carry pushes the others over too
				return allWell.loaded(LoadCritical)
			}
			return allWell
		}
		f.check = func(t *testing.T, tick int) {
			if n := f.announced(); tick > 100 && n < 3 {
				t.Errorf("seed %d: tick %d: %d regions hold the route", seed, tick, n)
			}
		}
		f.run(t, 1500)
	}
}

// TestFleetPartition: when nobody hears anybody, nobody withdraws for what others may lack too.
func TestFleetPartition(t *testing.T) {
	f := newSimFleet("fra", "nyc", "tyo")
	f.dead = alive
	f.cut = func(tick, _, _ int) bool { return tick > 100 }
	f.in = func(tick, edge int) Inputs {
		if tick > 150 {
			return noOrigins
		}
		return allWell
	}
	f.check = func(t *testing.T, tick int) {
		if tick > 100 && f.announced() != 3 {
			t.Errorf("tick %d: %d regions hold the route", tick, f.announced())
		}
	}
	f.run(t, 600)
}

// TestFleetSurvivesDeaths: edges die and come back at random while origins come and go for each. Whoever is alive and answers its own probe
// is never the reason that the world has no route.
func TestFleetSurvivesDeaths(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		f := newSimFleet("fra", "nyc", "tyo")
		const ticks = 2000
		dead, ill := make([][]bool, ticks), make([][]bool, ticks)
		for tick := range ticks {
			dead[tick], ill[tick] = make([]bool, 3), make([]bool, 3)
			for i := range 3 {
				if tick > 0 {
					dead[tick][i], ill[tick][i] = dead[tick-1][i], ill[tick-1][i]
				}
				if r.IntN(150) == 0 {
					dead[tick][i] = !dead[tick][i]
				}
				if r.IntN(60) == 0 {
					ill[tick][i] = !ill[tick][i]
				}
			}
		}
		f.dead = func(tick, edge int) bool { return dead[tick][edge] }
		f.in = func(tick, edge int) Inputs {
			if ill[tick][edge] {
				return noOrigins
			}
			return allWell
		}
		without := 0
		f.check = func(t *testing.T, tick int) {
			anyone := false
			for i := range 3 {
				anyone = anyone || !dead[tick][i]
			}
			if f.announced() > 0 || !anyone {
				without = 0
				return
			}
			// A process that has just begun needs rise.for, and the silence of the others must have been noticed.
			if without++; without > 80 {
				t.Errorf("seed %d: tick %d: no route for %d ticks though an edge lives", seed, tick, without)
			}
		}
		f.run(t, ticks)
		if t.Failed() {
			return
		}
	}
}

// TestFleetKeeps: where all are to stay as they are, a shared origin's death moves each region once at most, and takes no route.
func TestFleetKeeps(t *testing.T) {
	t.Parallel()
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 9))
		f := newSimFleet("ams", "fra", "nyc")
		f.delay, f.dead = 1+r.IntN(10), alive
		notice := make([]int, len(f.edges))
		for i, e := range f.edges {
			e.c.LastRegion = LastKeep
			notice[i] = 200 + r.IntN(60)
		}
		f.in = func(tick, edge int) Inputs {
			if tick >= notice[edge] {
				return noOrigins
			}
			return allWell
		}
		falls, was := make([]int, len(f.edges)), make([]Level, len(f.edges))
		f.check = func(t *testing.T, tick int) {
			for i, e := range f.edges {
				if e.d.Level < was[i] {
					falls[i]++
				}
				was[i] = e.d.Level
				if falls[i] > 1 || tick > 100 && !e.d.Announced() || tick > 1000 && e.d.Level != LevelFull {
					t.Errorf("seed %d, tick %d: %s is %s after %d falls", seed, tick, e.region, e.d.Level, falls[i])
				}
			}
		}
		f.run(t, 6000)
	}
}

// TestFleetDrainedByTwo: several operators drain all regions within the time in which the edges do not know of it yet. None is refused,
// and yet one route stays.
func TestFleetDrainedByTwo(t *testing.T) {
	f := newSimFleet("fra", "nyc", "tyo")
	f.dead = alive
	f.in = func(int, int) Inputs { return allWell }
	f.order = func(tick, edge int) Orders {
		if tick >= 200+edge {
			return drainOrder
		}
		return Orders{}
	}
	f.check = func(t *testing.T, tick int) {
		if n := f.announced(); tick > 100 && n == 0 {
			t.Errorf("tick %d: no region holds the route", tick)
		}
	}
	f.run(t, 1500)
}

// TestFleetLosesASharedOriginInOneMoment: all notice at once and see the others well still. What keeps them from withdrawing all together is
// that degraded.for, at its least, is longer than it takes to hear of the others, or that they are silent.
func TestFleetLosesASharedOriginInOneMoment(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 10))
		f := newSimFleet("fra", "nyc", "tyo")
		f.delay, f.dead = 1+r.IntN(4), alive
		loss := r.Float64() * 0.5
		f.cut = func(int, int, int) bool { return r.Float64() < loss }
		for _, e := range f.edges {
			e.c.Degraded.For, e.c.MaxWithdrawn = minDegradedFor, 2
		}
		f.in = func(tick, _ int) Inputs {
			if tick >= 200 {
				return noOrigins
			}
			return allWell
		}
		f.check = func(t *testing.T, tick int) {
			if n := f.announced(); tick > 100 && n != 3 {
				t.Errorf("seed %d: tick %d: %d regions hold the route", seed, tick, n)
			}
		}
		f.run(t, 400)
	}
}

// TestFleetModel: everything at once. Edges of several regions, two of which share one, die, are restarted, lose origins and their own
// listeners, are drained and taken back, hear each other late or in one direction alone, under each policy but withdraw. While an edge lives,
// answers itself and is not withdrawn by an order, there is a route again within the time that it takes to notice and to rise.
func TestFleetModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 11))
		f := newSimFleet([][]string{{"fra", "nyc"}, {"fra", "fra", "nyc"}, {"ams", "fra", "nyc", "tyo"}}[r.IntN(3)]...)
		f.delay = 1 + r.IntN(8)
		n := len(f.edges)
		dead, ill, mute, drained, cut := make([]bool, n), make([]bool, n), make([]bool, n), make([]bool, n), make([]bool, n*n)
		c := *levelsConfig()
		c.LastRegion = []LastRegion{LastServeStale, LastKeep}[r.IntN(2)]
		c.MaxWithdrawn, c.HoldDown.FreezeAfter = r.IntN(3), r.IntN(4)
		c.Degraded.For, c.Rise.For = minDegradedFor+time.Duration(r.IntN(5))*time.Second, time.Second
		c.Fall.For = time.Duration(r.IntN(3)) * time.Second
		c.Prefixes = []netip.Prefix{testPrefix4}
		for _, e := range f.edges {
			e.c = &c
		}
		f.dead = func(tick, edge int) bool { return tick == f.tick && dead[edge] }
		f.cut = func(_, from, to int) bool { return dead[from] || cut[from*n+to] }
		f.order = func(_, edge int) Orders {
			if drained[edge] {
				return Orders{Drain: &DrainOrder{By: "ops"}}
			}
			return Orders{}
		}
		f.in = func(_, edge int) Inputs {
			switch {
			case mute[edge]:
				return selfDead
			case ill[edge]:
				return noOrigins
			}
			return allWell
		}
		without := 0
		f.before = func(tick int) {
			flip := func(of []bool, one int) {
				if i := r.IntN(len(of)); r.IntN(one) == 0 {
					of[i] = !of[i]
				}
			}
			flip(dead, 120)
			flip(ill, 40)
			flip(mute, 120)
			flip(cut, 30)
			if i := r.IntN(n); r.IntN(100) == 0 { // as Announcer.Drain does
				o := f.others(tick, i)
				drained[i] = !drained[i] && !o.alone(testPrefix4)
			}
		}
		f.check = func(t *testing.T, tick int) {
			able := false
			for i, e := range f.edges {
				able = able || !dead[i] && !mute[i] && !(drained[i] && !e.d.Announced())
			}
			if f.announced() > 0 || !able {
				without = 0
			} else if without++; without > 100 {
				for i, e := range f.edges {
					t.Logf("%s: dead %v, ill %v, mute %v, drained %v: %+v", e.region, dead[i], ill[i], mute[i], drained[i], e.d)
				}
				t.Errorf("seed %d: tick %d: no route for %d ticks though an edge could serve; heard %v", seed, tick, without, f.heard)
			}
		}
		f.run(t, 3000)
		if t.Failed() {
			return
		}
	}
}
