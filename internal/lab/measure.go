package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"nearcast/internal/lab/failover"
	"nearcast/internal/pki"
)

// FailoverOptions say what is measured.
type FailoverOptions struct {
	Runs   int      // of each event in each region, default 10; an event that takes long has fewer
	Events []string // default all
	Rate   float64  // requests a second of each protocol on new connections, and as many on kept ones, half over each family; default 100
}

// failoverRuns and failoverRate are the defaults.
const (
	failoverRuns = 10
	failoverRate = 100
)

// MeasureFailover plays events again and again and measures them. What went wrong is in the report; the error says why not all could be
// played.
func (l *Lab) MeasureFailover(ctx context.Context, o FailoverOptions) (failover.Report, error) {
	chosen, err := chooseEvents(o.Events)
	if err != nil {
		return failover.Report{}, err
	}
	if o.Runs == 0 {
		o.Runs = failoverRuns
	}
	if o.Rate == 0 {
		o.Rate = failoverRate
	}
	roots, err := pki.LoadPool(AuthorityFile)
	if err != nil {
		return failover.Report{}, err
	}
	s := &stage{lab: l, scenario: "failover", roots: roots, rate: o.Rate / float64(len(services()))}
	report := failover.Report{Rate: o.Rate, Machine: fmt.Sprintf("%d CPUs for clients, links, routers, edges and origins together.", runtime.NumCPU())}
	for _, e := range chosen {
		report.Events = append(report.Events, e.Event)
	}
	start := time.Now()
	for _, e := range chosen {
		runs := o.Runs
		if e.most > 0 {
			runs = min(runs, e.most)
		}
		for _, name := range e.regions {
			report.Runs = append(report.Runs, s.measureEvent(ctx, e, name, runs)...)
			report.Took = time.Since(start)
			if ctx.Err() != nil {
				return report, context.Cause(ctx)
			}
		}
	}
	return report, nil
}

// measureEvent plays an event in a region several times.
func (s *stage) measureEvent(ctx context.Context, e event, name string, runs int) []failover.Run {
	var done []failover.Run
	daemon := ""
	if r, err := region(name); err == nil {
		daemon = string(r.Daemon)
	}
	prepared, cancel := context.WithTimeout(ctx, scenarioTime)
	defer cancel()
	if err := s.prepare(prepared, e, name); err != nil {
		done = append(done, failover.Run{Event: e.Name, Region: name, Router: daemon, Err: fmt.Errorf("before the runs: %w", err)})
		runs = 0
	}
	for range runs {
		if ctx.Err() != nil {
			break
		}
		begun := time.Now()
		sample, err := s.playOnce(ctx, e, name)
		done = append(done, failover.Run{Event: e.Name, Region: name, Router: daemon, Sample: sample, Err: err})
		s.lab.log.Info("run", "event", e.Name, "region", name, "sample", fmt.Sprint(sample), "err", err, "lost", s.lost, "took", time.Since(begun).Round(time.Millisecond))
	}
	if e.restore != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
		defer cancel()
		if err := e.restore(undo, s, name); err != nil {
			done = append(done, failover.Run{Event: e.Name, Region: name, Router: daemon, Err: fmt.Errorf("after the runs: %w", err)})
		}
	}
	return done
}

func (s *stage) prepare(ctx context.Context, e event, name string) error {
	if err := s.reset(ctx); err != nil {
		return err
	}
	if e.prepare == nil {
		return nil
	}
	return e.prepare(ctx, s, name)
}

// playOnce plays an event once in a lab that is whole. After a run that failed it starts the edges anew.
func (s *stage) playOnce(ctx context.Context, e event, name string) (failover.Sample, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, scenarioTime, fmt.Errorf("the run took more than %v", scenarioTime))
	defer cancel()
	if err := s.reset(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("before the run: %w", err), s.clear(ctx))
	}
	if err := pause(ctx, settled); err != nil {
		return nil, err
	}
	s.lost = nil
	sample, err := e.play(ctx, s, name)
	if err != nil {
		err = errors.Join(err, s.clear(ctx))
	}
	return sample, err
}

// settled is how long an edge has been there before a run begins: its probes of the origins and of itself, and the routers', are then in step.
const settled = 500 * time.Millisecond
