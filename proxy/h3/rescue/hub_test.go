package rescue

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// A request goes on while its client's route moves, there and back, and the server sees one and the same client.
func TestMove(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			nodes := fleetOf(t, f, fleetOptions{n: 2})
			r := newRouter(t, f, nodes)
			qc := r.dial(t)
			for i := range 20 {
				ask(t, r, qc, strings.Repeat("x", 1+i*1000), func() { r.to.Store(int32(1 - i%2)) })
			}
			r.to.Store(1)
			ask(t, r, qc, strings.Repeat("y", 100_000), nil)
			a, b := nodes[0], nodes[1]
			if out, in := b.hub.peers[0].metrics.forwarded[Moved].Get(), a.hub.peers[0].metrics.received.Get(); out < 100 || in < 100 {
				t.Errorf("%d packets were sent on, %d came", out, in)
			}
			if r.from[1].Load() != 0 {
				t.Errorf("%d answers came through the other edge, which should come directly", r.from[1].Load())
			}
			moves := b.hub.Status().Moves
			if len(moves) != 1 || moves[0].Client.Addr().Is4() != !strings.Contains(f.client, ":") || moves[0].From != a.hub.cfg.Self.Address || moves[0].Packets < 100 {
				t.Errorf("the moves are %v", moves)
			}
			for d := range drops { // greetings may overtake each other
				if n := a.dropped(d) + b.dropped(d); n != 0 && d != dropReplayed {
					t.Errorf("%d datagrams were dropped: %v", n, d)
				}
			}
		})
	}
}

// When the owner dies, its clients that come through another edge are told at once, though they say nothing.
func TestDeath(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			nodes := fleetOf(t, f, fleetOptions{n: 2})
			r := newRouter(t, f, nodes)
			qc := r.dial(t)
			r.to.Store(1)
			for range 5 { // a client takes up another connection ID after the handshake
				ask(t, r, qc, "hello", nil)
			}
			await(t, "flow", func() bool { return nodes[1].hub.Status().Flows == 1 })
			r.lose.Store(true)
			nodes[0].kill()
			isReset(t, qc)
			if n := nodes[1].hub.metrics.resets[silence].Get(); n != 1 {
				t.Errorf("%d resets were sent", n)
			}
			if s := nodes[1].hub.Status(); s.Peers[0].Reach != "dead" || s.Flows != 0 {
				t.Errorf("the status is %+v", s)
			}
		})
	}
}

// A client that comes only after the owner's death is told when it says something.
func TestLateAfterDeath(t *testing.T) {
	f := families[0]
	nodes := fleetOf(t, f, fleetOptions{n: 2})
	r := newRouter(t, f, nodes)
	qc := r.dial(t)
	ask(t, r, qc, "hello", nil)
	nodes[0].hub.SetState(Gone)
	await(t, "farewell", func() bool { return nodes[1].hub.peers[0].view.Load().over(nodes[0].place.Instance) == gone })
	r.to.Store(1)
	s, err := qc.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	s.Write([]byte(strings.Repeat("x", 200)))
	isReset(t, qc)
	if n := nodes[1].hub.metrics.resets[gone].Get(); n == 0 {
		t.Error("no reset was counted")
	}
}

func isReset(t *testing.T, qc *quic.Conn) {
	t.Helper()
	select {
	case <-qc.Context().Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the connection goes on")
	}
	var reset *quic.StatelessResetError
	if _, err := qc.OpenStream(); !errors.As(err, &reset) {
		t.Fatalf("the connection ended with %v", err)
	}
}

// Three edges, two clients: each client's packets come anywhere, all the time, as where a router spreads them packet by packet.
func TestThreeEdges(t *testing.T) {
	for _, reply := range []Reply{ReplyDirect, ReplyTunnel} {
		nodes := fleetOf(t, families[0], fleetOptions{n: 3, reply: reply, sameplace: true})
		var clients sync.WaitGroup
		for c := range 2 {
			r := newRouter(t, families[0], nodes)
			r.to.Store(int32(c))
			qc := r.dial(t)
			clients.Go(func() {
				for i := range 30 {
					ask(t, r, qc, strings.Repeat("x", 1+i*300), func() { r.to.Store(int32(c+i) % 3) })
				}
			})
		}
		clients.Wait()
		if n := nodes[2].hub.peers[0].metrics.forwarded[ECMP].Get() + nodes[2].hub.peers[1].metrics.forwarded[ECMP].Get(); n == 0 {
			t.Error("nothing was sent on")
		}
		if n := nodes[2].hub.Status().Flows; n != 2 {
			t.Errorf("there are %d flows, want one of each client", n)
		}
	}
}

