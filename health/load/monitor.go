package load

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Reading is one value of a signal.
type Reading struct {
	Value  float64
	Detail string // where it comes from
}

// Source reads one signal. It is asked by one goroutine, once each interval, and must not wait. An error makes the signal Unknown;
// ErrNoLimit says that there is nothing to compare it with, which is no fault.
type Source interface {
	Sample(now time.Time) (Reading, error)
}

// ErrNoLimit is the error of a Source for which there is no limit.
var ErrNoLimit = errors.New("no limit")

// Sources are a signal's Source by its name. A signal without one is Unknown for good.
type Sources map[string]Source

// Monitor samples the signals.
type Monitor struct {
	// immutable
	log     *slog.Logger
	every   time.Duration
	signals []*signal
	after   func(State)

	// shared
	snapshot atomic.Pointer[State]

	mu          sync.Mutex
	subscribers []chan struct{}
}

// signal is what the monitor keeps of one. Owned by Run.
type signal struct {
	name    string
	source  Source
	th      thresholds
	tracker tracker
	told    bool // that it can't be read
}

// Options are what a Monitor may be given besides its configuration and sources.
type Options struct {
	// After is called after each sample, in Run's goroutine; nil: nothing is.
	After func(State)
	Log   *slog.Logger // nil: silent
	Set   *metrics.Set // nil: nothing is counted
}

// New returns a monitor that has not sampled yet: its level is OK and every signal Unknown.
func New(cfg Config, sources Sources, o Options) *Monitor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Set == nil {
		o.Set = metrics.NewSet()
	}
	m := &Monitor{log: o.Log, every: cfg.Interval, after: o.After}
	for _, s := range [...]struct {
		name string
		th   thresholds
	}{
		{AcceptQueue, cfg.share(cfg.AcceptQueue)}, {CPU, cfg.share(cfg.CPU)}, {CPUPressure, cfg.share(cfg.CPUPressure)},
		{Memory, cfg.share(cfg.Memory)}, {Descriptors, cfg.share(cfg.Descriptors)}, {Connections, cfg.share(cfg.Connections)},
		{SchedulingLatency, cfg.latency(cfg.SchedulingLatency)},
	} {
		m.signals = append(m.signals, &signal{name: s.name, source: sources[s.name], th: s.th})
	}
	first := &State{Level: OK, Latest: OK}
	for _, s := range m.signals {
		first.Signals = append(first.Signals, Signal{Name: s.name})
	}
	m.snapshot.Store(first)
	expose(o.Set, m)
	return m
}

// Snapshot returns the latest state; it is never nil and never changes.
func (m *Monitor) Snapshot() *State { return m.snapshot.Load() }

// Subscribe returns a channel that wakes its reader after Level has changed. A wake-up carries no data and several changes may make one: the
// reader takes a Snapshot. The subscription lasts as long as the monitor.
func (m *Monitor) Subscribe() <-chan struct{} {
	c := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscribers = append(m.subscribers, c)
	return c
}

// Run samples until ctx ends, and then closes the sources that are io.Closers. A Monitor is run once.
func (m *Monitor) Run(ctx context.Context) {
	defer m.close()
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for {
		m.sample(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *Monitor) close() {
	for _, s := range m.signals {
		if c, ok := s.source.(io.Closer); ok {
			_ = c.Close()
		}
	}
}

// sample takes one sample and publishes what comes of it.
func (m *Monitor) sample(now time.Time) {
	before := m.snapshot.Load()
	signals := make([]Signal, len(m.signals))
	for i, s := range m.signals {
		signals[i] = m.read(now, s)
	}
	st := newState(now, before, signals)
	m.snapshot.Store(st)
	if st.Level != before.Level {
		m.report(before, st)
		m.wake()
	}
	if m.after != nil {
		m.after(*st)
	}
}

// read asks one source.
func (m *Monitor) read(now time.Time, s *signal) Signal {
	r, err := Reading{}, ErrNoLimit
	if s.source != nil {
		r, err = s.source.Sample(now)
	}
	if err == nil {
		s.tracker.observe(now, r.Value, &s.th)
	} else {
		s.tracker.lose(now)
		r = Reading{Detail: err.Error()}
		if !s.told && s.th.high > 0 && !errors.Is(err, ErrNoLimit) && !errors.Is(err, errFirst) {
			s.told = true
			m.log.Warn("a sign of load can't be read, and does not count while it can't", "signal", s.name, "error", err)
		}
	}
	t := &s.tracker
	return Signal{Name: s.name, Value: r.Value, Level: t.level, Latest: t.latest, Since: t.since, Detail: r.Detail}
}

func (m *Monitor) report(before, st *State) {
	switch {
	case st.Level > before.Level:
		m.log.Warn("the edge is under load", "level", st.Level.String(), "was", before.Level.String(), "signals", st.Detail)
	case st.Level > OK:
		m.log.Info("the load is falling", "level", st.Level.String(), "was", before.Level.String(), "signals", st.Detail)
	default:
		m.log.Info("the load is over", "was", before.Level.String(), "lasted", st.Since.Sub(before.Since))
	}
}

func (m *Monitor) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.subscribers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
