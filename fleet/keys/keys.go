// Package keys derives the keys that the edges of a fleet share from its secrets, for each use and each day, so that they are the same everywhere
// and change everywhere without a word between the edges.
package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Length is how long an epoch takes. Clocks of edges may differ by a small part of it: whoever reads accepts the epochs next to its own.
const Length = 24 * time.Hour

// Epoch numbers the days since the beginning of 1970, UTC.
type Epoch uint32

// At is the epoch of that time.
func At(t time.Time) Epoch { return Epoch(t.Unix() / int64(Length/time.Second)) }

// Start is when the epoch begins.
func (e Epoch) Start() time.Time { return time.Unix(int64(e)*int64(Length/time.Second), 0) }

// Use is what a key is for. A key of one use is of no use for another.
type Use string

// The uses.
const (
	ConnectionID Use = "connection id"   // encrypts QUIC connection IDs
	Reset        Use = "stateless reset" // RFC 9000 §10.3.2
	Token        Use = "address token"   // RFC 9000 §8.1.2
	Ticket       Use = "session ticket"  // RFC 8446 §4.6.1
	Tunnel       Use = "tunnel"          // seals what edges send each other about QUIC connections
	Hello        Use = "client hello"    // the private key of Encrypted Client Hello, RFC 9849
)

// Key is key material of 256 bits. No verb of formatting, log or encoding shows it, unless it is a field that is not exported: fmt asks those nothing.
type Key [32]byte

// String hides the key.
func (Key) String() string { return hiddenKey }

// GoString hides the key.
func (Key) GoString() string { return hiddenKey }

// Format hides the key from verbs that String has no say in, such as %d.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hiddenKey) }

// MarshalText hides the key from logs and JSON.
func (Key) MarshalText() ([]byte, error) { return []byte(hiddenKey), nil }

const (
	hiddenKey    = "(key)"
	hiddenSecret = "(secret)"
)

// Secret is one line of the fleet's file. No formatting shows it.
type Secret struct {
	// material is behind a function because fmt, given a verb that a value has not, prints all that is in it, also what is not exported.
	material func() *material
}

// material is a secret and what was made of it.
type material struct {
	text []byte

	mu   sync.Mutex
	keys map[wanted]Key // derived so far
}

func newSecret(text string) *Secret {
	m := &material{text: []byte(text), keys: map[wanted]Key{}}
	return &Secret{func() *material { return m }}
}

type wanted struct {
	use     Use
	epoch   Epoch
	context string
}

// maxKept bounds the derived keys that are kept: a handful for each use, epoch and peer.
const maxKept = 4096

// Key derives the key for a use in an epoch (HKDF with SHA-256, RFC 5869). context tells keys of one use apart, such as those of two pairs of edges.
func (s *Secret) Key(use Use, e Epoch, context string) Key {
	return s.material().key(wanted{use, e, context})
}

func (m *material) key(w wanted) Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k, ok := m.keys[w]; ok {
		return k
	}
	info := "nearcast fleet v1 " + string(w.use) + "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(w.epoch))) + w.context
	b, err := hkdf.Key(sha256.New, m.text, nil, info, len(Key{}))
	if err != nil {
		panic("keys: " + err.Error()) // not with that length and hash
	}
	if len(m.keys) >= maxKept {
		clear(m.keys)
	}
	k := Key(b)
	m.keys[w] = k
	return k
}

// String hides the secret.
func (*Secret) String() string { return hiddenSecret }

// GoString hides the secret.
func (*Secret) GoString() string { return hiddenSecret }

// Format hides the secret from verbs that String has no say in, such as %d.
func (*Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hiddenSecret) }

// Ring are the secrets that are accepted, that which is used first.
type Ring struct{ secrets []*Secret }

// New makes a ring of at least one secret. That they are hard to guess is for the caller to see to.
func New(secrets []string) (*Ring, error) {
	if len(secrets) == 0 || slices.Contains(secrets, "") {
		return nil, errors.New("there is no secret")
	}
	r := new(Ring)
	for _, s := range secrets {
		r.secrets = append(r.secrets, newSecret(s))
	}
	return r, nil
}

// First is the secret that new keys are made of.
func (r *Ring) First() *Secret { return r.secrets[0] }

// All are the secrets that are accepted, the first one first. Do not modify.
func (r *Ring) All() []*Secret { return r.secrets }

// Range are the keys for a use in the epochs from back before e to ahead after it, of every secret: e's own of the first secret first, then by secret
// from the newest epoch to the oldest.
func (r *Ring) Range(use Use, e Epoch, back, ahead uint32, context string) []Key {
	all := make([]Key, 0, len(r.secrets)*int(back+1+ahead))
	all = append(all, r.First().Key(use, e, context))
	for i, s := range r.secrets {
		for n := range back + 1 + ahead {
			if at := e + Epoch(ahead) - Epoch(n); i > 0 || at != e {
				all = append(all, s.Key(use, at, context))
			}
		}
	}
	return all
}
