package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp/bfd"
)

// bfdRouter is a router with BFD at an address that no other test has.
type bfdRouter struct {
	*router
	t     *testing.T
	edge  netip.Addr
	alive atomic.Bool
}

func newBFDRouter(t *testing.T) *bfdRouter {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: BFD needs Linux")
	}
	own := func() netip.Addr {
		return netip.AddrFrom4([4]byte{127, byte(128 + rand.IntN(64)), byte(rand.IntN(256)), byte(1 + rand.IntN(254))})
	}
	b := &bfdRouter{router: newRouter(t, netip.AddrPortFrom(own(), 0).String(), 64511), t: t, edge: own()}
	b.alive.Store(true)
	return b
}

// config has BFD with the router, at the fastest.
func (b *bfdRouter) config() *Config {
	c := testConfig(b.addrPort())
	n := &c.BGP.Neighbors[0]
	n.LocalAddress, n.BFD = b.edge, &bfd.Config{}
	n.BFD.SetDefaults()
	n.BFD.Interval = 50 * time.Millisecond
	return c
}

// startBFD is the router's side, until the function returned is called.
func (b *bfdRouter) startBFD() (*bfd.Session, func()) {
	b.t.Helper()
	c := bfd.Config{}
	c.SetDefaults()
	c.Interval = 50 * time.Millisecond
	e, err := bfd.New(bfd.Options{Peers: []bfd.Peer{{Name: "edge", Address: b.edge, Local: b.addrPort().Addr(), Config: c}},
		Alive: b.alive.Load, Log: slog.New(slog.DiscardHandler), Set: metrics.NewSet()})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	stop := func() {
		cancel()
		running.Wait()
	}
	b.t.Cleanup(stop)
	return e.Session(0), stop
}

// startUnsettled holds a loss of BFD against a BGP session from its first moment.
func startUnsettled(t *testing.T, c *Config) *edge {
	t.Helper()
	return startEdgeAs(t, c, func(s *Speaker) { s.bfdSettle = 0 })
}

// TestBFDThatEndsWithTheSessionBefore is not held against the one that has begun meanwhile: a router may make its BFD session anew with each
// BGP session.
func TestBFDThatEndsWithTheSessionBefore(t *testing.T) {
	r := newBFDRouter(t)
	theirs, _ := r.startBFD()
	e := startEdgeAs(t, r.config(), func(s *Speaker) { s.bfdSettle = time.Hour })
	s := r.session(0)
	e.eventually("BFD up", func() bool { return e.Status()[0].BFD.State == bfd.Up && theirs.Up() })
	r.alive.Store(false)
	e.eventually("BFD down", func() bool { return e.Status()[0].BFD.Failures == 1 })
	r.alive.Store(true)
	e.eventually("BFD up again", func() bool { return e.Status()[0].BFD.State == bfd.Up && theirs.Up() })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sessions) != 1 || s.closed {
		t.Errorf("sessions: %s", r.describe())
	}
}

// TestBFDDownClosesTheSession with Cease, BFD Down; the next one waits for BFD and then comes at once, and what was lost before is not held
// against it.
func TestBFDDownClosesTheSession(t *testing.T) {
	r := newBFDRouter(t)
	theirs, _ := r.startBFD()
	e := startUnsettled(t, r.config())
	e.setRoutes(testPrefix4)
	for i := range 3 {
		s := r.session(i)
		e.eventually("BFD up", func() bool { return e.Status()[0].BFD.State == bfd.Up && theirs.Up() })
		r.alive.Store(false) // the router's side is put down
		r.want("a NOTIFICATION", func() bool { return len(s.notifications) == 1 })
		if got := s.notifications[0].String(); got != "Cease/BFD Down" {
			t.Errorf("NOTIFICATION is %q", got)
		}
		e.eventually("the reason in the status", func() bool { return strings.HasPrefix(e.Status()[0].LastDown, "BFD down: ") })
		r.alive.Store(true)
	}
	r.session(3)
	name := fmt.Sprintf(`nearcast_bgp_session_failures_total{neighbor="%s",reason="bfd down"}`, r.addrPort())
	if got := e.metric(name); got != "3" {
		t.Errorf("%s is %s, want 3", name, got)
	}
	e.eventually("BFD up", func() bool { return e.Status()[0].BFD.State == bfd.Up })
	if !e.log.has("session lost: BFD down: neighbor signaled session down; closed from here: Cease/BFD Down") {
		t.Error("no line that says why")
	}
}

