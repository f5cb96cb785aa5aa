package bfd

import (
	"math/rand/v2"
	"testing"
	"time"
)

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
