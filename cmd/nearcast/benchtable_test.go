package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"nearcast/bench/peers"
	benchreport "nearcast/bench/report"
	"nearcast/bench/table"
)

func TestBenchTableLists(t *testing.T) {
	var out, errs bytes.Buffer
	code := execute([]string{"bench", "table", "--list", "--row", "h2-1k", "--row", "idle/caddy"}, &out, &errs)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if code != exitOK || len(lines) != 5 || !strings.HasPrefix(lines[0], "h2-1k/nginx ") || !strings.HasSuffix(lines[0], "target 0.25") ||
		!strings.HasSuffix(lines[1], "target none") || !strings.HasPrefix(lines[4], "idle/caddy ") {
		t.Errorf("%d\n%s%s", code, &out, &errs)
	}
}

// What is wrong with the command line is said before anything is set up.
func TestBenchTableRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--row h9":        `no row "h9"; there are h1-1k`,
		"--peer apache":   `no row with peer "apache"`,
		"--rounds=-1":     "at least one round",
		"--duration 10ms": "at least 100ms",
	} {
		var out, errs bytes.Buffer
		if code := execute(append([]string{"bench", "table"}, strings.Fields(args)...), &out, &errs); code == exitOK || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: %d %s", args, code, &errs)
		}
	}
}

func TestBenchTableDefaults(t *testing.T) {
	full, quick, own := BenchTable{}, BenchTable{Quick: true}, BenchTable{Quick: true, Rounds: 7, Duration: 3 * time.Second}
	for _, c := range []*BenchTable{&full, &quick, &own} {
		if err := c.complete(); err != nil {
			t.Error(err)
		}
	}
	if full.Rounds != benchreport.EnoughRounds || full.Duration != 5*time.Second || full.warmup() != time.Second {
		t.Errorf("%+v", full)
	}
	if quick.Rounds != 1 || quick.Duration != 500*time.Millisecond || quick.warmup() != 250*time.Millisecond {
		t.Errorf("%+v", quick)
	}
	if own.Rounds != 7 || own.Duration != 3*time.Second {
		t.Errorf("what was given was not kept: %+v", own)
	}
}

// A quick look is at fewer idle connections; the table itself stays as it is.
func TestQuickRows(t *testing.T) {
	for _, r := range quick(table.Rows()) {
		if r.Idle && r.Connections != 400 {
			t.Errorf("%s: %d connections", r.ID(), r.Connections)
		}
		if !r.Idle && r.Connections*r.Streams < 64 {
			t.Errorf("%s: %d × %d", r.ID(), r.Connections, r.Streams)
		}
	}
}

func TestBenchVersions(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("NEARCAST_BENCH_CACHE", t.TempDir())
	found := versions(t.Context(), []table.Row{{Peer: "caddy"}})
	if len(found) != 2 || found["caddy"] != "not installed" || found[peers.Ours] == "" {
		t.Errorf("%v", found)
	}
}

func TestUnmeasuredRowsAreAnError(t *testing.T) {
	rep := benchreport.Report{Rows: []table.Result{{Verdict: table.Met}, {Verdict: table.Missed}}}
	if err := unmeasured(rep); err != nil {
		t.Errorf("a missed target: %v", err)
	}
	rep.Rows = append(rep.Rows, table.Result{Verdict: table.Failed})
	if err := unmeasured(rep); err == nil || err.Error() != "1 of 3 rows could not be measured" {
		t.Errorf("%v", err)
	}
}
