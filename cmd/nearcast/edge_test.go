package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp"
	"nearcast/cache"
	"nearcast/health"
	"nearcast/health/load"
	"nearcast/internal/config"
	"nearcast/proxy"
	"nearcast/proxy/front"
)

// probed is a monitor in which every named target has the status that its probe gives.
func probed(t *testing.T, targets map[health.ID]health.Probe) *health.Monitor {
	t.Helper()
	m := health.New(nil, nil)
	var all []health.Target
	want := map[health.ID]health.Status{}
	for id, probe := range targets {
		if probe == nil {
			probe = func(ctx context.Context) (time.Duration, error) { <-ctx.Done(); return 0, ctx.Err() }
			want[id] = health.Unknown
			all = append(all, health.Target{ID: id, Probe: probe, Config: health.Config{Interval: time.Hour, Timeout: time.Hour}})
			continue
		}
		want[id] = health.Up
		if _, err := probe(t.Context()); err != nil {
			want[id] = health.Down
		}
		all = append(all, health.Target{ID: id, Probe: probe, Config: health.Config{Interval: 10 * time.Millisecond, Timeout: 10 * time.Millisecond, Rise: 1, Fall: 1}})
	}
	m.SetTargets(all)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	for changed := m.Subscribe(); ; <-changed {
		settled := true
		for id, status := range want {
			settled = settled && m.Snapshot().Get(id).Status == status
		}
		if settled {
			return m
		}
	}
}

func TestWhatTheAnnouncementIsDecidedFrom(t *testing.T) {
	ok := func(context.Context) (time.Duration, error) { return time.Millisecond, nil }
	bad := func(context.Context) (time.Duration, error) { return 0, errors.New("no") }
	h2, h3 := health.ID{Name: ":443", Protocol: health.H2}, health.ID{Name: ":443", Protocol: health.H3}
	near := health.ID{Service: "shop", Region: "fra", Name: "http://a:80"}
	far := health.ID{Service: "shop", Region: "nyc", Name: "http://b:80"}
	for _, c := range []struct {
		what    string
		targets map[health.ID]health.Probe
		self    bgp.Verdict
		shop    bgp.ServiceHealth
	}{
		{"all is well", map[health.ID]health.Probe{h2: ok, h3: ok, near: ok, far: ok}, bgp.SelfOK, bgp.ServiceHealth{Name: "shop", Healthy: 2, HealthyRegional: 1}},
		{"one protocol fails", map[health.ID]health.Probe{h2: ok, h3: bad, near: bad, far: ok}, bgp.SelfFailing, bgp.ServiceHealth{Name: "shop", Healthy: 1}},
		{"one protocol has not answered yet", map[health.ID]health.Probe{h2: ok, h3: nil, near: ok, far: nil}, bgp.SelfUnknown, bgp.ServiceHealth{Name: "shop", Healthy: 1, HealthyRegional: 1, Unprobed: 1}},
		{"a failure outweighs what is not known", map[health.ID]health.Probe{h2: bad, h3: nil}, bgp.SelfFailing, bgp.ServiceHealth{Name: "shop"}},
		{"nothing to ask is not well", nil, bgp.SelfUnknown, bgp.ServiceHealth{Name: "shop"}},
	} {
		e := &edge{cfg: &config.Config{Edge: config.Edge{Region: "fra"}, Services: map[string]proxy.ServiceConfig{"shop": {}}},
			log: slog.New(slog.DiscardHandler), monitor: probed(t, c.targets), front: &front.Front{}, cache: cache.New(cache.Config{}, metrics.NewSet()),
			load: load.New(load.Config{}, nil, load.Options{})}
		in := e.inputs()
		if in.Self != c.self || len(in.Services) != 1 || in.Services[0] != c.shop {
			t.Errorf("%s: got %+v", c.what, in)
		}
		if in.Self == bgp.SelfFailing && in.SelfDetail == "" {
			t.Errorf("%s: it does not say what fails", c.what)
		}
	}
}

// TestAStartThatFailsLeavesNothingOpen: the admin listener is the last that can fail for a port.
func TestAStartThatFailsLeavesNothingOpen(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	front, others := freeAddress(t), freeAddress(t)
	file := writeConfig(t, strings.Replace(good, `"127.0.0.1:443"`, `"`+front+`"`, 1)+`
fleet: { address: "`+others+`", secret_file: fleet.key }
admin: { address: "`+busy.Addr().String()+`" }
anycast:
  prefixes: [192.0.2.0/24]
  bgp: { asn: 64500, router_id: 127.0.0.1, neighbors: [{ address: 127.0.0.1, port: 9, asn: 64501, bfd: {} }] }
`)
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "fleet.key"), []byte("0123456789abcdefghijklmnopqrstuvwxyz"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	e, err := build(cfg, std{io.Discard, io.Discard}, slog.New(slog.DiscardHandler), metrics.NewSet())
	if e != nil || err == nil || !strings.Contains(err.Error(), "admin.address") {
		t.Fatalf("%v, %v", e, err)
	}
	for _, a := range []string{front, others} {
		l, err := net.Listen("tcp", a)
		if err != nil {
			t.Errorf("still open: %v", err)
			continue
		}
		l.Close()
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d files are open, and %d were before", after, before)
	}
}

// openFiles counts this process's descriptors; 0 where the system does not tell.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Log("the open files can't be counted here: ", err)
	}
	return len(entries)
}
