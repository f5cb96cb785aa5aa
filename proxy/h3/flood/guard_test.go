package flood

import (
	"net/netip"
	"sync"
	"testing"
	"time"
)

var (
	start = time.Unix(1_800_000_000, 0)
	here  = netip.MustParseAddrPort("192.0.2.1:1000")
)

func one(n byte) []byte { return []byte{1, 2, 3, 4, 5, 6, 7, n} }

func want(t *testing.T, what string, got, want Verdict) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestPrefixesHaveTheirOwnBuckets uses one up and looks at its neighbours.
func TestPrefixesHaveTheirOwnBuckets(t *testing.T) {
	for _, tt := range []struct{ a, same, other string }{
		{"192.0.2.1", "192.0.2.254", "192.0.3.1"},
		{"::ffff:192.0.2.1", "192.0.2.254", "192.0.3.1"},
		{"2001:db8:0:100::1", "2001:db8:0:1ff::1", "2001:db8:0:200::1"},
	} {
		g := New(Limits{Prefix: Rate{1, 20}}, start, nil)
		ask := func(a string, n byte) Verdict {
			return g.Initial(start, Packet{From: netip.AddrPortFrom(netip.MustParseAddr(a), 1), ID: one(n)})
		}
		for n := range byte(10) { // strangers have half
			if at := netip.AddrPortFrom(netip.MustParseAddr(tt.same), 1); g.Verify(start, at) != (n > 4) {
				t.Errorf("%s: Retry is wrong with %d taken", tt.same, n)
			}
			want(t, tt.a, ask(tt.a, n), Passed)
		}
		want(t, tt.a+" when all is used", ask(tt.a, 10), ShedPrefix)
		want(t, tt.same, ask(tt.same, 11), ShedPrefix)
		want(t, tt.other, ask(tt.other, 12), Passed)
		if got := g.Initial(start.Add(time.Second), Packet{From: netip.AddrPortFrom(netip.MustParseAddr(tt.same), 1), ID: one(13)}); got != Passed {
			t.Errorf("a second later: %v", got)
		}
	}
}

// TestProofIsGivenBack has more clients at once than the buckets hold, each of which proves itself.
func TestProofIsGivenBack(t *testing.T) {
	g := New(Limits{Prefix: Rate{1, 8}, All: Rate{1, 8}}, start, nil)
	for n := range byte(100) {
		p := Packet{From: netip.AddrPortFrom(here.Addr(), 2000+uint16(n)), ID: one(n)}
		want(t, "a client that proves itself", g.Initial(start, p), Passed)
		g.Proved(start, p.From)
	}
	// What is given back is no more than was taken.
	for n := range byte(6) { // what a known address may use
		want(t, "one that does not", g.Initial(start, Packet{From: here, ID: one(100 + n)}), Passed)
	}
	want(t, "one more", g.Initial(start, Packet{From: here, ID: one(200)}), ShedPrefix)
}

// TestFlight follows the packets of one client.
func TestFlight(t *testing.T) {
	g := New(Limits{All: Rate{1, 8}}, start, nil)
	p := Packet{From: here, ID: one(1)}
	for range 1 + free {
		want(t, "a datagram of the flight", g.Initial(start, p), Passed)
	}
	if n := g.all.paid.Load(); n != int64(time.Second) {
		t.Errorf("the flight cost %v, want one", time.Duration(n))
	}
	ours := Packet{From: here, ID: make([]byte, 17), Ours: true}
	want(t, "the handshake goes on", g.Initial(start.Add(time.Second), ours), Passed)

	for n := byte(10); g.Initial(start.Add(time.Second), Packet{From: here, ID: one(n)}) == Passed; n++ {
	}
	stranger := netip.MustParseAddrPort("198.51.100.1:1")
	want(t, "from elsewhere to an ID of ours", g.Initial(start.Add(time.Second), Packet{From: stranger, ID: make([]byte, 17), Ours: true}), ShedAll)
	want(t, "the rest of what was shed", g.Initial(start.Add(time.Second), Packet{From: stranger, ID: make([]byte, 17), Ours: true}), ShedFlight)
}

