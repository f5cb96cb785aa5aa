package tunnel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"nearcast/fleet/keys"
)

// replay gives an edge all that it was ever sent: what it has taken, and all from before either side's latest start. Nothing may be taken
// again, and few of it are answered.
func (n *network) replay(to *edge, seen []*datagram) {
	n.t.Helper()
	answers := 0
	for i, d := range seen {
		if d.from == int(to.peer-1) && (d.taken == to.Link || d.lives != n.lives()) {
			if o, err := to.take(d.b); err == nil && (o.Packet != nil || o.Hello != nil) {
				n.t.Fatalf("datagram %d of %d is taken again: %+v", i, len(seen), o)
			} else if o.Answer != nil {
				answers++
			}
		}
	}
	if answers > maxUnproven {
		n.t.Fatalf("%d answers to what was replayed", answers)
	}
}

func TestReplays(t *testing.T) {
	n := newNetwork(t, 1)
	n.keep = true
	a, b := n.edges[0], n.edges[1]
	run := func() {
		n.run(300 * time.Millisecond)
		for i := range 30 {
			n.mustExchange(fmt.Sprint("packet ", i))
		}
		for _, e := range n.edges { // some that never arrive
			e.Seal(e.now(), Forward, 0, client4, packet(n, "held back", 1452), &n.buffers)
			n.seen = append(n.seen, &datagram{from: int(e.self - 1), lives: n.lives(), b: bytes.Clone(n.buffers[0].Bytes())},
				&datagram{from: int(e.self - 1), lives: n.lives(), b: bytes.Clone(n.buffers[1].Bytes())})
		}
	}
	run()
	n.replay(a, n.seen)
	n.replay(b, n.seen)
	for round, e := range []*edge{a, b, a, a, b, b} {
		e.restart()
		n.replay(e, n.seen) // before it has heard anything
		if p := e.Peer(e.now()); p.Up {
			t.Fatal("up by replays")
		}
		n.run(300 * time.Millisecond)
		before := len(n.seen)
		n.mustExchange(fmt.Sprint("after restart ", round))
		for _, e := range n.edges {
			n.run(e.Interval())
			n.replay(e, n.seen[:before])
		}
		run()
		for _, e := range n.edges {
			n.replay(e, n.seen[:before])
		}
	}
	// A dead peer does not live on by what it has once said.
	n.run(time.Second)
	b.stopped = true
	for range 20 {
		n.run(a.Interval())
		n.replay(a, n.seen)
	}
	if p := a.Peer(a.now()); p.Up || !p.Dead {
		t.Fatalf("alive by replays: %+v", p)
	}
	for _, d := range n.seen {
		a.take(d.b) // even what was held back
	}
	// Nor does one that is replayed all the time stay away.
	b.restart()
	for range 10 {
		n.run(a.Interval() / 2)
		n.replay(a, n.seen)
	}
	n.mustExchange("in spite of replays")
}

// Two processes that both say they are the same edge: nothing is safe but what must be.
func TestTwoProcesses(t *testing.T) {
	n := newNetwork(t, 1)
	n.keep = true
	a, b := n.edges[0], n.edges[1]
	n.run(time.Second)
	old := &edge{n: n, self: b.self, peer: b.peer, ring: b.ring, delivered: b.delivered, Link: b.Link}
	b.restart()
	mark := len(n.seen)
	for i := range 40 {
		n.run(20 * time.Millisecond)
		p := packet(n, fmt.Sprint("p", i), 700)
		a.seal(client4, p)
		old.seal(client4, packet(n, fmt.Sprint("o", i), 500))
		say := old.Tick(old.now(), old.say)
		for _, d := range n.seen[mark:] {
			if d.from == 0 { // a's datagrams go to both
				if o, err := old.take(d.b); err == nil && o.Answer != nil {
					say = append(say, o.Answer)
				}
			}
		}
		n.replay(a, n.seen[:mark])
		mark = len(n.seen)
		for _, d := range say {
			if o, err := a.take(d); err == nil && o.Answer != nil {
				n.send(a, o.Answer)
			}
		}
	}
	if a.Peer(a.now()).Restarts < 3 {
		t.Fatal("they did not take turns")
	}
	n.flying = nil
	n.run(time.Second)
	n.mustExchange("when there is one again")
	n.replay(a, n.seen)
	n.replay(b, n.seen)
	n.unique()
}

