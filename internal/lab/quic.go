package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"nearcast/internal/lab/quicload"
	"nearcast/internal/lab/survival"
	"nearcast/internal/pki"
)

// QUICOptions say what is measured.
type QUICOptions struct {
	Runs     int           // of each event, default 3
	Events   []string      // default all
	Clients  []string      // default all, of which HTTP/2's is there for comparison
	Rate     float64       // requests a second of each client, default 30
	Plain    bool          // the edges do not rescue each other's connections: what there was before
	Patience time.Duration // how long a route stays where it has moved, and requests go on after the last thing that happens; default 3 s. A client may hang for a minute
}

const (
	quicRuns     = 3
	quicRate     = 30
	quicPatience = 3 * time.Second
	// warm is how long the clients ask before anything happens: a browser's first seconds are not its usual ones.
	warm = 2 * time.Second
	// measureTime bounds an event that measures by itself: every client moves bytes for a minute at most, twice.
	measureTime = 15 * time.Minute
	// quicRegion is where the clients are, and two edges; away is where their packets go instead.
	quicRegion, away, farther = "nyc", "fra", "tyo"
)

// quicEvent is something that is measured, and how it is played.
type quicEvent struct {
	survival.Event
	service netip.Addr // default Service4
	pairs   bool       // every edge of a region runs, not only the first
	// prepare is done before the clients start; nil: nothing.
	prepare func(ctx context.Context, r *quicRun) error
	// play has everything happen. It calls mark when it begins.
	play func(ctx context.Context, r *quicRun) error
	// repair makes the edges as they were; nil: nothing to do. Routes and filters are undone anyway.
	repair func(ctx context.Context, r *quicRun) error
	// measure replaces all of it, for an event that is no load of requests.
	measure func(ctx context.Context, r *quicRun, clients []quicload.Client) []survival.Run
}

// quicRun is a run under way.
type quicRun struct {
	*stage
	service  netip.Addr
	patience time.Duration
	event    time.Time
	common   survival.Sample // what the edges say, which is in every client's sample
}

// mark says that the event begins.
func (r *quicRun) mark() { r.event = time.Now() }

// MeasureQUIC plays events again and again with real clients. What went wrong is in the report; the error says why not all could be played.
func (l *Lab) MeasureQUIC(ctx context.Context, o QUICOptions) (survival.Report, error) {
	clients, err := chooseClients(o.Clients)
	if err != nil {
		return survival.Report{}, err
	}
	chosen, err := taking(o.Events, clients)
	if err != nil {
		return survival.Report{}, err
	}
	s, err := l.quicStage(&o)
	if err != nil {
		return survival.Report{}, err
	}
	report := survival.Report{Rate: o.Rate, Machine: fmt.Sprintf("%d CPUs for clients, links, routers, edges and origins together.", runtime.NumCPU())}
	for _, c := range clients {
		report.Clients = append(report.Clients, c.Name())
	}
	for _, e := range chosen {
		report.Events = append(report.Events, e.Event)
	}
	if s.plain = o.Plain; o.Plain {
		report.Machine += " The edges do not send each other's packets on."
		if err := s.clear(ctx); err != nil {
			return report, err
		}
	}
	start := time.Now()
	for _, e := range chosen {
		for range o.Runs {
			runs := s.survive(ctx, e, clients, o)
			for n := 0; n < replays && e.play != nil && stoodStill(runs); n++ {
				report.Replayed++
				runs = s.survive(ctx, e, clients, o)
			}
			report.Runs = append(report.Runs, runs...)
			report.Took = time.Since(start)
			if ctx.Err() != nil {
				return report, context.Cause(ctx)
			}
		}
	}
	return report, nil
}

// quicStage completes the options.
func (l *Lab) quicStage(o *QUICOptions) (*stage, error) {
	if o.Runs == 0 {
		o.Runs = quicRuns
	}
	if o.Rate == 0 {
		o.Rate = quicRate
	}
	if o.Patience == 0 {
		o.Patience = quicPatience
	}
	roots, err := pki.LoadPool(AuthorityFile)
	return &stage{lab: l, scenario: "quic", roots: roots}, err
}

