package flood

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// usual are the limits that the edge has by default.
var usual = Limits{Prefix: Rate{32, 512}, All: Rate{256, 2048}, RetryAbove: 256, HalfOpen: 4096}

// world is a server with a guard, clients that want in, and a flood.
type world struct {
	g      *Guard
	rnd    *rand.Rand
	now    time.Time
	events map[int64][]func() // by millisecond
	ms     int64

	clients, in, first int // those that came, those that got in, and those at their first try
	waits              []time.Duration
	flooded, passed    int // packets of the flood
	handshakes, most   int // those begun for the flood, and the most half-open ones
}

func newWorld(l Limits) *world {
	start := time.Unix(1_800_000_000, 0)
	return &world{g: New(l, start, nil), rnd: rand.New(rand.NewPCG(1, 2)), now: start, events: map[int64][]func(){}}
}

func (w *world) after(d time.Duration, f func()) {
	at := w.ms + max(1, d.Milliseconds())
	w.events[at] = append(w.events[at], f)
}

func (w *world) id() []byte { return binary.BigEndian.AppendUint64(nil, w.rnd.Uint64()) }

// run lets each millisecond do its part of the flood and the clients, the rates being those of a second.
func (w *world) run(d time.Duration, flood func(*world), floodRate int, client func(*world), clientRate int) {
	var f float64
	for end := w.ms + d.Milliseconds(); w.ms < end; w.ms++ {
		w.now = w.now.Add(time.Millisecond)
		for _, f := range w.events[w.ms] {
			f()
		}
		delete(w.events, w.ms)
		f += float64(floodRate) / 1000
		comes := w.rnd.IntN(1000) < clientRate
		for turn := w.rnd.Float64() * (f + 1); f >= 1; f-- { // turn is when in this millisecond the client comes
			if comes && f < turn {
				client(w)
				comes = false
			}
			flood(w)
		}
		if comes {
			client(w)
		}
		w.most = max(w.most, w.g.HalfOpen())
	}
}

// spoof sends one packet of a flood, to which nobody answers.
func (w *world) spoof(p Packet) {
	w.flooded++
	if w.g.Initial(w.now, p) != Passed {
		return
	}
	w.passed++
	if w.g.Verify(w.now, p.From) || !w.g.Begin(p.From) {
		return
	}
	w.handshakes++
	w.after(10*time.Second, w.g.End)
}

// visitor is a client with a first flight of two datagrams, 50 ms away, that sends it again after 0.3, 0.6, 1.2 and 2.4 s.
type visitor struct {
	w     *world
	from  netip.AddrPort
	id    []byte
	token bool
	came  time.Time
	tries int
	begun bool // the server has it
	done  bool
}

const rtt = 50 * time.Millisecond

func (w *world) visit(from netip.AddrPort, token bool) {
	w.clients++
	v := &visitor{w: w, from: from, id: w.id(), token: token, came: w.now}
	v.try()
}

func (v *visitor) try() {
	if v.done || v.tries == 5 {
		return
	}
	v.tries++
	both := 0
	for range 2 {
		if v.w.g.Initial(v.w.now, Packet{From: v.from, ID: v.id, Token: v.token}) == Passed {
			both++
		}
	}
	switch {
	case both == 0 || v.begun:
	case v.token:
		v.begin(true, both)
	case v.w.g.Verify(v.w.now, v.from):
		v.w.after(rtt, v.retry)
	default:
		v.begin(false, both)
	}
	v.w.after(300*time.Millisecond<<(v.tries-1), v.try)
}

// retry comes back with the token, to a connection ID of the server's.
func (v *visitor) retry() {
	for range 2 {
		if v.w.g.Initial(v.w.now, Packet{From: v.from, ID: make([]byte, 17), Ours: true, Token: true}) != Passed {
			return
		}
	}
	v.begin(true, 2)
}

func (v *visitor) begin(proved bool, datagrams int) {
	if v.begun || datagrams < 2 || !v.w.g.Begin(v.from) {
		return
	}
	v.begun = true
	if proved {
		v.w.g.Proved(v.w.now, v.from)
	}
	v.w.after(rtt, func() {
		if v.w.g.Initial(v.w.now, Packet{From: v.from, ID: make([]byte, 17), Ours: true}) != Passed {
			return
		}
		if !proved {
			v.w.g.Proved(v.w.now, v.from)
		}
		v.w.g.End()
		v.done = true
		v.w.in++
		if v.tries == 1 {
			v.w.first++
		}
		v.w.waits = append(v.w.waits, v.w.now.Sub(v.came))
	})
}

func (w *world) median() time.Duration {
	if len(w.waits) == 0 {
		return 0
	}
	slices.Sort(w.waits)
	return w.waits[len(w.waits)/2]
}

func addr(n uint32, port uint16) netip.AddrPort {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrPortFrom(netip.AddrFrom4(b), port)
}

// newcomer is a client that was never here.
func newcomer(w *world) { w.visit(addr(w.rnd.Uint32(), uint16(w.rnd.Uint32())), false) }

