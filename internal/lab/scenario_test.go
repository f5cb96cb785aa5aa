package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/browser"
)

// TestScenarios runs all of them against the real binary. NEARCAST_LAB_LOGS names a directory to keep the programs' logs in.
func TestScenarios(t *testing.T) {
	if missing := Missing(); len(missing) > 0 {
		t.Skipf("the lab needs %s", strings.Join(missing, ", "))
	}
	binary := filepath.Join(t.TempDir(), "nearcast")
	if out, err := exec.Command("go", "build", "-o", binary, "nearcast/cmd/nearcast").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l := upOrSkip(t, Options{Binary: binary, LogDir: os.Getenv("NEARCAST_LAB_LOGS")})
	var all Report
	for _, sc := range Scenarios() {
		t.Run(sc.Name, func(t *testing.T) {
			if err := browser.Available(); sc.browser && err != nil {
				t.Skipf("needs %v", err)
			}
			if _, err := chooseClients(sc.clients); sc.clients != nil && err != nil {
				t.Fatal(err)
			}
			report, err := l.RunScenarios(t.Context(), sc.Name)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range report.Rows {
				if row.Err != nil {
					t.Errorf("%s: %v", row.Region, row.Err)
				}
			}
			if t.Failed() {
				for _, e := range allSites() {
					t.Logf("%s: ...%s", e.Name(), tail(l.LogFile(edgeProgram(e.Name()))))
				}
			}
			all.Rows, all.Took = append(all.Rows, report.Rows...), all.Took+report.Took
		})
	}
	var table bytes.Buffer
	if err := all.WriteTable(&table); err != nil {
		t.Error(err)
	}
	t.Log("\n" + table.String())
}

func TestChoose(t *testing.T) {
	if all, err := choose(nil); err != nil || len(all) != len(Scenarios()) {
		t.Errorf("all: %d, %v", len(all), err)
	}
	some, err := choose([]string{"kill", "reach"})
	if err != nil || len(some) != 2 || some[0].Name != "kill" {
		t.Errorf("some: %+v, %v", some, err)
	}
	if _, err := choose([]string{"earthquake"}); err == nil || !strings.Contains(err.Error(), "wrong-password") {
		t.Errorf("an unknown one: %v", err)
	}
	names := map[string]bool{}
	for _, sc := range Scenarios() {
		if names[sc.Name] || sc.Proves == "" || sc.run == nil {
			t.Errorf("scenario %q is double or incomplete", sc.Name)
		}
		names[sc.Name] = true
	}
}

func TestTable(t *testing.T) {
	r := Report{Took: 61 * time.Second, Rows: []Row{
		{Scenario: "stop", Region: "nyc", Router: "bird", Withdrawn: 12 * time.Millisecond, Elsewhere: 1500 * time.Millisecond, Back: 12 * time.Second,
			Requests: 900, FailedIn: 2, Repeated: 3},
		{Scenario: "reach", Region: "fra", Router: "frr", Err: errors.New("no answer\nfrom the edge")},
	}}
	var out bytes.Buffer
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"event→withdrawn", "12 ms", "1500 ms", "12.0 s", "0 of 900, 2 on return, 3 repeated  ok", "FAILED",
		"reach in fra: no answer\n  from the edge", "1 of 2 as they must be, in 61 s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if !r.Failed() || (Report{Rows: r.Rows[:1]}).Failed() {
		t.Error("Failed")
	}
}

