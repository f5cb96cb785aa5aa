package cache

import (
	"encoding/binary"
	"errors"
	"time"
)

// PurgeKind is what a purge names.
type PurgeKind uint8

const (
	PurgeAll    PurgeKind = iota // everything
	PurgeURL                     // one URL
	PurgePrefix                  // every URL that begins so
	PurgeTag                     // every object that has the tag

	purgeKinds
)

var purgeKindWords = [purgeKinds]string{PurgeAll: "all", PurgeURL: "url", PurgePrefix: "prefix", PurgeTag: "tag"}

// String returns the word for logs, metrics and answers.
func (k PurgeKind) String() string {
	if k < purgeKinds {
		return purgeKindWords[k]
	}
	return "unknown"
}

// PurgeEvent is one purge as it is kept and handed on. It names its target by a hash that is the same in every process: one that
// collides purges too much, never too little. Events are idempotent, and may be applied in any order.
type PurgeEvent struct {
	// Seq is the event's number. Numbers rise, also across restarts when [Cache.ApplyPurges] is told the last one.
	Seq uint64
	// At is when; what a soft purge concerns has been stale since then.
	At   time.Time
	Soft bool
	Kind PurgeKind
	// Service is the hash of the service's name, 0 for every service.
	Service uint64
	// Hash is the target's, Length a prefix's number of bytes.
	Hash   uint64
	Length uint16
}

// purgeEventSize is the number of bytes of an event's binary form: version, kind, soft, 0, length, seq, time, service, hash.
const purgeEventSize = 4 + 2 + 4*8

const purgeEventVersion = 1

var errPurgeEvent = errors.New("cache: malformed purge event")

// AppendBinary appends the event's binary form, which has a fixed size and no checksum. The error is nil.
func (e PurgeEvent) AppendBinary(b []byte) ([]byte, error) {
	soft := byte(0)
	if e.Soft {
		soft = 1
	}
	b = append(b, purgeEventVersion, byte(e.Kind), soft, 0)
	b = binary.BigEndian.AppendUint16(b, e.Length)
	for _, n := range [...]uint64{e.Seq, uint64(e.At.UnixNano()), e.Service, e.Hash} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b, nil
}

// ParsePurgeEvent reads one event and returns what follows it.
func ParsePurgeEvent(b []byte) (e PurgeEvent, rest []byte, err error) {
	if len(b) < purgeEventSize || b[0] != purgeEventVersion || b[1] >= byte(purgeKinds) || b[2] > 1 || b[3] != 0 {
		return PurgeEvent{}, b, errPurgeEvent
	}
	word := func(i int) uint64 { return binary.BigEndian.Uint64(b[6+8*i:]) }
	e = PurgeEvent{
		Kind: PurgeKind(b[1]), Soft: b[2] == 1, Length: binary.BigEndian.Uint16(b[4:]),
		Seq: word(0), At: time.Unix(0, int64(word(1))), Service: word(2), Hash: word(3),
	}
	if (e.Kind == PurgePrefix) != (e.Length > 0) || e.Length > maxPurgePrefix {
		return PurgeEvent{}, b, errPurgeEvent
	}
	return e, b[purgeEventSize:], nil
}

// The hash of targets is FNV-1a of 64 bits: it can be taken up to every byte of a URL in one pass, and it is the same after a restart. Whoever
// makes URLs that collide makes his own requests miss, and no others.
const (
	fnvBasis = 14695981039346656037
	fnvPrime = 1099511628211
)

func fnv(h uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

// serviceHash is 0, every service, for "" alone.
func serviceHash(name string) uint64 {
	if name == "" {
		return 0
	}
	return fnv(fnvBasis, name)
}

// tagHash ignores case as some vendors do: tags that differ in case alone are purged together.
func tagHash(tag string) uint64 {
	h := uint64(fnvBasis)
	for i := 0; i < len(tag); i++ {
		c := tag[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * fnvPrime
	}
	return h
}
