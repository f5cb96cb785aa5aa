package front

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

// addressShards is the number of parts of the table, each with a lock of its own.
const addressShards = 64

// minAddresses is the least number of addresses that are remembered at a time.
const minAddresses = 64 << 10

// addresses bounds what one client address may use: an IPv4 address, or the /64 of an IPv6 address, which is what one customer has.
// It remembers an address while it has connections or has begun handshakes of late. The number of those is bounded; an address more
// pushes out one without connections.
type addresses struct {
	// immutable
	maxConns  int32         // 0: no limit
	interval  time.Duration // between two handshakes at the rate; 0: no limit
	tolerance time.Duration // how far ahead of the rate a burst may be
	perShard  int
	start     time.Time
	seed      maphash.Seed
	now       func() time.Time

	shards [addressShards]addressShard
}

type addressShard struct {
	mu sync.Mutex
	m  map[addressKey]addressUse
}

// addressKey is an IPv4 address or the first half of an IPv6 address.
type addressKey struct {
	n  uint64
	v6 bool
}

type addressUse struct {
	// owed is when the address has paid for its handshakes, in nanoseconds from the start: each takes one interval, and whoever is ahead
	// of that by more than the tolerance has to wait (the generic cell rate algorithm, a token bucket in one number).
	owed  int64
	conns int32
}

// verdict is what became of a connection.
type verdict uint8

const (
	admitted          verdict = iota
	tooManyConns              // the address has as many connections as one may have
	tooManyHandshakes         // the address begins handshakes too fast
	tableFull                 // as many addresses as are remembered have connections
)

func newAddresses(limits *LimitsConfig, now func() time.Time) *addresses {
	a := &addresses{
		maxConns: int32(min(limits.MaxConnectionsPerAddress, math.MaxInt32)),
		// Twice as many as there can be connections, so that addresses with connections never fill a part of the table.
		perShard: max(minAddresses, 2*limits.MaxConnections) / addressShards,
		start:    now(), seed: maphash.MakeSeed(), now: now,
	}
	if h := limits.HandshakesPerAddress; h.Rate > 0 {
		a.interval = time.Second / time.Duration(h.Rate)
		a.tolerance = time.Duration(max(h.Burst, 1)-1) * a.interval
	}
	for i := range a.shards {
		a.shards[i].m = map[addressKey]addressUse{}
	}
	return a
}

func keyOf(addr netip.Addr) addressKey {
	if addr = addr.Unmap(); addr.Is4() {
		b := addr.As4()
		return addressKey{n: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := addr.As16()
	return addressKey{n: binary.BigEndian.Uint64(b[:8]), v6: true}
}

func (a *addresses) shard(k addressKey) *addressShard {
	return &a.shards[maphash.Comparable(a.seed, k)%addressShards]
}

// off reports whether nothing is to be counted.
func (a *addresses) off() bool { return a.maxConns == 0 && a.interval == 0 }

// admit counts a connection in, and a handshake when there is one. forgot is true when another address had to be forgotten before its time.
func (a *addresses) admit(addr netip.Addr, handshake bool) (v verdict, forgot bool) {
	if a.off() || !addr.IsValid() {
		return admitted, false
	}
	k, now := keyOf(addr), int64(a.now().Sub(a.start))
	s := a.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	use, known := s.m[k]
	if a.maxConns > 0 && use.conns >= a.maxConns {
		return tooManyConns, false
	}
	if handshake && a.interval > 0 {
		if use.owed-now > int64(a.tolerance) {
			return tooManyHandshakes, false
		}
		use.owed = max(use.owed, now) + int64(a.interval)
	}
	if !known && len(s.m) >= a.perShard {
		ok, early := s.makeRoom(now)
		if !ok {
			return tableFull, false
		}
		forgot = early
	}
	use.conns++
	s.m[k] = use
	return admitted, forgot
}

// release ends a connection that was admitted.
func (a *addresses) release(addr netip.Addr) {
	if a.off() || !addr.IsValid() {
		return
	}
	k := keyOf(addr)
	s := a.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	use, known := s.m[k]
	if !known {
		return
	}
	use.conns--
	if use.conns <= 0 && use.owed <= int64(a.now().Sub(a.start)) {
		delete(s.m, k) // nothing is left to remember
		return
	}
	s.m[k] = use
}

// makeRoom forgets addresses without connections: those that owe nothing, of a handful looked at, or else one that does.
// Maps are walked from a random place, so that looking at a few is fair and costs the same however large the table is.
func (s *addressShard) makeRoom(now int64) (ok, early bool) {
	const handful = 16
	seen := 0
	var debtor addressKey
	found := false
	for k, use := range s.m {
		if use.conns <= 0 {
			if use.owed <= now {
				delete(s.m, k)
				ok = true
			} else {
				debtor, found = k, true
			}
		}
		if seen++; seen >= handful && (ok || found) {
			break
		}
	}
	if !ok && found {
		delete(s.m, debtor)
		return true, true
	}
	return ok, false
}

// size is the number of addresses remembered.
func (a *addresses) size() (n int) {
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		n += len(s.m)
		s.mu.Unlock()
	}
	return n
}
