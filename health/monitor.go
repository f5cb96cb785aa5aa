package health

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Monitor probes a set of targets and publishes what it finds as snapshots.
//
// A target's life: SetTargets declares it (Unknown, in the snapshot at once) → Run starts its goroutine, the first probe after
// a random part of its interval → each result goes through its streak into a new snapshot → a SetTargets without it takes it
// out of the snapshot and ends its goroutine; a result that comes after that is dropped.
type Monitor struct {
	// Immutable.
	log *slog.Logger
	set *metrics.Set

	// Shared; snapshot is written under mu only.
	changed  chan struct{} // wakes Run after SetTargets
	snapshot atomic.Pointer[Snapshot]

	mu          sync.Mutex
	records     map[ID]*record
	subscribers []chan struct{}
}

// record is what the monitor keeps of a target. Guarded by Monitor.mu.
type record struct {
	target  Target
	config  Config
	streak  Streak
	rtt     rtt
	since   time.Time
	metrics *targetMetrics
}

// New returns a monitor without targets. A nil log is silent; with a nil set nothing is counted.
func New(log *slog.Logger, set *metrics.Set) *Monitor {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if set == nil {
		set = metrics.NewSet()
	}
	m := &Monitor{log: log, set: set, changed: make(chan struct{}, 1), records: make(map[ID]*record)}
	_, l := newLayout(nil)
	m.snapshot.Store(&Snapshot{layout: l})
	return m
}

// SetTargets declares the whole set. Targets that are known already keep their status, streak and round-trip time, and their next
// probe is made with what is declared now. Of two targets with one ID the first counts. It may be called before and during Run.
func (m *Monitor) SetTargets(targets []Target) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()

	records := make(map[ID]*record, len(targets))
	ids := make([]ID, 0, len(targets))
	for _, t := range targets {
		if records[t.ID] != nil {
			continue
		}
		r := m.records[t.ID]
		if r == nil {
			r = &record{since: now, metrics: newTargetMetrics(m.set, t.ID)}
		}
		r.target, r.config = t, t.normal()
		records[t.ID] = r
		ids = append(ids, t.ID)
	}
	for id, r := range m.records {
		if records[id] == nil {
			r.metrics.unregister(m.set)
		}
	}

	old := m.snapshot.Load()
	ids, l := newLayout(ids)
	states := make([]*State, len(ids))
	for i, id := range ids {
		if states[i] = old.Get(id); states[i] == nil {
			states[i] = &State{ID: id, Since: records[id].since}
		}
	}
	m.records = records
	m.snapshot.Store(&Snapshot{states: states, layout: l})
	wake(m.changed)
	m.wakeSubscribers()
}

// Snapshot returns the latest state of every target; it is never nil and never changes.
func (m *Monitor) Snapshot() *Snapshot { return m.snapshot.Load() }

// Subscribe returns a channel that wakes its reader after a status has changed or the target set has. A wake-up carries no data
// and several changes may make one: the reader takes a Snapshot. The subscription lasts as long as the monitor.
func (m *Monitor) Subscribe() <-chan struct{} {
	c := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscribers = append(m.subscribers, c)
	return c
}

func (m *Monitor) wakeSubscribers() {
	for _, c := range m.subscribers {
		wake(c)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run probes until ctx ends, and returns when the last probe has. A Monitor is run once.
func (m *Monitor) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	running := make(map[*record]context.CancelFunc)
	defer func() {
		for _, cancel := range running {
			cancel()
		}
	}()
	for {
		m.reconcile(ctx, &wg, running)
		select {
		case <-ctx.Done():
			return
		case <-m.changed:
		}
	}
}

// reconcile starts a goroutine for each record that has none and ends those whose record is gone.
func (m *Monitor) reconcile(ctx context.Context, wg *sync.WaitGroup, running map[*record]context.CancelFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := make(map[*record]bool, len(m.records))
	for _, r := range m.records {
		wanted[r] = true
		if running[r] == nil {
			rctx, cancel := context.WithCancel(ctx)
			running[r] = cancel
			wg.Go(func() { m.watch(rctx, r) })
		}
	}
	for r, cancel := range running {
		if !wanted[r] {
			cancel()
			delete(running, r)
		}
	}
}

// watch probes one target, interval after interval, until ctx ends. The first probe waits a random part of the interval,
// so that the probes of many targets, and of many edges that start together, spread out.
func (m *Monitor) watch(ctx context.Context, r *record) {
	_, config := m.current(r)
	timer := time.NewTimer(rand.N(config.Interval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		target, config := m.current(r)
		start := time.Now()
		pctx, cancel := context.WithTimeout(ctx, config.Timeout)
		rtt, err := target.Probe(pctx)
		cancel()
		if ctx.Err() != nil {
			return // the probe was cut short: its result says nothing about the target
		}
		m.observe(r, time.Now(), rtt, err)
		timer.Reset(max(0, config.Interval-time.Since(start)))
	}
}

func (m *Monitor) current(r *record) (Target, Config) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return r.target, r.config
}

// observe takes in one probe's result, and logs it if it changed the status.
func (m *Monitor) observe(r *record, now time.Time, sample time.Duration, err error) {
	if before, st := m.apply(r, now, sample, err); st != nil && st.Status != before {
		m.report(before, st)
	}
}

// apply takes one probe's result into the record and publishes a snapshot. It returns the status before it and the state after it,
// nil when the target is declared no more.
func (m *Monitor) apply(r *record, now time.Time, sample time.Duration, err error) (before Status, st *State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := r.target.ID
	if m.records[id] != r {
		return Unknown, nil
	}
	before = r.streak.Status()
	changed := r.streak.Observe(err == nil, r.config.Rise, r.config.Fall)
	status := r.streak.Status()
	if changed {
		r.since = now
	}
	if err == nil {
		r.rtt.observe(sample)
	} else if status == Down {
		r.rtt = rtt{}
	}
	run, _ := r.streak.Consecutive()
	st = &State{ID: id, Status: status, Since: r.since, At: now, Reason: ReasonOf(err), Err: err, Consecutive: run,
		RTT: r.rtt.smoothed, MinRTT: r.rtt.min}
	r.metrics.observe(st)
	m.snapshot.Store(m.snapshot.Load().with(st))
	if changed {
		m.wakeSubscribers()
	}
	return before, st
}

// report logs a change of status.
func (m *Monitor) report(before Status, st *State) {
	id := st.ID
	attrs := []any{"name", id.Name}
	what := "origin"
	if id.Self() {
		what = "own listener"
		attrs = append(attrs, "protocol", string(id.Protocol))
		if id.Address.IsValid() {
			attrs = append(attrs, "address", id.Address)
		}
	} else {
		attrs = append(attrs, "service", id.Service, "region", id.Region)
	}
	attrs = append(attrs, "was", before.String(), "probes", st.Consecutive)
	if st.Status == Up {
		m.log.Info(what+" is up", append(attrs, "rtt", st.RTT)...)
		return
	}
	m.log.Warn(what+" is down", append(attrs, "reason", st.Reason.String(), "error", st.Err)...)
}
