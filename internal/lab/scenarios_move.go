package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/failover"
)

// stopped: SIGSTOP. Only the router can notice, and the process goes on as if nothing had been.
func stopped(ctx context.Context, s *stage) {
	for _, name := range bothDaemons() {
		s.disturb(ctx, disturbance{
			region: name, silent: true,
			event:  func(context.Context) error { return s.lab.SignalEdge(edgeName(name), syscall.SIGSTOP) },
			repair: func(context.Context) error { return s.lab.SignalEdge(edgeName(name), syscall.SIGCONT) },
		})
	}
}

// linkCut: the edge's link loses everything, and neither end is told.
func linkCut(ctx context.Context, s *stage) {
	for _, name := range bothDaemons() {
		s.disturb(ctx, disturbance{
			region: name, silent: true,
			event:  func(ctx context.Context) error { return s.lab.CutEdge(ctx, edgeName(name)) },
			repair: func(ctx context.Context) error { return s.lab.MendEdge(ctx, edgeName(name)) },
		})
	}
}

// played is a scenario that plays a measured event once, and judges it by those of its targets that do not depend on how fast the machine is.
func played(name string) func(context.Context, *stage) {
	return func(ctx context.Context, s *stage) {
		chosen, err := chooseEvents([]string{name})
		if err != nil {
			s.row("", err)
			return
		}
		s.short = true
		for _, name := range chosen[0].regions {
			row := s.newRow(name)
			s.fill(&row, func() error { return s.playAndJudge(ctx, chosen[0], &row) })
		}
	}
}

func (s *stage) playAndJudge(ctx context.Context, e event, row *Row) error {
	if err := s.prepare(ctx, e, row.Region); err != nil {
		return err
	}
	run := failover.Run{Event: e.Name, Region: row.Region}
	if run.Sample, run.Err = s.playOnce(ctx, e, row.Region); run.Err == nil && e.restore != nil {
		run.Err = e.restore(ctx, s, row.Region)
	}
	row.read(run.Sample)
	errs := []error{run.Err}
	for _, t := range e.Targets {
		if v := t.Judge([]failover.Run{run}); !t.Timed && !v.Met {
			errs = append(errs, errors.New(v.String()))
		}
	}
	if errors.Join(errs...) != nil {
		errs = append(errs, s.lost)
	}
	return errors.Join(errs...)
}

// read fills the row from a sample.
func (r *Row) read(s failover.Sample) {
	duration := func(m failover.Metric) time.Duration { return time.Duration(s[m] * float64(time.Millisecond)) }
	r.Withdrawn, r.Elsewhere = duration(failover.Withdrawn), duration(failover.Elsewhere)
	r.Back, r.Longest = max(duration(failover.Recovered), duration(failover.SessionBack)), duration(failover.GapNew)
	r.Requests, r.Failed = int(s[failover.Requests]), int(s[failover.FailedNew]+s[failover.FailedKept]+s[failover.InFlight])
	r.Astride, r.Repeated = int(s[failover.InFlight]), int(s[failover.Repeated])
}

// ecmp: one of nyc's two edges is killed.
func ecmp(ctx context.Context, s *stage) {
	const name, dead, alive = "nyc", "nyc-2", "nyc-1"
	row := s.newRow(name)
	s.fill(&row, func() error {
		watch, err := Namespace(Router, name).WatchRoutes()
		if err != nil {
			return err
		}
		defer watch.Close()
		load := start(ctx, s.flows(name))
		defer load.stop()
		if err := pause(ctx, 2*calm); err != nil {
			return err
		}
		event := time.Now()
		if err := s.lab.SignalEdge(dead, sigkill); err != nil {
			return err
		}
		moved, err := watch.Await(ctx, event, Prefix4, Prefix6)
		if err != nil {
			return err
		}
		row.Withdrawn = moved.Sub(event)
		if err := s.lab.awaitRoutes(ctx, name, "the routes of one edge", ownBy(1), Prefix4, Prefix6); err != nil {
			return err
		}
		whole := time.Now()
		if err := pause(ctx, confined); err != nil {
			return err
		}
		if err := load.stop(); err != nil {
			return err
		}
		return judgeFlows(&row, load, dead, alive, event, whole)
	})
}

// flowsEach is how many kept connections there are of each protocol and family.
const flowsEach = 4

// flows are loads of which each kept one has a single connection, so that it is one flow.
func (s *stage) flows(name string) []load {
	var loads []load
	for _, l := range s.usualLoads(name, "/dynamic") {
		if !l.options.KeepAlive {
			loads = append(loads, l)
			continue
		}
		for i := range flowsEach {
			flow := l
			flow.name = fmt.Sprintf("%s, flow %d", l.name, i+1)
			flow.options.Connections, flow.options.Rate = 1, usualRate/2
			loads = append(loads, flow)
		}
	}
	return loads
}

// judgeFlows says what must not have happened when one of two edges died, which the router has known everywhere since whole.
func judgeFlows(row *Row, load *running, dead, alive string, event, whole time.Time) error {
	var errs []error
	for i, result := range load.results {
		l := load.loads[i]
		before := map[string]int{}
		row.Requests += len(result.Records)
		row.Failed += len(failures(result.Records))
		for _, r := range result.Records {
			if r.Retried && !failed(r) {
				row.Repeated++
			}
			if !failed(r) && r.Edge != dead && r.Edge != alive {
				errs = append(errs, fmt.Errorf("%s: %s answered", l.name, r.Edge))
				break
			}
			if !failed(r) && r.End().Before(event) {
				before[r.Edge]++
			}
		}
		kept := l.options.KeepAlive
		if !kept && (before[dead] == 0 || before[alive] == 0) {
			errs = append(errs, fmt.Errorf("%s: the flows were not spread: %v", l.name, before))
		}
		if kept && before[dead] == 0 { // a flow through the edge that lives on
			errs = append(errs, explain(l, result, failures(result.Records), event))
			if slices.ContainsFunc(result.Records, func(r bench.Record) bool { return r.Retried }) {
				errs = append(errs, fmt.Errorf("%s: its connection broke, though %s lives", l.name, alive))
			}
			continue
		}
		late := slices.DeleteFunc(failures(result.Records), func(r bench.Record) bool { return !r.Sent().After(whole) })
		errs = append(errs, explain(l, result, late, event))
		if first, ok := firstFrom(result.Records, event, func(r bench.Record) bool { return r.Edge == alive }); ok {
			row.Elsewhere = max(row.Elsewhere, first.Sub(event))
		} else {
			errs = append(errs, fmt.Errorf("%s: no answer after the event", l.name))
		}
	}
	return errors.Join(errs...)
}