// unique fails when something was sealed twice with the same key and nonce.
func (n *network) unique() {
	n.t.Helper()
	used := map[string][]byte{}
	for _, d := range n.seen {
		key := fmt.Sprint(d.from)
		if d.b[1]&typeMask == typeHello {
			key += string(d.b[helloNonceAt:helloHeaderLen])
		} else {
			key += string(d.b[dataNonceAt:dataHeaderLen])
		}
		if b, ok := used[key]; ok && !bytes.Equal(b, d.b) {
			n.t.Fatalf("nonce % x was used for two datagrams", key)
		}
		used[key] = d.b
	}
}

// What a peer that was started anew is sent under the old session is lost; what comes of the old process is readable until the new one is proven.
func TestOldSession(t *testing.T) {
	n := newNetwork(t, 1)
	a, b := n.edges[0], n.edges[1]
	n.run(time.Second)
	var late [3]Buffer
	for i := range late {
		b.Seal(b.now(), Forward, 0, client4, packet(n, fmt.Sprint("late ", i), 100), &n.buffers)
		late[i] = n.buffers[0]
	}
	if _, err := a.take(late[0].Bytes()); err != nil {
		t.Fatal(err)
	}
	b.restart()
	hello := b.Tick(b.now(), b.say)[0]
	o, err := a.take(hello)
	if err != nil || o.Hello != nil || o.Answer == nil {
		t.Fatalf("%+v, %v", o, err)
	}
	if _, err := a.take(late[1].Bytes()); err != nil {
		t.Fatal("refused before there is another session: ", err)
	}
	o, err = b.take(o.Answer)
	if err != nil || o.Hello == nil || o.Answer == nil {
		t.Fatalf("%+v, %v", o, err)
	}
	o, err = a.take(o.Answer)
	if err != nil || o.Hello == nil {
		t.Fatalf("%+v, %v", o, err)
	}
	if _, err := a.take(late[2].Bytes()); !errors.Is(err, ErrSession) {
		t.Fatal("taken after there is another session: ", err)
	}
	if !a.seal(client4, []byte("at once")) {
		t.Fatal("the side that has proof can't seal")
	}
	n.run(2 * n.delay)
	if b.delivered["at once"] != 1 {
		t.Fatal("what was sealed at once can't be opened")
	}
}

// What is for one edge is of no use at another, nor what was said in one direction in the other.
func TestThreeEdges(t *testing.T) {
	r := ring(t, "secret")
	links := map[[2]uint32]*Link{}
	for _, p := range [][2]uint32{{1, 2}, {2, 1}, {1, 3}, {3, 1}, {2, 3}, {3, 2}} {
		links[p] = NewLink(LinkConfig{Self: p[0], Peer: p[1], Keys: func() *keys.Ring { return r }}, base)
	}
	meet(t, links[[2]uint32{1, 2}], links[[2]uint32{2, 1}], base)
	meet(t, links[[2]uint32{1, 3}], links[[2]uint32{3, 1}], base)
	meet(t, links[[2]uint32{2, 3}], links[[2]uint32{3, 2}], base)
	var into [2]Buffer
	for p, l := range links {
		l.Seal(base, Forward, 0, client4, []byte("packet"), &into)
		packet := bytes.Clone(into[0].Bytes())
		for _, d := range [][]byte{packet, l.Tick(base, Hello{})[0]} {
			for q, to := range links {
				want := error(ErrOther)
				if q[0] == p[1] && q[1] == p[0] {
					want = nil
				}
				f := bytes.Clone(d)
				if want != nil { // with another's name on it
					binary.BigEndian.PutUint32(f[4:], q[1])
					binary.BigEndian.PutUint32(f[8:], q[0])
					if o, err := to.Open(base, f); !errors.Is(err, ErrForged) && !errors.Is(err, ErrSession) {
						t.Fatalf("%v opens what was for %v: %+v, %v", q, p, o, err)
					}
					f = bytes.Clone(d)
				}
				if _, err := to.Open(base, f); !errors.Is(err, want) {
					t.Fatalf("%v opens what was for %v: %v", q, p, err)
				}
			}
		}
	}
}
