package fleet

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

// freePort is a port that nobody listens at on any of the addresses.
func freePort(t *testing.T, hosts ...string) uint16 {
	t.Helper()
	for range 20 {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(hosts[0], "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		free := true
		for _, h := range hosts[1:] {
			other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(h, port))
			if err != nil {
				free = false
				break
			}
			defer other.Close()
		}
		if free {
			return netip.MustParseAddrPort(l.Addr().String()).Port()
		}
	}
	t.Fatal("no port is free on all addresses")
	return 0
}

// open opens a fleet on real sockets. It does not run yet.
func open(t *testing.T, c *Config, at netip.AddrPort, name, region string, targets []Target) *edge {
	t.Helper()
	cfg := *c
	cfg.Address = at.String()
	e := &edge{log: new(logBuffer), set: metrics.NewSet()}
	var err error
	if e.Fleet, err = Open(&cfg, Identity{Edge: name, Region: region, Software: "1.2"}, targets, testLog(e), e.set); err != nil {
		t.Fatal(err)
	}
	return e
}

// await waits until what an edge knows is as it should be. The test's own deadline ends the wait.
func (e *edge) await(ok func(*View) bool) *View {
	changed := e.Subscribe()
	for {
		if v := e.View(); ok(v) {
			return v
		}
		<-changed
	}
}

func TestTwoFleetsOverRealSockets(t *testing.T) {
	hosts := []string{"127.0.0.31", "127.0.0.32"}
	port := freePort(t, hosts...)
	fraAt, nycAt := netip.AddrPortFrom(netip.MustParseAddr(hosts[0]), port), netip.AddrPortFrom(netip.MustParseAddr(hosts[1]), port)
	targets := []Target{{"fra", fraAt}, {"nyc", nycAt}}
	c := testConfig()
	c.SecretFile, c.Interval = secretFile(t, secretA), minInterval

	fra, nyc := open(t, c, fraAt, "fra-1", "fra", targets), open(t, c, nycAt, "nyc-1", "nyc", targets)
	fra.start(t)
	nyc.start(t)
	nyc.Publish(Report{Prefixes: []PrefixReport{{Prefix: v6, Level: LevelDegraded, Reason: "too few healthy origins"}}, Draining: true, Load: "high"})
	v := fra.await(func(v *View) bool { return v.Peers[0].Hears("fra-1") && v.Peers[0].Level(v6) == LevelDegraded })
	if len(v.Peers) != 1 || v.Peers[0].Address != nycAt || !v.Peers[0].Report.Draining || v.Peers[0].Report.Load != "high" || v.Peers[0].RTT <= 0 {
		t.Errorf("what fra knows: %+v", v.Peers[0])
	}
	known := fra.server.gate.sources.peers[nycAt.Addr()]
	known.mu.Lock()
	if known.conns != 1 {
		t.Errorf("%d connections from the address at which nyc is asked, want one: it asks as a stranger", known.conns)
	}
	known.mu.Unlock()
	status, err := json.Marshal(fra.Status())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"address":"` + fraAt.String() + `"`, `"edge":"nyc-1"`, `"state":"heard"`, `"hears_us":true`, `"level":"degraded"`, `"result":"answered"`} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the status has no %s:\n%s", want, status)
		}
	}
	nyc.stop()
	fra.await(func(v *View) bool { return v.Peers[0].State == Silent })
	if o := fra.View().Peers[0].Outcome; o != OutcomeNoConnection {
		t.Errorf("a process that is gone: %s", o)
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := testConfig()
	for _, tt := range []struct{ address, file, want string }{
		{l.Addr().String(), secretFile(t, secretA), "fleet.address \"" + l.Addr().String() + "\": the port is in use"},
		{"198.51.100.2:9181", secretFile(t, secretA), `fleet.address "198.51.100.2:9181": this machine does not have the address`},
		{"127.0.0.1:0", secretFile(t, "short"), "fleet.secret_file "},
		{"", "", "fleet.address: "},
	} {
		c.Address, c.SecretFile = tt.address, tt.file
		f, err := Open(c, Identity{}, nil, nil, nil)
		if f != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s, %s: %v", tt.address, tt.file, err)
		}
	}
}

func TestAListenerThatFailsEndsTheRun(t *testing.T) {
	c := testConfig()
	c.SecretFile = secretFile(t, secretA)
	e := open(t, c, netip.MustParseAddrPort("127.0.0.1:0"), "fra-1", "fra", all)
	e.server.gate.Close()
	if err := e.Run(context.Background()); err == nil || !strings.HasPrefix(err.Error(), "fleet listener 127.0.0.1:") {
		t.Errorf("%v", err)
	}
}

func TestEveryMetricHasItsText(t *testing.T) {
	c := testConfig()
	c.SecretFile = secretFile(t, secretA)
	twice := append([]Target{{"fra", netip.MustParseAddrPort("[::ffff:198.51.100.2]:9181")}}, all...)
	e := open(t, c, netip.MustParseAddrPort("127.0.0.1:0"), "fra-1", "fra", twice)
	defer e.server.gate.Close()
	seen := map[string]bool{}
	for _, name := range e.set.ListMetricNames() {
		family, _, _ := strings.Cut(name, "{")
		seen[family] = true
		if MetricHelp[family] == "" {
			t.Errorf("%s has no text", family)
		}
	}
	for family := range MetricHelp {
		if !seen[family] {
			t.Errorf("%s has a text and is not there", family)
		}
	}
	if text := e.text(); !strings.Contains(text, `nearcast_fleet_peers{state="unknown"} 3`) || strings.Contains(text, "NaN") {
		t.Errorf("at the start:\n%s", text)
	}
}
