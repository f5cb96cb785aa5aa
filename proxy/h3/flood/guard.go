// Package flood decides which first packets of QUIC clients are worth an answer while more come than can be answered.
//
// The first packet of a client costs a server much more than its sender, whose address nothing proves: a handshake with a certificate to sign for, or at
// least a Retry (RFC 9000 §8.1). What is bounded here is therefore not how many clients come but how many fail to come back. Each Initial that
// is let through takes one from two buckets, that of its source prefix and that of all; a client that proves its address, by a token or by a
// complete handshake, gives it back. So honest load, however high, needs only what is under way within a round trip, and a flood from
// addresses that are not its own gets what the buckets' rates grant, and no more.
//
// Of those that compete for what is left in a bucket, some are likelier to be clients than others:
//
//   - a client that comes again: the same address, port and connection ID after 100 ms or more, as a client retransmits (RFC 9002 §6.2)
//     and a sender of random packets does not; better, one that comes for the third time,
//   - an address that has proved itself within the last hour: not first, for its packets may be forged too,
//   - one with a token that is not looked at yet,
//   - and all the others.
//
// Each kind may take a bucket further down than those after it, so that a flood of one leaves room for the ones before. A client that is shed at first
// comes in with its first retransmission, after 0.2 to 1 s. An attacker who sends every packet twice pays double for packets that clients still
// come before with their next; one who sends it more often is one of many.
//
// Something is kept for the machine itself, which asks whether it answers: see ownRate.
//
// All tables have a fixed size; deciding allocates nothing and takes no lock.
package flood

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// Limits of a Guard. A rate of 0 is no limit, and so is a count of 0.
type Limits struct {
	// Prefix bounds the Initials of one source prefix, a /24 of IPv4 or a /56 of IPv6, that come to nothing; All those of all prefixes.
	Prefix, All Rate
	// RetryAbove is the number of handshakes in progress from which on a client must prove its address before one begins for it. So it must too
	// when a quarter of a burst is used up, that of its prefix or of All.
	RetryAbove int
	// HalfOpen is the largest number of handshakes in progress.
	HalfOpen int
}

// Rate is a number for each second, and how many may come at once after a silence.
type Rate struct{ PerSecond, Burst int }

// Verdict is what becomes of a datagram.
type Verdict uint8

const (
	Passed       Verdict = iota // to be handled
	ShedPrefix                  // too many from the source prefix
	ShedAll                     // too many from everywhere
	ShedHalfOpen                // as many handshakes are in progress as may be
	ShedFlight                  // belongs to a flight that was shed, or got a Retry, a moment ago
	ShedShort                   // an Initial in less than 1,200 octets; see [Guard.Short]
	verdicts
)

var verdictNames = [verdicts]string{"passed", "shed_prefix", "shed_all", "half_open", "shed_flight", "short"}

// String is the verdict's name in metrics.
func (v Verdict) String() string { return verdictNames[v] }

const (
	// again is the time after which a packet is a client's retransmission and not the rest of its first flight, and forget the time after
	// which it is a new one.
	again, forget = 100 * time.Millisecond, 4 * time.Second
	// handshake is how long the packets of one that was let through pass.
	handshake = 10 * time.Second
	// proof is how long an address is known that proved itself.
	proof = time.Hour

	// free is how many more datagrams of a flight, or of one handshake, pass with the first.
	free = 7
	// trust is how many flights of an address pass as those of a known one before it must prove itself anew.
	trust = 16

	shedSize, passedSize, knownSize, prefixSize = 1 << 18, 1 << 16, 1 << 17, 1 << 15 // entries; 4 MiB in all
)

// Guard decides. It is shared by all sockets, and safe for concurrent use.
type Guard struct {
	// immutable
	limits Limits
	start  time.Time
	seed   maphash.Seed
	m      *Metrics

	prefixes prefixes
	all      bucket
	own      bucket // see ownRate
	shed     memory // flights
	passed   memory // flights, and the paths of handshakes
	known    memory // addresses
	halfOpen atomic.Int64
}

