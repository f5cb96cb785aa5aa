package tunnel

import (
	"crypto/rand"
	"io"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"nearcast/fleet/keys"
)

// LinkConfig is what a link needs to know. Self, Peer and Keys must be set.
type LinkConfig struct {
	Self, Peer uint32            // the numbers of the edges; they differ
	Keys       func() *keys.Ring // the secrets, which may be others later; another ring then
	DeadAfter  time.Duration     // a peer that is silent for so long is dead; 0: 300 ms
	Rand       io.Reader         // for tests; nil: crypto/rand
}

const defaultDeadAfter = 300 * time.Millisecond

// Link is the tunnel with one peer, both ways. Its methods may be called by several goroutines.
//
// Times that are passed in are those of one clock with a monotonic reading, which sets no deadlines but by Tick: see there.
type Link struct {
	cfg      LinkConfig
	interval time.Duration
	start    time.Time

	// What packets look at. Durations are since start.
	opens     atomic.Pointer[opens]
	receivers atomic.Pointer[receivers]
	sender    atomic.Pointer[pair] // nil: the peer can't open anything of ours
	sequence  atomic.Uint64        // of what was sealed, over all sessions
	mtu       atomic.Int64         // largest datagram that the path carries
	large     atomic.Bool          // one above the base has been sealed since that was looked at
	heard     atomic.Int64         // last time anything fresh came; never: not yet
	forgiven  atomic.Int64         // silence counts from here at the earliest
	ticked    atomic.Int64         // last Tick
	missed    atomic.Bool          // the peer was silent for too long, and was not heard since
	gone      atomic.Bool          // the peer said so
	counts    counts
	halves    halves

	mu     sync.Mutex
	own    own
	theirs theirs
	path   search
	pairs  [2][2]*pair // of own.sessions and theirs.sessions
	said   *Hello      // by the latest Tick

	// Since the latest Tick:
	answers  int
	unproven []nonce // sessions that were answered without being proven
}

// own is what is ours of the talk with the peer.
type own struct {
	process   nonce
	trunk     *trunk     // that new sessions begin with
	sessions  [2]session // the newest and the one before, whose trunk is nil when there is none
	challenge nonce
	since     time.Duration // when the newest was drawn
	first     uint64        // sequence then
	number    uint64        // of the latest hello
	sent      [1024]sentHello
	probes    []reach // of the sources that probes were sent from
}

// sentHello is what has to be known of a hello when word of it comes back.
type sentHello struct {
	number uint64
	at     time.Duration
	size   int
}

// never is no time at all.
const never = time.Duration(math.MinInt64)

// NewLink makes the tunnel with a peer. It is not up before both sides have called Tick, and each has heard the other's answer.
func NewLink(cfg LinkConfig, now time.Time) *Link {
	if cfg.DeadAfter <= 0 {
		cfg.DeadAfter = defaultDeadAfter
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	l := &Link{cfg: cfg, interval: cfg.DeadAfter / 4, start: now, path: newSearch()}
	l.mtu.Store(BaseDatagram)
	l.heard.Store(int64(never))
	l.receivers.Store(&receivers{})
	l.own.process, l.own.challenge = l.draw(), l.draw()
	l.refresh(now)
	return l
}

// Interval is how often Tick has to be called.
func (l *Link) Interval() time.Duration { return l.interval }

func (l *Link) at(now time.Time) time.Duration { return now.Sub(l.start) }

func (l *Link) draw() (n nonce) {
	if _, err := io.ReadFull(l.cfg.Rand, n[:]); err != nil {
		panic("tunnel: no random numbers: " + err.Error()) // crypto/rand does not fail
	}
	return n
}

// silent reports whether the peer counts as silent for too long. While Tick is late, who was not silent is not: it is we who stood still then,
// and what the peer has sent may lie in our socket.
func (l *Link) silent(at time.Duration) bool {
	if ticked := time.Duration(l.ticked.Load()); l.late(at, ticked) {
		if l.missed.Load() {
			return true
		}
		at = ticked
	}
	since := time.Duration(max(l.heard.Load(), l.forgiven.Load()))
	silent := at > since && at-since > l.cfg.DeadAfter
	if silent && !l.missed.Load() {
		l.missed.Store(true)
	}
	return silent
}

func (l *Link) late(at, ticked time.Duration) bool {
	return at-ticked > l.interval+l.cfg.DeadAfter/2
}

func (l *Link) up(at time.Duration) bool {
	return time.Duration(l.heard.Load()) != never && !l.gone.Load() && !l.silent(at)
}

// Dead reports whether the peer is: it said that it is gone, or was silent for DeadAfter, which begins with our start when it was never heard.
func (l *Link) Dead(now time.Time) bool { return l.gone.Load() || l.silent(l.at(now)) }

// hear notes that something fresh has come. Other sockets do the same, so it does not write more often than matters.
func (l *Link) hear(at time.Duration) {
	if h := time.Duration(l.heard.Load()); h == never || at-h > time.Millisecond {
		l.heard.Store(int64(at))
		if l.missed.Load() {
			l.missed.Store(false)
		}
	}
}

// Tick is to be called every Interval, and at once when say has changed. It returns what is to be sent to the peer then: a hello, and at times
// a probe of the path's MTU. say has State, Instance and Parameters.
//
// When Tick is late by more than half of DeadAfter, this process stood still: who was not dead before has DeadAfter from now on to be heard.
func (l *Link) Tick(now time.Time, say Hello) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.at(now)
	if ticked := time.Duration(l.ticked.Load()); l.late(at, ticked) {
		l.counts.standstills.Add(1)
		if !l.silent(at) {
			l.forgiven.Store(int64(at))
		}
		if l.hearsUs(at) {
			l.theirs.hears = at // what it has reported since lies in our socket
		}
	}
	l.ticked.Store(int64(at))
	l.refresh(now)
	l.said = &Hello{State: say.State, Instance: say.Instance, Parameters: say.Parameters}
	l.answers, l.unproven = 0, l.unproven[:0]
	out := [][]byte{l.hello(at, l.theirs.challenge, what{full: true})}
	if !l.up(at) || l.sender.Load() == nil {
		l.path.pause()
		return out
	}
	size, lost := l.path.next(at, l.theirs.rtt, l.interval, l.large.Swap(false))
	if lost {
		l.counts.blackHoles.Add(1)
	}
	l.mtu.Store(int64(l.path.confirmed))
	if size > 0 {
		out = append(out, l.hello(at, l.theirs.challenge, what{size: size}))
		l.path.sent(l.own.number)
	}
	return out
}

// Probe returns a hello to be sent from source instead of our own address; see [Link.Reached]. Nil before the first Tick.
func (l *Link) Probe(now time.Time, source netip.Addr) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.said == nil || !source.IsValid() {
		return nil
	}
	l.own.probe(source)
	return l.hello(l.at(now), l.theirs.challenge, what{source: source})
}

// Reached returns when the latest probe from source was sent that the peer has reported to have heard. ok is false when there is none yet.
func (l *Link) Reached(source netip.Addr) (sent time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.own.reached(source)
	return l.start.Add(at), at != never
}
