// Package ticket seals TLS session tickets (RFC 8446 §4.6.1, RFC 5077) with keys that change every day: with the process's own, or with those that
// every edge of a fleet derives for itself, so that a client whose route has moved resumes where it comes to.
package ticket

import (
	"crypto/tls"
	"sync"
	"time"

	"nearcast/fleet/keys"
)

// Box seals and opens tickets. The keys are in it and not in the tls.Config, for a QUIC server clones that for each connection, and the
// keys with it: a key made for one connection would mean nothing to the next.
type Box struct {
	now   func() time.Time
	older *Box // for TLS before 1.3; nil: this one

	mu   sync.Mutex
	keys source
	form tls.Config // of the tickets; it has the keys, and serves nobody
}

// source has the keys.
type source interface {
	// refresh returns the keys, that which makes tickets first, and whether they are others than at the last call.
	refresh(now time.Time) (keys [][32]byte, changed bool)
}

// Own makes a box whose keys live and die with it.
func Own(now func() time.Time) *Box { return &Box{now: now, keys: new(own)} }

// Shared makes a box whose tickets are good in every box of the same transport with one of its secrets. A change of the ring counts at once.
// Tickets of another transport, which are made in other circumstances, mean nothing to it.
//
// Those of TLS before 1.3 are of the box's own keys. Such a ticket has the key of the very connection that it is sent on, and a fleet's secret outlives
// its connections: whoever got it later could read what was recorded. A session of TLS 1.3 is resumed with a new key exchange (RFC 8446 §2.2).
func Shared(ring func() *keys.Ring, t Transport, now func() time.Time) *Box {
	return &Box{now: now, keys: &shared{ring: ring, transport: t}, older: Own(now)}
}

// Transport is what TLS runs over.
type Transport string

// The transports.
const (
	TCP  Transport = "tcp"
	QUIC Transport = "quic"
)

// Use makes the box that of cfg, and of every clone of it.
func (b *Box) Use(cfg *tls.Config) { cfg.WrapSession, cfg.UnwrapSession = b.Wrap, b.Unwrap }

// Wrap seals a session; it is a [tls.Config.WrapSession].
func (b *Box) Wrap(c tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
	return b.current(c).EncryptTicket(c, s)
}

// Unwrap opens a ticket; it is a [tls.Config.UnwrapSession]. A ticket of unknown keys is a session that is nil: the handshake is a full one.
func (b *Box) Unwrap(ticket []byte, c tls.ConnectionState) (*tls.SessionState, error) {
	return b.current(c).DecryptTicket(ticket, c)
}

// current has the keys of now for a connection. That the lock is held until they are there keeps everybody from making tickets with none.
func (b *Box) current(c tls.ConnectionState) *tls.Config {
	if b.older != nil && c.Version < tls.VersionTLS13 {
		return b.older.current(c)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if keys, changed := b.keys.refresh(b.now()); changed {
		b.form.SetSessionTicketKeys(keys)
	}
	return &b.form
}

// How far from its own epoch an edge reads tickets. None lives longer than a week (RFC 8446 §4.6.1), and clocks may differ.
const (
	epochsBack  = 7
	epochsAhead = 1
)

// shared are keys derived from a fleet's secrets.
type shared struct {
	ring      func() *keys.Ring
	transport Transport

	// what the last keys are of
	secrets *keys.Ring
	epoch   keys.Epoch
}

func (s *shared) refresh(now time.Time) (all [][32]byte, changed bool) {
	ring, e := s.ring(), keys.At(now)
	if ring == s.secrets && e == s.epoch {
		return nil, false
	}
	s.secrets, s.epoch = ring, e
	for _, k := range ring.Range(keys.Ticket, e, epochsBack, epochsAhead, string(s.transport)) {
		all = append(all, k)
	}
	return all, true
}
