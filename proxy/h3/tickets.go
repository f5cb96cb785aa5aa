package h3

import (
	"crypto/rand"
	"crypto/tls"
	"sync"
	"time"
)

const (
	ticketKeyAge  = 24 * time.Hour     // a key makes tickets for so long
	ticketKeyKept = 7 * 24 * time.Hour // and reads them for so long after: no ticket lives longer (RFC 8446 §4.6.1)
)

// tickets holds the keys of the session tickets. crypto/tls would make and rotate keys by itself, but in the clone of the configuration
// that each QUIC connection gets: a ticket of one connection would mean nothing to the next. The keys live and die with the process.
type tickets struct {
	mu   sync.Mutex
	keys []ticketKey // the newest first
}

type ticketKey struct {
	key     [32]byte
	made    time.Time
	retired time.Time // when the next was made
}

// refresh makes a new key when it is time. It returns the keys, the one to use first, and whether they have changed.
func (t *tickets) refresh(now time.Time) (keys [][32]byte, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.keys) == 0 || now.Sub(t.keys[0].made) >= ticketKeyAge {
		if len(t.keys) > 0 {
			t.keys[0].retired = now
		}
		k := ticketKey{made: now}
		_, _ = rand.Read(k.key[:]) // never fails
		kept := []ticketKey{k}
		for _, old := range t.keys {
			if now.Sub(old.retired) < ticketKeyKept {
				kept = append(kept, old)
			}
		}
		t.keys, changed = kept, true
	}
	for i := range t.keys {
		keys = append(keys, t.keys[i].key)
	}
	return keys, changed
}

// serverTLS is the configuration for QUIC: h3 is the only protocol, and the ticket keys are ours unless from has its own way with
// tickets (SessionTicketKey, WrapSession, or none at all).
func serverTLS(from *tls.Config, now func() time.Time) *tls.Config {
	cfg := from.Clone()
	cfg.NextProtos = []string{"h3"}
	//lint:ignore SA1019 whoever sets it is to have it
	if from.SessionTicketsDisabled || from.SessionTicketKey != [32]byte{} || from.WrapSession != nil || from.UnwrapSession != nil {
		return cfg
	}
	var t tickets
	keys, _ := t.refresh(now())
	cfg.SetSessionTicketKeys(keys)
	inner := from.GetConfigForClient
	cfg.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		keys, changed := t.refresh(now())
		if changed {
			cfg.SetSessionTicketKeys(keys) // for the connections that are cloned from it from now on
		}
		if inner == nil {
			return nil, nil
		}
		own, err := inner(info)
		if own == nil || err != nil {
			return nil, err
		}
		own = own.Clone()
		own.NextProtos = cfg.NextProtos
		own.SetSessionTicketKeys(keys)
		return own, nil
	}
	return cfg
}