// TestThoseWhoComeAgainComeFirst sheds a client and looks at its retransmissions.
func TestThoseWhoComeAgainComeFirst(t *testing.T) {
	g := New(Limits{All: Rate{1, 80}}, start, nil)
	other := func(n byte) Packet { return Packet{From: here, ID: append(one(n), 'o')} }
	n := byte(0)
	for ; g.Initial(start, other(n)) == Passed; n++ {
	}
	a := Packet{From: netip.MustParseAddrPort("198.51.100.1:1"), ID: one(1)}
	want(t, "a stranger", g.Initial(start, a), ShedAll)
	want(t, "the second datagram of its flight", g.Initial(start.Add(10*time.Millisecond), a), ShedFlight)
	moved := a
	moved.From = netip.MustParseAddrPort("198.51.100.1:2")
	want(t, "another port", g.Initial(start.Add(300*time.Millisecond), moved), ShedAll)
	want(t, "its retransmission", g.Initial(start.Add(300*time.Millisecond), a), Passed)
	want(t, "with the second datagram, to be answered with a Retry already", g.Initial(start.Add(301*time.Millisecond), a), ShedFlight)
	want(t, "and once more, for the Retry was lost", g.Initial(start.Add(900*time.Millisecond), a), Passed)

	b := Packet{From: netip.MustParseAddrPort("198.51.100.9:1"), ID: one(2)}
	want(t, "another stranger", g.Initial(start.Add(900*time.Millisecond), b), ShedAll)
	want(t, "long after", g.Initial(start.Add(900*time.Millisecond+forget+100*time.Millisecond), Packet{From: b.From, ID: b.ID}), Passed) // the rate
}

// TestClasses uses up what each class may use of a bucket.
func TestClasses(t *testing.T) {
	b := bucket{shape: newShape(Rate{1, 80})}
	for c, want := range [classes]int{stranger: 40, bearer: 10, familiar: 10, returning: 10, persistent: 10} {
		n := 0
		for b.take(0, class(c)) {
			n++
			if c == int(stranger) && b.pressed(0) != (n >= 20) {
				t.Errorf("pressed is wrong with %d taken", n)
			}
		}
		if n != want {
			t.Errorf("class %d took %d, want %d", c, n, want)
		}
	}
}

// TestKnownAddresses knows those that proved themselves, until they have begun too much without doing so again.
func TestKnownAddresses(t *testing.T) {
	g := New(Limits{All: Rate{1, 80}}, start, nil)
	friend := netip.MustParseAddrPort("198.51.100.1:1")
	g.Proved(start, friend)
	n := byte(0)
	for ; g.Initial(start, Packet{From: here, ID: one(n)}) == Passed; n++ {
	}
	for i := range byte(trust) {
		from := netip.AddrPortFrom(friend.Addr(), 100+uint16(i))
		want(t, "a known address", g.Initial(start, Packet{From: from, ID: one(i)}), Passed)
	}
	want(t, "one that has lost its credit", g.Initial(start, Packet{From: friend, ID: one(99)}), ShedAll)
	g.Proved(start, friend)
	want(t, "and proved itself anew", g.Initial(start, Packet{From: friend, ID: one(100)}), Passed)
	want(t, "its neighbour", g.Initial(start, Packet{From: netip.MustParseAddrPort("198.51.100.2:1"), ID: one(101)}), ShedAll)
}

// TestHalfOpenIsBounded holds as many handshakes as there may be.
func TestHalfOpenIsBounded(t *testing.T) {
	g := New(Limits{RetryAbove: 2, HalfOpen: 3}, start, nil)
	p := Packet{From: here, ID: one(1)}
	want(t, "the first", g.Initial(start, p), Passed)
	for i := range 3 {
		if g.Verify(start, here) != (i >= 2) {
			t.Errorf("with %d half-open: Retry is wrong", i)
		}
		if !g.Begin(here) {
			t.Fatal("refused too early")
		}
	}
	if g.Begin(here) {
		t.Error("one too many")
	}
	want(t, "a new one", g.Initial(start, Packet{From: here, ID: one(2)}), ShedHalfOpen)
	want(t, "one that goes on", g.Initial(start, p), Passed)
	g.End()
	if g.HalfOpen() != 2 {
		t.Errorf("%d half-open", g.HalfOpen())
	}
	want(t, "a new one, after an end", g.Initial(start.Add(time.Second), Packet{From: here, ID: one(2)}), Passed)
}

