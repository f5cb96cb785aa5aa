package bgp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp/bfd"
)

// Route is one prefix to announce, and how. A change of how is a new announcement in the place of the old, without a withdrawal.
type Route struct {
	Prefix netip.Prefix
	// Prepend is how many times our AS number is put before the path, beyond what the configured attributes say.
	Prepend uint8
	// GracefulShutdown adds the community of RFC 8326, with which routers prefer every other path.
	GracefulShutdown bool
}

// Speaker announces routes to the neighbors, and takes none from them. What they tell of a few prefixes it shows as a View.
type Speaker struct {
	// immutable
	config    *Config
	log       *slog.Logger
	began     time.Time
	neighbors []*neighbor
	viewer    *viewer
	bfd       *bfd.Engine   // nil: no neighbor has BFD
	bfdSettle time.Duration // see the constant
	start     func(context.Context, *Config, *slog.Logger) (embedded, error)

	// shared
	changed  broadcast     // what is wanted, any neighbor's state or routes
	wake     chan struct{} // capacity one: wanted has changed
	stopping chan struct{} // closed by Stop
	lease    atomic.Int64  // nanoseconds after began; 0: none has been given yet
	closed   chan struct{} // closed when no session is left

	mu sync.Mutex
	// guarded by mu
	wanted   map[netip.Prefix]wish
	revision uint32 // of the last change of a route
	why      string // the shutdown communication
	stopped  bool
	ran      bool
}

// NewSpeaker prepares a speaker of a valid configuration; nothing is sent before Run. It fails when a password file can't be used.
func NewSpeaker(c *Config, log *slog.Logger, set *metrics.Set) (*Speaker, error) {
	s := &Speaker{
		config: c, log: log, began: time.Now(), bfdSettle: bfdSettle, start: startEngine, wanted: map[netip.Prefix]wish{},
		wake: make(chan struct{}, 1), stopping: make(chan struct{}), closed: make(chan struct{}),
	}
	var errs []error
	for i := range c.BGP.Neighbors {
		nc := &c.BGP.Neighbors[i]
		password, err := readPassword(nc.PasswordFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("neighbor %s: %w", neighborName(nc), err))
			continue
		}
		s.neighbors = append(s.neighbors, &neighbor{
			speaker: s, config: nc, name: neighborName(nc), options: options(nc, c.BGP.ASN, password),
			log: log, complain: complaints{log: log}, since: time.Now(),
			routes: map[netip.Prefix]sentRoute{}, unacked: map[netip.Prefix]int64{}, mismatches: []Mismatch{},
		})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s.viewer = newViewer(c, set, time.Now())
	for i, n := range s.neighbors {
		n.metrics = newNeighborMetrics(set, n)
		n.adjIn = s.viewer.inputs[i]
	}
	var err error
	if s.bfd, err = s.newBFD(set); err != nil {
		return nil, err
	}
	return s, nil
}

// armAddr is the loopback address of one of the neighbors' arms. The embedded speaker knows its peers by address alone.
func armAddr(index, which int) netip.Addr {
	const first = 127<<24 | 1<<8 | 1 // 127.0.1.1
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(first+len(new(neighbor).arms)*index+which))
	return netip.AddrFrom4(a)
}

// Run holds the sessions until ctx ends or Stop is called, closes them, and returns when all its goroutines have. It may be called once.
func (s *Speaker) Run(ctx context.Context) error {
	s.mu.Lock()
	again := s.ran
	s.ran = true
	s.mu.Unlock()
	if again {
		return errors.New("bgp: a Speaker runs once")
	}
	var once sync.Once
	closed := func() { once.Do(func() { close(s.closed) }) }
	defer closed()
	if s.bfd != nil {
		defer s.bfd.Close()
	}
	e, err := s.start(ctx, s.config, s.log)
	if err != nil {
		return err
	}
	stopBFD := s.runBFD()
	armed, disarm := context.WithCancel(context.Background())
	holding, end := context.WithCancel(ctx)
	defer disarm()
	defer end()
	var inside, sessions sync.WaitGroup
	for i, n := range s.neighbors {
		for j := range n.arms {
			n.arms[j] = newArm(e, armAddr(i, j), n.config, s.log)
			inside.Go(func() { n.arms[j].run(armed) })
		}
	}
	inside.Go(func() { s.apply(armed, e) })
	inside.Go(func() { s.viewer.run(armed) })
	for _, n := range s.neighbors {
		sessions.Go(func() { n.run(holding) })
	}
	sessions.Go(func() { s.guard(holding) })
	sessions.Go(func() { s.audit(holding) })
	select {
	case <-s.stopping:
	case <-holding.Done():
	}
	end()
	sessions.Wait()
	closed()
	stopBFD()
	disarm()
	if !within(stopTimeout, func() { inside.Wait(); e.stop() }) {
		s.log.Warn("the embedded BGP speaker did not end in time", "waited", stopTimeout)
	}
	return nil
}

// within says whether f returned within d.
func within(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// Status is a snapshot, in the configuration's order.
func (s *Speaker) Status() []NeighborStatus {
	out := make([]NeighborStatus, len(s.neighbors))
	view := s.View()
	for i, n := range s.neighbors {
		out[i] = n.status()
		out[i].View = view.neighbor(n.name)
	}
	return out
}

// Stop ends every session with Cease, Administrative Shutdown and the reason as its shutdown communication (RFC 9003, cut to 255
// bytes), and returns when the sessions are closed, or with ctx. It makes Run return.
func (s *Speaker) Stop(ctx context.Context, reason string) error {
	s.mu.Lock()
	if !s.stopped {
		s.why, s.stopped = reason, true
		close(s.stopping)
	}
	ran := s.ran
	s.mu.Unlock()
	if !ran {
		return nil
	}
	select {
	case <-s.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("BGP sessions are not closed yet: %w", ctx.Err())
	}
}

// Close frees what NewSpeaker has taken, for a speaker that is not run.
func (s *Speaker) Close() {
	if s.bfd != nil {
		s.bfd.Close()
	}
}

// reason is the shutdown communication.
func (s *Speaker) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// broadcast wakes everyone who waits for the next change.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu
}

// next is closed at the next change.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
