package lab

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/failover"
)

// records of a load at an address of the service.
func loadOf(p bench.Protocol, service netip.Addr, kept bool, records ...bench.Record) (load, *bench.Result) {
	o := bench.Options{Protocol: p, Address: netip.AddrPortFrom(service, 443).String(), KeepAlive: kept}
	return load{name: p.String() + " " + service.String(), options: o}, &bench.Result{Records: records}
}

func runningOf(add ...func() (load, *bench.Result)) *running {
	r := &running{}
	for _, f := range add {
		l, result := f()
		r.loads, r.results = append(r.loads, l), append(r.results, result)
	}
	return r
}

// Of a run's failures those that nothing at the edge can help are told apart, and the others count by protocol over both families.
func TestReadFailures(t *testing.T) {
	event := time.Unix(1000, 0)
	at := func(ms int) time.Time { return event.Add(time.Duration(ms) * time.Millisecond) }
	rec := func(sent, lasted int, edge string) bench.Record { return record(event, sent, lasted, edge) }
	load := runningOf(
		func() (load, *bench.Result) {
			return loadOf(bench.HTTP1, Service4, false, rec(-5, 10, ""), rec(10, 1, ""), rec(15, 20, ""), rec(100, 200, "fra-1"))
		},
		func() (load, *bench.Result) {
			return loadOf(bench.HTTP1, Service6, false, rec(10, 1, ""), rec(15, 20, ""), rec(400, 300, "fra-1"))
		},
		func() (load, *bench.Result) {
			return loadOf(bench.HTTP3, Service4, false, rec(10, 1, "nyc-1"), rec(25, 1, ""), rec(30, 1, "nyc-1"))
		},
		func() (load, *bench.Result) {
			r := rec(10, 50, "fra-1")
			r.Retried = true
			return loadOf(bench.HTTP2, Service4, true, rec(-1000, 1, "nyc-1"), r, rec(900, 1, ""))
		},
	)
	m := marks{region: "nyc", event: event, abrupt: true, moves: map[netip.Prefix][]time.Time{Prefix4: {at(20)}}}
	got := failover.Sample{}
	if err := readFailures(got, load, m); err == nil || !strings.Contains(err.Error(), "h3 192.0.2.1: 1 requests failed") {
		t.Errorf("what failed: %v", err)
	}
	want := failover.Sample{
		failover.Requests: 13, failover.FailedNew: 3, failover.FailedKept: 1, failover.Repeated: 1,
		failover.InFlight: 2, // one at the event, one over IPv4 at its move; the IPv6 one at that moment was elsewhere
		failover.GapNew:   20, failover.GapKept: 1059,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	m.abrupt = false
	_ = readFailures(got, load, m)
	if got[failover.InFlight] != 1 || got[failover.FailedNew] != 4 {
		t.Errorf("a planned event may not lose what is under way at it: %v", got)
	}
}

// A move is noted late on a busy machine: what ended just before it and began well before it was under way.
func TestAMoveIsNotedLate(t *testing.T) {
	event := time.Unix(1000, 0)
	m := marks{event: event, moves: map[netip.Prefix][]time.Time{Prefix4: {event.Add(500 * time.Millisecond)}}}
	l, result := loadOf(bench.HTTP1, Service4, false,
		record(event, 320, 170, ""), // ends 10 ms before
		record(event, 480, 2, ""),   // refused at once, by whoever was there
		record(event, 490, 170, ""),
		record(event, 501, 10, ""))
	if lost := failures(result.Records, m.excused(l)...); len(lost) != 2 || lost[0].Latency != 2*time.Millisecond {
		t.Errorf("lost: %+v", lost)
	}
}

func TestGap(t *testing.T) {
	event := time.Unix(1000, 0)
	for _, c := range []struct {
		why     string
		records []bench.Record
		want    time.Duration
	}{
		{"between ends, not between beginnings", []bench.Record{record(event, 0, 1, "a"), record(event, 10, 300, "b"), record(event, 20, 400, "b")}, 309 * time.Millisecond},
		{"answers that overtake each other", []bench.Record{record(event, 0, 100, "a"), record(event, 10, 5, "b"), record(event, 200, 1, "b")}, 101 * time.Millisecond},
		{"none at the end", []bench.Record{record(event, 0, 1, "a"), record(event, 10, 500, ""), record(event, 520, 1000, "")}, 519 * time.Millisecond},
		{"nothing", nil, 0},
	} {
		if got := gap(c.records); got != c.want {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
}

// The slowest load counts, its round trips taken off, and one that is never served elsewhere is named.
func TestReadElsewhere(t *testing.T) {
	event := time.Unix(1000, 0)
	rec := func(sent, lasted int, edge string) bench.Record { return record(event, sent, lasted, edge) }
	elsewhere := func(r bench.Record) bool { return !of(r, "nyc") }
	h1 := func() (load, *bench.Result) {
		return loadOf(bench.HTTP1, Service4, false, rec(-100, 1, "fra-1"), rec(5, 1, ""), rec(40, 260, "fra-1"), rec(30, 261, "fra-1"))
	}
	h3 := func() (load, *bench.Result) {
		return loadOf(bench.HTTP3, Service4, false, rec(10, 3, "nyc-1"), rec(100, 150, "fra-1"))
	}
	kept := func() (load, *bench.Result) {
		return loadOf(bench.HTTP3, Service4, true, rec(10, 3, "nyc-1"), rec(2000, 150, "fra-1"))
	}
	took, without := readElsewhere(runningOf(h1, h3, kept), event, 80*time.Millisecond, elsewhere)
	if took != 90*time.Millisecond || len(without) != 0 {
		t.Errorf("%v, without %v", took, without)
	}
	never := func() (load, *bench.Result) {
		return loadOf(bench.HTTP2, Service6, false, rec(10, 3, "nyc-1"), rec(20, 3, ""))
	}
	if _, without := readElsewhere(runningOf(h1, never), event, 0, elsewhere); len(without) != 1 || !strings.Contains(without[0], "h2") {
		t.Errorf("without: %v", without)
	}
	if roundTrip("fra", "nyc") != 80*time.Millisecond || roundTrip("nyc", "tyo") != 150*time.Millisecond {
		t.Error("round trips")
	}
}

func TestP99(t *testing.T) {
	event := time.Unix(1000, 0)
	records := []bench.Record{record(event, -50, 900, "a"), record(event, 150, 900, "a"), record(event, 20, 900, "")}
	for i := range 100 {
		records = append(records, record(event, 1+i/2, i+1, "a"))
	}
	got := p99(runningOf(func() (load, *bench.Result) { return loadOf(bench.HTTP1, Service4, false, records...) }), event, event.Add(100*time.Millisecond))
	if got != 99 {
		t.Errorf("%g", got)
	}
}

// What an edge's metrics say about its decisions: sessions that go and come are none.
func TestParseDecisions(t *testing.T) {
	text := func(serving, lost, withdrawn string) string {
		return `# HELP nearcast_bgp_route_changes_total x
nearcast_bgp_route_changes_total{prefix="192.0.2.0/24",reason="serving"} ` + serving + `
nearcast_bgp_route_changes_total{prefix="192.0.2.0/24",reason="self probe failing"} ` + lost + `
nearcast_bgp_route_changes_total{prefix="2001:db8:53::/48",reason="serving"} 1
nearcast_bgp_route_changes_total_of_others{prefix="192.0.2.0/24",reason="serving"} 99
nearcast_bgp_level_changes_total{prefix="192.0.2.0/24",level="withdrawn"} ` + withdrawn + `
nearcast_bgp_level_changes_total{prefix="192.0.2.0/24",level="degraded"} 7
`
	}
	before, err := parseDecisions(text("1", "0", "0"))
	if err != nil {
		t.Fatal(err)
	}
	now, err := parseDecisions(text("3", "2", "2"))
	if err != nil {
		t.Fatal(err)
	}
	if w, a := now.since(before); w != 2 || a != 2 {
		t.Errorf("%g withdrawals, %g announcements", w, a)
	}
	if w, a := before.since(before); w != 0 || a != 0 {
		t.Errorf("nothing happened: %g, %g", w, a)
	}
	if _, err := parseDecisions("nearcast_other 1\n"); err == nil {
		t.Error("decisions out of nothing")
	}
}

func FuzzSeries(f *testing.F) {
	f.Add("nearcast_bgp_route_changes_total{prefix=\"192.0.2.0/24\",reason=\"serving\"} 1\n")
	f.Add("nearcast_bgp_route_changes_total{} x\nnearcast_bgp_route_changes_total{prefix=\"\n")
	f.Fuzz(func(t *testing.T, text string) { _, _ = parseDecisions(text) })
}

// While no region has an origin: what is cached is served, the rest gets 503 with Retry-After once the edge knows.
func TestSharedOrigin(t *testing.T) {
	event := time.Unix(1000, 0)
	run := &shared{event: event, repair: event.Add(noticed + withoutAny)}
	answer := func(sent, status int, field string) bench.Record {
		r := record(event, sent, 10, "nyc-1")
		if r.Status, r.Field = status, field; status >= 400 {
			r.Class = bench.Status
		}
		return r
	}
	if got := run.stale([]bench.Record{answer(500, 200, ""), answer(4500, 200, ""), answer(4600, 503, ""), answer(5995, 200, "")}); got != 1 {
		t.Errorf("%d stale answers", got)
	}
	for _, c := range []struct {
		why string
		r   bench.Record
		bad bool
	}{
		{"before", answer(-10, 200, ""), false},
		{"not noticed yet", answer(200, 502, ""), false},
		{"no server error ever", answer(200, 404, ""), true},
		{"noticed, and says when to come again", answer(4500, 503, "5"), false},
		{"noticed, and does not", answer(4500, 503, ""), true},
		{"noticed, another error", answer(4500, 502, "5"), true},
		{"no answer, not even before it is noticed", record(event, 200, 10, ""), true},
		{"an origin is back", answer(6500, 200, ""), false},
	} {
		if got := len(run.unhelpful([]bench.Record{c.r})) == 1; got != c.bad {
			t.Errorf("%s: %v", c.why, got)
		}
	}
	loads := (&stage{}).sharedLoads("fra", "/dynamic", "Retry-After")
	if len(loads) != 6 || loads[0].options.KeepAlive || loads[0].options.ResponseField != "Retry-After" || !strings.HasPrefix(loads[0].name, "fra ") {
		t.Errorf("%+v", loads)
	}
}

// When one of two edges dies, only its flows may break, and nobody leaves the region.
func TestJudgeFlows(t *testing.T) {
	event := time.Unix(1000, 0)
	rec := func(sent, lasted int, edge string) bench.Record { return record(event, sent, lasted, edge) }
	retried := rec(20, 300, "nyc-1")
	retried.Retried = true
	spread := []bench.Record{rec(-50, 1, "nyc-1"), rec(-40, 1, "nyc-2"), rec(5, 1, ""), rec(30, 1, "nyc-1")}
	for _, c := range []struct {
		why     string
		kept    bool
		records []bench.Record
		wrong   string
	}{
		{"new connections to the dead one fail until the router knows", false, spread, ""},
		{"not later", false, append(spread[:3:3], rec(30, 1, "nyc-1"), rec(60, 1, "")), "1 requests failed"},
		{"another region answers", false, append(spread[:4:4], rec(60, 200, "fra-1")), "fra-1 answered"},
		{"all flows to one edge", false, spread[1:], "not spread"},
		{"a flow of the dead one breaks and comes back", true, []bench.Record{rec(-50, 1, "nyc-2"), retried, rec(300, 1, "nyc-1")}, ""},
		{"it does not come back", true, []bench.Record{rec(-50, 1, "nyc-2"), rec(5, 1, "")}, "no answer after"},
		{"a flow of the living one goes on", true, []bench.Record{rec(-50, 1, "nyc-1"), rec(20, 1, "nyc-1")}, ""},
		{"it must not break", true, []bench.Record{rec(-50, 1, "nyc-1"), retried}, "its connection broke"},
		{"nor fail", true, []bench.Record{rec(-50, 1, "nyc-1"), rec(5, 1, "")}, "1 requests failed"},
	} {
		r := runningOf(func() (load, *bench.Result) { return loadOf(bench.HTTP1, Service4, c.kept, c.records...) })
		var row Row
		err := judgeFlows(&row, r, "nyc-2", "nyc-1", event, event.Add(50*time.Millisecond))
		if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) || row.Requests != len(c.records) {
			t.Errorf("%s: %+v %v", c.why, row, err)
		}
	}
	kept := 0
	for _, l := range (&stage{}).flows("nyc") {
		if l.options.KeepAlive {
			if kept++; l.options.Connections != 1 {
				t.Errorf("%s is not one flow", l.name)
			}
		}
	}
	if kept != 6*flowsEach {
		t.Errorf("%d kept flows", kept)
	}
}

// Every event says what is done and what must hold, and has targets that a run can meet.
func TestEvents(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range events() {
		if seen[e.Name] || e.Does == "" || e.Holds == "" || len(e.Targets) == 0 || len(e.regions) == 0 || e.play == nil || (e.prepare == nil) != (e.restore == nil) {
			t.Errorf("event %q is double or incomplete", e.Name)
		}
		seen[e.Name] = true
	}
	for _, name := range []string{"nothing", "stop", "drain", "kill", "stopped", "cut", "origins", "return", "router-restart", "flap", "shared-origin", "control-plane"} {
		if !seen[name] {
			t.Errorf("nothing measures %s", name)
		}
	}
	if len(seen) != len(Events()) {
		t.Errorf("%d events", len(Events()))
	}
	chosen, err := chooseEvents([]string{"cut", "kill"})
	if err != nil || len(chosen) != 2 || chosen[0].Name != "cut" {
		t.Errorf("chosen: %v %v", chosen, err)
	}
	if target := chosen[0].Targets[0]; target.AtMost != 1000 || !target.Timed {
		t.Errorf("three intervals of BFD and 100 ms are %+v", target)
	}
	if err := CheckEvents("earthquake"); err == nil || !strings.Contains(err.Error(), "control-plane") {
		t.Errorf("an unknown one: %v", err)
	}
}

func TestRowOfASample(t *testing.T) {
	var row Row
	row.read(failover.Sample{failover.Withdrawn: 12.5, failover.Elsewhere: 300, failover.SessionBack: 900, failover.GapNew: 400, failover.Requests: 100,
		failover.FailedNew: 1, failover.FailedKept: 2, failover.InFlight: 3, failover.Repeated: 4})
	if want := (Row{Withdrawn: 12500 * time.Microsecond, Elsewhere: 300 * time.Millisecond, Back: 900 * time.Millisecond, Longest: 400 * time.Millisecond,
		Requests: 100, Failed: 6, Astride: 3, Repeated: 4}); row != want {
		t.Errorf("%+v", row)
	}
}
