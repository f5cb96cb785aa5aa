package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	dialPause    = time.Second      // between attempts to connect
	steady       = 10 * time.Second // a session that lasted as long is followed by an attempt at once
	maxReconnect = 8 * time.Second
	settling     = 5 * time.Second // after losing a session some routers hang up on the next for a moment
)

// neighbor keeps the session with one router.
type neighbor struct {
	// immutable
	speaker *Speaker
	config  *NeighborConfig
	name    string
	options socketOptions
	arms    [2]*arm // set before run
	log     *slog.Logger
	metrics neighborMetrics
	adjIn   *adjIn

	// owned by run
	complain complaints
	lostAt   time.Time // when the last established session ended

	// shared
	mu sync.Mutex
	// guarded by mu
	state      SessionState
	since      time.Time
	confirmed  confirmation
	local      netip.Addr
	holdTime   time.Duration
	agreed     []family
	routes     map[netip.Prefix]struct{} // sent on this session and not withdrawn
	lastDown   string
	lastDownAt time.Time
	end        context.CancelCauseFunc // of the session, nil: none
}

// confirmation says whose first KEEPALIVE has been sent.
type confirmation uint8

const (
	confirmOwn confirmation = 1 << iota
	confirmTheirs
	confirmBoth = confirmOwn | confirmTheirs
)

// neighborName is the address, with the port when that is unusual.
func neighborName(c *NeighborConfig) string {
	if c.Port == 179 {
		return c.Address.String()
	}
	return netip.AddrPortFrom(c.Address, c.Port).String()
}

// run keeps a session until ctx ends, then closes it in order.
func (n *neighbor) run(ctx context.Context) {
	var wait time.Duration
	for i := 0; ctx.Err() == nil; i ^= 1 {
		router := n.connect(ctx, n.arms[i])
		if router == nil {
			continue
		}
		d, lasted := n.hold(ctx, n.arms[i], router)
		if lasted >= steady {
			wait = 0
		}
		n.ended(d, lasted > 0, SessionIdle)
		if !pause(ctx, wait) {
			return
		}
		wait = min(max(2*wait, time.Second), maxReconnect)
	}
}

// connect dials until it succeeds; nil when ctx ends or the embedded speaker gives this arm no connection. Routers may hang up on whoever keeps them waiting for an OPEN, so the embedded
// speaker must be ready first.
func (n *neighbor) connect(ctx context.Context, a *arm) *net.TCPConn {
	n.setState(SessionConnect)
	for ctx.Err() == nil {
		if !n.speaker.Alive() {
			pause(ctx, dialPause)
			continue
		}
		if err := a.wait(ctx); err != nil {
			if ctx.Err() == nil {
				n.ended(notReady(), false, SessionConnect)
				a.release()
			}
			return nil
		}
		conn, err := dial(ctx, n.config, n.options)
		if err == nil {
			return conn
		}
		if ctx.Err() != nil {
			return nil
		}
		n.ended(dialFailure(n.config, err), false, SessionConnect)
		pause(ctx, dialPause)
	}
	return nil
}

// hold has one session, and says how it ended and how long it was established.
func (n *neighbor) hold(ctx context.Context, a *arm, router *net.TCPConn) (*down, time.Duration) {
	n.setState(SessionOpen)
	local, err := a.take(ctx)
	if err != nil {
		router.Close()
		if ctx.Err() != nil {
			return &down{failure: failNone, text: "closed from here"}, 0
		}
		return notReady(), 0
	}
	defer a.release()
	s := newSession(n, router, local)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	n.mu.Lock()
	n.local, n.end = s.localAddr(), end
	n.mu.Unlock()
	d := s.run(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.end = nil
	if n.state != SessionEstablished {
		return d, 0
	}
	return d, max(time.Since(n.since), 1)
}

func notReady() *down {
	return &down{failure: failSpeaker, text: fmt.Sprintf("the embedded speaker was not ready within %s; trying again", armTimeout)}
}

// errStalled is why a session is ended that nobody decides about any more.
var errStalled = errors.New("nearcast: internal failure, nothing decides about the routes")

// errBehind is why a session is ended that the embedded speaker does not keep up to date.
var errBehind = errors.New("nearcast: internal failure")

// reset ends the session, if there is one; another follows.
func (n *neighbor) reset(why error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.end != nil {
		n.end(why)
	}
}

// ended notes how a session ended or why it did not come about, and forgets what was sent on it.
func (n *neighbor) ended(d *down, wasUp bool, next SessionState) {
	now := time.Now()
	n.mu.Lock()
	n.lastDown, n.lastDownAt = d.text, now
	n.mu.Unlock()
	n.setState(next)
	if d.failure == failNone {
		n.log.Info("neighbor " + n.name + ": " + d.text)
		return
	}
	n.metrics.failures[d.failure].Inc()
	switch {
	case wasUp:
		n.lostAt = now
		n.log.Warn("neighbor "+n.name+": session lost: "+d.text, "reason", failureNames[d.failure])
	case d.failure == failReset && now.Sub(n.lostAt) < settling:
		n.log.Debug("neighbor "+n.name+": not ready for a new session yet", "reason", failureNames[d.failure])
	default:
		n.complain.warn(now, n.name, d)
	}
}

// setState moves on; established is confirm's.
func (n *neighbor) setState(to SessionState) {
	n.mu.Lock()
	if n.state != to {
		n.state, n.since = to, time.Now()
	}
	n.confirmed, n.holdTime, n.agreed, n.local = 0, 0, nil, netip.Addr{}
	clear(n.routes)
	n.mu.Unlock()
	n.adjIn.finish(time.Now())
	n.speaker.changed.notify()
}

// opened notes what the router's OPEN has in common with ours.
func (n *neighbor) opened(theirs open) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holdTime, n.agreed = min(theirs.holdTime, n.config.HoldTime), theirs.families
}

