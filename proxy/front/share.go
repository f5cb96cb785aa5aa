package front

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"nearcast/fleet/keys"
	"nearcast/proxy/front/ech"
	"nearcast/proxy/h3/rescue"
	"nearcast/proxy/ticket"
)

// Fleet is what the listeners share with those of other edges. The zero value: nothing.
type Fleet struct {
	Keys   func() *keys.Ring // of session tickets, address tokens and Encrypted Client Hello
	Rescue *rescue.Config    // for each QUIC port; nil: their connections end when the route moves
}

// join makes the edge one of the fleet.
func (s *certificates) join(fleet Fleet) error {
	switch {
	case fleet.Keys != nil:
		s.share(fleet.Keys, time.Now)
	case s.ech != nil:
		return errors.New("tls.ech needs a fleet, whose secret its keys come from; write the fleet section with address and secret_file")
	}
	return nil
}

// share gives TLS the keys that all edges have: of session tickets over TCP, for which crypto/tls would have keys of its own, and of Encrypted Client
// Hello. Those of tickets over QUIC are h3's to share.
func (s *certificates) share(ring func() *keys.Ring, now func() time.Time) {
	ticket.Shared(ring, ticket.TCP, now).Use(s.tcp)
	if s.ech == nil {
		return
	}
	shared := ech.New(ring, s.ech.PublicName, now)
	for _, cfg := range []*tls.Config{s.tcp, s.quic} {
		cfg.GetEncryptedClientHelloKeys, cfg.VerifyConnection = shared.Get, s.countECH
	}
}

// countECH is asked in every handshake, and has no objections. What browsers without a key send looks encrypted too (RFC 9849 §6.2), but asks for the
// true name: who asks for the public one had a key.
func (s *certificates) countECH(c tls.ConnectionState) error {
	switch {
	case c.ECHAccepted:
		s.accepted.Inc()
	case c.ServerName == s.ech.PublicName:
		s.outdated.Inc()
	}
	return nil
}

// checkPublicName finds out whether a client with an outdated ECHConfig is believed when it is told of the new one (RFC 9849 §6.1.6).
func (s *certificates) checkPublicName() error {
	if s.ech == nil || slices.ContainsFunc(s.pairs, func(p *pair) bool { return p.cert.Leaf.VerifyHostname(s.ech.PublicName) == nil }) {
		return nil
	}
	return fmt.Errorf("tls.ech.public_name is %s, but none of tls.certificates is for it; clients with an outdated key come to that name, so add a certificate for it",
		s.ech.PublicName)
}
