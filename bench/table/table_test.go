package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nearcast/bench/peers"
	"nearcast/bench/process"
)

// fake is a stage and a loader. A server costs what its peer's cost says, per request, in turn.
type fake struct {
	cost    map[string][]time.Duration // CPU of a request, for each run of a server
	memory  map[string]int64           // of a connection, bytes
	refuse  string                     // a peer that cannot be started
	failing string                     // a peer whose third run has failed requests
	missing string                     // a peer that asks the origin for hits
	stuck   string                     // a peer that cannot be stopped
	onLoad  func()

	log     []string
	running map[string]bool
	runs    map[string]int
}

type fakeServer struct {
	f    *fake
	name string
	cpu  time.Duration
	at   time.Time
}

func newFake() *fake {
	return &fake{cost: map[string][]time.Duration{}, memory: map[string]int64{}, running: map[string]bool{}, runs: map[string]int{}}
}

func (f *fake) Start(_ context.Context, p peers.Peer, row Row) (Server, error) {
	if p.Name == f.refuse {
		return nil, errors.New("it ended instead of serving")
	}
	if f.running[p.Name] {
		return nil, fmt.Errorf("%s runs already", p.Name)
	}
	f.running[p.Name] = true
	f.log = append(f.log, "start "+p.Name)
	return &fakeServer{f: f, name: p.Name, at: time.Unix(0, 0)}, nil
}

func (s *fakeServer) Address() string { return s.name }

func (s *fakeServer) Processes() process.Set { return process.Set{PIDs: []int{len(s.name)}} }

func (s *fakeServer) Usage() (Usage, error) {
	return Usage{CPU: s.cpu, At: s.at, ServerCore: s.cpu, LoadCore: s.cpu / 2}, nil
}

func (s *fakeServer) Check(_ context.Context, requests int64) error {
	if s.name == s.f.missing {
		return fmt.Errorf("the origin was asked %d times", requests)
	}
	return nil
}

func (s *fakeServer) Stop(context.Context) error {
	s.f.log = append(s.f.log, "stop "+s.name)
	s.f.running[s.name] = false
	if s.name == s.f.stuck {
		return errors.New("it does not end")
	}
	return nil
}

const fakeRequests = 1000

// finder gives the fake's loader the server behind an address.
type finder struct {
	*fake
	servers map[string]*fakeServer
}

func (f finder) Start(ctx context.Context, p peers.Peer, row Row) (Server, error) {
	s, err := f.fake.Start(ctx, p, row)
	if err != nil {
		return nil, err
	}
	f.servers[p.Name] = s.(*fakeServer)
	return s, nil
}

func (f finder) Load(ctx context.Context, l Load) (Loaded, error) {
	s := f.servers[l.Address]
	if f.onLoad != nil {
		f.onLoad()
	}
	if ctx.Err() != nil {
		return Loaded{}, ctx.Err()
	}
	f.log = append(f.log, fmt.Sprintf("load %s %d %dx%d", s.name, l.Size, l.Connections, l.Streams))
	s.cpu += time.Hour // what is used before it counts
	if err := l.Begin(); err != nil {
		return Loaded{}, err
	}
	costs := f.cost[s.name]
	s.cpu += fakeRequests * costs[min(f.runs[s.name], len(costs)-1)]
	s.at = s.at.Add(l.Duration)
	f.runs[s.name]++
	if err := l.End(); err != nil {
		return Loaded{}, err
	}
	s.cpu += time.Hour
	saw := Loaded{Requests: fakeRequests, Elapsed: l.Duration, P50: 2 * time.Millisecond, P99: 3 * time.Millisecond}
	if s.name == f.failing && f.runs[s.name] == 3 {
		saw.Failed, saw.Failure = 2, "status 502"
	}
	return saw, nil
}

func (f finder) Hold(_ context.Context, l Load, set process.Set) (float64, error) {
	s := f.servers[l.Address]
	f.log = append(f.log, fmt.Sprintf("hold %s %d", s.name, l.Connections))
	s.at = s.at.Add(l.Duration)
	if set.PIDs[0] != len(s.name) {
		return 0, errors.New("another server's processes")
	}
	return float64(f.memory[s.name]), nil
}

func (f *fake) runner(rounds int) *Runner {
	both := finder{f, map[string]*fakeServer{}}
	return &Runner{Stage: both, Loader: both, Rounds: rounds, Duration: time.Second}
}

const µs = time.Microsecond

func row(peer string, target float64) Row {
	return Row{Name: "case", Title: "a case", Peer: peer, Protocol: peers.HTTP1, Body: 1024, Connections: 4, Streams: 2, Target: target}
}

func TestPairsAlternate(t *testing.T) {
	f := newFake()
	f.cost[peers.Ours], f.cost["nginx"] = []time.Duration{6 * µs}, []time.Duration{10 * µs}
	results := f.runner(3).Run(t.Context(), []Row{row("nginx", 0.6)})
	want := []string{"start nearcast", "start nginx",
		"load nearcast 1024 4x2", "load nginx 1024 4x2",
		"load nginx 1024 4x2", "load nearcast 1024 4x2",
		"load nearcast 1024 4x2", "load nginx 1024 4x2",
		"stop nearcast", "stop nginx"}
	if !slices.Equal(f.log, want) {
		t.Errorf("what happened:\n%s", strings.Join(f.log, "\n"))
	}
	r := results[0]
	if len(r.Pairs) != 3 || !r.Pairs[0].OursFirst || r.Pairs[1].OursFirst || !r.Pairs[2].OursFirst {
		t.Errorf("pairs %+v", r.Pairs)
	}
	o := r.Ours
	if o.Value != 6 || r.Peer.Value != 10 || o.Requests != fakeRequests || o.PerSecond != 1000 || o.P50 != 2000 || o.P99 != 3000 ||
		o.Server != 0.006 || o.ServerCore != 0.006 || o.LoadCore != 0.003 {
		t.Errorf("ours %+v, peer's %+v", o, r.Peer)
	}
	if r.Verdict != Met || r.Ratio != 0.6 {
		t.Errorf("%s with %v", r.Verdict, r.Ratio)
	}
}

