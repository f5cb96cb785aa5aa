package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/failover"
	"nearcast/internal/lab/netns"
)

// after is how long the load goes on once the route has moved: a connection that was begun in vain is tried anew after a second.
const after = 1500 * time.Millisecond

// measured is a run under way: the load of a region's client and a watch on its router.
type measured struct {
	*stage
	region string
	load   *running
	watch  *netns.RouteWatch
	sample failover.Sample
}

// measure runs play under load and with a watch on the region's router, and returns what play has filled in.
func (s *stage) measure(ctx context.Context, name string, play func(ctx context.Context, m *measured) error) (failover.Sample, error) {
	watch, err := Namespace(Router, name).WatchRoutes()
	if err != nil {
		return nil, err
	}
	defer watch.Close()
	m := &measured{stage: s, region: name, watch: watch, sample: failover.Sample{}, load: start(ctx, s.usualLoads(name, "/dynamic"))}
	defer m.load.stop()
	if err := pause(ctx, calm); err != nil {
		return nil, err
	}
	return m.sample, play(ctx, m)
}

// playNothing has nothing happen, which shows what the measuring itself costs.
func playNothing(ctx context.Context, s *stage, name string) (failover.Sample, error) {
	return s.measure(ctx, name, func(ctx context.Context, m *measured) error {
		event := time.Now()
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
		if err := m.load.stop(); err != nil {
			return err
		}
		moves := movesAfter(event, m.watch)
		s.lost = readFailures(m.sample, m.load, marks{region: name, event: event, moves: moves})
		m.sample[failover.Moves] = countMoves(moves)
		return nil
	})
}

// playMove plays a disturbance until the clients are served elsewhere, and undoes it when the load has ended.
func (s *stage) playMove(ctx context.Context, d disturbance) (failover.Sample, error) {
	sample, err := s.measure(ctx, d.region, func(ctx context.Context, m *measured) error {
		event := time.Now()
		if err := d.event(ctx); err != nil {
			return err
		}
		moved, err := m.watch.Await(ctx, event, Prefix4, Prefix6)
		if err != nil {
			return fmt.Errorf("the route did not move: %w", err)
		}
		m.sample[failover.Withdrawn] = ms(moved.Sub(event))
		if err := pause(ctx, after); err != nil {
			return err
		}
		if err := m.load.stop(); err != nil {
			return err
		}
		s.lost = readFailures(m.sample, m.load, marks{region: d.region, event: event, abrupt: !d.lossless, moves: movesAfter(event, m.watch)})
		return m.elsewhere(event)
	})
	if rerr := d.repair(ctx); err == nil {
		err = rerr
	}
	return sample, err
}

// elsewhere fills in when the next region answered.
func (m *measured) elsewhere(event time.Time) error {
	next := nextTo(m.region)
	took, without := readElsewhere(m.load, event, roundTrip(m.region, next), func(r bench.Record) bool { return !of(r, m.region) })
	if len(without) > 0 {
		return fmt.Errorf("no answer from another region: %s", strings.Join(without, ", "))
	}
	m.sample[failover.Elsewhere] = ms(took)
	return nil
}

// playOrigins kills the region's origins under load.
func playOrigins(ctx context.Context, s *stage, name string) (failover.Sample, error) {
	sample, err := s.measure(ctx, name, func(ctx context.Context, m *measured) error {
		event := time.Now()
		if err := s.lab.KillOrigin(ctx, name); err != nil {
			return err
		}
		if err := pause(ctx, 3*time.Second); err != nil { // more than the probes need
			return err
		}
		if err := m.load.stop(); err != nil {
			return err
		}
		moves := movesAfter(event, m.watch)
		s.lost = readFailures(m.sample, m.load, marks{region: name, event: event, abrupt: true, moves: moves})
		m.sample[failover.Moves] = countMoves(moves)
		for i, result := range m.load.results {
			if _, ok := firstFrom(result.Records, event, func(r bench.Record) bool { return of(r, name) && r.Field == nextTo(name) }); !ok {
				return fmt.Errorf("%s: no answer from the origin of %s", m.load.loads[i].name, nextTo(name))
			}
		}
		return nil
	})
	return sample, errors.Join(err, s.lab.StartOrigin(name), s.awaitOrigin(ctx, name))
}

// playReturn has the region's edge come back while its clients are served elsewhere.
func playReturn(ctx context.Context, s *stage, name string) (failover.Sample, error) {
	if err := s.lab.StopEdge(ctx, edgeName(name)); err != nil {
		return nil, err
	}
	if err := s.awaitTakeover(ctx, name); err != nil {
		return nil, err
	}
	return s.measure(ctx, name, func(ctx context.Context, m *measured) error {
		event := time.Now()
		if err := s.lab.StartEdge(edgeName(name), EdgeOptions{}); err != nil {
			return err
		}
		if _, err := m.watch.Await(ctx, event, Prefix4, Prefix6); err != nil {
			return fmt.Errorf("the route did not come back: %w", err)
		}
		if err := s.lab.awaitRoutes(ctx, name, "the edge's routes", ownBy(1), Prefix4, Prefix6); err != nil {
			return err
		}
		if err := pause(ctx, after); err != nil {
			return err
		}
		if err := m.load.stop(); err != nil {
			return err
		}
		s.lost = readFailures(m.sample, m.load, marks{region: name, event: event, moves: movesAfter(event, m.watch)})
		took, without := readElsewhere(m.load, event, 0, func(r bench.Record) bool { return of(r, name) })
		if len(without) > 0 {
			return fmt.Errorf("no answer from the edge that came back: %s", strings.Join(without, ", "))
		}
		m.sample[failover.Recovered] = ms(took)
		return nil
	})
}

