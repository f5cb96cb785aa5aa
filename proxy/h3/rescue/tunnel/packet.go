package tunnel

import (
	"encoding/binary"
	"errors"
	"time"
)

// Why Open refuses a datagram. None of them has changed anything but a counter.
var (
	ErrMalformed = errors.New("tunnel: not a datagram of the tunnel")
	ErrOther     = errors.New("tunnel: a datagram of other edges")
	ErrSession   = errors.New("tunnel: a datagram of a session that is not known, or not any more")
	ErrForged    = errors.New("tunnel: a datagram that was not sealed by the peer")
	ErrReplayed  = errors.New("tunnel: a datagram that was opened before, or is too old to tell")
)

// Opened is what a datagram had.
type Opened struct {
	Kind   Kind // of Packet
	Client Client
	Packet []byte // nil: no whole packet
	Hello  *Hello // of a hello that is proven to be of now
	Answer []byte // to be sent at once to the peer's own address, not to where the datagram came from
}

// Seal writes a packet as one datagram, or two where it does not fit the path's MTU, and returns how many. 0: the peer is not up, or the packet
// is empty or longer than [MaxPacket]. worker is the socket of the peer that is to get it. packet must not be part of into.
func (l *Link) Seal(now time.Time, k Kind, worker uint8, c Client, packet []byte, into *[2]Buffer) int {
	p := l.sender.Load()
	if p == nil || len(packet) == 0 || len(packet) > MaxPacket || !l.up(l.at(now)) {
		return 0
	}
	family, addresses := c.family()
	octet3 := c.ECN&ecnMask | family
	size := dataHeaderLen + addresses + len(packet) + tagLen
	if size > BaseDatagram && !l.large.Load() {
		l.large.Store(true)
	}
	cut, pieces := len(packet), 1
	if size > int(l.mtu.Load()) {
		cut, pieces = len(packet)/2, 2
	}
	sequence := l.sequence.Add(uint64(pieces))
	if sequence > maxSequence {
		return 0 // after years
	}
	l.counts.sealed.Add(1)
	if pieces == 2 {
		l.counts.split.Add(1)
		b := &into[1]
		putHeader(b.b[:], k, worker, octet3|byte(second)<<pieceShift, l.cfg.Self, l.cfg.Peer, p.outID, sequence)
		b.seal(p, dataHeaderLen+copy(b.b[dataHeaderLen:], packet[cut:]))
		sequence--
		octet3 |= byte(first) << pieceShift
	}
	b := &into[0]
	putHeader(b.b[:], k, worker, octet3, l.cfg.Self, l.cfg.Peer, p.outID, sequence)
	c.put(b.b[dataHeaderLen:], family)
	n := dataHeaderLen + addresses
	b.seal(p, n+copy(b.b[n:], packet[:cut]))
	return pieces
}

// seal seals the first n octets.
func (b *Buffer) seal(p *pair, n int) {
	header := b.b[:dataHeaderLen]
	b.n = len(p.out.Seal(header, header[dataNonceAt:], b.b[dataHeaderLen:n], header))
}

// Open checks a datagram of the peer's and decrypts it in place. What it returns is valid as long as b is left alone. A packet that came in two
// needs room: b is used up to its capacity, and when that is less than [MaxPacket], memory is allocated.
func (l *Link) Open(now time.Time, b []byte) (Opened, error) {
	from, to, ok := Peek(b)
	if !ok {
		l.counts.malformed.Add(1)
		return Opened{}, ErrMalformed
	}
	if from != l.cfg.Peer || to != l.cfg.Self {
		l.counts.other.Add(1)
		return Opened{}, ErrOther
	}
	switch k := Kind(b[1] & typeMask >> typeShift); k {
	case typeHello:
		return l.openHello(now, b)
	case Forward, Return:
		if b[1]&epochMask == 0 && b[3]&reservedMask == 0 && b[3]&pieceMask != pieceMask {
			return l.openPacket(now, k, b)
		}
	}
	l.counts.malformed.Add(1)
	return Opened{}, ErrMalformed
}

func (l *Link) openPacket(now time.Time, k Kind, b []byte) (Opened, error) {
	p := l.receivers.Load().find(binary.BigEndian.Uint32(b[12:]))
	if p == nil {
		l.counts.unknown.Add(1)
		return Opened{}, ErrSession
	}
	header := b[:dataHeaderLen]
	plain, err := p.in.Open(b[dataHeaderLen:dataHeaderLen], header[dataNonceAt:], b[dataHeaderLen:], header)
	if err != nil {
		l.counts.forged.Add(1)
		return Opened{}, ErrForged
	}
	sequence := sequenceOf(header)
	if !p.window.take(sequence) {
		l.counts.replayed.Add(1)
		return Opened{}, ErrReplayed
	}
	at := l.at(now)
	l.hear(at)
	if part := piece(b[3] & pieceMask >> pieceShift); part != whole {
		return l.join(at, p, part, sequence, b, plain)
	}
	o, ok := Opened{Kind: k}, false
	if o.Client, o.Packet, ok = client(plain, b[3]); !ok || len(o.Packet) == 0 {
		l.counts.malformed.Add(1)
		return Opened{}, ErrMalformed
	}
	l.counts.opened.Add(1)
	return o, nil
}
