package rescue

import (
	"errors"
	"strings"
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
			if n := a.dropped(dropForged) + a.dropped(dropReplayed) + a.dropped(dropMalformed); n != 0 {
				t.Errorf("%d datagrams were refused", n)
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
			ask(t, r, qc, "hello", nil)
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
