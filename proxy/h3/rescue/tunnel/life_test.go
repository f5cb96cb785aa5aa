package tunnel

import (
	"bytes"
	"testing"
	"time"
)

func TestAliveAndDead(t *testing.T) {
	n := newNetwork(t, 1)
	a, b := n.edges[0], n.edges[1]
	b.stopped = true
	n.run(290 * time.Millisecond)
	if p := a.Peer(a.now()); p.Up || p.Dead {
		t.Fatalf("before it can have been heard: %+v", p)
	}
	n.run(20 * time.Millisecond)
	if p := a.Peer(a.now()); p.Up || !p.Dead || !p.LastHeard.IsZero() {
		t.Fatalf("never heard since our start: %+v", p)
	}
	b.restart()
	n.run(300 * time.Millisecond)
	if p := a.Peer(a.now()); !p.Up || p.Dead || !p.HearsUs || a.Dead(a.now()) {
		t.Fatalf("heard: %+v", p)
	}
	b.stopped = true
	n.run(a.cfg.DeadAfter + n.delay + time.Millisecond)
	if p := a.Peer(a.now()); p.Up || !p.Dead || !a.Dead(a.now()) {
		t.Fatalf("silent: %+v", p)
	}
	if a.seal(client4, []byte("packet")) {
		t.Fatal("sealed for the dead")
	}
	b.restart()
	n.run(200 * time.Millisecond)
	if p := a.Peer(a.now()); !p.Up || p.Restarts != 1 || p.Hello.Instance != 3 {
		t.Fatalf("started again: %+v", p)
	}
	n.mustExchange("started again")
}

func TestGone(t *testing.T) {
	n := newNetwork(t, 1)
	a, b := n.edges[0], n.edges[1]
	n.run(time.Second)
	b.say.State = Gone
	b.tick()
	n.run(n.delay)
	if p := a.Peer(a.now()); p.Up || !p.Dead || p.Hello.State != Gone {
		t.Fatalf("gone: %+v", p)
	}
	b.say.State = 0
	b.restart()
	n.run(200 * time.Millisecond)
	n.mustExchange("another process")
}

// Who stood still does not take others for dead, but for those who were.
func TestStandstill(t *testing.T) {
	n := newNetwork(t, 1)
	a, b := n.edges[0], n.edges[1]
	n.run(990 * time.Millisecond)
	// a stands still; so does all that is on its way to it.
	n.now += 10 * time.Second
	b.next = n.now
	if p := a.Peer(a.now()); p.Dead || !p.Up {
		t.Fatalf("before Tick knows: %+v", p)
	}
	a.tick()
	if p := a.Peer(a.now()); p.Dead || !p.Up || a.Counters().Standstills != 1 {
		t.Fatalf("%+v", p)
	}
	n.run(time.Millisecond) // what was on its way
	if rtt := a.Peer(a.now()).RTT; rtt > 80*time.Millisecond {
		t.Fatalf("the standstill is in the round trip: %v", rtt)
	}
	n.run(290 * time.Millisecond)
	n.mustExchange("both live")

	b.stopped = true
	n.run(a.cfg.DeadAfter + n.delay)
	if !a.Dead(a.now()) {
		t.Fatal("not dead")
	}
	n.now += 10 * time.Second
	if !a.Dead(a.now()) {
		t.Fatal("alive by our standstill")
	}
	a.tick()
	if p := a.Peer(a.now()); !p.Dead || p.Up {
		t.Fatalf("alive by our standstill: %+v", p)
	}

	// A silence that begins with the standstill is told after it.
	b.restart()
	n.run(time.Second)
	b.stopped = true
	n.now += 5 * time.Second
	n.flying = nil
	a.tick()
	if a.Dead(a.now()) {
		t.Fatal("dead at once")
	}
	n.run(a.cfg.DeadAfter + 2*time.Millisecond)
	if !a.Dead(a.now()) {
		t.Fatal("not dead")
	}
}

// In a partition of one direction, the side that is not heard finds out.
func TestOneDirection(t *testing.T) {
	n := newNetwork(t, 1)
	a, b := n.edges[0], n.edges[1]
	n.run(time.Second)
	n.loss[0] = 1
	n.run(500 * time.Millisecond)
	if p := a.Peer(a.now()); !p.Up || p.HearsUs {
		t.Fatalf("not heard: %+v", p)
	}
	if p := b.Peer(b.now()); p.Up || !p.Dead || p.HearsUs {
		t.Fatalf("hears nothing: %+v", p)
	}
	n.loss[0] = 0
	n.run(200 * time.Millisecond)
	if p := a.Peer(a.now()); !p.Up || !p.HearsUs {
		t.Fatalf("heard again: %+v", p)
	}
	n.mustExchange("again")
}

