package bfd

import (
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	ours, theirs = 7001, 9001
	interval     = 300 * time.Millisecond
)

func testMachine(mine uint32, c Config) machine {
	return newMachine(c, false, mine, rand.New(rand.NewPCG(1, uint64(mine))), epoch)
}

func usual() Config {
	var c Config
	c.SetDefaults()
	return c
}

// from is a packet of the other side.
func from(state State) packet {
	return packet{state: state, multiplier: 3, mine: theirs, yours: ours, desiredMinTx: interval, requiredMinRx: interval}
}

// upMachine has come up in the ordinary way, and has sent that.
func upMachine(t *testing.T, c Config) (machine, time.Time) {
	t.Helper()
	m := testMachine(ours, c)
	now := epoch
	for _, s := range []State{Down, Init, Up} {
		now = now.Add(100 * time.Millisecond)
		m.advance(now)
		p := from(s)
		p.final = m.polling
		if d := m.receive(now, p); d != kept {
			t.Fatalf("dropped: %s", dropNames[d])
		}
		drain(&m, now)
	}
	if m.state != Up || m.polling {
		t.Fatalf("%s, polling %v", m.state, m.polling)
	}
	return m, now
}

func drain(m *machine, now time.Time) (out []packet) {
	for {
		p, _, ok := m.output(now)
		if !ok {
			return out
		}
		out = append(out, p)
	}
}

// TestStates is the table of RFC 5880 section 6.8.6 and what counts as a failure.
func TestStates(t *testing.T) {
	for _, c := range []struct {
		is, received, want State
		diag               Diagnostic
		failures           uint64
	}{
		{Down, AdminDown, Down, NoDiagnostic, 0},
		{Down, Down, Init, NoDiagnostic, 0},
		{Down, Init, Up, NoDiagnostic, 0},
		{Down, Up, Down, NoDiagnostic, 0}, // of an earlier session, which the other side has yet to see is over
		{Init, AdminDown, Down, NeighborSignaledDown, 0},
		{Init, Down, Init, NoDiagnostic, 0},
		{Init, Init, Up, NoDiagnostic, 0},
		{Init, Up, Up, NoDiagnostic, 0},
		{Up, AdminDown, Down, NeighborSignaledDown, 0},
		{Up, Down, Down, NeighborSignaledDown, 1},
		{Up, Init, Up, NoDiagnostic, 0},
		{Up, Up, Up, NoDiagnostic, 0},
		{AdminDown, Down, AdminDown, NoDiagnostic, 0},
		{AdminDown, Up, AdminDown, NoDiagnostic, 0},
	} {
		m := testMachine(ours, usual())
		m.state = c.is
		m.receive(epoch, from(c.received))
		if m.state != c.want || m.diag != c.diag || m.failures != c.failures {
			t.Errorf("%s, receives %s: %s, %s, %d failures; want %s, %s, %d", c.is, c.received, m.state, m.diag, m.failures, c.want, c.diag, c.failures)
		}
		if told := len(drain(&m, epoch)) > 0; c.is != AdminDown && c.is != c.want && !told {
			t.Errorf("%s, receives %s: the new state is not told at once", c.is, c.received)
		}
	}
}

// TestPolls are answered at once with a Final that is no Poll, and a Poll of ours goes on until its Final.
func TestPolls(t *testing.T) {
	m, now := upMachine(t, usual())
	poll := from(Up)
	poll.poll = true
	poll.desiredMinTx = 2 * time.Second
	m.receive(now, poll)
	out := drain(&m, now)
	if len(out) != 1 || !out[0].final || out[0].poll {
		t.Fatalf("answer %+v, want one Final", out)
	}
	if m.detectionTime() != 6*time.Second {
		t.Errorf("detection time %s, want that of the new interval", m.detectionTime())
	}

	m = testMachine(ours, usual())
	m.receive(epoch, from(Init))
	for i := range 4 {
		now := epoch.Add(time.Duration(i) * time.Second)
		m.receive(now, from(Up))
		if out := drain(&m, now); len(out) != 1 || !out[0].poll || out[0].desiredMinTx != interval {
			t.Errorf("packet %d after coming up is %+v, want a Poll for the new interval", i, out)
		}
	}
	p := from(Up)
	p.final = true
	m.receive(now, p)
	if m.polling {
		t.Error("still polling after the Final")
	}
}