// New returns a guard. m may be nil.
func New(l Limits, now time.Time, m *Metrics) *Guard {
	if m == nil {
		m = NewMetrics(nil)
	}
	g := &Guard{limits: l, start: now, seed: maphash.MakeSeed(), m: m, prefixes: newPrefixes(l.Prefix), all: bucket{shape: newShape(l.All)}, own: bucket{shape: newShape(ownRate)},
		shed: newMemory(shedSize), passed: newMemory(passedSize), known: newMemory(knownSize)}
	m.watch(g)
	return g
}

// Packet is what is asked about: a datagram that begins with an Initial or 0-RTT packet.
type Packet struct {
	From  netip.AddrPort
	ID    []byte // destination connection ID
	Ours  bool   // it is one that we gave out: the packet goes on with a handshake, or says so
	Token bool   // the packet has one
}

// Initial decides about a packet.
func (g *Guard) Initial(now time.Time, p Packet) Verdict {
	v := g.decide(now, p)
	g.m.initials[v].Inc()
	return v
}

func (g *Guard) decide(now time.Time, p Packet) Verdict {
	at := g.ticks(now)
	key := g.flight(p)
	path := key
	if !p.Ours {
		path = g.path(p.From)
	}
	c, tries := stranger, uint8(0)
	if p.Token {
		c = bearer
	}
	if was, ok := g.passed.get(key, at, handshake); ok {
		switch {
		case was.state&retried == 0 && was.state < free:
			g.passed.put(key, was.at, was.state+1)
			return Passed
		case was.state&retried != 0 && was.age < ticks(again):
			return ShedFlight
		}
		c = returning
	} else if was, ok := g.shed.get(key, at, forget); ok {
		if was.age < ticks(again) {
			return ShedFlight
		}
		if c, tries = returning, min(was.state+1, 2); tries > 1 {
			c = persistent
		}
	}
	c = g.trusts(at, p.From, c)
	if v := g.pay(now, p.From, c); v != Passed {
		g.keep(&g.shed, g.m.forgotShed, key, at, tries, forget)
		return v
	}
	state := uint8(0)
	if !p.Ours {
		if !p.Token && g.retries(now, p.From) {
			state = retried
		}
		g.keep(&g.passed, g.m.forgotPassed, path, at, 0, handshake)
	}
	g.keep(&g.passed, g.m.forgotPassed, key, at, state, handshake)
	return Passed
}

// retried marks a flight in the memory that will be answered with a Retry. The bits below count its datagrams.
const retried = 0x80

// trusts returns the class of a packet of that address, c when that is better or the address is not known.
func (g *Guard) trusts(at tick, from netip.AddrPort, c class) class {
	if c >= familiar {
		return c
	}
	key := g.address(from)
	was, ok := g.known.get(key, at, proof)
	if !ok || was.state >= trust {
		return c
	}
	g.known.put(key, was.at, was.state+1)
	return familiar
}

// pay takes from the buckets.
func (g *Guard) pay(now time.Time, from netip.AddrPort, c class) Verdict {
	t, prefix := int64(now.Sub(g.start)), g.prefix(from)
	switch {
	case own(from) && g.own.take(t, persistent):
		return Passed
	case g.limits.HalfOpen > 0 && g.halfOpen.Load() >= int64(g.limits.HalfOpen):
		return ShedHalfOpen
	case !g.prefixes.has(prefix, t, c):
		return ShedPrefix
	case !g.all.take(t, c):
		return ShedAll
	}
	g.prefixes.take(prefix, t)
	return Passed
}

// keep remembers, and counts what had to be forgotten for it.
func (g *Guard) keep(m *memory, forgot counter, key uint64, at tick, state uint8, life time.Duration) {
	if m.add(key, at, state, life) {
		forgot.Inc()
	}
}

