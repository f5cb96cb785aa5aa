package rescue

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// lookAfter does what a server does: it tells the hub of its connections.
func (n *node) lookAfter(ctx context.Context) {
	trials := n.hub.NewTrials()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		<-tick.C
		tried, seen := n.hub.Tried(), map[any]Sample{}
		n.conns.Range(func(c, _ any) bool {
			qc := c.(*quic.Conn)
			path := PathOf(qc.RemoteAddr(), qc.LocalAddr())
			if _, ok := tried[path]; ok {
				st := qc.ConnectionStats()
				seen[c] = Sample{path, st.PacketsSent, st.PacketsReceived, st.LatestRTT, st.SmoothedRTT}
			}
			return true
		})
		trials.Look(time.Now(), seen)
	}
}

// TestStrictNetwork: where the network lets nothing out with a source whose route leads elsewhere, though the edge announces it, a client's answers
// come through the edge that it comes by. The next client's do at once; and when the network has become a better one, all go directly again.
func TestStrictNetwork(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			nodes := fleetOf(t, f, fleetOptions{n: 2})
			nodes[0].work.Go(func() { nodes[0].lookAfter(t.Context()) })
			one, two := newRouter(t, f, nodes), newRouter(t, f, nodes)
			first, second := one.dial(t), two.dial(t)
			for _, r := range []*router{one, two} {
				r.strict.Store(true)
				r.to.Store(1)
			}
			ask(t, one, first, strings.Repeat("x", 20_000), nil)
			if one.from[1].Load() == 0 {
				t.Error("nothing came through the other edge")
			}
			source := nodes[0].hub.source(one.anycast, false)
			if source == nil || !blocked(source) || nodes[0].hub.metrics.vanished.Get() == 0 {
				t.Fatalf("%d clients lost what was sent directly, and it is not known of the source", nodes[0].hub.metrics.vanished.Get())
			}
			direct := two.from[0].Load()
			ask(t, two, second, strings.Repeat("x", 20_000), nil)
			if n := two.from[0].Load() - direct; n != 0 {
				t.Errorf("%d answers to the second client were sent directly", n)
			}
			three := newRouter(t, f, nodes)
			third := three.dial(t)
			three.to.Store(1)
			source.mu.Lock()
			source.blocked = time.Time{} // it is over
			source.mu.Unlock()
			for end := time.Now().Add(20 * time.Second); ; {
				ask(t, three, third, strings.Repeat("x", 20_000), nil)
				source.mu.Lock()
				block := source.block
				source.mu.Unlock()
				if block == 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatal("what is sent directly is not tried again")
				}
			}
			through := three.from[1].Load()
			ask(t, three, third, strings.Repeat("x", 20_000), nil)
			if n := three.from[1].Load() - through; n != 0 {
				t.Errorf("%d answers came through the other edge though the direct way is known to be open", n)
			}
		})
	}
}

func blocked(s *source) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.blocked)
}

// TestOneTries: after a time without direct packets one client at a time tries, and each time that is in vain is longer than the one before.
func TestOneTries(t *testing.T) {
	now := time.Unix(1000, 0)
	a, b := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:1")
	s := &source{announced: true, changed: now}
	if !s.direct(a, true, now) || !s.direct(b, true, now) {
		t.Error("before anything is known, all are answered directly")
	}
	for _, want := range []time.Duration{blockFirst, 2 * blockFirst, 4 * blockFirst, 8 * blockFirst, 16 * blockFirst, blockMost, blockMost} {
		if d := s.vanish(a, true, now); d != want {
			t.Errorf("nothing is sent directly for %v, want %v", d, want)
		}
		if s.vanish(b, true, now) != 0 || s.direct(a, true, now.Add(want-1)) {
			t.Error("a time begins anew, or is over early")
		}
		now = now.Add(want)
		if !s.direct(a, true, now) || s.direct(b, true, now) || !s.direct(a, true, now) {
			t.Error("more than one client tries, or none")
		}
		if now = now.Add(trialLimit); !s.direct(b, true, now) || s.direct(a, true, now) {
			t.Error("who has not found out anything goes on trying, or another does not begin")
		}
	}
	if s.direct(b, false, now) || !s.direct(a, true, now) || !s.direct(b, true, now) {
		t.Error("what was known before the route changed counts after it")
	}
	for range 2 {
		if s.vanish(a, false, now) != 0 {
			t.Error("one client that is gone has nothing sent directly to others")
		}
	}
	if s.vanish(b, false, now) == 0 {
		t.Error("two clients who fall silent, having got nothing, are taken for gone")
	}
	s.blocked, s.arrived = time.Time{}, now
	if d := s.vanish(a, true, now.Add(arrivedLife-1)); d != 0 {
		t.Errorf("one client has nothing sent directly for %v to others that get it", d)
	}
}

