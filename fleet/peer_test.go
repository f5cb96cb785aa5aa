package fleet

import (
	"errors"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

func TestSilenceIsToldFromTimeSpentAsking(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	const after = 1500 * time.Millisecond
	tests := []struct {
		why         string
		state       State
		base        float64 // heard at, or unknown since
		asking, now float64
		want        State
	}{
		{"just heard", Heard, 10, 0, 10, Heard},
		{"nearly silent", Heard, 10, 0, 11.499, Heard},
		{"silent", Heard, 10, 0, 11.5, Silent},
		{"long silent", Heard, 10, 0, 100, Silent},
		{"we stood still, and did not ask", Heard, 10, 99, 99, Unknown},
		{"we stood still a while ago, and it was not heard since", Heard, 10, 11, 11.6, Unknown},
		{"we stood still, and it was heard since", Heard, 12, 11, 13, Heard},
		{"we stood still long ago", Heard, 12, 11, 13.5, Silent},
		{"asked for the first time", Unknown, 10, 0, 10.1, Unknown},
		{"never heard", Unknown, 10, 0, 11.5, Silent},
		{"never heard, but we stood still", Unknown, 10, 11, 12, Unknown},
		{"never heard since we stood still", Unknown, 10, 11, 12.5, Silent},
		{"silent stays silent", Silent, 10, 99, 99, Silent},
		{"our own address", Self, 10, 0, 99, Self},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			p := &Peer{State: tt.state, Since: at(1), RTT: time.Second}
			if tt.state == Heard {
				p.HeardAt = at(tt.base)
			} else {
				p.Since = at(tt.base)
			}
			before := *p
			got := p.at(at(tt.now), at(tt.asking), after)
			if got.State != tt.want {
				t.Errorf("%s, want %s", got.State, tt.want)
			}
			if *p != before {
				t.Error("a peer in a view was changed")
			}
			if changed := got.State != tt.state; changed != (got != p) || changed && (got.Since != at(tt.now) || got.RTT != 0 || (got.State == Silent) != (got.Err != nil)) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestWhatAnAnswerChanges(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	report := &Report{Edge: "nyc-1"}
	p := &Peer{State: Unknown, Since: now.Add(-time.Hour)}
	p = p.failed(now, OutcomeTimeout, errors.New("late")).failed(now, OutcomeLost, errors.New("lost"))
	if p.State != Unknown || p.Failures != 2 || p.Outcome != OutcomeLost || p.Err == nil || p.Since != now.Add(-time.Hour) {
		t.Errorf("two failures: %+v", p)
	}
	p = p.answered(now, time.Second, report)
	if p.State != Heard || p.Failures != 0 || p.Err != nil || p.Since != now || p.HeardAt != now || p.RTT != time.Second || p.Edge != "nyc-1" {
		t.Errorf("an answer: %+v", p)
	}
	later := now.Add(time.Second)
	if p = p.answered(later, time.Second, report); p.Since != now || p.HeardAt != later {
		t.Errorf("another: %+v", p)
	}
	if p = p.failed(later, OutcomeTimeout, errors.New("late")); p.State != Heard || p.Failures != 1 || p.Report != report || p.HeardAt != later {
		t.Errorf("one failure more: %+v", p)
	}
	if p = p.own(later); p.State != Self || p.Report != nil || p.Edge != "" || p.Failures != 0 {
		t.Errorf("it is our own: %+v", p)
	}
	if p = p.failed(later, OutcomeTimeout, errors.New("late")); p.State != Unknown || p.Since != later {
		t.Errorf("where our own address leads is open: %+v", p)
	}
}

func TestAStandstillMakesUnknownWhatWouldBeSilent(t *testing.T) {
	c := testConfig()
	l := newNetwork().listen(fraAddr)
	keys := &keyFile{}
	keys.keys.Store(ring(t, secretA))
	e := &edge{log: new(logBuffer)}
	f := newFleet(c, Identity{Edge: "fra-1", Region: "fra"}, all[1:], parts{keys, l, nil}, testLog(e), metrics.NewSet())
	start := f.started
	w := f.begin(start)
	state := func() State { return f.View().Peers[0].State }
	hear := func(now time.Time) {
		f.update(0, func(p *Peer) *Peer { return p.answered(now, time.Millisecond, &Report{Edge: "nyc-1"}) })
	}
	now := start
	tick := func(d time.Duration) { now = now.Add(d); w.look(now) }
	hear(now)
	tick(w.wait(now))
	tick(700 * time.Millisecond)
	if state() != Heard || e.log.count("stood still") != 0 {
		t.Fatalf("%s", state())
	}
	tick(time.Hour)
	if state() != Unknown || e.log.count("stood still") != 1 {
		t.Fatalf("after an hour's standstill it is %s, want unknown", state())
	}
	hear(now)
	for range 8 {
		tick(f.silentAfter / 8)
	}
	if state() != Silent {
		t.Fatalf("asked for 1.5s without an answer it is %s, want silent", state())
	}
	if f.standstills.Get() != 1 {
		t.Error("the standstill was not counted")
	}
}

func TestAnEdgeThatRestartsIsNoTwin(t *testing.T) {
	e := &edge{log: new(logBuffer)}
	f := &Fleet{silentAfter: 1600 * time.Millisecond, log: testLog(e)}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := f.newWatcher(now)
	look := func(first, second string, twin bool) {
		t.Helper()
		f.view.Store(&View{Peers: []*Peer{heard("a", first, 1), heard("a", second, 1)}})
		now = now.Add(200 * time.Millisecond)
		w.findTwins(now)
		if told := e.log.count("two edges have the same name") == 1; told != twin {
			t.Fatalf("told of a twin: %v, want %v", told, twin)
		}
	}
	for range 5 { // restarts, of which one address tells before the other
		for range 8 {
			look("new", "old", false)
		}
		look("new", "new", false)
	}
	for range 8 {
		look("one", "two", false)
	}
	for range 3 {
		look("one", "two", true)
	}
}

func TestNextLookIsWhenSomebodyFallsSilent(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := &Fleet{silentAfter: 1600 * time.Millisecond}
	w := f.newWatcher(now)
	for _, tt := range []struct {
		why   string
		peers []*Peer
		want  time.Duration
	}{
		{"nobody", nil, 200 * time.Millisecond},
		{"heard just now", []*Peer{{State: Heard, HeardAt: now}}, 200 * time.Millisecond},
		{"heard a while ago", []*Peer{{State: Heard, HeardAt: now}, {State: Heard, HeardAt: now.Add(-1500 * time.Millisecond)}}, 100 * time.Millisecond},
		{"asked a while ago", []*Peer{{State: Unknown, Since: now.Add(-1590 * time.Millisecond)}}, 10 * time.Millisecond},
		{"silent", []*Peer{{State: Silent, HeardAt: now.Add(-1590 * time.Millisecond)}}, 200 * time.Millisecond},
	} {
		f.view.Store(&View{Peers: tt.peers})
		if got := w.wait(now); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.why, got, tt.want)
		}
	}
}
