package bgp

import (
	"net/netip"
	"testing"
	"time"
)

// scene is a course of events for one prefix: at each time the inputs, and what must come of them.
type scene struct {
	name  string
	steps []step
}

type step struct {
	at     time.Duration
	in     Inputs
	orders Orders
	level  Level // 0: full when the reason is serving, else withdrawn
	want   Reason
	until  time.Duration // from the beginning, 0: not by itself
	detail string        // "": not looked at
	also   func(*testing.T, Decision)
}

var (
	allWell   = Inputs{Self: SelfOK, Services: []ServiceHealth{{Name: "shop", Healthy: 2, HealthyRegional: 1}}}
	selfDead  = Inputs{Self: SelfFailing, SelfDetail: "listener :443 over h2: connection refused", Services: allWell.Services}
	unknown   = Inputs{Services: allWell.Services}
	noOrigins = Inputs{Self: SelfOK, Services: []ServiceHealth{{Name: "shop"}}}
	stopping  = Orders{Stopping: true}
)

// decideConfig: rise.for 5s, hold_down 30s to 4m.
func decideConfig() *Config {
	c := &Config{Prefixes: []netip.Prefix{testPrefix4, testPrefix6}}
	c.SetDefaults()
	c.HoldDown = HoldDown{First: 30 * time.Second, Max: 4 * time.Minute}
	c.Drain, c.LastRegion = nil, LastWithdraw
	return c
}

func TestDecide(t *testing.T) {
	const s, m = time.Second, time.Minute
	scenes := []scene{
		{"the first announcement waits for rise.for alone", []step{
			{at: 0, in: unknown, want: ReasonNotProbed, detail: "the edge itself"},
			{at: 2 * s, in: allWell, want: ReasonRising, until: 7 * s},
			{at: 6 * s, in: allWell, want: ReasonRising, until: 7 * s},
			{at: 7 * s, in: allWell, want: ReasonServing},
			{at: 60 * s, in: allWell, want: ReasonServing},
		}},
		{"a lapse while rising begins the rise anew, without hold-down", []step{
			{at: 0, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 4 * s, in: selfDead, want: ReasonSelfFailing, detail: selfDead.SelfDetail},
			{at: 6 * s, in: allWell, want: ReasonRising, until: 11 * s},
			{at: 11 * s, in: allWell, want: ReasonServing},
		}},
		{"unknown is never up, not even after having served", []step{
			{at: 0, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: allWell, want: ReasonServing},
			{at: 9 * s, in: unknown, want: ReasonNotProbed},
		}},
		{"a withdrawal for health is held down, and the bad reason comes first", []step{
			{at: 0, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: allWell, want: ReasonServing},
			{at: 10 * s, in: noOrigins, want: ReasonOrigins, detail: "service shop: 0 of 1 healthy origins"},
			{at: 12 * s, in: allWell, want: ReasonHeldDown, until: 40 * s},
			{at: 39 * s, in: allWell, want: ReasonHeldDown, until: 40 * s},
			{at: 40 * s, in: allWell, want: ReasonServing},
		}},
		{"when the rise ends after the hold-down, it is the rise that is waited for", []step{
			{at: 0, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: allWell, want: ReasonServing},
			{at: 10 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 38 * s, in: allWell, want: ReasonRising, until: 43 * s},
			{at: 41 * s, in: allWell, want: ReasonRising, until: 43 * s},
			{at: 43 * s, in: allWell, want: ReasonServing},
		}},
		{"flapping doubles the hold-down up to max", []step{
			{at: 0, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: allWell, want: ReasonServing},
			{at: 10 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 11 * s, in: allWell, want: ReasonHeldDown, until: 40 * s},
			{at: 40 * s, in: allWell, want: ReasonServing},
			{at: 41 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 42 * s, in: allWell, want: ReasonHeldDown, until: 101 * s},
			{at: 101 * s, in: allWell, want: ReasonServing},
			{at: 102 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 103 * s, in: allWell, want: ReasonHeldDown, until: 222 * s},
			{at: 222 * s, in: allWell, want: ReasonServing},
			{at: 230 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 231 * s, in: allWell, want: ReasonHeldDown, until: 470 * s},
			{at: 470 * s, in: allWell, want: ReasonServing},
			{at: 471 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 472 * s, in: allWell, want: ReasonHeldDown, until: 711 * s},
		}},
		{"failing on during a hold-down does not lengthen it", []step{
			{at: 0, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: allWell, want: ReasonServing},
			{at: 10 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 15 * s, in: allWell, want: ReasonHeldDown, until: 40 * s},
			{at: 20 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 25 * s, in: allWell, want: ReasonHeldDown, until: 40 * s},
			{at: 40 * s, in: allWell, want: ReasonServing},
		}},
		{"flaps are forgiven after the routes were held for max", []step{
			{at: 0, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: allWell, want: ReasonServing},
			{at: 10 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 11 * s, in: allWell, want: ReasonHeldDown, until: 40 * s},
			{at: 40 * s, in: allWell, want: ReasonServing},
			{at: 40*s + 4*m, in: selfDead, want: ReasonSelfFailing},
			{at: 41*s + 4*m, in: allWell, want: ReasonHeldDown, until: 70*s + 4*m},
		}},
		{"a moment less is not forgiven", []step{
			{at: 0, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: allWell, want: ReasonServing},
			{at: 10 * s, in: selfDead, want: ReasonSelfFailing},
			{at: 11 * s, in: allWell, want: ReasonHeldDown, until: 40 * s},
			{at: 40 * s, in: allWell, want: ReasonServing},
			{at: 39*s + 4*m, in: selfDead, want: ReasonSelfFailing},
			{at: 41*s + 4*m, in: allWell, want: ReasonHeldDown, until: 99*s + 4*m},
		}},
		{"a stop withdraws at once, and is no flap", []step{
			{at: 0, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: allWell, want: ReasonServing},
			{at: 6 * s, in: allWell, orders: stopping, want: ReasonStopping},
			{at: 8 * s, in: selfDead, orders: stopping, want: ReasonStopping},
			{at: 9 * s, in: allWell, want: ReasonRising, until: 14 * s},
			{at: 14 * s, in: allWell, want: ReasonServing},
		}},
		{"a stop that is taken back needs no new rise when all stayed well", []step{
			{at: 0, in: allWell, want: ReasonRising, until: 5 * s},
			{at: 5 * s, in: allWell, want: ReasonServing},
			{at: 6 * s, in: allWell, orders: stopping, want: ReasonStopping},
			{at: 8 * s, in: allWell, want: ReasonServing},
		}},
		{"a stop before the first announcement", []step{
			{at: 0, in: allWell, orders: stopping, want: ReasonStopping},
			{at: 10 * s, in: allWell, orders: stopping, want: ReasonStopping},
		}},
	}
	for _, sc := range scenes {
		t.Run(sc.name, func(t *testing.T) { sc.play(t, decideConfig()) })
	}
}

