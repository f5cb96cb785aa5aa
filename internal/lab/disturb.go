package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"nearcast/bench"
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
	// silent: the edge goes without resetting anything, so that what waits for it does so for as long as a request may last. Connections that
	// are begun while it is still routed to hold up those requests that wait to share them.
	silent bool
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
	if lerr := load.stop(); err == nil {
		err = lerr
	}
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
	return s.awaitAnswer(ctx, "an answer of the edge of "+next, name, func(r bench.Record) bool { return of(r, next) })
}

// judge fills the row from the records and says what must not have happened.
func (s *stage) judge(d disturbance, row *Row, load *running, event, repair time.Time, moves []time.Time) error {
	var errs []error
	for i, result := range load.results {
		before, after := split(result.Records, repair)
		lost := failures(before)
		row.Requests += len(result.Records)
		row.Failed += len(lost)
		row.FailedIn += len(failures(after))
		row.Astride += len(lost) - len(failures(before, moves...))
		errs = append(errs, judgeFailures(d, row, load.loads[i], result, before, event, moves))
		for _, r := range result.Records {
			if r.Retried && !failed(r) {
				row.Repeated++
			}
		}
		for _, r := range before {
			if !failed(r) {
				row.Longest = max(row.Longest, r.End().Sub(r.Sent()))
			}
		}
		if load.loads[i].options.KeepAlive {
			continue // a kept connection may wait for its edge to come back, as QUIC does while the other end goes on talking
		}
		first, ok := firstFrom(result.Records, event, func(r bench.Record) bool { return !of(r, d.region) })
		if !ok {
			errs = append(errs, fmt.Errorf("%s: no request was answered elsewhere", load.loads[i].name))
		} else {
			row.Elsewhere = max(row.Elsewhere, first.Sub(event)) // of the protocols and families the slowest
		}
	}
	return errors.Join(errs...)
}

// split parts the requests sent before a moment from the others.
func split(records []bench.Record, at time.Time) (before, after []bench.Record) {
	for _, r := range records {
		if r.Sent().Before(at) {
			before = append(before, r)
		} else {
			after = append(after, r)
		}
	}
	return before, after
}

// judgeFailures says which failures may not be.
func judgeFailures(d disturbance, row *Row, l load, result *bench.Result, records []bench.Record, event time.Time, moves []time.Time) error {
	if d.lossless {
		return explain(l, result, failures(records, moves...), event)
	}
	until := event.Add(row.Withdrawn + confined)
	if d.silent {
		until = event.Add(row.Withdrawn + requestTime)
	}
	late := slices.DeleteFunc(failures(records), func(r bench.Record) bool { return !r.Sent().After(until) })
	return explain(l, result, late, event)
}