func TestRoundTrip(t *testing.T) {
	n := newNetwork(t, 1)
	a := n.edges[0]
	n.jitter = 30 * time.Millisecond
	n.run(10 * time.Second)
	if rtt := a.Peer(a.now()).RTT; rtt < 40*time.Millisecond || rtt > 70*time.Millisecond {
		t.Fatal(rtt)
	}
	n.jitter, n.delay = 0, 100*time.Millisecond
	n.run(10 * time.Second)
	if rtt := a.Peer(a.now()).RTT; rtt < 190*time.Millisecond || rtt > 201*time.Millisecond {
		t.Fatal(rtt)
	}
	n.delay = 10 * time.Millisecond
	n.run(time.Second)
	if rtt := a.Peer(a.now()).RTT; rtt != 20*time.Millisecond {
		t.Fatal(rtt)
	}
}

// A prober learns which of its probes arrived from which of its addresses.
func TestSources(t *testing.T) {
	n := newNetwork(t, 1)
	a, b := n.edges[0], n.edges[1]
	passes, blocked := client4.Local.Addr(), client6.Local.Addr()
	if a.Probe(a.now(), passes) != nil {
		t.Fatal("a probe before there is anything to say")
	}
	n.run(time.Second)
	if _, ok := a.Reached(passes); ok {
		t.Fatal("never sent")
	}
	for range 5 {
		sent := a.now()
		n.send(a, a.Probe(a.now(), passes))
		a.Probe(a.now(), blocked)
		n.run(3*n.delay + a.Interval())
		if at, ok := a.Reached(passes); !ok || !at.Equal(sent) {
			t.Fatalf("%v %v, sent %v", at, ok, sent)
		}
		if _, ok := a.Reached(blocked); ok {
			t.Fatal("it did not arrive")
		}
	}
	if h := a.Peer(a.now()).Hello.Heard; len(h) != 1 || h[0].Addr != passes {
		t.Fatalf("%+v", h)
	}
	// More sources than a hello has room for.
	for i := range 3 * MaxHeard {
		source := passes
		for range i {
			source = source.Next()
		}
		n.send(a, a.Probe(a.now(), source))
		n.run(b.Interval() + 1)
	}
	n.run(time.Second)
	if h := a.Peer(a.now()).Hello.Heard; len(h) != MaxHeard {
		t.Fatalf("%d sources", len(h))
	}
	if len(a.own.probes) != maxProbes {
		t.Fatalf("%d sources", len(a.own.probes))
	}
	b.restart()
	n.run(time.Second)
	if len(b.theirs.sources) != 0 {
		t.Fatal("what was heard by the process before")
	}
}

// The largest datagram that passes is found, and what Seal makes passes.
func TestPathMTU(t *testing.T) {
	for _, mtu := range []int{BaseDatagram, 1300, 1352, 1400, 1444, MaxDatagram} {
		for _, loss := range []float64{0, 0.05} {
			n := newNetwork(t, uint64(mtu))
			n.mtu = mtu
			n.loss = [2]float64{loss, loss}
			n.run(20 * time.Second)
			n.loss = [2]float64{}
			for _, e := range n.edges {
				p := e.Peer(e.now())
				if p.MTU > mtu || loss == 0 && p.MTU < mtu-granularity {
					t.Fatalf("%d is found on a path of %d, loss %v", p.MTU, mtu, loss)
				}
				for size := 1; size <= MaxPacket; size += 13 {
					b := packet(n, "", size+20)[20:]
					e.seal(client6, b)
					n.run(n.delay)
					if n.edges[2-e.self].delivered[string(b)] != 1 {
						t.Fatalf("%d octets over %d did not arrive", size, mtu)
					}
				}
			}
		}
	}
}

