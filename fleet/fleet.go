package fleet

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/fleet/keys"
)

// Identity is who this edge is.
type Identity struct {
	Edge, Region string
	Software     string // version of the program
}

// Target is an address at which an edge of a region is asked.
type Target struct {
	Region  string
	Address netip.AddrPort
}

// Fleet answers the other edges' questions and asks its own. Nil is a fleet of nobody: it knows nothing and does nothing.
type Fleet struct {
	// immutable
	config      Config
	silentAfter time.Duration
	self        Identity
	instance    string
	started     time.Time
	targets     []Target // as in the view
	log         *slog.Logger
	keys        *keyFile
	server      *server
	dial        dialer
	metrics     []*peerMetrics // as in the view
	standstills *metrics.Counter

	// shared; both are written under mu only
	view      atomic.Pointer[View]
	published atomic.Pointer[publication]

	mu          sync.Mutex
	subscribers []chan struct{}
}

// publication is what the edge says, and since when.
type publication struct {
	report *Report
	at     time.Time
}

// Open reads the secret and opens the listener; nothing is asked or answered before Run. Of peers, this edge's own address is left out,
// and one that is there twice counts once.
// With a nil config the Fleet is nil. A nil log is silent; with a nil set nothing is counted.
func Open(c *Config, self Identity, peers []Target, log *slog.Logger, set *metrics.Set) (*Fleet, error) {
	if c == nil {
		return nil, nil
	}
	own, err := netip.ParseAddrPort(c.Address)
	if err != nil {
		return nil, fmt.Errorf("fleet.address: %w", err)
	}
	own = unmapped(own)
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if set == nil {
		set = metrics.NewSet()
	}
	keys, err := openKeyFile(c.SecretFile, c.QUIC.Rescue, log, set)
	if err != nil {
		return nil, fmt.Errorf("fleet.%w", err)
	}
	l, err := listen(c.Address)
	if err != nil {
		return nil, err
	}
	peers = slices.DeleteFunc(slices.Clone(peers), func(t Target) bool { return unmapped(t.Address) == own })
	return newFleet(c, self, peers, parts{keys, l, dialFrom(own.Addr())}, log, set), nil
}

// parts are what a Fleet has of the system.
type parts struct {
	keys     *keyFile
	listener net.Listener
	dial     dialer
}

// newFleet is Open once the listener is open and the secret read.
func newFleet(c *Config, self Identity, peers []Target, sys parts, log *slog.Logger, set *metrics.Set) *Fleet {
	f := &Fleet{
		config: *c, silentAfter: c.Silence(), self: self, instance: rand.Text(), started: time.Now(),
		log: log, keys: sys.keys, dial: sys.dial, standstills: set.NewCounter("nearcast_fleet_standstills_total"),
	}
	view := new(View)
	for _, t := range peers {
		t.Address = unmapped(t.Address)
		if !slices.ContainsFunc(f.targets, func(o Target) bool { return o.Address == t.Address }) {
			f.targets = append(f.targets, t)
			view.Peers = append(view.Peers, &Peer{Address: t.Address, Region: t.Region, Since: f.started})
		}
	}
	f.view.Store(view)
	countStates(set, &f.view)
	for i, t := range f.targets {
		f.metrics = append(f.metrics, newPeerMetrics(set, t, func() *Peer { return f.View().Peers[i] }))
	}
	f.published.Store(&publication{new(Report).normal(), f.started})
	f.server = newServer(sys.listener, newSources(f.targets), sys.keys.get, f.report, newServerMetrics(set), log)
	return f
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// Keys are the secrets as they were read last. Nil for a nil Fleet.
func (f *Fleet) Keys() *keys.Ring {
	if f == nil {
		return nil
	}
	return f.keys.get().ring
}

// Addr is the address in use; nil for a nil Fleet.
func (f *Fleet) Addr() net.Addr {
	if f == nil {
		return nil
	}
	return f.server.gate.Addr()
}

// Publish sets what questions are answered with from now on. Draining, Load, Prefixes and Intents count, cut to their bounds: 256 prefixes and
// intents, reasons of 64 characters, a load of 32. What is said to last goes on until the next Publish. It never waits for anybody.
func (f *Fleet) Publish(r Report) {
	if f == nil {
		return
	}
	report := r.normal()
	f.mu.Lock()
	defer f.mu.Unlock()
	report.Sequence = f.published.Load().report.Sequence + 1
	f.published.Store(&publication{report, time.Now()})
}

// report is the whole answer to a question.
func (f *Fleet) report(now time.Time) *Report {
	p := f.published.Load()
	r := p.report.aged(now.Sub(p.at))
	r.Version, r.Edge, r.Region, r.Software, r.Instance = version, f.self.Edge, f.self.Region, asText(f.self.Software, maxSoftware), f.instance
	r.Uptime = now.Sub(f.started)
	r.Hears = f.View().hears(f.self.Edge)
	return r
}

// View returns what is known now; it never changes, and is never nil.
func (f *Fleet) View() *View {
	if f == nil {
		return new(View)
	}
	return f.view.Load()
}

// Subscribe returns a channel that wakes its reader after a state has changed or an edge says something else. A wake-up carries no data
// and several changes may make one: the reader takes a View. How long something has lasted changes without one. The subscription lasts
// as long as the fleet. Nil, which never wakes anybody, for a nil Fleet.
func (f *Fleet) Subscribe() <-chan struct{} {
	if f == nil {
		return nil
	}
	c := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subscribers = append(f.subscribers, c)
	return c
}

// Run answers and asks until ctx ends, and returns when every goroutine has. A Fleet is run once.
func (f *Fleet) Run(ctx context.Context) error {
	if f == nil {
		<-ctx.Done()
		return nil
	}
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := f.begin(time.Now())
	work.Go(func() { w.run(ctx) })
	work.Go(func() { f.keys.watch(ctx) })
	for i, t := range f.targets {
		p := &poller{f: f, i: i, link: link{address: t.Address, dial: f.dial, timeout: f.config.Timeout}}
		work.Go(func() { p.run(ctx) })
	}
	return f.server.run(ctx)
}

// begin counts every time from now on: before, nobody was asked.
func (f *Fleet) begin(now time.Time) *watcher {
	for i := range f.targets {
		f.update(i, func(p *Peer) *Peer { next := *p; next.Since = now; return &next })
	}
	return f.newWatcher(now)
}

// update puts a peer's next state into the view, logs what is new and wakes who waits for it. change returns its argument when there is
// nothing to change.
func (f *Fleet) update(i int, change func(*Peer) *Peer) {
	f.mu.Lock()
	view := f.view.Load()
	was := view.Peers[i]
	now := change(was)
	if now != was {
		f.view.Store(view.with(i, now))
	}
	if now.State != was.State || !now.Report.saysAs(was.Report) {
		for _, c := range f.subscribers {
			wake(c)
		}
	}
	f.mu.Unlock()
	if now.State != was.State {
		f.logState(was, now)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *Fleet) logState(was, now *Peer) {
	attrs := []any{"address", now.Address, "region", now.Region, "name", now.Edge, "was", was.State}
	switch now.State {
	case Heard:
		f.log.Info("an edge is heard", append(attrs, "rtt", now.RTT, "hears_us", slices.Contains(now.Report.Hears, f.self.Edge))...)
	case Silent:
		f.log.Warn("an edge is silent", append(attrs, "failures", now.Failures, "error", now.Err)...)
	case Unknown:
		f.log.Info("it is unknown whether an edge answers", attrs...)
	}
}
