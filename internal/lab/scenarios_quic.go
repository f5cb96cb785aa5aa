package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nearcast/internal/lab/survival"
)

// gatePatience is short: what is not back by then is not back within any bound.
const gatePatience = 2 * time.Second

// survived is a scenario that plays events once under real clients, and judges them by those targets that do not depend on how fast the machine
// is. It has a row for each event.
func survived(names ...string) func(context.Context, *stage) {
	return func(ctx context.Context, s *stage) {
		chosen, err := chooseQUICEvents(names)
		if err != nil {
			s.row("", err)
			return
		}
		clients, err := chooseClients(s.clients)
		if err != nil {
			s.row("", err)
			return
		}
		o := QUICOptions{Rate: quicRate, Patience: gatePatience}
		for _, e := range chosen {
			row := s.newRow(quicRegion)
			s.fill(&row, func() error {
				runs := s.survive(ctx, e, clients, o)
				for n := 0; n < replays && stoodStill(runs) && row.survive(e.Event, runs) != nil; n++ {
					row = s.newRow(quicRegion)
					runs = s.survive(ctx, e, clients, o)
				}
				return row.survive(e.Event, runs)
			})
		}
	}
}

// survive fills the row from the clients' runs of an event, and says what must not have happened.
func (r *Row) survive(e survival.Event, runs []survival.Run) error {
	var errs []error
	r.Requests, r.Failed = 0, 0
	for _, run := range runs {
		r.Requests += int(run.Sample[survival.Requests])
		r.Failed += int(run.Sample[survival.Failed])
		if slices.ContainsFunc(e.Targets, func(t survival.Target) bool { return t.Metric == survival.Gap && slices.Contains(t.Of, run.Client) }) {
			r.Longest = max(r.Longest, time.Duration(run.Sample[survival.Gap]*float64(time.Millisecond)))
		}
		if err := judgeSurvival(e, run); err != nil {
			errs = append(errs, fmt.Errorf("%s, %s: %w", e.Name, run.Client, err))
			if run.Lost != "" {
				errs = append(errs, fmt.Errorf("%s: %s", run.Client, run.Lost))
			}
		}
	}
	return errors.Join(errs...)
}
