package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// RouteSetter is what an Announcer declares its decisions to: a Speaker.
type RouteSetter interface {
	SetRoutes(routes []Route)
	Flush(ctx context.Context) error
}

// PrefixStatus is a snapshot of one prefix.
type PrefixStatus struct {
	Prefix        netip.Prefix `json:"prefix"`
	Announced     bool         `json:"announced"`
	Reason        Reason       `json:"reason"`
	Detail        string       `json:"detail,omitempty"`
	Since         time.Time    `json:"since"`                    // when Announced last changed, or when the Announcer began
	Until         time.Time    `json:"until,omitzero"`           // when the decision changes by itself, zero: it waits for something else
	HoldDownUntil time.Time    `json:"hold_down_until,omitzero"` // zero: not held down
}

// Announcer applies Decide: it looks at the inputs when woken and when a decision asks for it, and declares the routes.
type Announcer struct {
	// immutable
	config  *Config
	routes  RouteSetter
	inputs  func() Inputs
	log     *slog.Logger
	metrics []prefixMetrics // as config.Prefixes

	// owned by Run
	state State
	last  []Decision // nil: none yet

	// shared
	wake     chan struct{} // capacity one
	stopping atomic.Bool
	started  atomic.Bool
	obeyed   chan struct{} // closed when the order to stop has been applied, and when Run returns
	obey     sync.Once
	status   atomic.Pointer[[]PrefixStatus]
	held     atomic.Pointer[time.Time]
}

// NewAnnouncer prepares an announcer of a valid configuration; inputs must be quick and safe to call from another goroutine.
func NewAnnouncer(c *Config, routes RouteSetter, inputs func() Inputs, log *slog.Logger, set *metrics.Set) *Announcer {
	a := &Announcer{config: c, routes: routes, inputs: inputs, log: log, wake: make(chan struct{}, 1), obeyed: make(chan struct{})}
	for _, p := range c.Prefixes {
		a.metrics = append(a.metrics, newPrefixMetrics(set, p))
	}
	holdDownGauge(set, func() time.Time {
		if t := a.held.Load(); t != nil {
			return *t
		}
		return time.Time{}
	})
	return a
}

// Run decides until ctx ends, then withdraws everything without waiting for it to be sent. It may be called once.
func (a *Announcer) Run(ctx context.Context) {
	a.started.Store(true)
	defer a.obey.Do(func() { close(a.obeyed) })
	defer a.routes.SetRoutes(nil)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		if until := a.decide(now); until.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(until.Sub(now))
		}
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
	stopping := a.stopping.Load()
	in.Stopping = in.Stopping || stopping
	var decisions []Decision
	a.state, decisions = Decide(now, a.config, a.state, in)
	first := a.last == nil
	changed := first
	var routes []Route
	for i, d := range decisions {
		var before Decision
		if !first {
			before = a.last[i]
		}
		changed = changed || d.Announce != before.Announce
		a.note(i, d, before, first)
		if d.Announce {
			routes = append(routes, Route{Prefix: d.Prefix})
		}
		if !d.Until.IsZero() && (until.IsZero() || d.Until.Before(until)) {
			until = d.Until
		}
	}
	if changed {
		a.routes.SetRoutes(routes)
	}
	a.publish(now, decisions)
	a.last = decisions
	if stopping {
		a.obey.Do(func() { close(a.obeyed) })
	}
	return until
}

// note logs and counts what changed for one prefix.
func (a *Announcer) note(i int, d, before Decision, first bool) {
	m := &a.metrics[i]
	if d.Announce {
		m.announced.Set(1)
	} else {
		m.announced.Set(0)
	}
	if d.Announce != before.Announce {
		m.changes[d.Reason].Inc()
	}
	level, what := slog.LevelInfo, "not announcing "
	switch {
	case !first && d.Announce == before.Announce && d.Reason == before.Reason:
		level = slog.LevelDebug // only the detail
		if d.Detail == before.Detail {
			return
		}
		if d.Announce {
			what = "announcing "
		}
	case d.Announce:
		what = "announcing "
	case before.Announce:
		what = "withdrawing "
		if d.Reason != ReasonStopping {
			level = slog.LevelWarn
		}
	}
	args := []any{"prefix", d.Prefix.String(), "reason", d.Reason.String()}
	if d.Detail != "" {
		args = append(args, "detail", d.Detail)
	}
	if !d.Until.IsZero() {
		args = append(args, "until", d.Until)
	}
	a.log.Log(context.Background(), level, what+d.Prefix.String(), args...)
}

// publish makes the snapshot for Status.
func (a *Announcer) publish(now time.Time, ds []Decision) {
	since := a.state.Since
	if since.IsZero() {
		if old := a.status.Load(); old != nil && len(*old) > 0 {
			since = (*old)[0].Since
		} else {
			since = now
		}
	}
	held := a.state.HoldDownUntil
	st := make([]PrefixStatus, len(ds))
	for i, d := range ds {
		st[i] = PrefixStatus{Prefix: d.Prefix, Announced: d.Announce, Reason: d.Reason, Detail: d.Detail, Since: since, Until: d.Until, HoldDownUntil: held}
	}
	a.status.Store(&st)
	a.held.Store(&held)
}

// Wake makes Run look at the inputs again. It never blocks.
func (a *Announcer) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Stop orders the withdrawal of everything, for good, and returns when the neighbors have been sent it, or with ctx.
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

// Status is a snapshot, in the configuration's order. Nil before Run's first decision.
func (a *Announcer) Status() []PrefixStatus {
	st := a.status.Load()
	if st == nil {
		return nil
	}
	now := time.Now()
	out := append([]PrefixStatus(nil), *st...)
	for i := range out {
		if !out[i].HoldDownUntil.After(now) {
			out[i].HoldDownUntil = time.Time{}
		}
	}
	return out
}