// TestRequiredMinRXOfZero: nothing periodic is sent, section 6.8.7, but Finals and changes are.
func TestRequiredMinRXOfZero(t *testing.T) {
	m, now := upMachine(t, usual())
	zero := from(Up)
	zero.requiredMinRx = 0
	m.receive(now, zero)
	for range 20 {
		now = now.Add(500 * time.Millisecond)
		m.receive(now, zero)
		m.advance(now)
		if out := drain(&m, now); len(out) != 0 {
			t.Fatalf("sent %+v", out)
		}
	}
	if next := m.next(); next.Before(now.Add(time.Millisecond)) {
		t.Errorf("it wants to be asked again in %s", next.Sub(now))
	}
	zero.poll = true
	m.receive(now, zero)
	if out := drain(&m, now); len(out) != 1 || !out[0].final {
		t.Errorf("answer to a Poll: %+v", out)
	}
	m.hold(now)
	if out := drain(&m, now); len(out) != 1 || out[0].state != Down {
		t.Errorf("the change is not told: %+v", out)
	}
	m.release()
	now = now.Add(time.Minute)
	m.advance(now)
	if out := drain(&m, now); len(out) != 1 {
		t.Errorf("once the other side is gone, so is its wish: %+v", out)
	}
}

// TestSlowReceiver: the other side's Required Min RX is obeyed as soon as it is known, also when it grows.
func TestSlowReceiver(t *testing.T) {
	m, now := upMachine(t, usual())
	slowly := from(Up)
	slowly.requiredMinRx = 4 * time.Second
	m.receive(now, slowly)
	if due := m.due.Sub(m.sentAt); due < 3*time.Second || due > 4*time.Second {
		t.Errorf("next packet after %s, want 3s to 4s", due)
	}
	m.receive(now.Add(2*time.Second), from(Up))
	if _, late, ok := m.output(now.Add(2 * time.Second)); !ok || late != 0 {
		t.Errorf("after a wish for more: sent %v, late %s; want at once, and not late", ok, late)
	}
}

// TestPassiveWaits for the first packet, and again after the other side is gone, section 6.1.
func TestPassiveWaits(t *testing.T) {
	passive := usual()
	passive.Passive = true
	both := newPair(passive, passive)
	both.run(10 * time.Second)
	if len(both.sent[0])+len(both.sent[1]) != 0 {
		t.Error("a passive side has begun")
	}
	p := newPair(passive, usual())
	p.run(5 * time.Second)
	p.want(t, "one passive side", Up, Up)
	p.cut = [2]bool{true, true}
	p.run(5 * time.Second)
	n := len(p.sent[0])
	p.run(10 * time.Second)
	if len(p.sent[0]) != n {
		t.Error("a passive side goes on when the other is gone")
	}
	p.cut = [2]bool{}
	p.run(5 * time.Second)
	p.want(t, "afterwards", Up, Up)
}

// TestDemandOfTheOtherSide: it wants no periodic packets while both are up, section 6.8.7.
func TestDemandOfTheOtherSide(t *testing.T) {
	m, now := upMachine(t, usual())
	demand := from(Up)
	demand.demand = true
	m.receive(now, demand)
	if out := drain(&m, now.Add(time.Minute)); len(out) != 0 {
		t.Errorf("sent %+v", out)
	}
	m.receive(now, from(Up))
	if out := drain(&m, now.Add(time.Minute)); len(out) != 1 {
		t.Errorf("sent %+v", out)
	}
}

// TestForeignDiscriminator: what is for another session changes nothing.
func TestForeignDiscriminator(t *testing.T) {
	m, now := upMachine(t, usual())
	p := from(Down)
	p.yours = ours + 1
	if d := m.receive(now, p); d != dropDiscriminator || m.state != Up {
		t.Errorf("%q, %s", dropNames[d], m.state)
	}
	p.yours = 0 // the other side has begun anew
	if d := m.receive(now, p); d != kept || m.state != Down || m.failures != 1 {
		t.Errorf("%q, %s, %d failures", dropNames[d], m.state, m.failures)
	}
}

// TestForgedBeginning: over several hops a packet that takes a session down must prove by its discriminator that it is of the other side; a
// router that has begun anew is noticed by the end of its old packets.
func TestForgedBeginning(t *testing.T) {
	m, now := upMachine(t, usual())
	m.distant = true
	p := from(Down)
	p.yours = 0
	for range 3 {
		now = now.Add(interval)
		m.advance(now)
		if d := m.receive(now, p); d == kept && m.state == Up {
			t.Error("it was taken")
		}
	}
	if m.state != Init || m.failures != 1 {
		t.Errorf("%s, %d failures, want a session that begins anew after the detection time", m.state, m.failures)
	}
}

// TestJitter stays within section 6.8.7: three quarters to the whole, and nine tenths at most when one lost packet is a failure.
func TestJitter(t *testing.T) {
	for _, c := range []struct {
		multiplier  int
		least, most time.Duration
	}{{3, 750, 1000}, {1, 750, 900}} {
		cfg := usual()
		cfg.Multiplier = c.multiplier
		m := testMachine(ours, cfg)
		low, high := time.Hour, time.Duration(0)
		for range 10_000 {
			d := m.jittered(time.Second)
			low, high = min(low, d), max(high, d)
		}
		if low < c.least*time.Millisecond || high > c.most*time.Millisecond || high-low < (c.most-c.least-5)*time.Millisecond {
			t.Errorf("multiplier %d: %s to %s, want %d to %d ms", c.multiplier, low, high, c.least, c.most)
		}
	}
}