// confirm notes a first KEEPALIVE; both make a session established.
func (n *neighbor) confirm(by confirmation) {
	n.mu.Lock()
	n.confirmed |= by
	up := n.confirmed == confirmBoth && n.state != SessionEstablished
	if up {
		n.state, n.since = SessionEstablished, time.Now()
	}
	agreed, local, hold := n.agreed, n.local, n.holdTime
	n.mu.Unlock()
	if !up {
		return
	}
	n.adjIn.establish(time.Now())
	n.metrics.sessions.Inc()
	n.log.Info("neighbor "+n.name+": session established", "local_address", local, "asn", n.config.ASN, "hold_time", hold)
	n.warnUnagreed(agreed)
	n.speaker.changed.notify()
}

// warnUnagreed tells which prefixes the router will never see.
func (n *neighbor) warnUnagreed(agreed []family) {
	var lost []string
	for _, p := range n.speaker.config.Prefixes {
		if !slices.Contains(agreed, familyOf(p)) {
			lost = append(lost, p.String())
		}
	}
	if len(lost) > 0 {
		n.log.Warn("neighbor " + n.name + ": it did not agree to the address family of " + strings.Join(lost, ", ") +
			", which are not announced to it; activate the family for this edge there")
	}
}

func (n *neighbor) established() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state == SessionEstablished
}

// sent notes what one of our UPDATEs has told the router.
func (n *neighbor) sent(u update) {
	n.mu.Lock()
	for _, p := range u.withdrawn {
		delete(n.routes, p)
	}
	for _, p := range u.announced {
		n.routes[p] = struct{}{}
	}
	n.mu.Unlock()
	n.adjIn.sent(u.announced, u.withdrawn, time.Now())
	n.speaker.changed.notify()
}

// dropped counts an UPDATE of the router.
func (n *neighbor) dropped() { n.metrics.filtered.Inc() }

// upToDate says whether the router has been told all of wanted and nothing else; without a session there is nothing to tell.
func (n *neighbor) upToDate(wanted map[netip.Prefix]Route) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != SessionEstablished {
		return true
	}
	count := 0
	for p := range wanted {
		if !slices.Contains(n.agreed, familyOf(p)) {
			continue
		}
		if _, ok := n.routes[p]; !ok {
			return false
		}
		count++
	}
	return count == len(n.routes)
}

// status is a snapshot.
func (n *neighbor) status() NeighborStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	st := NeighborStatus{
		Address: n.config.Address, Port: n.config.Port, ASN: n.config.ASN,
		State: n.state, Since: n.since, LocalAddress: n.local,
		LastDown: n.lastDown, LastDownAt: n.lastDownAt, Filtered: n.metrics.filtered.Get(),
		Prefixes: make([]netip.Prefix, 0, len(n.routes)),
	}
	for p := range n.routes {
		st.Prefixes = append(st.Prefixes, p)
	}
	slices.SortFunc(st.Prefixes, netip.Prefix.Compare)
	return st
}

// counts are for the gauges.
func (n *neighbor) counts() (up, routes float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state == SessionEstablished {
		up = 1
	}
	return up, float64(len(n.routes))
}
