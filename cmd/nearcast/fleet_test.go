package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp"
	"nearcast/fleet"
	"nearcast/geo"
	"nearcast/internal/config"
)

func TestAnEdgeStartsBySayingThatItHasWithdrawn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fleet.key")
	if err := os.WriteFile(file, []byte("0123456789abcdefghijklmnopqrstuvwxyz"), 0o600); err != nil {
		t.Fatal(err)
	}
	edge := func(a string) geo.EdgeAddress { return geo.EdgeAddress{AddrPort: netip.MustParseAddrPort(a)} }
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := l.Addr().String() // free once it is closed
	l.Close()
	cfg := &config.Config{
		Edge: config.Edge{Name: "fra-1", Region: "fra"},
		Regions: map[string]geo.Region{
			"nyc": {Edges: []geo.EdgeAddress{edge("198.51.100.18:9181"), edge("198.51.100.19:9181")}},
			"fra": {Edges: []geo.EdgeAddress{edge(own)}},
		},
		Anycast: &bgp.Config{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:53::/48")}},
		Fleet:   &fleet.Config{Address: own, SecretFile: file},
	}
	cfg.Fleet.SetDefaults()
	f, err := openFleet(cfg, slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { // a run that ends at once closes its socket
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	s := f.Status()
	if len(s.Edges) != 2 || s.Edges[0].Region != "nyc" || s.Edges[0].State != fleet.Unknown {
		t.Errorf("the others are %+v", s.Edges)
	}
	if len(s.Says.Prefixes) != 2 || s.Says.Edge != "fra-1" || s.Says.Region != "fra" || s.Says.Software != version {
		t.Errorf("it says %+v", s.Says)
	}
	for _, p := range s.Says.Prefixes {
		if p.Level != fleet.LevelWithdrawn || p.Reason != "starting" {
			t.Errorf("at the start it says %+v", p)
		}
	}
}

func TestWithoutAFleetSectionThereIsNone(t *testing.T) {
	f, err := openFleet(&config.Config{}, nil, nil)
	if f != nil || err != nil {
		t.Errorf("%v, %v", f, err)
	}
	if (&edge{}).fleet.Status() != nil {
		t.Error("an edge without a fleet shows one")
	}
}
