package bgp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readBuffer       = 16 << 10 // must hold the longest message
	handshakeTimeout = 30 * time.Second
	localTimeout     = 5 * time.Second        // for the embedded speaker to take a message
	lingerTime       = time.Second            // for the neighbor to close after a NOTIFICATION
	betterTime       = 250 * time.Millisecond // for a side's own words after the other failed
	nudgeEvery       = time.Second
)

// session joins a connection to the router with one to the embedded speaker, and is the filter between them.
//
//	router ── toSpeaker ──▶ embedded speaker: OPEN rewritten, UPDATEs dropped, looked through before where there is a view
//	router ◀── toRouter ─── embedded speaker: OPEN rewritten, UPDATEs made anew with this neighbor's attributes, what was sent remembered
type session struct {
	// immutable
	n      *neighbor
	router *net.TCPConn
	from   *bufio.Reader // of router
	local  *net.TCPConn
	hops   nextHops

	// owned by toSpeaker
	theirs    open
	gotOpen   bool
	confirmed bool     // their first KEEPALIVE has come: the speaker takes ours as well
	scanner   *scanner // of UPDATEs; nil: they are dropped unread, as before the OPEN
	nudged    time.Time

	// shared
	ending  atomic.Bool              // nothing more is passed on, in either direction
	out     atomic.Pointer[outbound] // nil before the router's OPEN
	writing sync.Mutex               // a whole message to the router at a time
	written atomic.Int64             // octets that the kernel took for the router
}

func newSession(n *neighbor, router *net.TCPConn, from *bufio.Reader, local *net.TCPConn) *session {
	s := &session{n: n, router: router, from: from, local: local, hops: nextHops{v4: n.config.NextHopIPv4, v6: n.config.NextHopIPv6}}
	own := s.localAddr()
	switch {
	case own.Is4() && !s.hops.v4.IsValid():
		s.hops.v4 = own
	case own.Is6() && !own.IsLinkLocalUnicast() && !s.hops.v6.IsValid():
		s.hops.v6 = own
	}
	return s
}

func (s *session) localAddr() netip.Addr {
	return s.router.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
}

// families are those that have prefixes and a next hop here.
func (s *session) families() []family {
	var fs []family
	has4, has6 := s.n.speaker.config.families()
	if has4 && s.hops.v4.IsValid() {
		fs = append(fs, familyIPv4)
	}
	if has6 && s.hops.v6.IsValid() {
		fs = append(fs, familyIPv6)
	}
	return fs
}

// run carries messages until one side ends it, or ctx does: then the router gets Administrative Shutdown. It closes both connections.
func (s *session) run(ctx context.Context) *down {
	ends := make(chan *down, 2)
	_ = s.router.SetReadDeadline(time.Now().Add(handshakeTimeout))
	go func() { ends <- s.toRouter() }()
	go func() { ends <- s.toSpeaker() }()
	var d *down
	running := 2
	select {
	case d = <-ends:
		running--
	case <-ctx.Done():
		d = s.shut(context.Cause(ctx))
	}
	s.wind(d)
	for ; running > 0; running-- {
		if e := <-ends; d.vague && !e.vague {
			d = e
		}
	}
	s.router.Close()
	s.local.Close()
	return d
}

// shut sends what ends the session from here.
func (s *session) shut(why error) *down {
	s.ending.Store(true)
	s.n.useBFD(false)                                         // before it is told: some routers end BFD with the session, at once
	_ = s.router.SetWriteDeadline(time.Now().Add(lingerTime)) // ends a write that is under way and stuck
	if errors.Is(why, errBehind) {
		s.sendLast(makeMessage(typeNotification, []byte{codeCease, ceaseReset}))
		return &down{failure: failSpeaker, text: fmt.Sprintf("closed from here: the embedded speaker did not send it the changed routes within %s", tellWithin), linger: true}
	}
	if errors.Is(why, errStalled) {
		s.sendLast(shutdown(why.Error()))
		return &down{failure: failStalled, text: "closed from here by the watchdog: nothing has decided about the routes in time", linger: true}
	}
	if errors.Is(why, errBFDDown) {
		s.sendLast(makeMessage(typeNotification, []byte{codeCease, ceaseBFDDown}))
		return &down{failure: failBFD, text: "BFD down: " + s.n.bfd.Status().Diagnostic.String() + "; closed from here: Cease/BFD Down", linger: true}
	}
	s.sendLast(shutdown(s.n.speaker.reason()))
	return &down{failure: failNone, text: "closed from here: Cease/Administrative Shutdown", linger: true}
}

// wind makes both directions end soon. A connection that is closed with data unread is reset, and the reset overtakes a NOTIFICATION:
// so after sending one, what still comes is read until the neighbor closes.
func (s *session) wind(d *down) {
	s.ending.Store(true)
	now := time.Now()
	_ = s.router.SetWriteDeadline(now)
	switch {
	case d.linger:
		_ = s.router.CloseWrite()
		_ = s.router.SetReadDeadline(now.Add(lingerTime))
		if d.failure == failProtocol || d.failure == failOpen {
			s.discard(now.Add(lingerTime))
		}
	case d.vague:
		_ = s.router.SetReadDeadline(now.Add(betterTime))
		_ = s.local.SetReadDeadline(now.Add(betterTime))
		return
	default:
		_ = s.router.SetReadDeadline(now)
	}
	_ = s.local.SetReadDeadline(now)
}

