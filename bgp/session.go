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
	betterTime       = 250 * time.Millisecond // for the neighbor's own words after a failed write
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
	ending  atomic.Bool
	writing sync.Mutex // a whole message to the router at a time
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
		_ = s.router.SetWriteDeadline(time.Now().Add(lingerTime)) // ends a write that is under way and stuck
		_ = s.send(shutdown(s.n.speaker.reason()))
		d = &down{failure: failNone, text: "closed from here: Cease/Administrative Shutdown", linger: true}
	}
	s.wind(d)
	for ; running > 0; running-- {
		if e := <-ends; d.vague && !e.vague {
			d = e
		}
	}
	s.router.Close()
	return d
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
	default:
		_ = s.router.SetReadDeadline(now)
	}
	s.local.Close()
}

// discard reads on in the place of toSpeaker, which a framing fault has ended.
func (s *session) discard(until time.Time) {
	_ = s.router.SetReadDeadline(until)
	_, _ = io.Copy(io.Discard, s.router)
}

// send writes a whole message to the router.
func (s *session) send(m message) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	wait := s.n.config.HoldTime
	if m.kind() == typeNotification {
		wait = lingerTime
	}
	_ = s.router.SetWriteDeadline(time.Now().Add(wait))
	_, err := s.router.Write(m)
	return err
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
			u, err = rewriteUpdate(m.body(), s.hops)
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

// toSpeaker carries what the router sends.
func (s *session) toSpeaker() *down {
	r := bufio.NewReaderSize(s.router, readBuffer)
	for {
		m, err := readFiltered(r)
		if err == nil && s.ending.Load() {
			continue
		}
		if err == nil {
			err = s.pass(m)
		}
		if err == nil {
			continue
		}
		var d *down
		var closed *closedByNeighbor
		var local *localError
		switch {
		case errors.As(err, &closed):
			d = closed.down
		case errors.As(err, &local):
			d = &down{failure: failSpeaker, text: "the embedded speaker closed its side", vague: true}
		default:
			d = readFailure(err, s.gotOpen, s.n.established(), s.router.LocalAddr())
		}
		var wire *wireError
		if errors.As(err, &wire) && !s.ending.Load() {
			_ = s.send(wire.notification())
		}
		return d
	}
}

// closedByNeighbor is a NOTIFICATION that was received.
type closedByNeighbor struct{ down *down }

func (c *closedByNeighbor) Error() string { return c.down.text }

// localError is a failure towards the embedded speaker.
type localError struct{ error }

// pass gives the speaker a message of the router, where it may have it. Nil is an UPDATE that was dropped.
func (s *session) pass(m message) error {
	if m == nil {
		return s.dropped()
	}
	switch m.kind() {
	case typeOpen:
		var err error
		if m, err = s.theirOpen(m); err != nil {
			return err
		}
	case typeNotification:
		return s.theirNotification(m)
	case typeKeepalive:
		if !s.gotOpen {
			return &wireError{code: 5, subcode: 1, text: "it sent a KEEPALIVE before its OPEN"}
		}
		if !s.confirmed {
			s.confirmed = true
			_ = s.router.SetReadDeadline(time.Time{}) // from here on the hold timer watches
			s.n.confirm(confirmTheirs)
		}
	case typeRouteRefresh:
		// RFC 2918 section 3: a family that was not agreed on is ignored. The third byte is RFC 7313's, for plain requests zero.
		f := family{m.body()[0], m.body()[1], 0, m.body()[3]}
		if !s.confirmed || m.body()[2] != 0 || !s.theirs.has(f) {
			return nil
		}
	case typeUpdate: // End-of-RIB
		if !s.confirmed {
			return nil
		}
	}
	return s.tell(m)
}

func (s *session) tell(m message) error {
	_ = s.local.SetWriteDeadline(time.Now().Add(localTimeout))
	if _, err := s.local.Write(m); err != nil {
		return &localError{err}
	}
	return nil
}

// dropped counts an UPDATE. It proves the router alive as a KEEPALIVE does (RFC 4271 section 8.2.2), so the speaker gets one instead.
func (s *session) dropped() error {
	s.n.dropped()
	if now := time.Now(); s.confirmed && now.Sub(s.nudged) >= nudgeEvery {
		s.nudged = now
		return s.tell(keepalive)
	}
	return nil
}

// theirOpen checks the router's OPEN and leaves in it only what the speaker is to see.
func (s *session) theirOpen(m message) (message, error) {
	if s.gotOpen {
		return nil, &wireError{code: 5, text: "it sent a second OPEN"}
	}
	o, err := parseOpen(m.body())
	if err != nil {
		return nil, err
	}
	if o.asn != s.n.config.ASN {
		return nil, &wireError{code: codeOpen, subcode: subcodeBadPeerAS,
			text: fmt.Sprintf("it says that its AS number is %d, but the configuration says %d; correct one of them", o.asn, s.n.config.ASN)}
	}
	if o.holdTime == 0 {
		return nil, &wireError{code: codeOpen, subcode: 6,
			text: "it asks for a session without hold timer, which would never notice that it is gone; set a hold time there"}
	}
	agreed := slices.DeleteFunc(s.families(), func(f family) bool { return !o.has(f) })
	if len(agreed) == 0 {
		return nil, &wireError{code: codeOpen, subcode: 7, data: capability(s.families()),
			text: "it has no address family in common with the prefixes here; activate IPv4 or IPv6 unicast for this edge there"}
	}
	o.families, o.noMP = agreed, false
	s.gotOpen, s.theirs = true, o
	s.n.opened(o)
	return o.encode(), nil
}

func (s *session) theirNotification(m message) error {
	n := parseNotification(m.body())
	_ = s.tell(m)
	d := &down{failure: failNotification, text: "closed the session: " + n.String()}
	if n.code == codeOpen {
		d.failure = failOpen
		d.text = "rejected our OPEN: " + n.String()
		switch n.subcode {
		case subcodeBadPeerAS:
			d.text += fmt.Sprintf("; it expects another AS number than %d from this edge", s.n.speaker.config.BGP.ASN)
		case subcodeBadBGPID:
			d.text += fmt.Sprintf("; it does not take the router_id %s", s.n.speaker.config.BGP.RouterID)
		}
	}
	return &closedByNeighbor{d}
}
