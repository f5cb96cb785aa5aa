package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"nearcast/internal/lab/client"
	"nearcast/internal/lab/netns"
)

// disturbance is something that takes a region's edge off the network until it is repaired.
type disturbance struct {
	region string
	event  func(ctx context.Context) error // returns at once
	repair func(ctx context.Context) error
	// lossless: until the repair no request may fail but those under way in the very moment in which the router sends packets another
	// way, which nothing at the edge can save. Otherwise those sent shortly before and after the event may.
	lossless bool
}

const (
	// confined is how long after the route is gone from the router a request may still fail: it was under way on the old one.
	confined = 2 * time.Second
	calm     = 700 * time.Millisecond // of load before the event and after everything
)

// disturb plays a disturbance under load and adds a row with what was measured.
func (s *stage) disturb(ctx context.Context, d disturbance) {
	row := s.newRow(d.region)
	watch, err := Namespace(Router, d.region).WatchRoutes()
	if err != nil {
		s.add(row, err)
		return
	}
	defer watch.Close()
	load := start(ctx, s.usualLoads(d.region, "/dynamic"))
	defer load.stop()
	event, repair, err := s.play(ctx, d, &row)
	load.stop()
	if err == nil {
		err = s.judge(d, &row, load, event, repair, movesBefore(repair, watch))
	}
	s.add(row, err)
}

// play has the event and the repair happen and measures the router. It returns when each was.
func (s *stage) play(ctx context.Context, d disturbance, row *Row) (event, repair time.Time, err error) {
	if err := pause(ctx, calm); err != nil {
		return event, repair, err
	}
	event = time.Now()
	if err := d.event(ctx); err != nil {
		return event, repair, err
	}
	if err := s.lab.awaitRoutes(ctx, d.region, "the withdrawal", notOwn, Prefix4, Prefix6); err != nil {
		return event, repair, err
	}
	row.Withdrawn = time.Since(event)
	if err := s.awaitTakeover(ctx, d.region); err != nil {
		return event, repair, err
	}
	if err := pause(ctx, confined); err != nil {
		return event, repair, err
	}
	repair = time.Now()
	if err := d.repair(ctx); err != nil {
		return event, repair, err
	}
	return event, repair, s.awaitReturn(ctx, d.region, repair, row)
}

// awaitReturn returns once the region's edge is announced and answers again.
func (s *stage) awaitReturn(ctx context.Context, name string, since time.Time, row *Row) error {
	if err := s.lab.awaitRoutes(ctx, name, "its return", own, Prefix4, Prefix6); err != nil {
		return err
	}
	row.Back = time.Since(since)
	if err := s.awaitOrigin(ctx, name); err != nil {
		return err
	}
	return pause(ctx, calm)
}

// movesBefore are the moments until the repair in which the router began to send packets for the service another way.
func movesBefore(repair time.Time, w *netns.RouteWatch) []time.Time {
	var at []time.Time
	for _, p := range []netip.Prefix{Prefix4, Prefix6} {
		for _, c := range w.Changes(p) {
			if c.At.Before(repair) {
				at = append(at, c.At)
			}
		}
	}
	return at
}

// awaitTakeover returns once the router leads to the nearest other region and its edge answers.
func (s *stage) awaitTakeover(ctx context.Context, name string) error {
	next := nextTo(name)
	if err := s.lab.awaitRoutes(ctx, name, "the way to "+next, leadsTo(name, next), Prefix4, Prefix6); err != nil {
		return err
	}
	c := client.New(s.client(name, client.H1, Service4, true))
	defer c.Close()
	return await(ctx, "an answer of the edge of "+next, func() (bool, string, error) {
		res, err := c.Get(ctx, "/dynamic")
		return err == nil && res.Edge == edgeName(next), fmt.Sprintf("status %d from %s", res.Status, res.Edge), err
	})
}

// judge fills the row from the samples and says what must not have happened.
func (s *stage) judge(d disturbance, row *Row, load *running, event, repair time.Time, moves []time.Time) error {
	var errs []error
	for i, samples := range load.samples {
		var before, after []client.Sample
		for _, sample := range samples {
			if sample.Repeated {
				row.Repeated++
			}
			if sample.Start.Before(repair) {
				before = append(before, sample)
			} else {
				after = append(after, sample)
			}
		}
		failed := client.Failures(before)
		row.Requests += len(samples)
		row.Failed += len(failed)
		row.FailedIn += len(client.Failures(after))
		row.Astride += len(failed) - len(client.Failures(before, moves...))
		errs = append(errs, judgeFailures(d, row, load.loads[i], before, event, moves))
		for _, sample := range before {
			if !sample.Failed() {
				row.Longest = max(row.Longest, sample.End.Sub(sample.Start))
			}
		}
		if !load.loads[i].Config.Fresh {
			continue // a kept connection may wait for its edge to come back, as QUIC does while the other end goes on talking
		}
		first, ok := client.FirstFrom(samples, event, func(c client.Sample) bool { return c.Edge != edgeName(d.region) })
		if !ok {
			errs = append(errs, fmt.Errorf("%s: no request was answered elsewhere", load.loads[i].Name))
		} else {
			row.Elsewhere = max(row.Elsewhere, first.Sub(event)) // of the protocols the slowest
		}
	}
	return errors.Join(errs...)
}

// judgeFailures says which failures may not be.
func judgeFailures(d disturbance, row *Row, load client.Load, samples []client.Sample, event time.Time, moves []time.Time) error {
	if d.lossless {
		return explain(load, client.Failures(samples, moves...), event)
	}
	var late []client.Sample
	for _, f := range client.Failures(samples) {
		if f.Start.After(event.Add(row.Withdrawn + confined)) {
			late = append(late, f)
		}
	}
	return explain(load, late, event)
}
