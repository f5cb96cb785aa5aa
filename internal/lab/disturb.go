package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nearcast/internal/lab/client"
)

// disturbance is something that takes a region's edge off the network, and its repair.
type disturbance struct {
	region string
	event  func(ctx context.Context) error // returns at once
	repair func(ctx context.Context) error // nil: the edge returns by itself
	// lossless: not even one request may fail until the repair. Otherwise those sent shortly before and after the event may.
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
	load := start(ctx, s.usualLoads(d.region, "/dynamic"))
	defer load.stop()
	err := s.play(ctx, d, &row, load)
	s.add(row, err)
}

func (s *stage) play(ctx context.Context, d disturbance, row *Row, load *running) error {
	if err := pause(ctx, calm); err != nil {
		return err
	}
	event := time.Now()
	if err := d.event(ctx); err != nil {
		return err
	}
	if err := s.lab.awaitRoutes(ctx, d.region, "the withdrawal", notOwn, Prefix4, Prefix6); err != nil {
		return err
	}
	row.Withdrawn = time.Since(event)
	repair := event
	if d.repair != nil {
		if err := s.awaitTakeover(ctx, d.region); err != nil {
			return err
		}
		if err := pause(ctx, confined); err != nil {
			return err
		}
		repair = time.Now()
		if err := d.repair(ctx); err != nil {
			return err
		}
	}
	if err := s.lab.awaitRoutes(ctx, d.region, "its return", own, Prefix4, Prefix6); err != nil {
		return err
	}
	row.Back = time.Since(repair)
	if err := s.awaitOrigin(ctx, d.region); err != nil {
		return err
	}
	if err := pause(ctx, calm); err != nil {
		return err
	}
	load.stop()
	if d.repair == nil {
		repair = time.Now()
	}
	return s.judge(d, row, load, event, repair)
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
func (s *stage) judge(d disturbance, row *Row, load *running, event, repair time.Time) error {
	var errs []error
	for i, samples := range load.samples {
		var before, after []client.Sample
		for _, sample := range samples {
			row.Requests++
			if sample.Repeated {
				row.Repeated++
			}
			if sample.End.Before(repair) {
				before = append(before, sample)
			} else {
				after = append(after, sample)
			}
		}
		failed := client.Failures(before)
		row.Failed += len(failed)
		row.FailedIn += len(client.Failures(after))
		errs = append(errs, s.judgeFailures(d, row, load.loads[i], failed, event))
		if d.repair == nil {
			continue
		}
		first, ok := client.FirstFrom(samples, event, func(c client.Sample) bool { return c.Edge != edgeName(d.region) })
		if !ok {
			errs = append(errs, fmt.Errorf("%s: no request was answered elsewhere", load.loads[i].Name))
		} else if load.loads[i].Config.Fresh {
			row.Elsewhere = max(row.Elsewhere, first.Sub(event)) // of the protocols the slowest
		}
	}
	return errors.Join(errs...)
}

// judgeFailures says which failures may not be.
func (s *stage) judgeFailures(d disturbance, row *Row, load client.Load, failed []client.Sample, event time.Time) error {
	if d.lossless {
		return explain(load, failed, event)
	}
	var late []client.Sample
	for _, f := range failed {
		if f.Start.After(event.Add(row.Withdrawn + confined)) {
			late = append(late, f)
		}
	}
	return explain(load, late, event)
}
