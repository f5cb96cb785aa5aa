package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// RouteSetter is what an Announcer declares its decisions to: a Speaker.
type RouteSetter interface {
	SetRoutes(routes []Route)
	Flush(ctx context.Context) error
	// Renew says that whoever decides is alive and has fresh results; the sessions live until then at most.
	Renew(until time.Time)
}

// atOnce is the least time between two looks that nothing but time asks for.
const atOnce = time.Millisecond

// Announcer applies Decide: it looks at the inputs when woken, when a decision asks for it and every now and then, and declares the routes.
type Announcer struct {
	// immutable
	config  *Config
	routes  RouteSetter
	inputs  func() Inputs
	log     *slog.Logger
	metrics []prefixMetrics // as config.Prefixes
	stalls  *metrics.Counter
	keeper  *keeper // nil: no state file

	// Told, unless nil, is called with each decision's outcome; it must not wait. Set it before Run.
	Told func([]PrefixStatus)
	// Gate, unless nil, is called before routes are declared that an order takes away step by step, and what it returns after it. Set it
	// before Run.
	Gate func() (done func())

	// owned by Run
	state    State
	last     []Decision // nil: none yet
	declared []Route
	looked   time.Time // when decide looked last
	stalled  bool      // the edge's own probes have not ended in time
	history  [][]Change

	// shared
	wake     chan struct{} // capacity one
	stopping atomic.Bool
	hurry    atomic.Bool
	started  atomic.Bool
	obeyed   chan struct{} // closed when the order to stop has been applied, and when Run returns
	obey     sync.Once
	status   atomic.Pointer[[]PrefixStatus]
	others   atomic.Pointer[Others]
	ordering sync.Mutex                 // held by whoever changes drain, after Run has begun
	drain    atomic.Pointer[DrainOrder] // nil: none
	thawed   atomic.Pointer[time.Time]
}

// NewAnnouncer prepares an announcer of a valid configuration; inputs must be quick and safe to call from another goroutine.
func NewAnnouncer(c *Config, routes RouteSetter, inputs func() Inputs, log *slog.Logger, set *metrics.Set) *Announcer {
	a := &Announcer{config: c, routes: routes, inputs: inputs, log: log, wake: make(chan struct{}, 1), obeyed: make(chan struct{}),
		history: make([][]Change, len(c.Prefixes))}
	for _, p := range c.Prefixes {
		a.metrics = append(a.metrics, newPrefixMetrics(set, p))
	}
	holdDownGauge(set, a.heldUntil)
	a.stalls = set.NewCounter("nearcast_bgp_stalls_total")
	if c.StateFile != "" {
		a.keeper = newKeeper(c.StateFile, log, set)
		a.remember(a.keeper.load(), time.Now())
	}
	return a
}