func TestTrial(t *testing.T) {
	const trip = 50 * time.Millisecond
	type look struct {
		at             time.Duration
		sent, received uint64
		rtt            time.Duration
		want           verdict
	}
	for name, looks := range map[string][]look{
		"acknowledged": {{0, 0, 0, trip, pending}, {100, 2, 1, trip + 1, pending}, {200, 4, 2, trip + 2, arrives}},
		"only what was sent before is acknowledged": {{0, 0, 0, trip, pending}, {99, 9, 2, trip + 1, pending}, {100, 9, 3, trip + 2, pending},
			{250, 9, 3, trip + 2, pending}, {300, 9, 3, trip + 2, says}},
		"seldom looked at":      {{0, 0, 0, trip, pending}, {900, 9, 3, trip + 1, pending}, {1800, 9, 4, trip + 1, says}},
		"the client is gone":    {{0, 0, 5, trip, pending}, {100, 2, 5, trip, pending}, {300, 3, 5, trip, pending}, {400, 4, 5, trip, vanishes}},
		"acknowledgements only": {{0, 0, 0, trip, pending}, {100, 2, 2, trip, pending}, {400, 5, 5, trip, perhaps}},
		"little is sent":        {{0, 0, 0, trip, pending}, {100, 1, 5, trip, pending}, {2900, 3, 9, trip, pending}, {3100, 3, 9, trip, pending}, {3200, 5, 9, trip, pending}, {3400, 6, 10, trip, pending}},
		"the client moves":      {{0, 0, 0, trip, pending}, {100, 1, 5, trip, pending}, {200, 3, 6, 0, pending}, {250, 3, 6, trip - 1, arrives}},
		"far away":              {{0, 0, 0, trip, pending}, {100, 2, 2, trip, pending}},
	} {
		var v *trial
		for _, l := range looks {
			now := time.Unix(1000, 0).Add(l.at * time.Millisecond)
			if v == nil {
				v = &trial{began: now, sent: l.sent, received: l.received}
			}
			if got := v.judge(&Sample{Sent: l.sent, Received: l.received, RTT: l.rtt, Smoothed: trip}, now); got != l.want {
				t.Errorf("%s: after %d ms: %v, want %v", name, l.at, got, l.want)
			}
		}
	}
}

// TestPerhaps: a client to which only acknowledgements go is answered through the tunnel, which says nothing about others. And whoever gets its packets
// answers for the others, so that nobody is looked at for a while.
func TestPerhaps(t *testing.T) {
	k := pairOf(t, nil)
	a, b := k.hubs[0], k.hubs[1]
	var paths []Path
	for i := range 2 {
		m, id, p, by := k.packet(0, 100)
		m.Addr = &net.UDPAddr{IP: net.IP{127, 0, 0, 1}, Port: 1000 + i}
		b.Foreign(0, m, id, p, by)
		paths = append(paths, Path{addrPort(m.Addr), netip.MustParseAddr("127.0.0.9")})
	}
	b.Flush(0)
	k.drain(0)
	if n := len(a.Tried()); n != 2 {
		t.Errorf("%d clients are tried", n)
	}
	trials, now := a.NewTrials(), a.now()
	for _, n := range []uint64{0, 2, 5} {
		trials.Look(now, map[any]Sample{0: {Path: paths[0], Sent: n, Received: n}})
		now = now.Add(trialWait)
	}
	if _, ok := a.Tried()[paths[1]]; !ok || len(a.Tried()) != 1 || a.metrics.vanished.Get() != 0 {
		t.Errorf("after it: tried are %v", a.Tried())
	}
	direct := func(k Path) bool {
		_, _, _, ok := a.Write(0, []byte("x"), appendControl(nil, control{local: k.Local}), net.UDPAddrFromAddrPort(k.Client))
		return !ok
	}
	if direct(paths[0]) || !direct(paths[1]) {
		t.Errorf("the client is answered directly, or the other is not")
	}
	a.arrive(paths[1], a.now())
	if n := len(a.Tried()); n != 0 {
		t.Errorf("%d clients are tried though it is known that packets arrive", n)
	}
}
