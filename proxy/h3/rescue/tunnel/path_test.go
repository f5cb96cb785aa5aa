package tunnel

import (
	"bytes"
	"testing"
	"time"
)

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