// TestRouterWithoutBFD has its session all the same (RFC 5882 section 4.2), and the status says what is missing.
func TestRouterWithoutBFD(t *testing.T) {
	r := newBFDRouter(t)
	e := startUnsettled(t, r.config())
	e.setRoutes(testPrefix4)
	s := r.session(0)
	r.want("the prefix", func() bool { return len(s.routes) == 1 })
	if st := e.Status()[0]; st.BFD.State != bfd.Down || st.BFD.Detail != "no packets from the neighbor yet" {
		t.Errorf("status %+v", st.BFD)
	}
	theirs, _ := r.startBFD() // it may come later, and then counts
	e.eventually("BFD up", func() bool { return e.Status()[0].BFD.State == bfd.Up && theirs.Up() })
	r.alive.Store(false)
	r.want("a NOTIFICATION", func() bool { return len(s.notifications) == 1 })
}

// TestRouterShutsBFD: AdminDown is no failure of the path, RFC 5882 section 3.2, and what follows it is none either.
func TestRouterShutsBFD(t *testing.T) {
	r := newBFDRouter(t)
	theirs, stop := r.startBFD()
	e := startEdge(t, r.config())
	e.setRoutes(testPrefix4)
	s := r.session(0)
	e.eventually("BFD up", func() bool { return e.Status()[0].BFD.State == bfd.Up && theirs.Up() })
	stop()
	e.eventually("BFD shut", func() bool { return e.Status()[0].BFD.State == bfd.Down })
	e.eventually("the router's silence to be noticed", func() bool { return e.Status()[0].BFD.DetectionTime == 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sessions) != 1 || s.closed || len(s.notifications) != 0 {
		t.Errorf("sessions: %s", r.describe())
	}
	if st := e.Status()[0]; st.State != SessionEstablished || st.BFD.Failures != 0 {
		t.Errorf("status %+v, %+v", st, st.BFD)
	}
}

// TestBFDOnlyObserved: with on_down: ignore the session stays.
func TestBFDOnlyObserved(t *testing.T) {
	r := newBFDRouter(t)
	theirs, _ := r.startBFD()
	c := r.config()
	c.BGP.Neighbors[0].BFD.OnDown = bfd.OnDownIgnore
	e := startEdge(t, c)
	s := r.session(0)
	e.eventually("BFD up", func() bool { return e.Status()[0].BFD.State == bfd.Up && theirs.Up() })
	r.alive.Store(false)
	e.eventually("BFD down", func() bool { return e.Status()[0].BFD.Failures == 1 })
	r.alive.Store(true)
	e.eventually("BFD up again", func() bool { return e.Status()[0].BFD.State == bfd.Up })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sessions) != 1 || s.closed {
		t.Errorf("sessions: %s", r.describe())
	}
}

// TestLeaseTellsTheRouter: when nothing has decided about the routes in time, the router's side goes down at once and learns why; and with
// a new lease everything comes back.
func TestLeaseTellsTheRouter(t *testing.T) {
	r := newBFDRouter(t)
	theirs, _ := r.startBFD()
	e := startEdge(t, r.config())
	s := r.session(0)
	e.eventually("BFD up", func() bool { return e.Status()[0].BFD.State == bfd.Up && theirs.Up() })
	e.Renew(time.Now().Add(-time.Second))
	e.eventually("the router to hear of it", func() bool { return !theirs.Up() })
	if st := theirs.Status(); st.RemoteDiagnostic != bfd.ForwardingPlaneReset || st.Failures != 1 {
		t.Errorf("the router has %+v", st)
	}
	r.want("the BGP session closed", func() bool { return s.closed })
	e.Renew(time.Now().Add(time.Hour))
	r.session(1)
	e.eventually("BFD up again", func() bool { return e.Status()[0].BFD.State == bfd.Up && theirs.Up() })
	if st := e.Status()[0].BFD; st.Failures != 0 {
		t.Errorf("what was put down from here counts as %d failures", st.Failures)
	}
}

// TestStopIsNoFailureOfThePath: the router hears Cease, and BFD's AdminDown after it, so that it counts no failure.
func TestStopIsNoFailureOfThePath(t *testing.T) {
	r := newBFDRouter(t)
	theirs, _ := r.startBFD()
	e := startEdge(t, r.config())
	s := r.session(0)
	e.eventually("BFD up", func() bool { return e.Status()[0].BFD.State == bfd.Up && theirs.Up() })
	if err := e.Stop(t.Context(), "maintenance"); err != nil {
		t.Fatal(err)
	}
	r.want("a NOTIFICATION", func() bool { return s.closed && len(s.notifications) == 1 })
	e.eventually("AdminDown", func() bool { return theirs.Status().RemoteState == bfd.AdminDown })
	if st := theirs.Status(); st.Failures != 0 {
		t.Errorf("the router counts %d failures", st.Failures)
	}
}
