package bgp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
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
//	router ── toSpeaker ──▶ embedded speaker: OPEN rewritten, UPDATEs dropped
//	router ◀── toRouter ─── embedded speaker: OPEN rewritten, next hops put in, what was sent remembered
type session struct {
	// immutable
	n      *neighbor
	router *net.TCPConn
	local  *net.TCPConn
	hops   nextHops

	// owned by toSpeaker
	theirs    open
	gotOpen   bool
	confirmed bool // their first KEEPALIVE has come: the speaker takes ours as well
	nudged    time.Time

	// shared
	ending  atomic.Bool // nothing more is passed on, in either direction
	writing sync.Mutex  // a whole message to the router at a time
}

func newSession(n *neighbor, router, local *net.TCPConn) *session {
	s := &session{n: n, router: router, local: local, hops: nextHops{v4: n.config.NextHopIPv4, v6: n.config.NextHopIPv6}}
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
	_, err := s.router.Write(m)
	return err
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
		var u update
		switch m.kind() {
		case typeOpen:
			m, err = s.ownOpen(m)
		case typeUpdate:
			if u, err = rewriteUpdate(m.body(), s.hops); err == nil && s.n.speaker.outdated(u) {
				continue
			}
		}
		if err != nil {
			return &down{failure: failSpeaker, text: "the embedded speaker sent what was not expected: " + err.Error()}
		}
		if err := s.send(m); err != nil {
			return &down{failure: failReset, text: "sending to it failed: " + errnoText(err), vague: true}
		}
		switch m.kind() {
		case typeUpdate:
			s.n.sent(u)
		case typeKeepalive:
			s.n.confirm(confirmOwn)
		case typeNotification:
			return s.notified(parseNotification(m.body()))
		}
	}
}

// ownOpen leaves in our OPEN only what this session is to have.
func (s *session) ownOpen(m message) (message, error) {
	o, err := parseOpen(m.body())
	if err != nil {
		return nil, err
	}
	o.families = s.families()
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
