package failover

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func runs(m Metric, values ...float64) []Run {
	var all []Run
	for _, v := range values {
		all = append(all, Run{Sample: Sample{m: v}})
	}
	return all
}

func TestVerdictIsOfTheWorst(t *testing.T) {
	for _, c := range []struct {
		why    string
		target Target
		runs   []Run
		met    bool
		text   string
	}{
		{"all within", Target{Metric: Elsewhere, AtMost: 150}, runs(Elsewhere, 20, 149.6, 30), true, "event→elsewhere ≤ 150 ms: met, 150 ms"},
		{"one beyond", Target{Metric: Elsewhere, AtMost: 150}, runs(Elsewhere, 20, 151, 30), false, "event→elsewhere ≤ 150 ms: MISSED, 151 ms"},
		{"none allowed, none there", Target{Metric: FailedNew}, runs(FailedNew, 0, 0), true, "failed new ≤ 0: met, 0"},
		{"none allowed, one there", Target{Metric: FailedNew}, runs(FailedNew, 0, 1), false, "failed new ≤ 0: MISSED, 1"},
		{"at least one in every run", Target{Metric: Stale, AtLeast: 1}, runs(Stale, 7, 3), true, "served from the cache ≥ 1: met, 3"},
		{"a run without any", Target{Metric: Stale, AtLeast: 1}, runs(Stale, 7, 0), false, "served from the cache ≥ 1: MISSED, 0"},
		{"what was not measured is not met", Target{Metric: FailedNew}, runs(Gone, 1), false, "failed new ≤ 0: MISSED, not measured"},
		{"nor is it without a run", Target{Metric: Stale, AtLeast: 1}, nil, false, "served from the cache ≥ 1: MISSED, not measured"},
	} {
		v := c.target.Judge(c.runs)
		if v.Met != c.met || v.String() != c.text {
			t.Errorf("%s: %v %q", c.why, v.Met, v)
		}
	}
}

// Gone is no metric of ours.
const Gone Metric = "gone"

func TestEveryMetricIsKnownOnce(t *testing.T) {
	seen, titles := map[Metric]bool{}, map[string]bool{}
	for _, f := range facts {
		if seen[f.metric] || titles[f.title] || f.title == "" {
			t.Errorf("%q is double or has no title", f.metric)
		}
		seen[f.metric], titles[f.title] = true, true
		if f.metric.Title() != f.title {
			t.Errorf("%q is called %q", f.metric, f.metric.Title())
		}
	}
	if Gone.Title() != "gone" || Gone.Format(2) != "2" || RSSGrowth.Format(1.26) != "1.3 MiB" {
		t.Error("formats")
	}
}

func report() Report {
	return Report{
		Rate: 100, Took: 5 * time.Minute, Machine: "2 CPUs.",
		Events: []Event{
			{Name: "kill", Does: "kill -9", Holds: "few fail", Targets: []Target{{Metric: FailedNew, AtMost: 2, Timed: true}, {Metric: Elsewhere, AtMost: 150, Timed: true}}},
			{Name: "flap", Does: "resets", Holds: "it decides nothing", Targets: []Target{{Metric: Withdrawals, AtMost: 1}}},
		},
		Runs: []Run{
			{Event: "kill", Region: "nyc", Router: "bird", Sample: Sample{Withdrawn: 4, Elsewhere: 35, GapNew: 200, FailedNew: 1, Requests: 1000}},
			{Event: "kill", Region: "nyc", Router: "bird", Sample: Sample{Withdrawn: 12, Elsewhere: 52, GapNew: 300, FailedNew: 2, Requests: 1100}},
			{Event: "kill", Region: "fra", Router: "frr", Sample: Sample{Withdrawn: 80, Elsewhere: 128, FailedNew: 8}},
			{Event: "flap", Region: "nyc", Router: "bird", Sample: Sample{Withdrawals: 0}},
			{Event: "flap", Region: "nyc", Router: "bird", Err: errors.New("the session\nstayed away")},
		},
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	r := report()
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"kill nyc bird 2 4 / 12 ms 35 / 52 ms 200 / 300 ms - 1 / 2 - - met", "kill fra frr 1 80 / 80 ms", "8 / 8 - - MISSED",
		"flap nyc bird 2 - - - - - - - MISSED", "kill in nyc: kill -9; few fail failed new ≤ 2: met, 2 event→elsewhere ≤ 150 ms: met, 52 ms requests 1000 / 1100",
		"run 2: the session; stayed away", "1 of 3 as they must be", "100 requests a second", "5 minutes. 2 CPUs.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if !r.Missed() {
		t.Error("nothing was missed")
	}
	if r.Runs = r.Runs[:2]; !r.Missed() {
		t.Error("an event that was not played was passed over")
	}
	if r.Events = r.Events[:1]; r.Missed() {
		t.Error("everything was met")
	}
}

func TestMarkdown(t *testing.T) {
	var out bytes.Buffer
	if err := report().WriteMarkdown(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| event | region | router | runs | event→withdrawn |", "| kill | nyc | bird | 2 | 4 / 12 ms | 35 / 52 ms | 200 / 300 ms | - | 1 / 2 | - | - | met |\n",
		"| kill | fra | kill -9 | few fail | failed new ≤ 2 | MISSED, 8 |\n", "- kill in nyc: requests 1000 / 1100\n", "- flap in nyc, run 2: the session; stayed away\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	columns := 0
	for line := range strings.Lines(out.String()) {
		n := strings.Count(line, "|")
		switch {
		case n == 0:
			columns = 0
		case columns == 0:
			columns = n
		case n != columns:
			t.Errorf("a row of %d columns in a table of %d: %s", n, columns, line)
		}
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	if err := report().WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Met  bool `json:"met"`
		Rows []struct {
			Event, Region string
			Met           bool
			Metrics       map[string]struct{ P50, P95 float64 }
			Samples       []map[string]float64
			Verdicts      []struct {
				Target string
				Met    bool
				Figure *float64
			}
			Errors []string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Met || len(got.Rows) != 3 || !got.Rows[0].Met || got.Rows[1].Met || len(got.Rows[0].Samples) != 2 || len(got.Rows[2].Samples) != 1 || len(got.Rows[2].Errors) != 1 {
		t.Errorf("%s", out.String())
	}
	if m := got.Rows[0].Metrics["elsewhere"]; m.P50 != 35 || m.P95 != 52 {
		t.Errorf("elsewhere: %+v", m)
	}
	if v := got.Rows[1].Verdicts[0]; v.Met || v.Figure == nil || *v.Figure != 8 || !strings.Contains(v.Target, "failed new") {
		t.Errorf("verdict: %+v", v)
	}
	out.Reset()
	if err := (Report{}).WriteJSON(&out); err != nil || !strings.Contains(out.String(), `"rows": []`) {
		t.Errorf("an empty report: %v %s", err, out.String())
	}
}
