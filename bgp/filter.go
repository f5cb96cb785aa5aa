package bgp

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// toSpeaker carries what the router sends.
func (s *session) toSpeaker() *down {
	for {
		m, err := readFiltered(s.from)
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
		case s.ending.Load() && errors.Is(err, os.ErrDeadlineExceeded):
			d = &down{failure: failNone, vague: true} // nothing more came
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
	s.out.Store(&outbound{config: s.n.speaker.config, neighbor: s.n.config, hops: s.hops, fourOctet: o.fourOct})
	s.n.opened(o)
	return o.encode(), nil
}

func (s *session) theirNotification(m message) error {
	_ = s.tell(m)
	return &closedByNeighbor{s.n.closedWith(parseNotification(m.body()))}
}

// closedWith puts a NOTIFICATION of the router into words.
func (nb *neighbor) closedWith(n notification) *down {
	d := &down{failure: failNotification, text: "it closed the session: " + n.String()}
	if n.code == codeOpen {
		d.failure = failOpen
		d.text = "it rejected our OPEN: " + n.String()
		switch n.subcode {
		case subcodeBadPeerAS:
			d.text += fmt.Sprintf("; it expects another AS number than %d from this edge", nb.speaker.config.BGP.ASN)
		case subcodeBadBGPID:
			d.text += fmt.Sprintf("; it does not take the router_id %s", nb.speaker.config.BGP.RouterID)
		}
	}
	return d
}
