package tunnel

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"nearcast/fleet/keys"
)

// carry has packets go both ways for a time; each must arrive.
func (n *network) carry(name string, d time.Duration) {
	n.t.Helper()
	sent := [2][]string{}
	for end := n.now + d; n.now < end; {
		for i, e := range n.edges {
			p := packet(n, name, 300)
			if !e.seal(client4, p) {
				n.t.Fatalf("%s: edge %d could not seal at %v: %+v", name, i, n.now, e.Peer(e.now()))
			}
			sent[i] = append(sent[i], string(p))
		}
		n.run(3 * time.Millisecond)
	}
	n.run(n.delay + n.jitter)
	for i := range sent {
		for j, p := range sent[i] {
			if n.edges[1-i].delivered[p] != 1 {
				n.t.Fatalf("%s: packet %d of %d of edge %d did not arrive", name, j, len(sent[i]), i)
			}
		}
	}
}

// A new epoch begins without a gap, whatever the clocks say, and with packets that overtake each other.
func TestEpochs(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Second, -5 * time.Minute, 30 * time.Minute} {
		n := newNetwork(t, 1)
		n.keep = true
		n.jitter = 10 * time.Millisecond
		n.edges[1].skew = skew
		n.edges[0].restart()
		n.edges[1].restart()
		n.run(time.Second)
		first := [2]uint32{n.edges[0].sender.Load().outID, n.edges[1].sender.Load().outID}
		for range 3 {
			for _, e := range n.edges { // to shortly before midnight on its clock, which the other's stands still for
				epoch := keys.At(e.now())
				left := (epoch + 1).Start().Sub(e.now()) - 500*time.Millisecond
				if left > 0 {
					n.pass(left)
				}
				n.carry(fmt.Sprint("midnight of ", e.self, ", skew ", skew), time.Second)
				if keys.At(e.now()) != epoch+1 {
					t.Fatal("not midnight")
				}
			}
		}
		for i, e := range n.edges {
			if e.sender.Load().outID == first[i] || e.own.sessions[0].trunk.epoch != keys.At(e.now()) {
				t.Fatal("the same session after days")
			}
			n.replay(e, n.seen)
		}
		n.unique()
	}
}

// pass lets time pass in large steps, with little said.
func (n *network) pass(d time.Duration) {
	n.run(100 * time.Millisecond)
	n.flying = nil
	n.now += max(d-time.Second, 0)
	for _, e := range n.edges {
		e.next = n.now
	}
	n.run(min(d, time.Second) - 100*time.Millisecond)
}

func TestSecretsChange(t *testing.T) {
	n := newNetwork(t, 1)
	n.keep = true
	a, b := n.edges[0], n.edges[1]
	n.run(time.Second)
	n.carry("one secret", 200*time.Millisecond)
	for i, step := range []struct {
		e       *edge
		secrets []string
	}{
		{a, []string{"secret", "new"}}, {b, []string{"secret", "new"}},
		{b, []string{"new", "secret"}}, {a, []string{"new", "secret"}},
		{a, []string{"new"}}, {b, []string{"new"}},
	} {
		step.e.ring = ring(t, step.secrets...)
		n.carry(fmt.Sprint("step ", i), 500*time.Millisecond)
	}
	for _, e := range n.edges {
		if e.Counters().Sessions != 2 || e.Peer(e.now()).Restarts != 0 {
			t.Fatalf("%+v", e.Counters())
		}
		n.replay(e, n.seen)
	}
	// Changes that come faster than they can be answered.
	a.ring, b.ring = ring(t, "new", "other"), ring(t, "new", "other")
	n.run(time.Second)
	for i := range 20 {
		a.ring = ring(t, []string{"other", "new"}[i%2], []string{"new", "other"}[i%2])
		a.tick()
		for range 5 {
			if !a.seal(client4, packet(n, "hasty", 100)) || !b.seal(client4, packet(n, "hasty", 100)) {
				t.Fatal("can't seal")
			}
			n.run(time.Millisecond)
		}
	}
	n.run(n.delay)
	for _, e := range n.edges {
		hasty := 0
		for p := range e.delivered {
			if strings.HasPrefix(p, "hasty") {
				hasty++
			}
		}
		if hasty != 100 {
			t.Fatalf("%d of 100 packets arrived at edge %d", hasty, e.self)
		}
	}
	a.ring = ring(t, "new")
	n.run(3 * time.Second)
	sessions := b.Counters().Sessions
	// The same secrets read again change nothing.
	a.ring = ring(t, "new")
	n.carry("the same", 500*time.Millisecond)
	if c := b.Counters().Sessions; c != sessions {
		t.Fatalf("%d sessions", c)
	}
	n.unique()
}

// A secret that is taken away ends what was begun with it, at once; back again, what was opened is not opened again.
func TestSecretTakenAway(t *testing.T) {
	n := newNetwork(t, 1)
	n.keep = true
	a, b := n.edges[0], n.edges[1]
	n.run(time.Second)
	n.carry("before", 100*time.Millisecond)
	a.ring = ring(t, "another")
	a.tick()
	b.Seal(b.now(), Forward, 0, client4, []byte("packet"), &n.buffers)
	if _, err := a.take(n.buffers[0].Bytes()); !errors.Is(err, ErrSession) {
		t.Fatal("opened: ", err)
	}
	n.run(2 * time.Second)
	if p, q := a.Peer(a.now()), b.Peer(b.now()); p.Up || q.Up || a.seal(client4, []byte("p")) || b.seal(client4, []byte("p")) {
		t.Fatalf("%+v %+v", p, q)
	}
	n.replay(a, n.seen)
	a.ring = ring(t, "secret")
	n.run(300 * time.Millisecond)
	n.replay(a, n.seen)
	n.replay(b, n.seen)
	n.mustExchange("back again")
	n.unique()
	// One that only the peer begins sessions with.
	a.ring, b.ring = ring(t, "ours", "secret"), ring(t, "secret", "ours")
	n.run(time.Second)
	n.carry("two", 100*time.Millisecond)
	a.ring = ring(t, "ours")
	n.run(time.Second)
	if a.Peer(a.now()).Up {
		t.Fatal("up")
	}
	a.ring = ring(t, "ours", "secret")
	n.run(300 * time.Millisecond)
	n.mustExchange("two again")
	n.replay(a, n.seen)
	// A secret of ours that the peer gets days later.
	a.ring = ring(t, "late", "secret")
	n.run(time.Second)
	for range 4 {
		n.pass(keys.Length)
	}
	b.ring = ring(t, "secret", "late")
	n.run(5 * time.Second)
	n.mustExchange("late")
	n.unique()
}

// Another session after so many datagrams.
func TestManySealed(t *testing.T) {
	n := newNetwork(t, 1)
	a := n.edges[0]
	n.run(time.Second)
	id := a.sender.Load().outID
	a.sequence.Add(maxSealed)
	n.carry("more", 300*time.Millisecond)
	if a.sender.Load().outID == id {
		t.Fatal("the same session")
	}
	a.sequence.Store(maxSequence)
	if a.seal(client4, []byte("p")) {
		t.Fatal("a sequence number that does not fit")
	}
}