// neighbour is one from the net that oneNet comes from, and regular one that was here in the hour before.
func neighbour(w *world) { w.visit(addr(0xcb007100+w.rnd.Uint32N(256), uint16(w.rnd.Uint32())), false) }

func regular(w *world) {
	from := addr(0x0a000000+w.rnd.Uint32N(1<<24), uint16(w.rnd.Uint32()))
	w.g.Proved(w.now.Add(-30*time.Minute), from)
	w.visit(from, false)
}

// everywhere, hundreds and oneNet are floods.
func everywhere(w *world) {
	w.spoof(Packet{From: addr(w.rnd.Uint32(), uint16(w.rnd.Uint32())), ID: w.id()})
}

func hundreds(w *world) {
	w.spoof(Packet{From: addr(0x7f010007+w.rnd.Uint32N(200)<<8, 4433), ID: w.id()})
}

func oneNet(w *world) {
	w.spoof(Packet{From: addr(0xcb007100+w.rnd.Uint32N(256), uint16(w.rnd.Uint32())), ID: w.id()})
}

func twice(w *world) {
	p := Packet{From: addr(w.rnd.Uint32(), uint16(w.rnd.Uint32())), ID: w.id()}
	w.spoof(p)
	w.after(300*time.Millisecond, func() { w.spoof(p) })
}

func fourTimes(w *world) {
	p := Packet{From: addr(w.rnd.Uint32(), uint16(w.rnd.Uint32())), ID: w.id()}
	for i := range 4 {
		w.after(time.Duration(i)*300*time.Millisecond, func() { w.spoof(p) })
	}
}

func forgedTokens(w *world) {
	w.spoof(Packet{From: addr(w.rnd.Uint32(), uint16(w.rnd.Uint32())), ID: w.id(), Token: true})
}

// ourIDs is from a sender who took a connection ID from a handshake of his own.
func ourIDs(w *world) {
	w.spoof(Packet{From: addr(w.rnd.Uint32(), uint16(w.rnd.Uint32())), ID: make([]byte, 17), Ours: true, Token: true})
}

// TestClientsGetInDuringFloods looks at 100 honest clients a second for 10 s, each flood beginning 2 s before them and ending 5 s after.
func TestClientsGetInDuringFloods(t *testing.T) {
	const before, span, after = 2 * time.Second, 10 * time.Second, 5 * time.Second
	for _, f := range []struct {
		name   string
		flood  func(*world)
		rate   int
		client func(*world)
		in     float64 // the least part of the clients
	}{
		{"no flood", everywhere, 0, newcomer, 1},
		{"4,000 a second from everywhere", everywhere, 4000, newcomer, 0.99},
		{"40,000 a second from everywhere", everywhere, 40000, newcomer, 0.99},
		{"4,000 a second from 200 addresses", hundreds, 4000, newcomer, 0.99},
		{"40,000 a second from 200 addresses", hundreds, 40000, newcomer, 0.99},
		{"4,000 a second from a /24", oneNet, 4000, newcomer, 1},
		{"40,000 a second from a /24", oneNet, 40000, newcomer, 1},
		{"4,000 a second with forged tokens", forgedTokens, 4000, newcomer, 0.99},
		{"4,000 a second to a connection ID of ours", ourIDs, 4000, newcomer, 0.99},
		{"2,000 a second that send each packet twice", twice, 2000, newcomer, 0.99},
		{"1,000 a second that send each packet four times", fourTimes, 1000, newcomer, 0.2},
		{"4,000 a second from everywhere, to those who were here", everywhere, 4000, regular, 1},
		{"4,000 a second from a /24, to those in it", oneNet, 4000, neighbour, 0.99},
	} {
		t.Run(f.name, func(t *testing.T) {
			if raceDetector && f.rate > 4000 {
				t.Skip("shows nothing that the others don't, and takes a minute")
			}
			w := newWorld(usual)
			w.run(before, f.flood, f.rate, f.client, 0)
			w.run(span, f.flood, f.rate, f.client, 100)
			w.run(after, f.flood, f.rate, f.client, 0)
			in := float64(w.in) / float64(w.clients)
			t.Logf("%.1f %% of %d clients got in, %.1f %% at once, half within %v; %d of %d packets of the flood passed, %d handshakes, %d half-open at most",
				100*in, w.clients, 100*float64(w.first)/float64(w.clients), w.median(), w.passed, w.flooded, w.handshakes, w.most)
			if in < f.in {
				t.Errorf("%.3f of the clients got in, want %v", in, f.in)
			}
			// What passes is what the rate gives in the time, the burst, and what goes on with the handshakes.
			if most := usual.All.PerSecond*int((before+span+after)/time.Second) + usual.All.Burst + free*w.handshakes; w.passed > most {
				t.Errorf("%d packets of the flood passed, want %d at most", w.passed, most)
			}
			if w.most > usual.RetryAbove+60 {
				t.Errorf("%d handshakes were in progress", w.most)
			}
		})
	}
}