// discard reads on in the place of toSpeaker, which a framing fault has ended.
func (s *session) discard(until time.Time) {
	_ = s.router.SetReadDeadline(until)
	_, _ = io.Copy(io.Discard, s.router)
}

// send writes a whole message to the router, unless the session is ending.
func (s *session) send(m message) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	wait := s.n.config.HoldTime
	if m.kind() == typeNotification {
		wait = lingerTime
	}
	_ = s.router.SetWriteDeadline(time.Now().Add(wait))
	if m.kind() == typeKeepalive && !s.n.speaker.Alive() {
		return nil // the router's hold timer is the last resort of guard's
	}
	if s.ending.Load() { // after the deadline: whoever ends the session says so first and then sets a nearer one
		return net.ErrClosed
	}
	sent, err := s.router.Write(m)
	s.written.Add(int64(sent))
	return err
}

// acknowledged is how many of the octets written the router's kernel has at least; false: it can't be told.
func (s *session) acknowledged() (int64, bool) {
	written := s.written.Load() // first: what is written meanwhile makes it less, not more
	queued, ok := sendQueue(s.router)
	return written - int64(queued), ok
}

// sendLast writes what the ending session still has to say.
func (s *session) sendLast(m message) {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.router.SetWriteDeadline(time.Now().Add(lingerTime))
	_, _ = s.router.Write(m)
}

// toRouter carries what the embedded speaker sends.
func (s *session) toRouter() *down {
	r := bufio.NewReaderSize(s.local, readBuffer)
	for {
		m, err := readOwn(r)
		if err != nil {
			return &down{failure: failSpeaker, text: "the embedded speaker closed its side", vague: true}
		}
		if m.kind() == typeUpdate {
			if d := s.ownUpdate(m); d != nil {
				return d
			}
			continue
		}
		if m.kind() == typeOpen {
			if m, err = s.ownOpen(m); err != nil {
				return unexpected(err)
			}
		}
		if err := s.send(m); err != nil {
			return sendFailure(err)
		}
		switch m.kind() {
		case typeKeepalive:
			s.n.confirm(confirmOwn)
		case typeNotification:
			return s.notified(parseNotification(m.body()))
		}
	}
}

func unexpected(err error) *down {
	return &down{failure: failSpeaker, text: "the embedded speaker sent what was not expected: " + err.Error()}
}

func sendFailure(err error) *down {
	return &down{failure: failReset, text: "sending to it failed: " + errnoText(err), vague: true}
}

// ownUpdate sends what one of our own UPDATEs changes. The embedded speaker has one table for all neighbors, which says no more than
// that a prefix is announced or has changed: how, is what is wanted now. What is no longer wanted it had on its way, or it is stuck.
// Withdrawals always go out: one that is left out may not come again.
func (s *session) ownUpdate(m message) *down {
	u, err := parseUpdate(m.body())
	if err != nil {
		return unexpected(err)
	}
	if len(u.withdrawn)+len(u.announced) == 0 {
		if !isEndOfRIB(m.body()) {
			return unexpected(errOwnUpdate)
		}
		if err := s.send(m); err != nil {
			return sendFailure(err)
		}
		return nil
	}
	out := s.out.Load()
	routes := s.n.speaker.stillWanted(u.announced)
	if out == nil || slices.ContainsFunc(routes, func(r Route) bool { return !out.hops.has(r.Prefix) }) {
		return unexpected(errOwnUpdate)
	}
	for _, o := range append(withdraw(u.withdrawn), out.announce(routes)...) {
		if err := s.send(o.m); err != nil {
			return sendFailure(err)
		}
		s.n.sent(o, s.written.Load())
	}
	return nil
}

// ownOpen leaves in our OPEN only what this session is to have.
func (s *session) ownOpen(m message) (message, error) {
	o, err := parseOpen(m.body())
	if err != nil {
		return nil, err
	}
	o.families, o.addPath = s.families(), nil
	if s.n.config.View == ViewAddPath {
		for _, f := range o.families {
			o.addPath = append(o.addPath, addPathFamily{f, addPathReceive})
		}
	}
	return o.encode(), nil
}

// notified puts a NOTIFICATION of our own into words.
func (s *session) notified(n notification) *down {
	d := &down{failure: failProtocol, text: "closed from here: " + n.String(), linger: true}
	switch n.code {
	case codeHoldTimer:
		d.failure, d.linger = failHoldTimer, false
		d.text = "hold timer expired: nothing came from it for the hold time; closed from here"
	case codeOpen:
		d.failure = failOpen
		d.text = "its OPEN is not acceptable: " + n.String()
	case codeCease:
		d.failure = failSpeaker
	}
	return d
}
