package front

import (
	"time"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/rescue"
	"nearcast/proxy/ticket"
)

// Fleet is what the listeners share with those of other edges. The zero value: nothing.
type Fleet struct {
	Keys   func() *keys.Ring // of session tickets, address tokens and Encrypted Client Hello
	Rescue *rescue.Config    // for each QUIC port; nil: their connections end when the route moves
}

// share makes the session tickets of TLS over TCP good in every edge with one of the secrets. Without a fleet crypto/tls has keys of its own; those
// of QUIC are h3's to share.
func (s *certificates) share(ring func() *keys.Ring, now func() time.Time) {
	ticket.Shared(ring, ticket.TCP, now).Use(s.tcp)
}
