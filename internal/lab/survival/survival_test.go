package survival

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func report() Report {
	move := Event{Name: "move", Does: "the route moves", Holds: "nothing fails", Targets: []Target{
		{Metric: Failed, Of: []string{"browser", "library"}}, {Metric: Gap, AtMost: 150, Of: []string{"browser"}, Timed: true}}}
	death := Event{Name: "death", Does: "kill -9", Holds: "clients come back", Clients: []string{"browser"},
		Targets: []Target{{Metric: Early, AtLeast: 1, Of: []string{"browser", "library"}}}}
	return Report{
		Events: []Event{move, death}, Clients: []string{"browser", "library", "tcp"}, Rate: 30, Took: 2 * time.Minute, Replayed: 3,
		Runs: []Run{
			{Event: "move", Client: "browser", Sample: Sample{Gap: 100, Failed: 0, Requests: 90}},
			{Event: "move", Client: "browser", Sample: Sample{Gap: 160, Failed: 0, Requests: 91}},
			{Event: "move", Client: "library", Sample: Sample{Gap: 4000, Failed: 2, Requests: 90, Unanswered: 1, Renewed: 1}, Lost: "2 requests failed"},
			{Event: "move", Client: "tcp", Sample: Sample{Gap: 300, Failed: 7, Requests: 90}},
			{Event: "death", Client: "browser", Sample: Sample{Gap: 400, Failed: 0, Requests: 90, Early: 1}, Err: errors.New("a fault\nof two lines")},
		},
	}
}

func TestTableSaysWhatWasMissed(t *testing.T) {
	var out bytes.Buffer
	if err := report().WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"100 / 160 ms, 0 of 181, MISSED", "≥ 4000 ms, 2 of 90, 1 new, MISSED", "300 ms, 7 of 90", "400 ms, 0 of 90, MISSED",
		"browser: failed ≤ 0: met, 0\n", "browser: gap ≤ 150 ms: MISSED, 160 ms", "library: failed ≤ 0: MISSED, 2", "library, run 1: 2 requests failed",
		"browser: connections begun with 0-RTT ≥ 1: met, 1", "browser, run 1: a fault; of two lines", "30 requests a second", "3 runs in which the machine stood still", "0 of 2 as they must be",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	for _, no := range []string{"tcp: ", "library: connections", "library: was not played"} {
		if strings.Contains(out.String(), no) {
			t.Errorf("%q in\n%s", no, out.String())
		}
	}
}

func TestMarkdownHasARowForEachEventAndTarget(t *testing.T) {
	var out bytes.Buffer
	if err := report().WriteMarkdown(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| event | browser | library | tcp |\n|---|---|---|---|\n", "| death | 400 ms, 0 of 90, MISSED |  |  |\n",
		"| move | the route moves | nothing fails | browser | gap ≤ 150 ms | MISSED, 160 ms |\n", "- death, browser: connections begun with 0-RTT 1\n", "- death, browser, run 1: a fault; of two lines\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestJSONHasEverySample(t *testing.T) {
	var out bytes.Buffer
	if err := report().WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Met  bool
		Rows []struct {
			Event, Client string
			Samples       []Sample
			Met           bool
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Met || len(got.Rows) != 4 || len(got.Rows[0].Samples) != 2 || got.Rows[0].Samples[1][Gap] != 160 || got.Rows[0].Met || !got.Rows[2].Met {
		t.Errorf("%+v", got)
	}
}

// A target that is missed, a run that went wrong and an event that was not played are each a miss; a client without targets is none.
func TestMissed(t *testing.T) {
	e := Event{Name: "move", Targets: []Target{{Metric: Failed, Of: []string{"browser"}}}}
	for _, c := range []struct {
		why    string
		runs   []Run
		missed bool
	}{
		{"met", []Run{{Event: "move", Client: "browser", Sample: Sample{Failed: 0}}, {Event: "move", Client: "tcp", Sample: Sample{Failed: 9}}}, false},
		{"a request failed", []Run{{Event: "move", Client: "browser", Sample: Sample{Failed: 1}}, {Event: "move", Client: "tcp"}}, true},
		{"not measured", []Run{{Event: "move", Client: "browser", Sample: Sample{Gap: 1}}, {Event: "move", Client: "tcp"}}, true},
		{"a client did not take part", []Run{{Event: "move", Client: "browser", Sample: Sample{Failed: 0}}}, true},
		{"a run went wrong", []Run{{Event: "move", Client: "browser", Sample: Sample{Failed: 0}}, {Event: "move", Client: "tcp", Err: errors.New("no client")}}, true},
		{"not played", nil, true},
	} {
		r := Report{Events: []Event{e}, Clients: []string{"browser", "tcp"}, Runs: c.runs}
		if r.Missed() != c.missed {
			t.Errorf("%s: missed is %v", c.why, r.Missed())
		}
	}
}

func TestEveryMetricIsInTheFacts(t *testing.T) {
	for _, m := range []Metric{Requests, Failed, Gap, Beyond, Renewed, Unanswered, Early, Took, Stall, Ports, OverTCP, Stalled, Forwarded, Returned, Resets, Sender, Owner, Network, Datagrams} {
		if m.index() < 0 {
			t.Errorf("%s has no title", m)
		}
	}
	if got := Sender.Format(7.25); got != "7.2 µs" {
		t.Error(got)
	}
}