func TestMedianOfThePairsRatios(t *testing.T) {
	f := newFake()
	// The machine is three times as slow in two pairs, and something disturbs the last. The medians, 30 and 20, would say × 1.5.
	f.cost[peers.Ours] = []time.Duration{10 * µs, 30 * µs, 30 * µs, 10 * µs, 40 * µs}
	f.cost["nginx"] = []time.Duration{20 * µs, 60 * µs, 60 * µs, 20 * µs, 20 * µs}
	r := f.runner(5).Run(t.Context(), []Row{row("nginx", 0.5)})[0]
	if r.Ratio != 0.5 || r.Lowest != 0.5 || r.Highest != 2 || r.Ours.Value != 30 || r.Peer.Value != 20 {
		t.Errorf("%+v", r)
	}
	if len(r.Pairs) != 5 || r.Verdict != Met {
		t.Errorf("%d pairs, %s", len(r.Pairs), r.Verdict)
	}
	if m := median([]Pair{{Ratio: 4}, {Ratio: 1}, {Ratio: 3}, {Ratio: 2}}, func(p Pair) float64 { return p.Ratio }); m != 2.5 {
		t.Errorf("median of an even number: %v", m)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		target float64
		want   Verdict
	}{{0.7, Met}, {0.6, Met}, {0.59, Missed}, {0, Information}} {
		f := newFake()
		f.cost[peers.Ours], f.cost["nginx"] = []time.Duration{6 * µs}, []time.Duration{10 * µs}
		if r := f.runner(1).Run(t.Context(), []Row{row("nginx", c.target)})[0]; r.Verdict != c.want || r.Error != "" {
			t.Errorf("target %v: %s %s", c.target, r.Verdict, r.Error)
		}
	}
}

func TestFailedRowDoesNotStopTheOthers(t *testing.T) {
	f := newFake()
	f.refuse, f.failing, f.missing, f.stuck = "varnish", "haproxy", "trafficserver", "h2o"
	for _, name := range peers.Names() {
		f.cost[name] = []time.Duration{10 * µs}
	}
	f.cost["caddy"] = []time.Duration{0}
	var said []string
	r := f.runner(5)
	r.Progress = func(line string) { said = append(said, line) }
	results := r.Run(t.Context(), []Row{row("varnish", 1), row("haproxy", 1), row("trafficserver", 1), row("caddy", 1), row("h2o", 1), row("apache", 1), row("nginx", 1)})
	for i, want := range []struct {
		pairs int
		text  string
	}{
		{0, "varnish: it ended instead of serving"},
		{2, "haproxy: 2 of 1002 requests failed: status 502"},
		{0, "trafficserver: the origin was asked 1000 times"},
		{0, "nothing to compare"},
		{5, "it does not end"},
		{0, `no peer "apache"`},
	} {
		got := results[i]
		if got.Verdict != Failed || len(got.Pairs) != want.pairs || !strings.Contains(got.Error, want.text) {
			t.Errorf("%s: %s with %d pairs: %s", got.Row.Peer, got.Verdict, len(got.Pairs), got.Error)
		}
	}
	if last := results[6]; last.Verdict != Met {
		t.Errorf("the row after them: %s %s", last.Verdict, last.Error)
	}
	for name, runs := range f.running {
		if runs {
			t.Errorf("%s was left running", name)
		}
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "1/7 case/varnish") || !strings.Contains(all, "FAILED: varnish: it ended") ||
		!strings.Contains(all, "10 against 10 µs/request: × 1.00 (1.00 to 1.00), target 1.00: met") {
		t.Errorf("progress:\n%s", all)
	}
}

func TestIdleRowsHaveFreshServers(t *testing.T) {
	f := newFake()
	f.memory[peers.Ours], f.memory["caddy"] = 10<<10, 40<<10
	idle := Row{Name: "idle", Peer: "caddy", Protocol: peers.HTTP1TLS, Body: 1024, Connections: 100, Idle: true, Target: 0.5}
	r := f.runner(2).Run(t.Context(), []Row{idle})[0]
	want := []string{"start nearcast", "start caddy", "hold nearcast 100", "hold caddy 100", "stop nearcast", "stop caddy",
		"start nearcast", "start caddy", "hold caddy 100", "hold nearcast 100", "stop nearcast", "stop caddy"}
	if !slices.Equal(f.log, want) {
		t.Errorf("what happened:\n%s", strings.Join(f.log, "\n"))
	}
	if r.Ours.Value != 10 || r.Peer.Value != 40 || r.Ratio != 0.25 || r.Verdict != Met || r.Row.Unit() != "KiB/connection" {
		t.Errorf("%+v", r)
	}
}

func TestEndedContextStopsTheServers(t *testing.T) {
	f := newFake()
	f.cost[peers.Ours], f.cost["nginx"] = []time.Duration{µs}, []time.Duration{µs}
	ctx, cancel := context.WithCancel(t.Context())
	loads := 0
	f.onLoad = func() {
		if loads++; loads == 4 {
			cancel()
		}
	}
	results := f.runner(1).Run(ctx, []Row{row("nginx", 1), row("nginx", 1), row("nginx", 1)})
	if len(results) != 1 || results[0].Verdict != Met {
		t.Errorf("%+v", results)
	}
	if f.running[peers.Ours] || f.running["nginx"] {
		t.Error("servers were left running")
	}
}
