package viewtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp"
	"nearcast/geo"
	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/router"
)

// speakerEnv makes the test's program a speaker: what it says is a speakerConfig.
const speakerEnv = "NEARCAST_TEST_SPEAKER"

// TestMain is the speaker when it is started as one.
func TestMain(m *testing.M) {
	if text := os.Getenv(speakerEnv); text != "" {
		if err := speak(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// speakerConfig is one edge: of the site numbered Site, whose router has the AS number 64500 more than that.
type speakerConfig struct {
	Site     int
	View     string
	Announce bool
}

var (
	prefix4 = netip.MustParsePrefix("192.0.2.0/24")
	prefix6 = netip.MustParsePrefix("2001:db8:53::/48")
)

func site(n int) string                  { return fmt.Sprintf("site%d", n) }
func routerASN(n int) uint32             { return 64500 + uint32(n) }
func beacon(n int) netip.Prefix          { return netip.PrefixFrom(addr("198.51.100.%d", 128+n), 32) }
func addr(f string, a ...any) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(f, a...)) }

// seen is what the speaker writes whenever its view changes.
type seen struct {
	Seen4, Known4, Seen6, Known6 bool
	Accepted                     bool // its own announcement has come back
	Established, Complete        bool
	Beacon                       bgp.RegionView
	View                         string // whole, for the message of a failure
}

// speak runs a speaker until the process is killed.
func speak(text string) error {
	var sc speakerConfig
	if err := json.Unmarshal([]byte(text), &sc); err != nil {
		return err
	}
	n := sc.Site
	var nc bgp.NeighborConfig
	nc.SetDefaults()
	nc.Address, nc.ASN, nc.NextHopIPv6 = addr("10.9.%d.1", n), routerASN(n), addr("fd09:%d::2", n)
	if err := nc.View.UnmarshalText([]byte(sc.View)); err != nil {
		return err
	}
	c := &bgp.Config{Prefixes: []netip.Prefix{prefix4, prefix6}}
	c.SetDefaults()
	c.BGP = bgp.SpeakerConfig{ASN: 64500, RouterID: addr("10.9.%d.2", n), Neighbors: []bgp.NeighborConfig{nc}}
	c.SetRegions(site(n), map[string]geo.Region{site(1): {Beacon: beacon(1)}, site(2): {Beacon: beacon(2)}})
	s, err := bgp.NewSpeaker(c, slog.New(slog.NewTextHandler(os.Stderr, nil)), metrics.NewSet())
	if err != nil {
		return err
	}
	if sc.Announce {
		own, _ := c.Beacon()
		s.SetRoutes([]bgp.Route{{Prefix: prefix4}, {Prefix: prefix6}, {Prefix: own}})
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	out := json.NewEncoder(os.Stdout)
	for {
		v := s.View()
		w := seen{Beacon: v.Regions()[0], View: fmt.Sprintf("%+v", v.Neighbors[0]), Accepted: v.Neighbors[0].Accepted(prefix4), Established: v.Neighbors[0].Established, Complete: v.Neighbors[0].Complete}
		w.Seen4, w.Known4 = v.Others(prefix4)
		w.Seen6, w.Known6 = v.Others(prefix6)
		if err := out.Encode(w); err != nil {
			return err
		}
		select {
		case <-s.ViewChanged():
		case err := <-ended:
			return err
		}
	}
}

// network is two sites, each a router and an edge, whose routers are joined: site1 has BIRD, site2 FRR.
type network struct {
	t    *testing.T
	name string // of its namespaces
}

func (nw *network) edgeSpace(n int) netns.Namespace {
	return netns.Namespace(fmt.Sprintf("view-%s-edge%d", nw.name, n))
}

func (nw *network) routerSpace(n int) netns.Namespace {
	return netns.Namespace(fmt.Sprintf("view-%s-router%d", nw.name, n))
}

func newNetwork(t *testing.T, name string, export router.Export) *network {
	t.Helper()
	t.Parallel() // half a minute of it is waiting
	for _, program := range []string{"bird", "vtysh", router.FRRPrograms + "/bgpd"} {
		if _, err := exec.LookPath(program); err != nil || os.Getuid() != 0 {
			t.Skipf("needs root and %s, to run real routers in namespaces of their own", program)
		}
	}
	nw := &network{t: t, name: fmt.Sprintf("%s-%d", name, os.Getpid())} // another run's must not be in the way
	nw.must(func(ctx context.Context) error {
		for n := 1; n <= 2; n++ {
			for _, ns := range []netns.Namespace{nw.routerSpace(n), nw.edgeSpace(n)} {
				if err := ns.Create(ctx); err != nil {
					return err
				}
				t.Cleanup(func() {
					if err := ns.Delete(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			if err := join(ctx, nw.routerSpace(n), nw.edgeSpace(n), "edge", fmt.Sprintf("10.9.%d", n), fmt.Sprintf("fd09:%d:", n)); err != nil {
				return err
			}
		}
		return join(ctx, nw.routerSpace(1), nw.routerSpace(2), "wan", "10.9.9", "fd09:9:")
	})
	nw.router(1, router.BIRD, export)
	nw.router(2, router.FRR, export)
	return nw
}

// join links two namespaces; the first gets .1, the second .2.
func join(ctx context.Context, a, b netns.Namespace, device, net4, net6 string) error {
	if err := a.IP(ctx, fmt.Sprintf("link add %s type veth peer name %s netns %s", device, device, b)); err != nil {
		return err
	}
	for i, ns := range []netns.Namespace{a, b} {
		if err := ns.IP(ctx, fmt.Sprintf("addr add %s.%d/30 dev %s", net4, i+1, device), fmt.Sprintf("addr add %s:%d/64 dev %s", net6, i+1, device),
			"link set "+device+" up"); err != nil {
			return err
		}
	}
	return nil
}

func (nw *network) must(f func(context.Context) error) {
	nw.t.Helper()
	ctx, cancel := context.WithTimeout(nw.t.Context(), time.Minute)
	defer cancel()
	if err := f(ctx); err != nil {
		nw.t.Fatal(err)
	}
}

// router starts the router of site n.
func (nw *network) router(n int, d router.Daemon, export router.Export) {
	nw.t.Helper()
	dir, err := os.MkdirTemp("", "view")
	if err != nil {
		nw.t.Fatal(err)
	}
	nw.t.Cleanup(func() { os.RemoveAll(dir) })
	other := 3 - n
	r, err := router.New(d, router.Config{
		Name: site(n), Dir: dir, Log: filepath.Join(dir, "log"), ASN: routerASN(n), RouterID: addr("10.9.%d.1", n),
		Anycast: []netip.Prefix{prefix4, prefix6, beacon(n)},
		Edges:   []router.EdgeSession{{Address: addr("10.9.%d.2", n), ASN: 64500, HoldTime: 9 * time.Second}}, Export: export,
		Peers: []router.PeerSession{{Name: site(other), ASN: routerASN(other), Local4: addr("10.9.9.%d", n), Remote4: addr("10.9.9.%d", other),
			Local6: addr("fd09:9::%d", n), Remote6: addr("fd09:9::%d", other), Passive: n == 2}},
	})
	if err != nil {
		nw.t.Fatal(err)
	}
	programs, err := r.Prepare()
	if err != nil {
		nw.t.Fatal(err)
	}
	for _, p := range programs {
		cmd := exec.Command(p.Args[0], p.Args[1:]...)
		nw.start(nw.routerSpace(n), cmd)
		for end := time.Now().Add(20 * time.Second); p.Ready != ""; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(p.Ready); err == nil {
				break
			}
			if time.Now().After(end) {
				nw.t.Fatalf("%s of %s is not ready", p.Name, site(n))
			}
		}
	}
	nw.must(r.Configure)
}

func (nw *network) start(ns netns.Namespace, cmd *exec.Cmd) {
	nw.t.Helper()
	if err := ns.Start(cmd); err != nil {
		nw.t.Fatal(err)
	}
	nw.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// edge is a running speaker.
type edge struct {
	t    *testing.T
	site int
	cmd  *exec.Cmd
	log  strings.Builder

	mu   sync.Mutex
	last seen          // guarded by mu
	next chan struct{} // guarded by mu: closed at the next line
}

func (nw *network) edge(c speakerConfig) *edge {
	nw.t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		nw.t.Fatal(err)
	}
	e := &edge{t: nw.t, site: c.Site, cmd: exec.Command(os.Args[0]), next: make(chan struct{})}
	e.cmd.Env = append(os.Environ(), speakerEnv+"="+string(text))
	e.cmd.Stderr = &e.log
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		nw.t.Fatal(err)
	}
	nw.start(nw.edgeSpace(c.Site), e.cmd)
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var s seen
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				s.View = err.Error()
			}
			e.mu.Lock()
			e.last = s
			close(e.next)
			e.next = make(chan struct{})
			e.mu.Unlock()
		}
	}()
	return e
}

// kill is kill -9.
func (e *edge) kill() {
	_ = e.cmd.Process.Kill()
	_ = e.cmd.Wait()
}

// want waits until the view is as wanted. The longest wait is the half minute after which a router without End-of-RIB counts as having told all.
func (e *edge) want(what string, cond func(seen) bool) {
	e.t.Helper()
	begun := time.Now()
	late := time.After(75 * time.Second)
	for {
		e.mu.Lock()
		ok, next, last := cond(e.last), e.next, e.last
		e.mu.Unlock()
		if ok {
			e.t.Logf("%s: %s after %v", site(e.site), what, time.Since(begun).Round(time.Millisecond))
			return
		}
		select {
		case <-next:
		case <-late:
			e.t.Fatalf("%s: wanted %s; last was %+v; log:\n%s", site(e.site), what, last, e.log.String())
		}
	}
}

// both is what the view says of both anycast prefixes.
func both(others, known bool) func(s seen) bool {
	return func(s seen) bool {
		return s.Seen4 == others && s.Seen6 == others && s.Known4 == known && s.Known6 == known
	}
}

// TestViewOfAllPathsThroughRealRouters: with add-path each edge sees the other while it announces itself, and nothing once the other is gone.
func TestViewOfAllPathsThroughRealRouters(t *testing.T) {
	nw := newNetwork(t, "all", router.ExportAddPath)
	one := nw.edge(speakerConfig{Site: 1, View: "add-path", Announce: true})
	two := nw.edge(speakerConfig{Site: 2, View: "add-path", Announce: true})
	for _, e := range []*edge{one, two} {
		e.want("the other region, both families, and its beacon", func(s seen) bool { return both(true, true)(s) && s.Beacon.Seen })
		e.want("all of it told", func(s seen) bool { return s.Complete })
	}
	two.want("FRR's echo of our own", func(s seen) bool { return s.Accepted })
	two.kill()
	one.want("nobody else, for certain", func(s seen) bool { return both(false, true)(s) && !s.Beacon.Seen && s.Beacon.Known })
	two = nw.edge(speakerConfig{Site: 2, View: "add-path", Announce: true})
	one.want("the other region again", both(true, true))
	two.want("the other region", both(true, true))
	one.kill()
	two.want("nobody else but its own echo, for certain", func(s seen) bool {
		return both(false, true)(s) && !s.Beacon.Seen && s.Beacon.Known && s.Accepted
	})
}

// TestViewOfBestPathsThroughRealRouters: while an edge announces, its own path hides the other's, but not the beacon.
func TestViewOfBestPathsThroughRealRouters(t *testing.T) {
	nw := newNetwork(t, "best", router.ExportAll)
	one := nw.edge(speakerConfig{Site: 1, View: "best", Announce: true})
	two := nw.edge(speakerConfig{Site: 2, View: "best", Announce: true})
	for _, e := range []*edge{one, two} {
		e.want("the other's beacon, all told, and the prefixes hidden", func(s seen) bool { return both(false, false)(s) && s.Beacon.Seen && s.Complete })
	}
	two.kill()
	one.want("the other's beacon gone, for certain", func(s seen) bool { return both(false, false)(s) && !s.Beacon.Seen && s.Beacon.Known })
	two = nw.edge(speakerConfig{Site: 2, View: "best"})
	two.want("the other region, announcing nothing itself", func(s seen) bool { return both(true, true)(s) && s.Beacon.Seen })
	one.kill()
	two.want("nobody, for certain", func(s seen) bool { return both(false, true)(s) && s.Beacon.Known && !s.Beacon.Seen })
}