func TestJSON(t *testing.T) {
	r := Report{Took: 61 * time.Second, Rows: []Row{
		{Scenario: "stop", Region: "nyc", Router: "bird", Withdrawn: 12 * time.Millisecond, Requests: 900, FailedIn: 2},
		{Scenario: "reach", Region: "fra", Err: errors.New("no answer")},
	}}
	var out bytes.Buffer
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"withdrawn_seconds": 0.012`, `"back_seconds": null`, `"requests": 900`, `"failed_on_return": 2`, `"error": "no answer"`,
		`"took_seconds": 61`, `"ok": false`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := (Report{}).WriteJSON(&out); err != nil || !strings.Contains(out.String(), `"rows": []`) {
		t.Errorf("no rows: %v %s", err, out.String())
	}
}

// record is a request that was sent some milliseconds after the event. Without an edge it was reset.
func record(event time.Time, sent, lasted int, edge string) bench.Record {
	r := bench.Record{Start: event.Add(time.Duration(sent) * time.Millisecond), Latency: time.Duration(lasted) * time.Millisecond, Edge: edge, Status: 200}
	if edge == "" {
		r.Class, r.Status = bench.Reset, 0
	}
	return r
}

func TestReadingRecords(t *testing.T) {
	event := time.Unix(1000, 0)
	at := func(ms int) time.Time { return event.Add(time.Duration(ms) * time.Millisecond) }
	records := []bench.Record{
		record(event, 0, 5, "nyc-1"),
		record(event, 10, 50, ""), // out when the edge died at 20
		record(event, 30, 1, ""),
		{Start: at(40), Latency: time.Millisecond, Edge: "fra-1", Status: 502, Class: bench.Status},
		record(event, 50, 40, "fra-1"),
	}
	if got := failures(records); len(got) != 3 {
		t.Errorf("failures: %d", len(got))
	}
	if got := failures(records, at(20)); len(got) != 2 || !got[0].Start.Equal(at(30)) {
		t.Errorf("failures but for those in flight: %+v", got)
	}
	late := records[1]
	late.Lag = 15 * time.Millisecond
	if got := failures([]bench.Record{late}, at(20)); len(got) != 1 {
		t.Error("a request that was begun after the edge had died was not in flight then")
	}
	first, ok := firstFrom(records, at(20), func(r bench.Record) bool { return r.Edge == "fra-1" })
	if !ok || !first.Equal(at(50)) {
		t.Errorf("first %v %v: a failed answer is none", first, ok)
	}
	if _, ok := firstFrom(records, at(50), func(bench.Record) bool { return true }); ok {
		t.Error("something after the end")
	}
}

// Every kind of request that a client may make is under load, and only the kept connections repeat.
func TestUsualLoads(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range (&stage{}).usualLoads("tyo", "/dynamic") {
		o := l.options
		seen[fmt.Sprint(o.Protocol, o.Address, o.KeepAlive)] = true
		if (o.Retry == bench.RetryBroken) != o.KeepAlive || o.Rate <= 0 || o.Silence != silence {
			t.Errorf("%s: %+v", l.name, o)
		}
	}
	if len(seen) != 12 || !seen["h3[2001:db8:53::1]:443false"] {
		t.Errorf("three protocols, two families, new and kept: %v", seen)
	}
}

// A load that made no request proves nothing.
func TestAnIdleLoadIsAFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := start(ctx, (&stage{}).usualLoads("tyo", "/dynamic")[:1])
	if err := r.stop(); err == nil || !strings.Contains(err.Error(), "no request was made") {
		t.Errorf("an idle load: %v", err)
	}
	r = start(t.Context(), []load{{name: "x", options: bench.Options{URL: "ftp://x/"}}})
	if err := r.stop(); err == nil || !strings.Contains(err.Error(), "scheme") {
		t.Errorf("a wrong load: %v", err)
	}
}

// What is judged: a planned stop may lose nothing, another event only what was sent shortly before the route was gone.
func TestJudge(t *testing.T) {
	event := time.Unix(1000, 0)
	at := func(ms int) time.Time { return event.Add(time.Duration(ms) * time.Millisecond) }
	rec := func(sent, lasted int, edge string) bench.Record { return record(event, sent, lasted, edge) }
	records := []bench.Record{
		rec(-50, 1, "nyc-1"),
		rec(10, 2, ""),
		rec(100, 200, "fra-1"),
		rec(5000, 100, "nyc-1"),
		rec(6000, 1, ""),
	}
	l := load{name: "h1 new"}
	for _, c := range []struct {
		why      string
		lossless bool
		region   string
		extra    []bench.Record
		moves    []time.Time
		none     bool // nobody else answers
		wrong    string
	}{
		{why: "one lost at the event is the nature of a kill", region: "nyc"},
		{why: "a planned stop may lose none", region: "nyc", lossless: true, wrong: "1 requests failed"},
		{why: "but for one under way while the route moved", region: "nyc", lossless: true, moves: []time.Time{at(11)}},
		{why: "not before or after it moved", region: "nyc", lossless: true, moves: []time.Time{at(9), at(13)}, wrong: "1 requests failed"},
		{why: "long after the withdrawal none may be lost", region: "nyc", extra: []bench.Record{{Start: at(3000), Latency: time.Millisecond, Class: bench.Status, Status: 502}}, wrong: "status 502"},
		{why: "meant to be sent while the route was there, sent when it was long gone", region: "nyc",
			extra: []bench.Record{{Start: at(2100), Lag: 200 * time.Millisecond, Latency: time.Second, Class: bench.Reset}}, wrong: "reset"},
		{why: "somebody else answers in any case", region: "tyo"},
		{why: "not one was answered elsewhere", region: "nyc", none: true, wrong: "no request was answered elsewhere"},
	} {
		row := Row{Withdrawn: 200 * time.Millisecond}
		all := append(slices.Clone(records), c.extra...)
		if c.none {
			all[2].Edge = "nyc-1"
		}
		r := &running{loads: []load{l}, results: []*bench.Result{{Records: all, Examples: map[bench.Class]string{bench.Reset: "connection reset"}}}}
		s := &stage{}
		d := disturbance{region: c.region, lossless: c.lossless, repair: restartNothing}
		err := s.judge(d, &row, r, event, at(4900), c.moves)
		if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v", c.why, err)
		}
		if row.Requests != 5+len(c.extra) || row.Failed != 1+len(c.extra) || row.FailedIn != 1 {
			t.Errorf("%s: %+v", c.why, row)
		}
		if c.region == "nyc" && !c.none && row.Elsewhere != 100*time.Millisecond {
			t.Errorf("%s: served elsewhere after %v", c.why, row.Elsewhere)
		}
	}
}

func TestJudgeOrigins(t *testing.T) {
	death := time.Unix(1000, 0)
	at := func(ms int) time.Time { return death.Add(time.Duration(ms) * time.Millisecond) }
	from := func(sent, lasted int, origin string) bench.Record {
		r := record(death, sent, lasted, "tyo-1")
		if r.Field = origin; origin == "" {
			r.Class = bench.Status
		}
		return r
	}
	for _, c := range []struct {
		why    string
		extra  []bench.Record
		failed int
		wrong  string
	}{
		{why: "home, next nearest, home again"},
		{why: "the origin may answer between the signal and its end", extra: []bench.Record{from(5, 2, "tyo")}},
		{why: "what was under way when it died may be lost", extra: []bench.Record{from(-5, 10, ""), from(15, 10, "")}},
		{why: "nothing else may", extra: []bench.Record{from(30, 10, "")}, failed: 1, wrong: "1 requests failed"},
		{why: "a dead origin does not answer", extra: []bench.Record{from(30, 10, "tyo")}, wrong: `origin of "tyo"`},
		{why: "nor does one farther away", extra: []bench.Record{from(300, 10, "fra")}, wrong: `origin of "fra"`},
	} {
		all := append([]bench.Record{from(-50, 10, "tyo"), from(100, 90, "nyc"), from(3100, 10, "tyo")}, c.extra...)
		r := &running{loads: []load{{name: "h1 new"}}, results: []*bench.Result{{Records: all}}}
		var row Row
		err := judgeOrigins(&row, r, "tyo", death, at(20), at(3000))
		if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) || row.Failed != c.failed || row.Requests != len(all) {
			t.Errorf("%s: %+v %v", c.why, row, err)
		}
	}
}

func TestPasswordLines(t *testing.T) {
	log := `level=WARN msg="neighbor 10.1.0.1: no answer; look at the password (TCP MD5)"
level=WARN msg="neighbor 10.3.0.1: look at the password"
level=INFO msg="neighbor 10.1.0.1: session established"
`
	if got := passwordLines(log, netip.MustParseAddr("10.1.0.1")); got != 1 {
		t.Errorf("%d lines", got)
	}
}

func restartNothing(context.Context) error { return nil }
