package bgp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"nearcast/bgp/bfd"
)

const settling = 5 * time.Second // after losing a session some routers hang up on the next for a moment

// neighbor keeps the session with one router.
type neighbor struct {
	// immutable
	speaker *Speaker
	config  *NeighborConfig
	name    string
	options socketOptions
	arms    [3]*arm      // set before run
	bfd     *bfd.Session // nil: none
	log     *slog.Logger
	metrics neighborMetrics
	adjIn   *adjIn

	// owned by run
	complain complaints
	lostAt   time.Time // when the last established session ended
	again    retry

	// shared
	mu sync.Mutex
	// guarded by mu
	state      SessionState
	since      time.Time
	confirmed  confirmation
	local      netip.Addr
	holdTime   time.Duration
	agreed     []family
	routes     map[netip.Prefix]sentRoute // sent on this session and not withdrawn
	unacked    map[netip.Prefix]int64     // changes that the router's kernel may not have, with the octet of the session they end at
	mismatches []Mismatch                 // as the last audit left them
	session    *session                   // nil: none
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
	for i := 0; ctx.Err() == nil; {
		a := n.arms[i]
		router := n.connect(ctx, a)
		if router == nil {
			i = (i + 1) % len(n.arms)
			continue
		}
		from := bufio.NewReaderSize(router, readBuffer)
		d := n.greet(ctx, router, from)
		var lasted time.Duration
		if d == nil {
			d, lasted = n.hold(ctx, a, router, from)
			i = (i + 1) % len(n.arms)
		} else {
			router.Close()
		}
		n.ended(d, lasted > 0, SessionIdle)
		if d.failure == failBFD {
			n.awaitBFD(ctx)
		}
		pause(ctx, n.again.after(d, lasted, rand.Float64()))
	}
}

// connect dials until it succeeds; nil when ctx ends or the embedded speaker gives this arm no connection. Routers may hang up on whoever
// keeps them waiting for an OPEN, so the embedded speaker must be ready first.
func (n *neighbor) connect(ctx context.Context, a *arm) *net.TCPConn {
	n.setState(SessionConnect)
	for ctx.Err() == nil {
		if !n.speaker.Alive() {
			pause(ctx, retryMost)
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
		d := dialFailure(n.config, err)
		n.ended(d, false, SessionConnect)
		pause(ctx, n.again.after(d, 0, rand.Float64()))
	}
	return nil
}

// greet waits a moment for what the router says first. One that hangs up at once, or says why it takes no session, costs no
// connection of the embedded speaker, which takes 2 s to make the next. Nil is to go on: it sends an OPEN, or waits for ours.
func (n *neighbor) greet(ctx context.Context, router *net.TCPConn, from *bufio.Reader) *down {
	n.setState(SessionOpen)
	_ = router.SetReadDeadline(time.Now().Add(greetTime))
	stop := context.AfterFunc(ctx, func() { _ = router.SetReadDeadline(time.Now()) })
	defer stop()
	h, err := from.Peek(headerSize)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err != nil:
		return readFailure(err, false, false, router.LocalAddr())
	case h[headerSize-1] != typeNotification:
		return nil // whatever it is, the session looks at it
	}
	m, err := readFiltered(from)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err != nil:
		return readFailure(err, false, false, router.LocalAddr())
	}
	return n.closedWith(parseNotification(m.body()))
}

// hold has one session, and says how it ended and how long it was established.
func (n *neighbor) hold(ctx context.Context, a *arm, router *net.TCPConn, from *bufio.Reader) (*down, time.Duration) {
	local, err := a.take(ctx)
	if err != nil {
		router.Close()
		if ctx.Err() != nil {
			return &down{failure: failNone, text: "closed from here"}, 0
		}
		return notReady(), 0
	}
	defer a.release()
	s := newSession(n, router, from, local)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	n.mu.Lock()
	n.local, n.end, n.session = s.localAddr(), end, s
	n.mu.Unlock()
	n.useBFD(true)
	unwatch := n.watchBFD(ctx, end)
	d := s.run(ctx)
	end(nil)
	unwatch()
	n.useBFD(false)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.end, n.session = nil, nil
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
	clear(n.unacked)
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

// dropped counts an UPDATE of the router.
func (n *neighbor) dropped() { n.metrics.filtered.Inc() }

// status is a snapshot.
func (n *neighbor) status() NeighborStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	st := NeighborStatus{
		Address: n.config.Address, Port: n.config.Port, ASN: n.config.ASN,
		State: n.state, Since: n.since, LocalAddress: n.local,
		LastDown: n.lastDown, LastDownAt: n.lastDownAt, Filtered: n.metrics.filtered.Get(),
		Prefixes: make([]netip.Prefix, 0, len(n.routes)), Announcements: make([]AnnouncementStatus, 0, len(n.routes)),
		Mismatches: n.mismatches,
	}
	if n.bfd != nil {
		b := n.bfd.Status()
		st.BFD = &b
	}
	for _, p := range slices.SortedFunc(maps.Keys(n.routes), netip.Prefix.Compare) {
		sent := n.routes[p]
		st.Prefixes = append(st.Prefixes, p)
		st.Announcements = append(st.Announcements, sent.route.status(sent.since))
	}
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