// Short counts a datagram that carries an Initial and is shorter than 1,200 octets, which is to be discarded (RFC 9000 §14.1).
func (g *Guard) Short() { g.m.initials[ShedShort].Inc() }

// Verify reports whether a client must prove its address first (RFC 9000 §8.1.2). Ask once for each handshake that would begin.
func (g *Guard) Verify(now time.Time, from netip.AddrPort) bool {
	if !g.retries(now, from) {
		return false
	}
	g.m.retries.Inc()
	return true
}

func (g *Guard) retries(now time.Time, from netip.AddrPort) bool {
	if own(from) {
		return false
	}
	t := int64(now.Sub(g.start))
	return g.limits.RetryAbove > 0 && g.halfOpen.Load() >= int64(g.limits.RetryAbove) || g.all.pressed(t) || g.prefixes.pressed(g.prefix(from), t)
}

// Begin counts a handshake in; false when there are as many as may be. End counts it out.
func (g *Guard) Begin(from netip.AddrPort) bool {
	most := int64(g.limits.HalfOpen)
	if own(from) {
		most += ownHalfOpen
	}
	if n := g.halfOpen.Add(1); g.limits.HalfOpen > 0 && n > most {
		g.halfOpen.Add(-1)
		g.m.full.Inc()
		return false
	}
	return true
}

// End counts a handshake out that Begin counted in: it is complete, or has failed.
func (g *Guard) End() { g.halfOpen.Add(-1) }

// HalfOpen is the number of handshakes in progress.
func (g *Guard) HalfOpen() int { return int(g.halfOpen.Load()) }

// Proved says that a client has proved its address: once for each handshake.
func (g *Guard) Proved(now time.Time, from netip.AddrPort) {
	t := int64(now.Sub(g.start))
	if own(from) {
		g.own.give(t)
		return
	}
	g.all.give(t)
	g.prefixes.give(g.prefix(from), t)
	g.keep(&g.known, g.m.forgotKnown, g.address(from), g.ticks(now), 0, proof)
}

func (g *Guard) ticks(now time.Time) tick { return ticks(now.Sub(g.start)) }

// What is hashed begins with a letter that tells the kinds apart.

// flight is the key of a client's flight: those packets that go the same path to the same connection ID. One to a connection ID of ours goes by the path
// alone, which is all that it has in common with what came before it.
func (g *Guard) flight(p Packet) uint64 {
	if p.Ours {
		return g.path(p.From)
	}
	var b [1 + 16 + 2 + 20]byte
	addr := p.From.Addr().As16()
	b[0] = 'f'
	copy(b[1:], addr[:])
	binary.BigEndian.PutUint16(b[17:], p.From.Port())
	n := copy(b[19:], p.ID)
	return maphash.Bytes(g.seed, b[:19+n])
}

func (g *Guard) path(from netip.AddrPort) uint64 {
	var b [1 + 16 + 2]byte
	addr := from.Addr().As16()
	b[0] = 'p'
	copy(b[1:], addr[:])
	binary.BigEndian.PutUint16(b[17:], from.Port())
	return maphash.Bytes(g.seed, b[:])
}

// address is the key of an IPv4 address, or of a /64 of IPv6, which is what one customer has.
func (g *Guard) address(from netip.AddrPort) uint64 { return g.part('a', from.Addr(), 16, 8) }

// prefix is the key of a /24 of IPv4 or a /56 of IPv6.
func (g *Guard) prefix(from netip.AddrPort) uint64 { return g.part('x', from.Addr(), 15, 7) }

func (g *Guard) part(kind byte, addr netip.Addr, v4, v6 int) uint64 {
	var b [1 + 16]byte
	a := addr.As16()
	n := v6
	if addr.Is4() || addr.Is4In6() {
		n = v4
	}
	b[0] = kind
	copy(b[1:], a[:n])
	return maphash.Bytes(g.seed, b[:1+n])
}
