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
	return newMachine(c, mine, rand.New(rand.NewPCG(1, uint64(mine))), epoch)
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

// pair is two machines and what is between them.
type pair struct {
	m     [2]machine
	now   time.Time
	delay time.Duration
	cut   [2]bool // what the one of that index sends is lost
	sent  [2][]sending
	fly   []flying
}

type sending struct {
	at time.Time
	p  packet
}

type flying struct {
	at time.Time
	to int
	p  packet
}

func newPair(a, b Config) *pair {
	return &pair{m: [2]machine{testMachine(ours, a), testMachine(theirs, b)}, now: epoch, delay: 10 * time.Millisecond}
}

// run lets d pass, a millisecond at a time.
func (p *pair) run(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); p.now = p.now.Add(time.Millisecond) {
		var rest []flying
		for _, f := range p.fly {
			if f.at.After(p.now) {
				rest = append(rest, f)
				continue
			}
			var b [packetSize]byte
			f.p.encode(&b)
			if q, d := decode(b[:]); d == kept {
				p.m[f.to].receive(p.now, q)
			}
		}
		p.fly = rest
		for i := range p.m {
			p.m[i].advance(p.now)
			for _, out := range drain(&p.m[i], p.now) {
				p.sent[i] = append(p.sent[i], sending{p.now, out})
				if !p.cut[i] {
					p.fly = append(p.fly, flying{p.now.Add(p.delay), 1 - i, out})
				}
			}
		}
	}
}

func (p *pair) want(t *testing.T, what string, a, b State) {
	t.Helper()
	if p.m[0].state != a || p.m[1].state != b {
		t.Fatalf("%s: %s and %s, want %s and %s", what, p.m[0].state, p.m[1].state, a, b)
	}
}

// spacing is between the packets, but Finals, sent since.
func (p *pair) spacing(i int, since time.Time) (least, most time.Duration) {
	var last time.Time
	least = time.Hour
	for _, s := range p.sent[i] {
		if s.at.Before(since) || s.p.final {
			continue
		}
		if !last.IsZero() {
			least, most = min(least, s.at.Sub(last)), max(most, s.at.Sub(last))
		}
		last = s.at
	}
	return least, most
}

// TestPairComesUp: slowly, by section 6.8.3, and then at the larger of the intervals, less the jitter of section 6.8.7.
func TestPairComesUp(t *testing.T) {
	fast, other := usual(), usual()
	fast.Interval, other.Interval, other.Multiplier = 100*time.Millisecond, 400*time.Millisecond, 5
	p := newPair(fast, other)
	p.cut[1] = true
	p.run(10 * time.Second)
	p.want(t, "one direction is cut", Down, Init)
	if least, most := p.spacing(0, epoch); least < 750*time.Millisecond || most > time.Second+time.Millisecond {
		t.Errorf("while down packets are %s to %s apart, want 750ms to 1s", least, most)
	}
	p.cut[1] = false
	p.run(3 * time.Second)
	p.want(t, "after three seconds", Up, Up)
	since := p.now
	p.run(20 * time.Second)
	p.want(t, "for good", Up, Up)
	for i := range p.m {
		if least, most := p.spacing(i, since); least < 300*time.Millisecond || most > 401*time.Millisecond || most-least < 50*time.Millisecond {
			t.Errorf("%d: packets are %s to %s apart, want 300ms to 400ms, scattered", i, least, most)
		}
		if p.m[i].polling || p.m[i].transitions > 3 {
			t.Errorf("%d: polling %v, %d transitions", i, p.m[i].polling, p.m[i].transitions)
		}
	}
	if got := p.m[0].detectionTime(); got != 5*400*time.Millisecond {
		t.Errorf("detection time %s, want 5 × 400ms of the other side", got)
	}
	if got := p.m[1].detectionTime(); got != 3*400*time.Millisecond {
		t.Errorf("detection time of the other side %s, want 3 × 400ms", got)
	}
}

