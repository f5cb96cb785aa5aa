package bfdtrial

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp"
	"nearcast/bgp/bfd"
	"nearcast/internal/lab/process"
	"nearcast/internal/lab/router"
)

const (
	edgeASN   = 64500
	routerASN = 64511
)

// What speakerVar is: how the session is.
const (
	plain      = "plain"
	secured    = "secured"
	securedFRR = "secured, with FRR" // which takes a neighbor with TTL security for one that is several hops away
)

var (
	prefix4 = netip.MustParsePrefix("192.0.2.0/24")
	prefix6 = netip.MustParsePrefix("2001:db8:53::/48")
)

// beSpeaker announces over the first path, with BFD, until it is told to stop, and prints its status when that has changed.
func beSpeaker() {
	c := &bgp.Config{Prefixes: []netip.Prefix{prefix4, prefix6}}
	c.SetDefaults()
	n := bgp.NeighborConfig{}
	n.SetDefaults()
	n.Address, n.LocalAddress, n.NextHopIPv6, n.ASN = paths[0].router, paths[0].own, paths[1].own, routerASN
	n.BFD = &peers()[0].Config
	switch os.Getenv(speakerVar) {
	case securedFRR:
		n.BFD.Multihop, n.BFD.MinimumTTL = true, 255
		fallthrough
	case secured:
		n.TTLSecurity = true
	}
	c.BGP = bgp.SpeakerConfig{ASN: edgeASN, RouterID: paths[0].own, Neighbors: []bgp.NeighborConfig{n}}
	s, err := bgp.NewSpeaker(c, slog.New(slog.NewTextHandler(os.Stderr, nil)), metrics.NewSet())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	s.SetRoutes([]bgp.Route{{Prefix: prefix4}, {Prefix: prefix6}})
	out := json.NewEncoder(os.Stdout)
	last := ""
	for {
		st := s.Status()[0]
		if key := fmt.Sprint(st.State, len(st.Prefixes), st.LastDown, st.BFD.State, st.BFD.Failures); key != last {
			last = key
			_ = out.Encode(seen{st.State.String(), st.Since, len(st.Prefixes), st.LastDown, []bfd.Status{*st.BFD}})
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-done:
			return
		}
	}
}

// seen is what the speaker prints.
type seen struct {
	State    string
	Since    time.Time
	Prefixes int
	LastDown string
	BFD      []bfd.Status
}

// TestBGPWithRouters: BFD as the routers' BGP asks for it. What ends one BGP session does not end the next.
func TestBGPWithRouters(t *testing.T) {
	needs(t)
	for name, c := range map[string]struct {
		daemon router.Daemon
		as     string
	}{
		"BIRD": {router.BIRD, plain}, "FRR": {router.FRR, plain},
		"BIRD with TTL security": {router.BIRD, secured}, "FRR with TTL security": {router.FRR, securedFRR},
	} {
		t.Run(name, func(t *testing.T) {
			d := c.daemon
			dir, err := os.MkdirTemp("", "bfd")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			build(t)
			g := programs(t)
			rt, err := router.New(d, router.Config{
				Name: "trial", Dir: dir, Log: filepath.Join(dir, "router.log"), ASN: routerASN, RouterID: paths[0].router, Anycast: []netip.Prefix{prefix4, prefix6},
				Edges: []router.EdgeSession{{Address: paths[0].own, ASN: edgeASN, HoldTime: 90 * time.Second, BFD: interval, TTLSecurity: c.as != plain}},
			})
			if err != nil {
				t.Fatal(err)
			}
			startRouter(t, g, rt, dir)
			r := &bgpTrial{t: t, dir: dir, router: rt, edge: startProcess(t, dir, speakerVar, c.as)}
			t.Logf("%s: up after %s", name, r.want("routes and BFD", r.allThere))
			for range 3 {
				r.clear()
			}
			r.silence()
			t.Logf("%s: at the end %+v", name, r.status())
		})
	}
}

func startRouter(t *testing.T, g *process.Group, rt router.Router, dir string) {
	t.Helper()
	ps, err := rt.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		begin(t, g, p.Name, dir, p.Args...)
		if p.Ready != "" {
			want(t, p.Name+" to be ready", func() bool { _, err := os.Stat(p.Ready); return err == nil }, func() string { return logs(dir) })
		}
	}
	if err := rt.Configure(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// bgpTrial is a speaker and a router with a BGP session.
type bgpTrial struct {
	t      *testing.T
	dir    string
	edge   *edgeProcess
	router router.Router
}

func (r *bgpTrial) status() (s seen) {
	_ = json.Unmarshal(r.edge.line(), &s)
	return s
}

func (r *bgpTrial) want(what string, cond func() bool) time.Duration {
	r.t.Helper()
	return want(r.t, what, cond, func() string {
		log, _ := os.ReadFile(r.edge.log)
		return fmt.Sprintf("edge: %+v\n%s\nrouter: %s", r.status(), log, logs(r.dir))
	})
}

func (r *bgpTrial) hasRoute() bool {
	route, err := r.router.Route(r.t.Context(), prefix4)
	return err == nil && route.From(edgeASN)
}

func (r *bgpTrial) allThere() bool {
	s := r.status()
	return s.State == "established" && s.Prefixes == 2 && s.BFD[0].State == bfd.Up && r.hasRoute()
}

// clear: the router's operator resets the BGP session. Exactly one more comes, whatever the router does with its BFD session.
func (r *bgpTrial) clear() {
	before := r.status().Since
	if err := r.router.ClearSession(r.t.Context(), paths[0].own); err != nil {
		r.t.Fatal(err)
	}
	r.t.Logf("session cleared: all back after %s", r.want("a new session, routes and BFD", func() bool { return !r.status().Since.Equal(before) && r.allThere() }))
	since := r.status().Since
	r.want("three seconds of peace", func() bool { return time.Since(since) > 3*time.Second })
	if s := r.status(); s.State != "established" || !s.Since.Equal(since) {
		r.t.Errorf("the session of %s was lost again: %+v", since, s)
	}
}

// silence: nothing but the BFD packets vanishes, so that only BFD can notice.
func (r *bgpTrial) silence() {
	heal := cut(r.t)
	r.t.Logf("BFD packets vanish: the route is gone after %s", r.want("the route to be gone", func() bool { return !r.hasRoute() }))
	r.want("the speaker to know", func() bool { s := r.status(); return s.State != "established" && s.LastDown != "" })
	heal()
	r.t.Logf("path healed: all back after %s", r.want("routes and BFD", r.allThere))
}
