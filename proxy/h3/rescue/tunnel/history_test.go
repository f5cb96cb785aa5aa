package tunnel

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"nearcast/fleet/keys"
)

// Random histories of faults. Whatever happens: no packet arrives twice, nor another than was sealed; what was captured before a start of either
// side is never taken; no nonce is used twice; and when the faults end, the link is up within two seconds and carries everything.
func TestHistories(t *testing.T) {
	runs := 150
	if testing.Short() {
		runs = 20
	}
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, uint64(seed)) })
	}
}

func history(t *testing.T, seed uint64) {
	n := newNetwork(t, seed)
	n.keep = true
	n.edges[1].skew = time.Duration(n.dice.Int64N(int64(10*time.Minute))) - 5*time.Minute
	n.edges[1].restart()
	n.run(time.Millisecond)
	sealed := map[string]bool{}
	lists := [][]string{{"secret"}, {"secret", "new"}, {"new", "secret"}}
	for range 60 {
		e := n.edges[n.dice.IntN(2)]
		switch n.dice.IntN(16) {
		case 0:
			e.restart()
		case 1:
			e.stopped = !e.stopped
			e.next = n.now
		case 2:
			n.loss[n.dice.IntN(2)] = []float64{0, 0, 0.1, 0.5, 1}[n.dice.IntN(5)]
		case 3:
			n.mtu = BaseDatagram + n.dice.IntN(MaxDatagram-BaseDatagram+1)
		case 4:
			n.delay = time.Duration(n.dice.Int64N(int64(150 * time.Millisecond)))
			n.jitter = time.Duration(n.dice.Int64N(int64(50 * time.Millisecond)))
			n.duplicates = n.dice.Float64() / 2
		case 5:
			e.ring = ring(t, lists[n.dice.IntN(3)]...)
		case 6:
			n.now += time.Duration(n.dice.Int64N(int64(30 * time.Hour))) // all stand still
			for _, e := range n.edges {
				e.next = n.now
			}
		case 7, 8:
			n.again(e)
		case 9:
			n.forge(e)
		case 10:
			e.Probe(e.now(), client4.Local.Addr())
		default:
			for range n.dice.IntN(20) {
				p := packet(n, fmt.Sprint(len(sealed)), 8+n.dice.IntN(MaxPacket-7))
				c := client4
				if n.dice.IntN(2) == 0 {
					c = client6
				}
				if !e.stopped && e.seal(c, p) {
					sealed[string(p)] = true
				}
				n.run(time.Duration(n.dice.Int64N(int64(10 * time.Millisecond))))
			}
		}
		n.run(time.Duration(n.dice.Int64N(int64(400 * time.Millisecond))))
	}
	for _, e := range n.edges {
		for p, times := range e.delivered {
			if times > 1 || !sealed[p] {
				t.Fatalf("a packet arrived %d times, sealed: %v", times, sealed[p])
			}
		}
	}
	n.unique()
	n.calm(lists[n.dice.IntN(3)])
}

// again gives an edge some of what it was ever sent.
func (n *network) again(e *edge) {
	if e.stopped {
		return
	}
	for range 50 {
		d := n.seen[n.dice.IntN(len(n.seen))]
		if d.from != int(e.peer-1) {
			continue
		}
		o, err := e.take(d.b)
		if err != nil || o.Packet == nil && o.Hello == nil {
			continue
		}
		// A session of the peer's before may go on until the new one is proven, but nothing that is older than this link.
		if d.taken == e.Link || d.lives[e.self-1] != e.lives {
			n.t.Fatalf("taken again: %+v", o)
		}
		d.taken = e.Link
	}
}

// forge gives an edge datagrams with octets changed.
func (n *network) forge(e *edge) {
	for range 20 {
		d := n.seen[n.dice.IntN(len(n.seen))]
		b := append([]byte{}, d.b...)
		b[n.dice.IntN(len(b))] ^= byte(1 + n.dice.IntN(255))
		if o, err := e.take(b); err == nil {
			n.t.Fatalf("forged: %+v", o)
		}
	}
}

// calm ends the faults.
func (n *network) calm(secrets []string) {
	n.loss, n.duplicates, n.jitter, n.delay = [2]float64{}, 0, 0, 40*time.Millisecond
	for _, e := range n.edges {
		e.ring = ring(n.t, secrets...)
		e.stopped = false
		e.next = max(e.next, n.now)
	}
	n.run(2 * time.Second)
	for _, e := range n.edges {
		if p := e.Peer(e.now()); !p.Up || !p.Ready || !p.HearsUs || p.Dead {
			n.t.Fatalf("edge %d: %+v, %+v", e.self, p, e.Counters())
		}
	}
	n.mustExchange("calm")
	n.carry("calm", 300*time.Millisecond)
}

// The methods of a link are called by several goroutines.
func TestGoroutines(t *testing.T) {
	a, b, now := twins(t)
	links := []*Link{a, b}
	pipes := [2]chan []byte{make(chan []byte, 100), make(chan []byte, 100)}
	push := func(to int, d []byte) {
		select {
		case pipes[to] <- d:
		default:
		}
	}
	var sealers, openers sync.WaitGroup
	for side, l := range links {
		for g := range 3 {
			sealers.Go(func() {
				into := new([2]Buffer)
				for i := range 2000 {
					for n := range l.Seal(now, Forward, 0, client4, make([]byte, 1+(g*500+i)%MaxPacket), into) {
						push(1-side, append([]byte{}, into[n].Bytes()...))
					}
				}
			})
			openers.Go(func() {
				for d := range pipes[side] {
					if d == nil {
						return
					}
					if o, err := l.Open(now, d); err == nil && o.Answer != nil {
						push(1-side, o.Answer)
					}
				}
			})
		}
		sealers.Go(func() {
			for i := range 300 {
				at := now
				if i >= 100 {
					at = now.Add(keys.Length) // a new epoch
				}
				for _, d := range l.Tick(at, Hello{}) {
					push(1-side, d)
				}
				l.Probe(at, client4.Local.Addr())
				l.Reached(client4.Local.Addr())
				l.Peer(at)
				l.Dead(at)
				l.Counters()
			}
		})
	}
	sealers.Wait()
	for range 3 {
		for _, p := range pipes {
			p <- nil
		}
	}
	openers.Wait()
	for _, l := range links {
		if c := l.Counters(); c.Opened == 0 || c.Forged+c.Replayed+c.Malformed+c.Other > 0 {
			t.Errorf("%+v", c)
		}
	}
}
