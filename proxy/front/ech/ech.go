// Package ech has the keys of Encrypted Client Hello (RFC 9849) that all edges of a fleet share: each derives them from the fleet's secrets and the
// date alone, so that a client may come to any of them with what one of them has published.
package ech

import (
	"crypto/ecdh"
	"crypto/tls"
	"strings"
	"sync/atomic"
	"time"

	"nearcast/fleet/keys"
)

// Period is how long a key is the current one. That of the period before is accepted as well, since DNS has to follow, and that of the next, so that
// it can be published ahead.
const Period = periodEpochs * keys.Length

const periodEpochs = 28

// period numbers the periods since the beginning of 1970, UTC.
type period uint32

func periodAt(t time.Time) period { return period(keys.At(t) / periodEpochs) }

// start is the epoch that the period begins with.
func (p period) start() keys.Epoch { return keys.Epoch(p) * periodEpochs }

// Validity is the time in which the period's key is current that now lies in.
func Validity(now time.Time) (from, until time.Time) {
	p := periodAt(now)
	return p.start().Start(), (p + 1).start().Start()
}

// List is the ECHConfigList to publish at a time: that of the ring's first secret.
func List(ring *keys.Ring, publicName string, now time.Time) ([]byte, error) {
	k, err := newKey(ring.First(), periodAt(now), publicName)
	if err != nil {
		return nil, err
	}
	return list(k.Config), nil
}

// Keys are what the servers of an edge take.
type Keys struct {
	ring func() *keys.Ring
	name string
	now  func() time.Time
	last atomic.Pointer[accepted]
}

// accepted are the keys for the secrets of a ring, in a period.
type accepted struct {
	ring   *keys.Ring
	period period
	keys   []tls.EncryptedClientHelloKey
}

// New makes the keys of the secrets that ring returns, which may be others later. publicName is what a client shows instead of the name it wants.
func New(ring func() *keys.Ring, publicName string, now func() time.Time) *Keys {
	return &Keys{ring: ring, name: publicName, now: now}
}

// Get is a [tls.Config.GetEncryptedClientHelloKeys]. crypto/tls tries one key after the other, whatever the client says it has used, so those that
// most clients have come first. A client that has a key asks for the public name to all appearances (RFC 9849 §6.1); one that asks for another has
// none, and only looks as if (§6.2), as browsers do: nothing is tried on it.
func (k *Keys) Get(hello *tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
	if !strings.EqualFold(hello.ServerName, k.name) {
		return none, nil
	}
	ring, p := k.ring(), periodAt(k.now())
	if a := k.last.Load(); a != nil && a.ring == ring && a.period == p {
		return a.keys, nil
	}
	a := &accepted{ring: ring, period: p}
	for _, at := range []period{p, p - 1, p + 1} {
		for i, s := range ring.All() {
			key, err := newKey(s, at, k.name)
			if err != nil {
				return nil, err
			}
			key.SendAsRetry = i == 0 && at == p // what is published
			a.keys = append(a.keys, key)
		}
	}
	k.last.Store(a)
	return a.keys, nil
}

var none = []tls.EncryptedClientHelloKey{}

// newKey derives the key of a secret in a period.
func newKey(s *keys.Secret, p period, publicName string) (tls.EncryptedClientHelloKey, error) {
	seed := s.Key(keys.Hello, p.start(), publicName)
	private, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		return tls.EncryptedClientHelloKey{}, err // not with that length
	}
	return tls.EncryptedClientHelloKey{
		Config:     config(configID(s, p), private.PublicKey().Bytes(), publicName),
		PrivateKey: private.Bytes(),
	}, nil
}

// configID differs between the periods that are accepted together, and nearly always between secrets. A number that is there twice only costs a trial.
func configID(s *keys.Secret, p period) uint8 {
	of := s.Key(keys.Hello, 0, "config id") // no public name has a space
	return of[0]&^3 | uint8(p&3)
}
