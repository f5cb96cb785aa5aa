package lab

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/internal/lab/process"
	"nearcast/internal/lab/quicload"
	"nearcast/internal/lab/survival"
)

// asked are requests of which one ends at each moment, in milliseconds since the event. Each took 5 ms. Those of fail failed.
func asked(event time.Time, connection func(at int) uint64, fail map[int]bool, ends ...int) []quicload.Record {
	var records []quicload.Record
	for _, at := range ends {
		end := event.Add(time.Duration(at) * time.Millisecond)
		r := quicload.Record{Start: end.Add(-5 * time.Millisecond), End: end, Connection: connection(at)}
		if fail[at] {
			r.Err = "no answer"
		}
		records = append(records, r)
	}
	return records
}

func TestReadSurvival(t *testing.T) {
	event := time.Now()
	one := func(int) uint64 { return 1 }
	renewed := func(at int) uint64 {
		if at > 200 {
			return 2
		}
		return 1
	}
	untold := func(int) uint64 { return 0 }
	const interval = 30 * time.Millisecond
	for _, c := range []struct {
		why     string
		records []quicload.Record
		want    survival.Sample
		err     string
	}{
		{"nothing happens", asked(event, one, nil, -60, -30, 5, 35),
			survival.Sample{survival.Requests: 4, survival.Failed: 0, survival.Gap: 35, survival.Beyond: 0, survival.Renewed: 0, survival.Unanswered: 0}, ""},
		{"a wait, and the same connection", asked(event, one, nil, -60, -30, 110, 120),
			survival.Sample{survival.Requests: 4, survival.Failed: 0, survival.Gap: 140, survival.Beyond: 105, survival.Renewed: 0, survival.Unanswered: 0}, ""},
		{"a request fails, and another connection", asked(event, renewed, map[int]bool{150: true}, -30, 150, 370, 400),
			survival.Sample{survival.Requests: 4, survival.Failed: 1, survival.Gap: 400, survival.Beyond: 365, survival.Renewed: 1, survival.Unanswered: 0}, ""},
		{"a gap before the event is none of its", asked(event, one, nil, -900, -30, 10, 40),
			survival.Sample{survival.Requests: 4, survival.Failed: 0, survival.Gap: 40, survival.Beyond: 5, survival.Renewed: 0, survival.Unanswered: 0}, ""},
		{"no answer any more", asked(event, untold, map[int]bool{4000: true}, -30, 5, 4000),
			survival.Sample{survival.Requests: 3, survival.Failed: 1, survival.Gap: 3995, survival.Beyond: 3960, survival.Unanswered: 1}, ""},
		{"silent before the event", asked(event, one, nil, -3000, 5),
			survival.Sample{survival.Requests: 2, survival.Failed: 0, survival.Gap: 3005, survival.Beyond: 2970, survival.Renewed: 0, survival.Unanswered: 0}, "no answer in the 1s before"},
		{"never an answer", asked(event, one, map[int]bool{-30: true, 5: true}, -30, 5), survival.Sample{}, "no answer in the 1s before"},
	} {
		got, err := readSurvival(c.records, event, interval)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v", c.why, err)
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, not %v", c.why, got, c.want)
		}
		for metric, want := range c.want {
			if v, ok := got[metric]; !ok || v != want {
				t.Errorf("%s: %s is %v, not %v", c.why, metric, v, want)
			}
		}
	}
}

func TestLostRequestsAreExplained(t *testing.T) {
	event := time.Now()
	one := func(int) uint64 { return 1 }
	if got := lostRequests(asked(event, one, nil, -30, 5), event); got != "" {
		t.Error(got)
	}
	got := lostRequests(asked(event, one, map[int]bool{-5: true, 15: true, 45: true, 75: true}, -5, 15, 45, 75), event)
	if !strings.HasPrefix(got, "4 requests failed: sent -10 ms after the event, lasted 5 ms: no answer; ") || strings.Count(got, "lasted") != 3 {
		t.Error(got)
	}
}

// In the gate only those targets count that do not depend on the machine, and those of the client.
func TestJudgeSurvival(t *testing.T) {
	e := survival.Event{Name: "move", Targets: []survival.Target{noneOf(survival.Failed, "a", "b"), inTime(survival.Gap, 100*time.Millisecond, "a")}}
	run := survival.Run{Client: "a", Sample: survival.Sample{survival.Failed: 0, survival.Gap: 500}}
	if err := judgeSurvival(e, run); err != nil {
		t.Error(err)
	}
	run.Sample[survival.Failed] = 1
	if judgeSurvival(e, run) == nil {
		t.Error("a failed request was passed over")
	}
	if run.Client = "c"; judgeSurvival(e, run) != nil {
		t.Error("another client's target")
	}
	delete(run.Sample, survival.Failed)
	if run.Client = "b"; judgeSurvival(e, run) == nil {
		t.Error("what was not measured was taken for met")
	}
}

