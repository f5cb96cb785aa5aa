package tunnel

import (
	"bytes"
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"nearcast/fleet/keys"
)

var (
	base    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	client4 = Client{netip.MustParseAddrPort("198.51.100.7:50123"), netip.MustParseAddrPort("192.0.2.1:443"), 2}
	client6 = Client{netip.MustParseAddrPort("[2001:db8:7::9]:50123"), netip.MustParseAddrPort("[2001:db8::1]:443"), 1}
)

func ring(t testing.TB, secrets ...string) *keys.Ring {
	r, err := keys.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// random is a source of randomness that repeats itself with the seed.
type random struct{ *rand.ChaCha8 }

func newRandom(seed uint64) random {
	var s [32]byte
	for i := range 8 {
		s[i] = byte(seed >> (8 * i))
	}
	return random{rand.NewChaCha8(s)}
}

// edge is one side: a link that can be started anew, with a clock of its own.
type edge struct {
	*Link
	n          *network
	self, peer uint32
	ring       *keys.Ring
	skew       time.Duration
	say        Hello
	stopped    bool // does nothing
	next       time.Duration

	lives     int
	delivered map[string]int // packets
}

func (e *edge) now() time.Time { return base.Add(e.n.now + e.skew) }

func (e *edge) restart() {
	e.say.Instance++
	e.lives++
	e.Link = NewLink(LinkConfig{Self: e.self, Peer: e.peer, Keys: func() *keys.Ring { return e.ring }, Rand: e.n.rand}, e.now())
	e.next = e.n.now
	e.stopped = false
}

// tick does what is due and sends it.
func (e *edge) tick() {
	for _, b := range e.Tick(e.now(), e.say) {
		e.n.send(e, b)
	}
	e.next = e.n.now + e.Interval()
}

// seal sends a packet, and reports whether that could be tried.
func (e *edge) seal(c Client, packet []byte) bool {
	n := e.Seal(e.now(), Forward, 3, c, packet, &e.n.buffers)
	for i := range n {
		e.n.send(e, e.n.buffers[i].Bytes())
	}
	return n > 0
}

// take gives a datagram to the edge.
func (e *edge) take(b []byte) (Opened, error) {
	in := append(make([]byte, 0, MaxPacket), b...)
	o, err := e.Open(e.now(), in)
	if err != nil && (o.Packet != nil || o.Hello != nil || o.Answer != nil) {
		e.n.t.Fatalf("an error with %+v", o)
	}
	if len(o.Answer) > len(b) {
		e.n.t.Fatalf("%d octets answered with %d", len(b), len(o.Answer))
	}
	if o.Packet != nil {
		e.delivered[string(o.Packet)]++
		if o.Client != client4 && o.Client != client6 || o.Kind != Forward {
			e.n.t.Fatalf("kind %d of %+v", o.Kind, o.Client)
		}
	}
	return o, err
}

// network is a path between two edges, with faults, and a time of its own.
type network struct {
	t       *testing.T
	rand    random
	dice    *rand.Rand
	now     time.Duration
	edges   [2]*edge
	flying  flying
	order   int
	buffers [2]Buffer
	seen    []*datagram // ever, when kept
	keep    bool

	delay, jitter time.Duration
	loss          [2]float64 // of what edge i sends
	duplicates    float64
	mtu           int
}

type datagram struct {
	from, order int
	at          time.Duration
	b           []byte
	sent        *datagram // as it is in seen
	lives       [2]int    // of the edges, when it was sent
	taken       *Link     // by which it was
}

type flying []*datagram

func (f flying) Len() int { return len(f) }
func (f flying) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].order < f[j].order
}
func (f flying) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flying) Push(x any)   { *f = append(*f, x.(*datagram)) }
func (f *flying) Pop() any {
	x := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return x
}

// newNetwork makes two edges that have just started.
func newNetwork(t *testing.T, seed uint64) *network {
	n := &network{t: t, rand: newRandom(seed), delay: 20 * time.Millisecond, mtu: MaxDatagram}
	n.dice = rand.New(n.rand)
	for i := range n.edges {
		n.edges[i] = &edge{n: n, self: uint32(i + 1), peer: uint32(2 - i), ring: ring(t, "secret"), delivered: map[string]int{}}
		n.edges[i].restart()
	}
	return n
}

func (n *network) lives() [2]int { return [2]int{n.edges[0].lives, n.edges[1].lives} }

func (n *network) send(e *edge, b []byte) {
	from := int(e.self - 1)
	if len(b) > MaxDatagram {
		n.t.Fatalf("a datagram of %d octets", len(b))
	}
	if peekFrom, to, ok := Peek(b); !ok || peekFrom != e.self || to != e.peer {
		n.t.Fatalf("peek: %d %d %v", peekFrom, to, ok)
	}
	d := &datagram{from: from, b: bytes.Clone(b), lives: n.lives()}
	if n.keep {
		n.seen = append(n.seen, d)
	}
	if len(b) > n.mtu {
		return
	}
	times := 1
	if n.duplicates > 0 && n.dice.Float64() < n.duplicates {
		times = 2
	}
	for range times {
		if n.dice.Float64() < n.loss[from] {
			continue
		}
		f := &datagram{from: from, order: n.order, b: d.b, sent: d, at: n.now + n.delay}
		if n.jitter > 0 {
			f.at += time.Duration(n.dice.Int64N(int64(n.jitter)))
		}
		n.order++
		heap.Push(&n.flying, f)
	}
}

// run lets time pass.
func (n *network) run(d time.Duration) {
	end := n.now + d
	for {
		next, e := end, (*edge)(nil)
		for _, o := range n.edges {
			if !o.stopped && o.next < next {
				next, e = o.next, o
			}
		}
		if len(n.flying) > 0 && n.flying[0].at <= next {
			d := heap.Pop(&n.flying).(*datagram)
			n.now = max(n.now, d.at)
			if to := n.edges[1-d.from]; !to.stopped {
				o, _ := to.take(d.b)
				if o.Packet != nil || o.Hello != nil {
					d.sent.taken = to.Link
				}
				if o.Answer != nil {
					n.send(to, o.Answer)
				}
			}
			continue
		}
		n.now = max(n.now, next)
		if e == nil {
			return
		}
		e.tick()
	}
}

// exchange sends a packet each way and reports whether each arrived, once.
func (n *network) exchange(name string) [2]bool {
	var ok [2]bool
	for i, e := range n.edges {
		p := packet(n, fmt.Sprintf("%s %d ", name, i), 1000)
		e.seal(client4, p)
		n.run(n.delay + n.jitter + time.Millisecond)
		ok[i] = n.edges[1-i].delivered[string(p)] == 1
	}
	return ok
}

func (n *network) mustExchange(name string) {
	n.t.Helper()
	if ok := n.exchange(name); ok != [2]bool{true, true} {
		n.t.Fatalf("%s: %v; %+v %+v", name, ok, n.edges[0].Peer(n.edges[0].now()), n.edges[1].Peer(n.edges[1].now()))
	}
}

// packet makes a unique one.
func packet(n *network, name string, size int) []byte {
	b := make([]byte, size)
	io.ReadFull(n.rand, b[copy(b, name):])
	return b
}

func TestHandshake(t *testing.T) {
	n := newNetwork(t, 1)
	n.run(120 * time.Millisecond)
	n.mustExchange("after two round trips")
	for _, e := range n.edges {
		p := e.Peer(e.now())
		if !p.Up || p.Dead || !p.Ready || p.Hello.Instance != 1 || p.RTT != 40*time.Millisecond {
			t.Fatalf("%+v", p)
		}
	}
}