// play checks every decision of a scene.
func (sc scene) play(t *testing.T, c *Config) {
	t.Helper()
	begin := time.Unix(1_700_000_000, 0)
	var state State
	var ds []Decision
	for _, st := range sc.steps {
		st.orders.Thawed = shift(begin, st.orders.Thawed)
		state, ds = Decide(begin.Add(st.at), c, state, st.in, st.orders)
		if len(ds) != len(c.Prefixes) {
			t.Fatalf("at %s: %d decisions for %d prefixes", st.at, len(ds), len(c.Prefixes))
		}
		if st.level == LevelWithdrawn && st.want == ReasonServing {
			st.level = LevelFull
		}
		for i, d := range ds {
			var until time.Duration
			if !d.Until.IsZero() {
				until = d.Until.Sub(begin)
			}
			if d.Prefix != c.Prefixes[i] || d.Reason != st.want || d.Level != st.level || until != st.until {
				t.Errorf("at %s: %s %s (%s) until %s, want %s %s until %s", st.at, d.Level, d.Reason, d.Detail, until, st.level, st.want, st.until)
			}
			if st.detail != "" && d.Detail != st.detail {
				t.Errorf("at %s: detail %q, want %q", st.at, d.Detail, st.detail)
			}
			if st.also != nil {
				st.also(t, d)
			}
		}
	}
}

// shift makes a time of a test, which counts from zero, one of its scene.
func shift(begin, at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return begin.Add(at.Sub(time.Time{}))
}

func TestDecideCountsOrigins(t *testing.T) {
	cases := []struct {
		name           string
		need, regional int
		services       []ServiceHealth
		want           Reason
		detail         string
	}{
		{"no service at all: the edge's own probe is enough", 1, 1, nil, ReasonServing, ""},
		{"enough", 2, 1, []ServiceHealth{{Name: "a", Healthy: 2, HealthyRegional: 1}}, ReasonServing, ""},
		{"none needed", 0, 0, []ServiceHealth{{Name: "a"}}, ReasonServing, ""},
		{"one short", 2, 0, []ServiceHealth{{Name: "a", Healthy: 1}}, ReasonOrigins, "service a: 1 of 2 healthy origins"},
		{"none in the region", 1, 1, []ServiceHealth{{Name: "a", Healthy: 3}}, ReasonRegional, "service a: 0 of 1 healthy origins in this region"},
		{"both short: any region is named first", 2, 2, []ServiceHealth{{Name: "a", Healthy: 1}}, ReasonOrigins, "service a: 1 of 2 healthy origins"},
		{"every service counts", 1, 0, []ServiceHealth{{Name: "a", Healthy: 1}, {Name: "b"}, {Name: "c"}}, ReasonOrigins, "service b: 0 of 1 healthy origins, and 1 more"},
		{"not probed yet is not healthy", 2, 0, []ServiceHealth{{Name: "a", Healthy: 1, Unprobed: 1}}, ReasonNotProbed, "service a: 1 of 2 healthy origins, 1 not probed yet"},
		{"dead for certain, though some are not probed yet", 3, 0, []ServiceHealth{{Name: "a", Healthy: 1, Unprobed: 1}}, ReasonOrigins, "service a: 1 of 3 healthy origins"},
		{"a dead service is named before an unprobed one", 1, 0, []ServiceHealth{{Name: "a", Unprobed: 2}, {Name: "b"}}, ReasonOrigins, "service b: 0 of 1 healthy origins, and 1 more"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conf := decideConfig()
			conf.Rise.For = 0
			conf.AnnounceWhen = AnnounceWhen{HealthyOrigins: c.need, HealthyRegionalOrigins: c.regional}
			conf.FullWhen, conf.LastRegion = FullWhen{}, LastWithdraw
			_, ds := Decide(time.Unix(1, 0), conf, State{}, Inputs{Self: SelfOK, Services: c.services}, Orders{})
			if ds[0].Reason != c.want || ds[0].Detail != c.detail {
				t.Errorf("%s (%s), want %s (%s)", ds[0].Reason, ds[0].Detail, c.want, c.detail)
			}
		})
	}
}

// TestReasonsHaveNames: an operator reads them, and a metric has them as label.
func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range numReasons {
		if s := r.String(); s == "" || seen[s] {
			t.Errorf("reason %d is called %q", r, s)
		}
		seen[r.String()] = true
	}
	if got := numReasons.String(); got != "unknown reason" {
		t.Error(got)
	}
	if b, err := ReasonServing.MarshalText(); string(b) != "serving" || err != nil {
		t.Error(string(b), err)
	}
}