// Run decides until ctx ends, then withdraws everything without waiting for it to be sent. It may be called once.
func (a *Announcer) Run(ctx context.Context) {
	a.started.Store(true)
	defer a.obey.Do(func() { close(a.obeyed) })
	if a.keeper != nil {
		go a.keeper.run()
		defer a.keeper.close()
	}
	defer a.routes.SetRoutes(nil)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		until := a.decide(now)
		if beat := now.Add(a.config.beat()); until.IsZero() || until.After(beat) {
			until = beat
		}
		timer.Reset(max(until.Sub(now), atOnce))
		select {
		case <-a.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// decide looks once, applies what comes of it, and says when to look again at the latest; zero: not before a wake.
func (a *Announcer) decide(now time.Time) (until time.Time) {
	in := a.inputs()
	a.watch(now, &in)
	orders := Orders{Stopping: a.stopping.Load(), Hurry: a.hurry.Load(), Drain: a.drain.Load()}
	if t := a.thawed.Load(); t != nil {
		orders.Thawed = *t
	}
	var decisions []Decision
	a.state, decisions = Decide(now, a.config, a.state, in, orders)
	var routes []Route
	gone := true
	for i, d := range decisions {
		a.note(now, i, d)
		if d.Announced() {
			routes = append(routes, d.route())
			gone = false
		}
		if !d.Until.IsZero() && (until.IsZero() || d.Until.Before(until)) {
			until = d.Until
		}
	}
	if beacon, ok := a.config.Beacon(); ok && !slices.ContainsFunc(decisions, func(d Decision) bool { return d.Level != LevelFull || d.Wants }) {
		routes = append(routes, Route{Prefix: beacon})
	}
	a.declare(routes, decisions)
	a.others.Store(&in.Others)
	a.publish(now, decisions)
	if a.Told != nil {
		a.Told(*a.status.Load())
	}
	a.last = decisions
	a.keep(orders, gone)
	if (orders.Stopping || orders.Hurry) && gone {
		a.obey.Do(func() { close(a.obeyed) })
	}
	return until
}

// declare hands the routes on when they have changed, through the gate when an order takes some of them away.
func (a *Announcer) declare(routes []Route, decisions []Decision) {
	if a.last != nil && slices.Equal(a.declared, routes) {
		return
	}
	if a.Gate != nil && a.planned(decisions) {
		defer a.Gate()()
	}
	a.declared = routes
	a.routes.SetRoutes(routes)
}

// planned says whether an order moves a route that there is: others are health's, and must not be held up.
func (a *Announcer) planned(decisions []Decision) bool {
	for i, d := range decisions {
		if a.last != nil && a.last[i].Announced() && d.ordered() && (!d.Announced() || d.route() != a.last[i].route()) {
			return true
		}
	}
	return false
}

// note logs and counts what changed for one prefix.
func (a *Announcer) note(now time.Time, i int, d Decision) {
	m := &a.metrics[i]
	m.now(d, a.state.Prefixes[i].Flaps)
	var before Decision
	first := a.last == nil
	if !first {
		before = a.last[i]
	}
	if d.Announced() != before.Announced() {
		m.changes[d.Reason].Inc()
	}
	if d.Level != before.Level {
		m.levels[d.Level].Inc()
	}
	if first || d.Level != before.Level || d.Reason != before.Reason {
		a.history[i] = appendChange(a.history[i], Change{At: now, Level: d.Level, Reason: d.Reason, Detail: d.Detail})
	}
	level, what := slog.LevelInfo, d.Level.sentence()
	switch {
	case !first && d.Level == before.Level && d.Reason == before.Reason && d.Step == before.Step:
		if level = slog.LevelDebug; d.Detail == before.Detail { // only the detail
			return
		}
	case d.Frozen && !before.Frozen:
		level = slog.LevelError
	case d.Level < before.Level && !d.ordered(), d.Level == LevelDraining && !d.ordered(): // the latter is a drain that goes no further
		level = slog.LevelWarn
	}
	if before.Announced() && !d.Announced() {
		what = "withdrawing "
	}
	a.log.Log(context.Background(), level, what+d.Prefix.String(), d.attrs()...)
}

// sentence is the beginning of a log line.
func (l Level) sentence() string {
	switch l {
	case LevelFull:
		return "announcing "
	case LevelDegraded:
		return "announcing degraded "
	case LevelDraining:
		return "draining "
	}
	return "not announcing "
}

func (d Decision) attrs() []any {
	args := []any{"prefix", d.Prefix.String(), "reason", d.Reason.String()}
	if d.Detail != "" {
		args = append(args, "detail", d.Detail)
	}
	if d.Step > 0 {
		args = append(args, "step", d.Step)
	}
	if d.Prepend > 0 {
		args = append(args, "prepend", d.Prepend)
	}
	if d.GracefulShutdown {
		args = append(args, "community", gracefulShutdown)
	}
	if !d.Until.IsZero() {
		args = append(args, "until", d.Until)
	}
	return args
}

// Wake makes Run look at the inputs again. It never blocks.
func (a *Announcer) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Stop orders the withdrawal of everything by the drain ladder, for good, and returns when the neighbors have been sent it, or with ctx.
func (a *Announcer) Stop(ctx context.Context) error {
	a.stopping.Store(true)
	if a.started.Load() {
		a.Wake()
		select {
		case <-a.obeyed:
		case <-ctx.Done():
			return fmt.Errorf("the routes are not withdrawn yet: %w", ctx.Err())
		}
	}
	if err := a.routes.Flush(ctx); err != nil {
		return fmt.Errorf("the routes are not withdrawn everywhere yet: %w", err)
	}
	return nil
}

// Hurry skips what is left of the drain ladder. Without a Stop it withdraws for good as well.
func (a *Announcer) Hurry() {
	a.hurry.Store(true)
	a.Wake()
}
