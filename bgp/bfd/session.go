package bfd

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Session is one neighbor's. Its methods may be called from any goroutine.
type Session struct {
	// immutable
	peer    Peer
	metrics sessionMetrics

	// owned by the thread
	machine   machine
	sockets   sockets
	heardEver bool
	warned    bool // that nobody is heard
	dirty     bool // what is shown is behind

	// owned by Engine.tell
	lines quota

	// shared
	failures atomic.Uint64
	state    atomic.Uint32
	used     atomic.Bool
	changed  chan struct{} // capacity one
	mu       sync.Mutex    // the thread only tries it
	view     view          // guarded by mu
}

// Up says whether the session is up.
func (s *Session) Up() bool { return State(s.state.Load()) == Up }

// Failures counts how often the session was up and got lost. What either side shuts on purpose is no failure (RFC 5882 section 3.2), and
// neither is what the lease has put down. Whoever hangs something on the session reads the count when that something begins: a failure is
// its own as soon as the count has moved on, and never one from before.
func (s *Session) Failures() uint64 { return s.failures.Load() }

// Use says whether something hangs on the session just now. Where nothing does, a loss is no warning: a router may end its BFD session with the
// BGP session.
func (s *Session) Use(yes bool) { s.used.Store(yes) }

// Changed gets a value when Up or Failures have changed. It is for one reader.
func (s *Session) Changed() <-chan struct{} { return s.changed }

// Status is a snapshot.
func (s *Session) Status() Status {
	s.mu.Lock()
	v := s.view
	s.mu.Unlock()
	st := Status{
		State: v.state, Detail: v.detail(), Since: v.since, Diagnostic: v.diag, RemoteState: v.remote, RemoteDiagnostic: v.remoteDiag, LocalAddress: v.local,
		TransmitInterval: Duration(v.transmit), ReceiveInterval: Duration(v.receive), DetectionTime: Duration(v.detection), RemoteMultiplier: v.multiplier,
		PacketsIn: s.metrics.in.Get(), PacketsOut: s.metrics.out.Get(), SendErrors: s.metrics.sendErrors.Get(),
		Transitions: v.moves, Failures: v.failures,
	}
	for d := kept + 1; d < numDrops; d++ {
		if n := s.metrics.dropped[d].Get(); n > 0 {
			if st.Dropped == nil {
				st.Dropped = map[string]uint64{}
			}
			st.Dropped[dropNames[d]] = n
		}
	}
	return st
}

// show puts what the machine is at up for Status, unless somebody is just reading: then the next time around.
func (s *Session) show() {
	m := &s.machine
	s.failures.Store(m.failures)
	s.state.Store(uint32(m.state))
	if s.dirty = !s.mu.TryLock(); s.dirty {
		return
	}
	defer s.mu.Unlock()
	s.view = view{
		state: m.state, remote: m.remote, diag: m.diag, remoteDiag: m.remoteDiag, since: m.since, heard: m.yours != 0, held: m.held,
		transmit: m.transmitInterval(), detection: m.detectionTime(), multiplier: m.remoteMultiplier,
		failures: m.failures, moves: m.transitions, local: s.sockets.local, fault: s.sockets.fault,
		passive: m.passive, heardEver: s.heardEver, quietBecauseOfRemote: m.remoteMinRx == 0,
	}
	if m.yours != 0 {
		s.view.receive = max(m.interval, m.remoteMinTx)
	}
}

// tell wakes whoever waits for Changed.
func (s *Session) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// fault is why a session has no sockets.
type fault struct {
	doing string
	err   error
}

func (f fault) String() string { return fmt.Sprintf("%s: %s; trying again", f.doing, f.err) }

// event is for the log: a transition, a fault, or without a session the thread's priority.
type event struct {
	session     *Session
	priority    priority
	from, to    State
	diag        Diagnostic
	remoteAdmin bool // the other side has shut it down
	held        bool
	used        bool
	unheard     bool // nobody has been heard for unheardAfter
	fault       fault
	detection   time.Duration // before
}

// sessionMetrics are one session's.
type sessionMetrics struct {
	in, out, sendErrors, failures *metrics.Counter

	dropped     [numDrops]*metrics.Counter
	transitions [Up + 1]*metrics.Counter
	late        lateness
}
