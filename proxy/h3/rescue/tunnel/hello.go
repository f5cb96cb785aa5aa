package tunnel

import (
	"encoding/binary"
	"net/netip"

	"nearcast/fleet/keys"
)

// Gone is the State of an edge that has ended its connections: its peer takes it for dead at once.
const Gone = 2

// MaxHeard is how many sources a hello reports.
const MaxHeard = 16

// Hello is what edges tell each other all the time.
type Hello struct {
	State      uint8   // see [Gone]; other values mean what the users of the tunnel make of them
	Instance   uint8   // the process, as in connection IDs
	Parameters [8]byte // a digest of what must be the same in all edges

	// The link sets the rest.
	Epoch  keys.Epoch    // that of the sender's keys
	Number uint64        // of the hello: each has a higher one, from a process's start to its end
	Source netip.Addr    // set in a probe: the address that it was sent from
	Heard  []HeardSource // of probes of the receiver's; nil in an answer, which reports none
}

// HeardSource is an address from which probes have been heard.
type HeardSource struct {
	Addr   netip.Addr
	Number uint64 // of the latest
}

// nonce is a random number that is used once: it names a process, a session or a challenge.
type nonce [16]byte

// message is a hello as it is sent.
type message struct {
	process   nonce // the sender's, drawn at its start
	session   nonce // the sender's newest
	challenge nonce // to be echoed by the receiver
	echo      nonce // the receiver's challenge; zero: none is known
	holds     nonce // the receiver's session that the sender holds for proven; zero: none
	heard     uint64
	held      uint32 // microseconds from hearing it to sending this
	probed    uint64 // number of the latest probe of the path's MTU that was heard
	ask       bool   // an answer is needed
	probe     bool   // this is a probe of the path's MTU
	hello     Hello
}

const (
	flagAsk   = 1
	flagProbe = 2

	// bareLen is the length of what every hello has: so long is an answer, and so long at least what it answers.
	bareLen = 5*len(nonce{}) + 8 + 8 + 4 + 8 + 4 + 1 + 1 + 1 + 8 + 1 + 1

	bareDatagram  = helloHeaderLen + bareLen + tagLen
	largestHello  = bareDatagram + 16 + MaxHeard*(1+16+8)
	maxHeldMicros = 1<<32 - 1
)

// append writes the message without padding.
func (m *message) append(b []byte) []byte {
	for _, n := range [...]*nonce{&m.process, &m.session, &m.challenge, &m.echo, &m.holds} {
		b = append(b, n[:]...)
	}
	b = binary.BigEndian.AppendUint64(b, m.hello.Number)
	b = binary.BigEndian.AppendUint64(b, m.heard)
	b = binary.BigEndian.AppendUint32(b, m.held)
	b = binary.BigEndian.AppendUint64(b, m.probed)
	b = binary.BigEndian.AppendUint32(b, uint32(m.hello.Epoch))
	var flags byte
	if m.ask {
		flags |= flagAsk
	}
	if m.probe {
		flags |= flagProbe
	}
	b = append(b, flags, m.hello.State, m.hello.Instance)
	b = append(b, m.hello.Parameters[:]...)
	b = appendAddr(b, m.hello.Source)
	heard := m.hello.Heard[:min(len(m.hello.Heard), MaxHeard)]
	b = append(b, byte(len(heard)))
	for _, h := range heard {
		b = appendAddr(b, h.Addr)
		b = binary.BigEndian.AppendUint64(b, h.Number)
	}
	return b
}

// appendAddr writes a length of 0, 4 or 16, and so many octets.
func appendAddr(b []byte, a netip.Addr) []byte {
	v := a.Unmap().AsSlice()
	return append(append(b, byte(len(v))), v...)
}

// parse reads a message. What follows it is padding.
func (m *message) parse(b []byte) bool {
	if len(b) < bareLen {
		return false
	}
	for _, n := range [...]*nonce{&m.process, &m.session, &m.challenge, &m.echo, &m.holds} {
		b = b[copy(n[:], b):]
	}
	m.hello.Number = binary.BigEndian.Uint64(b)
	m.heard = binary.BigEndian.Uint64(b[8:])
	m.held = binary.BigEndian.Uint32(b[16:])
	m.probed = binary.BigEndian.Uint64(b[20:])
	m.hello.Epoch = keys.Epoch(binary.BigEndian.Uint32(b[28:]))
	m.ask, m.probe = b[32]&flagAsk != 0, b[32]&flagProbe != 0
	m.hello.State, m.hello.Instance = b[33], b[34]
	b = b[35:]
	b = b[copy(m.hello.Parameters[:], b):]
	var ok bool
	if m.hello.Source, b, ok = addr(b); !ok || len(b) < 1 || b[0] > MaxHeard {
		return false
	}
	count := int(b[0])
	b = b[1:]
	for range count {
		var h HeardSource
		if h.Addr, b, ok = addr(b); !ok || !h.Addr.IsValid() || len(b) < 8 {
			return false
		}
		h.Number, b = binary.BigEndian.Uint64(b), b[8:]
		m.hello.Heard = append(m.hello.Heard, h)
	}
	return m.hello.Number != 0 && m.process != nonce{} && m.session != nonce{} && m.challenge != nonce{}
}

func addr(b []byte) (a netip.Addr, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return a, nil, false
	}
	n := int(b[0])
	if n == 0 {
		return a, b[1:], true
	}
	a, ok = netip.AddrFromSlice(b[1 : 1+n])
	return a.Unmap(), b[1+n:], ok
}