func TestQUICEventsAreWhole(t *testing.T) {
	names, clients := map[string]bool{}, allClients()
	for _, e := range quicEvents() {
		if names[e.Name] || e.Does == "" || e.Holds == "" || (e.play == nil) == (e.measure == nil) || len(e.Targets) == 0 {
			t.Errorf("event %q is double or incomplete", e.Name)
		}
		names[e.Name] = true
		for _, target := range e.Targets {
			for _, client := range target.Of {
				if !slices.Contains(clients, client) {
					t.Errorf("%s: a target of %q, which is no client", e.Name, client)
				}
			}
			if slices.Contains(target.Of, "h2") || len(target.Of) == 0 {
				t.Errorf("%s: %s is of %v", e.Name, target, target.Of)
			}
		}
	}
	if _, err := chooseQUICEvents([]string{"earthquake"}); err == nil || !strings.Contains(err.Error(), "ecmp-flip") {
		t.Errorf("an unknown event: %v", err)
	}
	if some, err := chooseQUICEvents([]string{"kill", "move"}); err != nil || len(some) != 2 || some[0].Name != "kill" {
		t.Errorf("%v, %v", some, err)
	}
	one := []quicload.Client{}
	for _, c := range quicload.Clients() {
		if c.Name() == streamClient {
			one = append(one, c)
		}
	}
	if some, err := taking(nil, one); err != nil || slices.ContainsFunc(some, func(e quicEvent) bool { return e.Name == "rebind" }) || len(some) < 10 {
		t.Errorf("%d events, %v", len(some), err)
	}
	if _, err := taking([]string{"rebind"}, one); err == nil || !strings.Contains(err.Error(), "quic-go, chromium") {
		t.Errorf("an event that none takes part in: %v", err)
	}
	if _, err := chooseClients([]string{"lynx"}); err == nil {
		t.Error("a client that there is not")
	}
}

func TestWay(t *testing.T) {
	for _, c := range []struct {
		at, to string
		six    bool
		want   string
	}{
		{"nyc", "fra", false, "10.255.12.2"}, {"fra", "nyc", false, "10.255.12.1"}, {"nyc", "tyo", true, "fd00:ff00:d::2"},
		{"nyc", "nyc-2", false, "10.1.11.2"}, {"nyc", "nyc-1", true, "fd00:1::2"},
	} {
		got, err := way(c.at, c.to, c.six)
		if err != nil || got != netip.MustParseAddr(c.want) {
			t.Errorf("from %s to %s: %v, %v", c.at, c.to, got, err)
		}
	}
	for _, to := range []string{"nyc", "fra-1", "lon"} {
		if got, err := way("nyc", to, false); err == nil {
			t.Errorf("from nyc to %s: %v", to, got)
		}
	}
}

// What an edge counts since it was started anew is all new.
func TestGrown(t *testing.T) {
	before := map[string]survival.Sample{"a": {survival.Resets: 5, survival.Forwarded: 10}, "b": {survival.Resets: 7}, "gone": {survival.Resets: 9}}
	now := map[string]survival.Sample{"a": {survival.Resets: 6, survival.Forwarded: 10}, "b": {survival.Resets: 2}}
	if got := grown(before, now); got[survival.Resets] != 3 || got[survival.Forwarded] != 0 || len(got) != 2 {
		t.Errorf("%v", got)
	}
}

func TestPriceOf(t *testing.T) {
	home, led := half{owner: 1000, other: 200}, half{owner: 5000, other: 8200, forwarded: 1000}
	if got := priceOf(home, led); got[survival.Sender] != 8 || got[survival.Owner] != 4 || got[survival.Datagrams] != 1000 {
		t.Errorf("%v", got)
	}
	if got := priceOf(led, home); len(got) != 1 || got[survival.Datagrams] != 0 {
		t.Errorf("of nothing that was sent on: %v", got)
	}
}

func TestComputedBy(t *testing.T) {
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	before, err := computedBy(self)
	if err != nil || before <= 0 {
		t.Fatalf("%v, %v", before, err)
	}
	if _, err := computedBy(process.ID{PID: -1}); err == nil {
		t.Error("a process that there is not has computed")
	}
}

func TestStoodStill(t *testing.T) {
	runs := []survival.Run{{Client: "a"}, {Client: "b", Sample: survival.Sample{survival.Stalled: 150}}}
	if stoodStill(runs) {
		t.Error("150 ms are nothing")
	}
	if runs[1].Sample[survival.Stalled] = 250; !stoodStill(runs) {
		t.Error("250 ms are too much")
	}
}

// A paced body gives its octets at even times, and ends when it is told to.
func TestPacedBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paced{end: make(chan struct{})}
		begun, total := time.Now(), 0
		for time.Since(begun) < 2*time.Second {
			n, err := p.Read(make([]byte, 1000))
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
			total += n
		}
		if total < 2*cpuRate*99/100 || total > 2*cpuRate*101/100 {
			t.Errorf("%d octets in 2 s", total)
		}
		close(p.end)
		for {
			if _, err := p.Read(make([]byte, 1000)); err == io.EOF {
				return
			}
		}
	})
}
