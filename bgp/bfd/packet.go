package bfd

import (
	"encoding/binary"
	"time"
)

const (
	version    = 1
	packetSize = 24 // without authentication, which none of ours has
)

// Bits of the second octet, beside the state.
const (
	flagPoll = 1 << (5 - iota)
	flagFinal
	flagControlPlaneIndependent
	flagAuthentication
	flagDemand
	flagMultipoint
)

// packet is a BFD Control packet without authentication, RFC 5880 section 4.1.
type packet struct {
	diag          Diagnostic
	state         State
	poll, final   bool
	demand        bool
	multiplier    uint8
	mine, yours   uint32        // discriminators, of the sender and of the receiver
	desiredMinTx  time.Duration // whole microseconds, as all of them
	requiredMinRx time.Duration
}

// drop is why a packet was discarded; the words are a metric's label.
type drop uint8

const (
	kept drop = iota
	dropMalformed
	dropAuthentication // it is authenticated, and nothing here can check that
	dropTTL            // it has passed a router, or more than are expected
	dropDiscriminator  // it is for a session that this is not
	numDrops
)

var dropNames = [numDrops]string{"", "malformed", "authentication", "ttl", "discriminator"}

// decode reads a packet and discards what RFC 5880 section 6.8.6 says that every receiver must, besides what section 4.1 forbids to send.
func decode(b []byte) (packet, drop) {
	if len(b) < packetSize || b[0]>>5 != version {
		return packet{}, dropMalformed
	}
	flags := b[1] & 0x3f
	p := packet{
		diag: Diagnostic(b[0] & maxDiagnostic), state: State(b[1] >> 6),
		poll: flags&flagPoll != 0, final: flags&flagFinal != 0, demand: flags&flagDemand != 0,
		multiplier: b[2],
		mine:       binary.BigEndian.Uint32(b[4:]), yours: binary.BigEndian.Uint32(b[8:]),
		desiredMinTx: microseconds(b[12:]), requiredMinRx: microseconds(b[16:]),
	}
	size := int(b[3])
	switch {
	case size < packetSize || size > len(b):
		return packet{}, dropMalformed
	case p.multiplier == 0 || p.mine == 0 || flags&flagMultipoint != 0:
		return packet{}, dropMalformed
	case p.poll && p.final: // section 6.5: never both
		return packet{}, dropMalformed
	case p.yours == 0 && p.state != Down && p.state != AdminDown:
		return packet{}, dropMalformed
	case flags&flagAuthentication != 0: // section 6.8.6: no authentication is in use here
		return packet{}, dropAuthentication
	}
	return p, kept
}

// encode writes a packet.
func (p packet) encode(b *[packetSize]byte) {
	b[0] = version<<5 | byte(p.diag)&maxDiagnostic
	b[1] = byte(p.state) << 6
	if p.poll {
		b[1] |= flagPoll
	}
	if p.final {
		b[1] |= flagFinal
	}
	b[2], b[3] = p.multiplier, packetSize
	binary.BigEndian.PutUint32(b[4:], p.mine)
	binary.BigEndian.PutUint32(b[8:], p.yours)
	binary.BigEndian.PutUint32(b[12:], uint32(p.desiredMinTx/time.Microsecond))
	binary.BigEndian.PutUint32(b[16:], uint32(p.requiredMinRx/time.Microsecond))
	binary.BigEndian.PutUint32(b[20:], 0) // Required Min Echo RX: no echo
}

func microseconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}