// survive plays an event once and returns each client's part.
func (s *stage) survive(ctx context.Context, e quicEvent, clients []quicload.Client, o QUICOptions) []survival.Run {
	limit := scenarioTime + 4*o.Patience
	if e.measure != nil {
		limit = measureTime
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the run took more than %v", limit))
	defer cancel()
	begun := time.Now()
	r := &quicRun{stage: s, service: e.service, patience: o.Patience, common: survival.Sample{}}
	if !r.service.IsValid() {
		r.service = Service4
	}
	s.pairs = e.pairs
	runs, err := s.surviveOn(ctx, e, r, among(clients, e), o)
	if derr := r.tidy(ctx, e); err == nil {
		err = derr
	}
	if err != nil {
		err = errors.Join(err, s.clear(ctx))
	}
	for i := range runs {
		runs[i].Err = errors.Join(runs[i].Err, err)
		s.lab.log.Info("run", "event", e.Name, "client", runs[i].Client, "sample", fmt.Sprint(runs[i].Sample), "err", runs[i].Err, "lost", runs[i].Lost,
			"took", time.Since(begun).Round(time.Millisecond))
	}
	return runs
}

// replays is how often an event is played again in which the machine stood still: edges took each other for dead then, rightly.
const replays = 2

// mostStalled is well below fleet.quic.dead_after, 300 ms: what an edge waited for may have waited too.
const mostStalled = 200 * time.Millisecond

// stoodStill reports whether the machine let nothing run for so long that the run says nothing of the edges.
func stoodStill(runs []survival.Run) bool {
	return slices.ContainsFunc(runs, func(r survival.Run) bool { return r.Sample[survival.Stalled] > ms(mostStalled) })
}

// among are the clients that take part in the event.
func among(clients []quicload.Client, e quicEvent) []quicload.Client {
	var those []quicload.Client
	for _, c := range clients {
		if e.Has(c.Name()) {
			those = append(those, c)
		}
	}
	return those
}

// surviveOn has the event happen to clients on a lab that it makes whole first. There is a run of every client, also beside an error.
func (s *stage) surviveOn(ctx context.Context, e quicEvent, r *quicRun, clients []quicload.Client, o QUICOptions) ([]survival.Run, error) {
	var runs []survival.Run
	for _, c := range clients {
		runs = append(runs, survival.Run{Event: e.Name, Client: c.Name()})
	}
	if err := s.reset(ctx); err != nil {
		return runs, fmt.Errorf("before the run: %w", err)
	}
	if err := pause(ctx, settled); err != nil {
		return runs, err
	}
	if e.measure != nil {
		return e.measure(ctx, r, clients), nil
	}
	if e.prepare != nil {
		if err := e.prepare(ctx, r); err != nil {
			return runs, err
		}
	}
	crowd := s.gather(ctx, quicRegion, clients, r.service, o.Rate)
	defer crowd.stop(ctx)
	if err := r.happen(ctx, e); err != nil {
		return runs, err
	}
	crowd.stop(ctx)
	interval := time.Duration(float64(time.Second) / o.Rate)
	for i, m := range crowd.members {
		if runs[i].Err = m.err; m.records == nil {
			continue
		}
		between := interval
		if m.client.Name() == streamClient {
			between = 0 // its records are from line to line
		}
		sample, err := readSurvival(m.records, r.event, between)
		maps.Copy(sample, r.common)
		runs[i].Sample, runs[i].Err, runs[i].Lost = sample, errors.Join(m.err, err), lostRequests(m.records, r.event)
	}
	return runs, nil
}

// happen has the event happen while the clients ask.
func (r *quicRun) happen(ctx context.Context, e quicEvent) error {
	if err := pause(ctx, warm); err != nil {
		return err
	}
	before := r.said(ctx)
	awake := watchStalls()
	err := e.play(ctx, r)
	if err == nil {
		err = pause(ctx, r.patience)
	}
	r.common[survival.Stalled] = ms(awake())
	maps.Copy(r.common, grown(before, r.said(ctx)))
	return err
}

// watchStalls notes how late a thread of ours is woken, at worst, until the function that it returns is called. What was late here was late in edges and
// clients too.
func watchStalls() (longest func() time.Duration) {
	const every = 5 * time.Millisecond
	end, worst := make(chan struct{}), make(chan time.Duration, 1)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		var late time.Duration
		for last := time.Now(); ; {
			select {
			case <-end:
				worst <- late
				return
			case <-tick.C:
				now := time.Now()
				late, last = max(late, now.Sub(last)-every), now
			}
		}
	}()
	return func() time.Duration { close(end); return <-worst }
}

// tidy makes the lab as it was, also when ctx has ended.
func (r *quicRun) tidy(ctx context.Context, e quicEvent) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
	defer cancel()
	err := r.lab.undo(ctx)
	if e.repair != nil {
		err = errors.Join(err, e.repair(ctx, r))
	}
	return err
}
