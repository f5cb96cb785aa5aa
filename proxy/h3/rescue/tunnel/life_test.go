package tunnel

import (
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
	if p := a.Peer(a.now()); p.Dead || !p.Up || !p.HearsUs {
		t.Fatalf("before Tick knows: %+v", p)
	}
	a.tick()
	if p := a.Peer(a.now()); p.Dead || !p.Up || !p.HearsUs || a.Counters().Standstills != 1 {
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