// An edge that was started anew has ended its connections: their clients are told wherever they come.
func TestStartedAnew(t *testing.T) {
	nodes := fleetOf(t, families[0], fleetOptions{n: 2})
	r := newRouter(t, families[0], nodes)
	qc := r.dial(t)
	r.to.Store(1)
	for range 5 {
		ask(t, r, qc, "hello", nil)
	}
	await(t, "flow", func() bool { return nodes[1].hub.Status().Flows == 1 })
	old := nodes[0]
	old.kill()
	anew := &node{t: t, udp: listen(t, families[0], old.port), port: old.port}
	cfg := old.hub.cfg
	cfg.Instance++
	anew.open(cfg, []*node{anew, nodes[1]})
	isReset(t, qc)
	r2 := newRouter(t, families[0], []*node{anew, nodes[1]})
	qc = r2.dial(t)
	anew.awaitPeers()
	r2.to.Store(1)
	ask(t, r2, qc, "hello again", nil)
}

// A drained edge is told apart from a route that moved by itself, and other limits than ours, or another day, are warned of once.
func TestDrainedAndDifferent(t *testing.T) {
	var log lockedLog
	nodes := fleetOf(t, families[0], fleetOptions{n: 2, log: slog.New(slog.NewTextHandler(&log, nil)), params: func(edge int) [8]byte { return [8]byte{byte(edge)} }})
	r := newRouter(t, families[0], nodes)
	qc := r.dial(t)
	nodes[0].hub.SetState(Draining)
	await(t, "word of it", func() bool { return nodes[1].hub.peers[0].view.Load().state == Draining })
	r.to.Store(1)
	ask(t, r, qc, "hello", nil)
	if n := nodes[1].hub.peers[0].metrics.forwarded[Drained].Get(); n == 0 {
		t.Error("no packet was sent on for a drained edge")
	}
	await(t, "warning", func() bool {
		return nodes[1].hub.Status().Peers[0].ParametersDiffer && nodes[0].hub.Status().Peers[0].ParametersDiffer
	})
	await(t, "line", func() bool { return log.count("other limits for HTTP/3") == 2 })
	nodes[1].hub.greet(time.Now())
	nodes[0].hub.greet(time.Now())
	if n := log.count("other limits for HTTP/3"); n != 2 {
		t.Errorf("the warning is there %d times, want once from each", n)
	}
	if n := log.count("clients of another edge arrive here"); n != 1 {
		t.Errorf("the move is there %d times", n)
	}
}

type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedLog) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// What is lost in one direction only: the edge that can't reach the owner, though it hears it, tells those clients who come to it to connect anew.
func TestOneWay(t *testing.T) {
	nodes := fleetOf(t, families[0], fleetOptions{n: 2, deadAfter: time.Second})
	stays, moves := newRouter(t, families[0], nodes), newRouter(t, families[0], nodes)
	home, away := stays.dial(t), moves.dial(t)
	moves.to.Store(1)
	for range 5 {
		ask(t, moves, away, "hello", nil)
	}
	await(t, "flow", func() bool { return nodes[1].hub.Status().Flows == 1 })
	moves.lose.Store(true)
	nodes[0].deaf.Store(true)
	isReset(t, away)
	if n := nodes[1].hub.metrics.resets[deafness].Get(); n != 1 {
		t.Errorf("%d resets were sent", n)
	}
	ask(t, stays, home, "at home nothing happens", nil)
	nodes[0].deaf.Store(false)
	nodes[0].awaitPeers()
	nodes[1].awaitPeers()
	stays.to.Store(1)
	ask(t, stays, home, "healed", nil)
}
