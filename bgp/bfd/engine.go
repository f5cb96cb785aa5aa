package bfd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

const (
	// maxPeers bounds the sessions of an engine.
	maxPeers = 64
	// maxEvents bounds what waits for the log.
	maxEvents = 256
)

// Options are what an engine needs.
type Options struct {
	Peers []Peer // at most 64
	// Alive says whether this edge still does what its routes promise; nil: always. It is asked at least ten times a second from the engine's
	// own thread and must neither wait nor allocate. While it says no, every session is signaled Down with the diagnostic Forwarding Plane
	// Reset, and the routers drop the routes without waiting for the detection time.
	Alive func() bool
	Log   *slog.Logger
	Set   *metrics.Set
}

// Engine keeps the sessions with all neighbors, on a thread of its own.
type Engine struct {
	// immutable
	log      *slog.Logger
	sessions []*Session
	random   *rand.Rand
	wake     waker
	metrics  engineMetrics

	// shared
	alive    func() bool // set before Run
	events   chan event
	stopping atomic.Bool
	ran      atomic.Bool
	priority atomic.Int32
	held     atomic.Bool
}

type engineMetrics struct {
	unknown, pauses, unlogged *metrics.Counter
}

// New prepares sessions; nothing is sent before Run. It fails where there is no BFD.
func New(o Options) (*Engine, error) {
	if len(o.Peers) > maxPeers {
		return nil, fmt.Errorf("%d BFD sessions; at most %d", len(o.Peers), maxPeers)
	}
	wake, err := newWaker()
	if err != nil {
		return nil, fmt.Errorf("BFD: %w", err)
	}
	e := &Engine{log: o.Log, alive: o.Alive, wake: wake, events: make(chan event, maxEvents),
		random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	e.metrics = engineMetrics{
		unknown:  o.Set.NewCounter("nearcast_bfd_unknown_packets_total"),
		pauses:   o.Set.NewCounter("nearcast_bfd_receive_pauses_total"),
		unlogged: o.Set.NewCounter("nearcast_bfd_unlogged_events_total"),
	}
	now := time.Now()
	taken := map[uint32]bool{0: true} // section 6.8.1: nonzero, and unique on this system
	for _, p := range o.Peers {
		s := &Session{peer: p, sockets: noSockets(), changed: make(chan struct{}, 1)}
		mine := rand.Uint32() // hard to guess: it is all that proves a packet to come from whom it says
		for taken[mine] {
			mine = rand.Uint32()
		}
		taken[mine] = true
		s.machine = newMachine(p.Config, p.Multihop, mine, e.random, now)
		newSessionMetrics(o.Set, s)
		s.show()
		e.sessions = append(e.sessions, s)
	}
	e.gauges(o.Set)
	return e, nil
}

func (e *Engine) gauges(set *metrics.Set) {
	set.NewGauge("nearcast_bfd_held", func() float64 { return oneIf(e.held.Load()) })
	for p := priorityNone + 1; p < numPriorities; p++ {
		set.NewGauge(fmt.Sprintf(`nearcast_bfd_thread_priority{policy=%q}`, priorityNames[p]), func() float64 {
			return oneIf(priority(e.priority.Load()) == p)
		})
	}
	set.RegisterMetricsWriter(func(w io.Writer) {
		metrics.WriteMetadataIfNeeded(w, "nearcast_bfd_transmit_lateness_seconds", "histogram")
		for _, s := range e.sessions {
			s.metrics.late.write(w, s.peer.Name)
		}
	})
}

// Session is the one with o.Peers[i].
func (e *Engine) Session(i int) *Session { return e.sessions[i] }

// Run keeps the sessions until ctx ends. Then it shuts them (AdminDown, which is no failure to the routers: whatever must be withdrawn has to be
// by then), waits for the routers to take note, at most for the second that lingerTime is, and returns. It may be called once.
func (e *Engine) Run(ctx context.Context) error {
	if e.ran.Swap(true) {
		return errors.New("bfd: an Engine runs once")
	}
	woken := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(woken)
		e.stopping.Store(true)
		e.wake.wake()
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread, with its priority, ends with the goroutine
		newLoop(e).run()
	}()
	e.tell(done)
	<-woken // the thread ends only when told to; perhaps it saw that before the wake
	e.wake.close()
	return nil
}

// Close frees what New has taken, for an engine that is not run.
func (e *Engine) Close() {
	if !e.ran.Swap(true) {
		e.wake.close()
	}
}

// tell writes the log until done, and the rest after it.
func (e *Engine) tell(done <-chan struct{}) {
	for {
		select {
		case ev := <-e.events:
			e.write(ev)
		case <-done:
			for {
				select {
				case ev := <-e.events:
					e.write(ev)
				default:
					return
				}
			}
		}
	}
}

// quota lets a number of things happen each minute.
type quota struct {
	since time.Time
	taken int
}

// linesPerMinute bounds what one session writes to the log, whatever its neighbor sends.
const linesPerMinute = 30

func (q *quota) take(now time.Time) bool {
	if now.Sub(q.since) >= time.Minute {
		*q = quota{since: now}
	}
	q.taken++
	return q.taken <= linesPerMinute
}

// write puts one transition into words.
func (e *Engine) write(ev event) {
	if ev.session == nil {
		e.log.Info("BFD: " + priorityTexts[ev.priority])
		return
	}
	if !ev.session.lines.take(time.Now()) {
		e.metrics.unlogged.Inc()
		return
	}
	name := "neighbor " + ev.session.peer.Name
	switch {
	case ev.fault.err != nil:
		e.log.Warn(name + ": BFD: " + ev.fault.String())
	case ev.unheard:
		e.log.Warn(name + ": no BFD packets from it yet, so nothing but the hold timer notices when it is gone; the BGP session is not held back; configure BFD there for this edge")
	case ev.to == Up:
		e.log.Info(name+": BFD session up", "interval", ev.session.peer.Config.Interval, "multiplier", ev.session.peer.Config.Multiplier)
	case ev.from != Up:
		e.log.Debug(name+": BFD session "+ev.to.String(), "was", ev.from.String(), "diagnostic", ev.diag.String())
	case ev.to == AdminDown:
		e.log.Info(name + ": BFD session closed from here")
	case ev.remoteAdmin:
		e.log.Info(name + ": BFD session shut down by the neighbor, which is no failure of the path; the BGP session stays")
	case ev.held:
		e.log.Warn(name + ": BFD session put down from here: this edge does not serve")
	case !ev.used:
		e.log.Info(name + ": BFD session ended while there is no BGP session: " + ev.diag.String())
	default:
		e.log.Warn(name+": BFD session lost: "+ev.diag.String(), "detection_time", ev.detection)
	}
}

// post hands an event to tell, or counts that there was no room.
func (e *Engine) post(ev event) {
	select {
	case e.events <- ev:
	default:
		e.metrics.unlogged.Inc()
	}
}
