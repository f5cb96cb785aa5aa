package bgp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp/bfd"
)

// errBFDDown is why a session is ended whose BFD session was lost.
var errBFDDown = errors.New("nearcast: BFD down")

// holdBack is how long no new BGP session is begun after one that BFD ended, unless BFD is up before. BFD comes up within two or three
// seconds of the path; a router that was told meanwhile to do without BFD gets its session all the same, RFC 5882 section 4.2.
const holdBack = 10 * time.Second

// bfdSettle is how long after the beginning of a BGP session a loss of BFD is not held against it. Some routers, BIRD among them, end and make
// their BFD session together with each BGP session, and say so within a second: that is the end of what was before.
const bfdSettle = 2 * time.Second

// newBFD prepares the BFD sessions of the neighbors that have one; nil: none has. They live by the same lease as the BGP sessions: when it runs
// out, the routers are told that BFD is down and drop the routes at once.
func (s *Speaker) newBFD(set *metrics.Set) (*bfd.Engine, error) {
	o := bfd.Options{Alive: s.Alive, Log: s.log, Set: set}
	var with []*neighbor
	for _, n := range s.neighbors {
		if n.config.BFD == nil {
			continue
		}
		with = append(with, n)
		o.Peers = append(o.Peers, bfd.Peer{
			Name: n.name, Address: n.config.Address, Local: n.config.LocalAddress, Multihop: n.config.Multihop > 0 || n.config.BFD.Multihop, Config: *n.config.BFD,
		})
	}
	if len(with) == 0 {
		return nil, nil
	}
	e, err := bfd.New(o)
	if err != nil {
		return nil, fmt.Errorf("anycast.bgp.neighbors[].bfd: %w", err)
	}
	for i, n := range with {
		n.bfd = e.Session(i)
	}
	return e, nil
}

// runBFD keeps the BFD sessions until the function that it returns is called, which is after the BGP sessions are closed: AdminDown before
// that would say to a router that all is well without BFD.
func (s *Speaker) runBFD() (stop func()) {
	if s.bfd == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.bfd.Run(ctx) }) // it fails only when it is run twice
	return func() {
		cancel()
		running.Wait()
	}
}

// watchBFD ends a session when its BFD session is lost from now on. What was lost before is no matter of this session's, and what never
// was up is no loss: a router without BFD has its BGP session (RFC 5882 section 4.2). The function returned waits for the end of the watch.
func (n *neighbor) watchBFD(ctx context.Context, end context.CancelCauseFunc) (wait func()) {
	if n.bfd == nil || n.config.BFD.OnDown != bfd.OnDownClose {
		return func() {}
	}
	begun, before := time.Now(), n.bfd.Failures()
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			switch now := n.bfd.Failures(); {
			case now == before:
			case time.Since(begun) < n.speaker.bfdSettle:
				before = now
			default:
				end(errBFDDown)
				return
			}
			select {
			case <-n.bfd.Changed():
			case <-ctx.Done():
				return
			}
		}
	})
	return watching.Wait
}

// useBFD says whether a BGP session hangs on the BFD session.
func (n *neighbor) useBFD(yes bool) {
	if n.bfd != nil {
		n.bfd.Use(yes)
	}
}

// awaitBFD waits for BFD to be up again after it ended a session, at most for holdBack.
func (n *neighbor) awaitBFD(ctx context.Context) {
	if n.bfd == nil || n.config.BFD.OnDown != bfd.OnDownClose {
		return
	}
	if n.bfd.Up() { // the router has noticed first, and its packet that says so is on its way
		pause(ctx, betterTime)
	}
	if n.bfd.Up() {
		return
	}
	n.log.Info("neighbor "+n.name+": no new session until BFD is up again", "at_most", holdBack)
	late := time.NewTimer(holdBack)
	defer late.Stop()
	for !n.bfd.Up() {
		select {
		case <-n.bfd.Changed():
		case <-late.C:
			n.log.Warn("neighbor "+n.name+": BFD does not come up again; trying to have a session without it", "waited", holdBack)
			return
		case <-ctx.Done():
			return
		}
	}
}
