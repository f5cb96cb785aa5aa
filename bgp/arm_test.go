package bgp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// A neighbor that looks whether a connection is there holds it for a moment. A newer one that comes just then must not wait for it to be
// taken: when the edge stops nobody takes one any more, and the arm would never end.
func TestOffersNeverWait(t *testing.T) {
	a := newArm(&fakeTable{}, netip.Addr{}, &NeighborConfig{}, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			ctx, cancel := context.WithCancel(t.Context())
			looked := make(chan struct{})
			go func() {
				defer close(looked)
				for a.wait(ctx) == nil {
				}
			}()
			for range 1000 {
				a.offer(new(net.TCPConn))
			}
			cancel()
			a.offer(new(net.TCPConn))
			<-looked
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("an offer waits for a taker")
	}
}

// noTable has no room for a peer.
type noTable struct{ fakeTable }

func (*noTable) addPeer(netip.Addr, uint16, *NeighborConfig) error { return errors.New("no room") }

func TestArmComplainsRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		a := newArm(&noTable{}, netip.MustParseAddr("127.0.1.1"), &NeighborConfig{Address: netip.MustParseAddr("192.0.2.1"), Port: 179},
			slog.New(slog.NewTextHandler(&log, nil)))
		go a.run(t.Context())
		time.Sleep(10 * logEvery)
		if n := strings.Count(log.String(), "can't be prepared for neighbor 192.0.2.1"); n < 5 || n > 15 {
			t.Errorf("%d lines in %s, want about one in %s", n, 10*logEvery, logEvery)
		}
	})
}

func TestAnArmThatIsNeverReadyIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		s, err := NewSpeaker(testConfig(netip.MustParseAddrPort("127.0.0.1:1")), slog.New(slog.NewTextHandler(&log, nil)), metrics.NewSet())
		if err != nil {
			t.Fatal(err)
		}
		n := s.neighbors[0]
		for i := range n.arms {
			n.arms[i] = newArm(&fakeTable{}, armAddr(0, i), n.config, n.log)
		}
		go n.run(t.Context())
		time.Sleep(3 * armTimeout)
		if !log.has("the embedded speaker was not ready within") {
			t.Errorf("nothing says why there is no session; log: %s", log.String())
		}
		if len(n.arms[0].again) != 1 || len(n.arms[1].again) != 1 {
			t.Error("the arms are not made anew")
		}
	})
}