// TestSilenceIsNoticed within the detection time, by both, whichever direction is cut; and it comes back.
func TestSilenceIsNoticed(t *testing.T) {
	for _, cut := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		p := newPair(usual(), usual())
		p.run(5 * time.Second)
		p.want(t, "before", Up, Up)
		p.cut = cut
		p.run(600 * time.Millisecond)
		p.want(t, "two packets late", Up, Up)
		p.run(330 * time.Millisecond)
		if p.m[0].failures+p.m[1].failures == 0 {
			t.Errorf("cut %v: nothing noticed after 3 × 300ms", cut)
		}
		p.run(100 * time.Millisecond)
		if p.m[0].state == Up || p.m[1].state == Up {
			t.Errorf("cut %v: %s and %s", cut, p.m[0].state, p.m[1].state)
		}
		p.cut = [2]bool{}
		p.run(5 * time.Second)
		p.want(t, "afterwards", Up, Up)
		if p.m[0].failures != 1 || p.m[1].failures != 1 {
			t.Errorf("cut %v: %d and %d failures", cut, p.m[0].failures, p.m[1].failures)
		}
	}
}

// TestDiagnostics say who noticed what.
func TestDiagnostics(t *testing.T) {
	p := newPair(usual(), usual())
	p.run(5 * time.Second)
	p.cut[1] = true
	p.run(950 * time.Millisecond)
	if p.m[0].diag != DetectionTimeExpired || p.m[1].diag != NeighborSignaledDown || p.m[1].remoteDiag != DetectionTimeExpired {
		t.Errorf("%s, %s, %s", p.m[0].diag, p.m[1].diag, p.m[1].remoteDiag)
	}
	if m := &p.m[0]; m.yours != 0 || m.remoteMinRx != time.Microsecond {
		t.Error("after the detection time the other side's discriminator and intervals are still known (section 6.8.1)")
	}
}

// TestHold: when the lease runs out the other side is told at once, why, and again and again; and nothing it says brings the session up.
func TestHold(t *testing.T) {
	p := newPair(usual(), usual())
	p.run(5 * time.Second)
	p.m[0].hold(p.now)
	p.run(20 * time.Millisecond)
	p.want(t, "20ms after the lease has run out", Down, Down)
	if p.m[1].remoteDiag != ForwardingPlaneReset || p.m[1].failures != 1 {
		t.Errorf("the other side hears %s and counts %d failures", p.m[1].remoteDiag, p.m[1].failures)
	}
	if p.m[0].failures != 0 {
		t.Error("what is put down here is no failure of the path")
	}
	p.run(10 * time.Second)
	p.want(t, "while there is no lease", Down, Init)
	p.m[0].hold(p.now)
	p.m[0].release()
	p.run(2 * time.Second)
	p.want(t, "with a lease again", Up, Up)
}

// TestAdminDownIsNoFailure, whoever shuts it, RFC 5882 section 3.2; and silence after it is none either.
func TestAdminDownIsNoFailure(t *testing.T) {
	p := newPair(usual(), usual())
	p.run(5 * time.Second)
	p.m[1].shut(p.now)
	p.run(20 * time.Millisecond)
	p.want(t, "told at once", Down, AdminDown)
	p.cut[1] = true
	p.run(20 * time.Second)
	p.want(t, "later", Down, AdminDown)
	if p.m[0].failures != 0 || p.m[1].failures != 0 {
		t.Errorf("%d and %d failures", p.m[0].failures, p.m[1].failures)
	}
	if got := p.sent[1][len(p.sent[1])-1].p; got.state != AdminDown || got.diag != AdministrativelyDown {
		t.Errorf("sent %+v", got)
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

// TestFlappingPathAlwaysComesBack: whatever gets lost, two sides that hear each other for a while are up.
func TestFlappingPathAlwaysComesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	p := newPair(usual(), usual())
	for i := range 200 {
		p.cut = [2]bool{r.IntN(2) == 0, r.IntN(2) == 0}
		p.run(time.Duration(r.IntN(3000)) * time.Millisecond)
		if r.IntN(4) == 0 {
			p.m[r.IntN(2)].hold(p.now)
		}
		if i%20 == 19 {
			p.cut = [2]bool{}
			p.m[0].release()
			p.m[1].release()
			p.run(8 * time.Second)
			p.want(t, "eight good seconds", Up, Up)
			for j := range p.sent {
				p.sent[j] = nil
			}
		}
	}
}