// TestTheEdgeReachesItself whatever is used up: all of the buckets, in any class, the handshakes in progress, and the memory of flights.
func TestTheEdgeReachesItself(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		itself := netip.MustParseAddr(address)
		l := usual
		l.HalfOpen = 300
		g := New(l, start, nil)
		for range l.HalfOpen {
			g.Begin(here)
		}
		now := start
		for second := range 20 {
			for n := range 40_000 { // from everywhere, each packet four times
				p := Packet{From: addr(uint32(n/4)*2654435761, uint16(n/4)), ID: one(byte(second)), Token: true}
				g.Initial(now, p)
				if n%10_000 == 0 {
					now = now.Add(250 * time.Millisecond)
				}
			}
			p := Packet{From: netip.AddrPortFrom(itself, uint16(second)+1), ID: one(byte(second))}
			for range 2 {
				want(t, address, g.Initial(now, p), Passed)
			}
			if g.Verify(now, p.From) || !g.Begin(p.From) {
				t.Errorf("%s: must prove itself, or is refused", address)
			}
			g.Proved(now, p.From)
			g.End()
		}
		if g.HalfOpen() != l.HalfOpen || g.Begin(here) {
			t.Errorf("%d handshakes in progress", g.HalfOpen())
		}
		// It has its bounds.
		n := 0
		for ; g.Begin(netip.AddrPortFrom(itself, 1)); n++ {
		}
		if n != ownHalfOpen {
			t.Errorf("%s: %d handshakes beyond the limit", address, n)
		}
		for n = 0; n < 2*ownRate.Burst && g.Initial(now, Packet{From: netip.AddrPortFrom(itself, uint16(5000+n)), ID: one(1)}) == Passed; n++ {
		}
		if n != ownRate.Burst {
			t.Errorf("%s: %d first packets at once", address, n)
		}
	}
}

// TestNoLimits lets everything through.
func TestNoLimits(t *testing.T) {
	g := New(Limits{}, start, nil)
	for n := range 100000 {
		from := netip.AddrPortFrom(here.Addr(), uint16(n))
		if v := g.Initial(start, Packet{From: from, ID: one(byte(n))}); v != Passed {
			t.Fatalf("%d: %v", n, v)
		}
		if g.Verify(start, here) || !g.Begin(here) {
			t.Fatal("a limit that is none")
		}
	}
}

// TestMemoryForgetsTheOldest fills the table.
func TestMemoryForgetsTheOldest(t *testing.T) {
	m := newMemory(ways) // one set
	for k := range uint64(ways) {
		if m.add(k<<33|1<<40, tick(k), uint8(k), time.Minute) {
			t.Errorf("there was room for %d", k)
		}
	}
	if !m.add(99<<33, 10, 9, time.Minute) {
		t.Error("nothing was forgotten")
	}
	if _, ok := m.get(1<<40, 10, time.Minute); ok {
		t.Error("the oldest is there")
	}
	if e, ok := m.get(1<<33|1<<40, 10, time.Minute); !ok || e.state != 1 || e.age != 9 {
		t.Errorf("%+v, %t", e, ok)
	}
	if m.add(98<<33, ticks(2*time.Minute), 0, time.Minute) {
		t.Error("one that was too old counts as forgotten")
	}
	if _, ok := m.get(99<<33, ticks(2*time.Minute), time.Minute); ok {
		t.Error("one that is too old is there")
	}
}

// TestDecidingAllocatesNothing decides about those that pass, that are shed, and that come again.
func TestDecidingAllocatesNothing(t *testing.T) {
	g := New(usual, start, nil)
	now, n := start, 0
	p := Packet{From: here, ID: one(0)}
	if allocs := testing.AllocsPerRun(10000, func() {
		n++
		now = now.Add(time.Millisecond)
		p.From = addr(uint32(n), uint16(n))
		g.Initial(now, p)
		g.Verify(now, p.From)
		g.Begin(p.From)
		g.Proved(now, p.From)
		g.End()
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	g := New(usual, start, nil)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 5000 {
				p := Packet{From: addr(uint32(n), 1), ID: one(byte(i))}
				g.Initial(start.Add(time.Duration(n)*time.Millisecond), p)
				if g.Begin(p.From) {
					g.Proved(start, p.From)
					g.End()
				}
			}
		})
	}
	all.Wait()
	if g.HalfOpen() != 0 {
		t.Errorf("%d half-open", g.HalfOpen())
	}
}

func BenchmarkShed(b *testing.B) {
	g := New(usual, start, nil)
	p := Packet{From: here, ID: one(0)}
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		p.From = addr(n*2654435761, uint16(n))
		g.Initial(start.Add(time.Duration(n)*250*time.Microsecond), p)
	}
}
