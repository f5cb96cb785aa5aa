package lab

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nearcast/internal/lab/browser"
	"nearcast/internal/lab/client"
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
				for _, name := range Regions() {
					t.Logf("%s: ...%s", edgeProgram(name), tail(l.LogFile(edgeProgram(name))))
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

// What is judged: a planned stop may lose nothing, another event only what was sent shortly before the route was gone.
func TestJudge(t *testing.T) {
	event := time.Unix(1000, 0)
	at := func(ms int) time.Time { return event.Add(time.Duration(ms) * time.Millisecond) }
	lost := errors.New("connection reset")
	samples := []client.Sample{
		{Start: at(-50), End: at(-49), Edge: "nyc-1", Status: 200},
		{Start: at(10), End: at(12), Err: lost},
		{Start: at(100), End: at(300), Edge: "fra-1", Status: 200},
		{Start: at(5000), End: at(5100), Edge: "nyc-1", Status: 200},
		{Start: at(6000), End: at(6001), Err: lost},
	}
	load := client.Load{Name: "h1 new", Config: client.Config{Fresh: true}}
	for _, c := range []struct {
		why      string
		lossless bool
		region   string
		extra    []client.Sample
		moves    []time.Time
		wrong    string
	}{
		{why: "one lost at the event is the nature of a kill", region: "nyc"},
		{why: "a planned stop may lose none", region: "nyc", lossless: true, wrong: "1 requests failed"},
		{why: "but for one under way while the route moved", region: "nyc", lossless: true, moves: []time.Time{at(11)}},
		{why: "not before or after it moved", region: "nyc", lossless: true, moves: []time.Time{at(9), at(13)}, wrong: "1 requests failed"},
		{why: "long after the withdrawal none may be lost", region: "nyc", extra: []client.Sample{{Start: at(3000), End: at(3001), Status: 502}}, wrong: "status 502"},
		{why: "somebody else must have answered", region: "tyo", wrong: ""},
	} {
		row := Row{Withdrawn: 200 * time.Millisecond}
		r := &running{loads: []client.Load{load}, samples: [][]client.Sample{append(append([]client.Sample{}, samples...), c.extra...)}}
		s := &stage{}
		d := disturbance{region: c.region, lossless: c.lossless, repair: restartNothing}
		err := s.judge(d, &row, r, event, at(4900), c.moves)
		if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v", c.why, err)
		}
		if row.Requests != 5+len(c.extra) || row.Failed != 1+len(c.extra) || row.FailedIn != 1 {
			t.Errorf("%s: %+v", c.why, row)
		}
		if c.region == "nyc" && row.Elsewhere != 100*time.Millisecond {
			t.Errorf("%s: served elsewhere after %v", c.why, row.Elsewhere)
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