// A path that stops to carry large datagrams is noticed, and one that begins to.
func TestPathChanges(t *testing.T) {
	n := newNetwork(t, 1)
	a := n.edges[0]
	n.run(2 * time.Second)
	if m := a.Peer(a.now()).MTU; m != MaxDatagram {
		t.Fatal(m)
	}
	n.mtu = 1330
	big := bytes.Repeat([]byte{1}, 1400)
	for range 20 {
		a.seal(client4, big) // in use, so that it is looked at often
		n.run(100 * time.Millisecond)
	}
	if m := a.Peer(a.now()).MTU; m > 1330 || a.Counters().BlackHoles != 1 {
		t.Fatalf("%d, %+v", m, a.Counters())
	}
	n.run(10 * time.Second)
	if m := a.Peer(a.now()).MTU; m > 1330 || m < 1330-granularity {
		t.Fatal(m)
	}
	n.mtu = MaxDatagram
	n.run(80 * time.Second)
	if m := a.Peer(a.now()).MTU; m != MaxDatagram {
		t.Fatal(m)
	}
	// One that is not in use is looked at now and then.
	n.mtu = 1300
	n.run(60 * time.Second)
	if m := a.Peer(a.now()).MTU; m > 1300 {
		t.Fatal(m)
	}
	// Silence of the peer says nothing of the path.
	holes := a.Counters().BlackHoles
	for a.path.size == 0 {
		n.run(time.Millisecond)
	}
	n.loss = [2]float64{1, 1}
	n.run(5 * time.Minute)
	if a.path.size != 0 {
		t.Fatal("a probe is waited for that nobody can answer")
	}
	n.loss = [2]float64{}
	n.run(2 * time.Second)
	if c := a.Counters().BlackHoles; c != holes {
		t.Fatalf("%d black holes", c-holes)
	}
}

// Losses from before a silence do not count after it.
func TestSearchPauses(t *testing.T) {
	s := newSearch()
	at := time.Duration(0)
	lose := func() int {
		size, _ := s.next(at, 0, time.Millisecond, false)
		s.sent(1)
		at += time.Second
		return size
	}
	lose()
	lose()
	lose()
	s.pause()
	for range maxLost {
		if size := lose(); size != MaxDatagram {
			t.Fatal(size)
		}
	}
	if size := lose(); size == MaxDatagram {
		t.Fatal("a size that was lost three times")
	}
}

// Packets are signs of life as hellos are.
func TestPacketsAreSignsOfLife(t *testing.T) {
	a, b, now := twins(t)
	into := new([2]Buffer)
	for range 10 {
		now = now.Add(200 * time.Millisecond)
		b.Seal(now.Add(-200*time.Millisecond), Forward, 0, client4, []byte("packet"), into)
		if _, err := a.Open(now, into[0].Bytes()); err != nil {
			t.Fatal(err)
		}
		a.Tick(now, Hello{})
		if a.Dead(now) || !a.Peer(now).Up || !a.Peer(now).LastHeard.Equal(now) {
			t.Fatalf("%+v", a.Peer(now))
		}
		b.hear(b.at(now)) // so that it goes on
	}
}

// A hello that was overtaken does not bring back what it says.
func TestOvertaken(t *testing.T) {
	a, b, now := twins(t)
	one, two := b.Tick(now, Hello{State: 1})[0], b.Tick(now, Hello{State: Gone})[0]
	source := b.Probe(now, client4.Local.Addr())
	three := b.Tick(now, Hello{State: Gone})[0]
	for _, d := range [][]byte{two, one, three, source} {
		if o, err := a.Open(now, d); err != nil || o.Hello == nil {
			t.Fatal(err)
		}
		if p := a.Peer(now); p.Hello.State != Gone || !p.Dead {
			t.Fatalf("%+v", p)
		}
	}
	if len(a.theirs.sources) != 1 {
		t.Fatal("the source is forgotten")
	}
}

// Whoever asks without end is not answered without end.
func TestAnswersAreFew(t *testing.T) {
	a, b, now := twins(t)
	ask := func(l *Link, times int) (answers int) {
		for range times {
			l.mu.Lock()
			d := l.hello(l.at(now), nonce{}, what{ask: true})
			l.mu.Unlock()
			if o, err := a.Open(now, d); err != nil {
				t.Fatal(err)
			} else if o.Answer != nil {
				answers++
			}
		}
		return answers
	}
	a.Tick(now, Hello{})
	if n := ask(b, 100); n != maxAnswers {
		t.Fatalf("%d answers", n)
	}
	// Processes that are not proven: one answer each.
	answers := 0
	for range 2 * maxUnproven {
		l := NewLink(b.cfg, now)
		l.Tick(now, Hello{})
		n := ask(l, 10)
		if n > 1 {
			t.Fatalf("%d answers to one", n)
		}
		answers += n
	}
	if answers != maxUnproven {
		t.Fatalf("%d answers", answers)
	}
	a.Tick(now, Hello{})
	if n := ask(b, 1); n != 1 {
		t.Fatal("no answer after the next Tick")
	}
}