// playRouterRestart restarts the region's router and sees its session with the edge come back.
func playRouterRestart(ctx context.Context, s *stage, name string) (failover.Sample, error) {
	return s.decided(ctx, name, func(sample failover.Sample) error {
		if err := s.lab.RestartRouter(ctx, name); err != nil {
			return err
		}
		there := time.Now()
		if err := s.awaitSession(ctx, name); err != nil {
			return err
		}
		sample[failover.SessionBack] = ms(time.Since(there))
		r, err := region(name)
		if err != nil {
			return err
		}
		return s.lab.awaitRegion(ctx, r, 1)
	})
}

// awaitSession returns once the router has a session with the region's edge.
func (s *stage) awaitSession(ctx context.Context, name string) error {
	return await(ctx, "the session of "+edgeName(name), func() (bool, string, error) {
		session, err := s.lab.Session(ctx, edgeName(name))
		return err == nil && session.Established, "it is " + session.State, err
	})
}

// playFlap resets the session ten times in a minute, or when s is short three times in succession.
func playFlap(ctx context.Context, s *stage, name string) (failover.Sample, error) {
	resets, every := 10, 6*time.Second
	if s.short {
		resets, every = 3, 0
	}
	return s.decided(ctx, name, func(sample failover.Sample) error {
		for range resets {
			reset := time.Now()
			before, err := s.lab.Session(ctx, edgeName(name))
			if err != nil {
				return err
			}
			if err := s.lab.ClearSession(ctx, edgeName(name)); err != nil {
				return err
			}
			err = await(ctx, "another session of "+edgeName(name), func() (bool, string, error) {
				now, err := s.lab.Session(ctx, edgeName(name))
				return err == nil && now.Established && !now.Same(before), "it is " + now.State, err
			})
			if err != nil {
				return err
			}
			sample[failover.SessionBack] = max(sample[failover.SessionBack], ms(time.Since(reset)))
			if err := pause(ctx, max(every-time.Since(reset), 600*time.Millisecond)); err != nil { // less and BIRD's sessions look the same
				return err
			}
		}
		return s.lab.awaitRoutes(ctx, name, "the edge's routes", ownBy(1), Prefix4, Prefix6)
	})
}

// decided runs play and fills in what the region's edge decided about its routes meanwhile.
func (s *stage) decided(ctx context.Context, name string, play func(sample failover.Sample) error) (failover.Sample, error) {
	edge := edgeName(name)
	process, err := s.lab.EdgeProcess(edge)
	if err != nil {
		return nil, err
	}
	before, err := s.decisions(ctx, edge)
	if err != nil {
		return nil, err
	}
	sample := failover.Sample{}
	if err := play(sample); err != nil {
		return sample, err
	}
	if now, err := s.lab.EdgeProcess(edge); err != nil || now != process {
		return sample, errors.Join(err, fmt.Errorf("%s is process %d, it was %d", edge, now.PID, process.PID))
	}
	now, err := s.decisions(ctx, edge)
	if err != nil {
		return sample, err
	}
	sample[failover.Withdrawals], sample[failover.Announcements] = now.since(before)
	return sample, nil
}

// playControlPlane has a second neighbor of the edge send it a table of routes and malformed messages.
func playControlPlane(ctx context.Context, s *stage, name string) (failover.Sample, error) {
	r, err := region(name)
	if err != nil {
		return nil, err
	}
	flood := floodOf(s.short)
	rogue4, _, _, _ := r.addresses(Rogue)
	l, err := Namespace(Rogue, name).Listen(ctx, "tcp4", netip.AddrPortFrom(rogue4, 179).String())
	if err != nil {
		return nil, err
	}
	defer l.Close()
	edge, err := s.lab.EdgeProcess(edgeName(name))
	if err != nil {
		return nil, err
	}
	before, err := s.lab.Session(ctx, edgeName(name))
	if err != nil {
		return nil, err
	}
	sample, err := s.decided(ctx, name, func(decisions failover.Sample) error {
		inner, err := s.measure(ctx, name, func(ctx context.Context, m *measured) error {
			return m.flood(ctx, l, edge, flood, rogue4)
		})
		for metric, v := range inner {
			decisions[metric] = v
		}
		return err
	})
	if err != nil {
		return sample, err
	}
	if now, err := s.lab.Session(ctx, edgeName(name)); err != nil || !now.Same(before) {
		return sample, errors.Join(err, fmt.Errorf("the session with the router is %+v, it was %+v", now, before))
	}
	return sample, nil
}
