package tunnel

import (
	"bytes"
	"testing"

	"nearcast/fleet/keys"
)

func FuzzPeek(f *testing.F) {
	f.Add([]byte{})
	f.Add(append([]byte{Magic, version, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2}, make([]byte, 100)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		from, to, ok := Peek(b)
		if !ok && (from != 0 || to != 0) || ok && (len(b) < minDatagram || len(b) > MaxDatagram) {
			t.Fatal(from, to, ok)
		}
	})
}

// FuzzOpen gives a link any datagram: nothing is opened.
func FuzzOpen(f *testing.F) {
	a, b, now := twins(f)
	var into [2]Buffer
	a.Seal(now, Forward, 0, client4, make([]byte, 50), &into)
	f.Add(bytes.Clone(into[0].Bytes()), uint8(1), uint16(0))
	b.Open(now, into[0].Bytes())
	f.Add(a.Tick(now, Hello{})[0], uint8(0xff), uint16(40))
	f.Add([]byte{}, uint8(0), uint16(0))
	f.Fuzz(func(t *testing.T, d []byte, x uint8, at uint16) {
		if len(d) > 0 {
			d = bytes.Clone(d)
			d[int(at)%len(d)] ^= x
		}
		before := bytes.Clone(d)
		o, err := b.Open(now, d)
		if (err != nil) != (o.Packet == nil && o.Hello == nil && o.Answer == nil) {
			t.Fatalf("%+v, %v", o, err)
		}
		if o.Packet != nil || o.Hello != nil && x != 0 {
			t.Fatalf("% x is opened: %+v", before, o)
		}
	})
}

// FuzzContents seals anything as the peer would: what is opened is bounded and never a panic.
func FuzzContents(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), uint8(0))
	f.Add(bytes.Repeat([]byte{1}, 60), uint8(familyIPv6))
	f.Add(bytes.Repeat([]byte{1}, 60), uint8(first<<pieceShift))
	f.Add(bytes.Repeat([]byte{1}, 60), uint8(second<<pieceShift))
	a, b, now := twins(f)
	f.Fuzz(func(t *testing.T, plain []byte, octet3 uint8) {
		if len(plain) == 0 || len(plain) > MaxDatagram-dataHeaderLen-tagLen {
			return
		}
		for range 2 { // as halves of the same number, when they are
			p := a.sender.Load()
			d := new(Buffer)
			sequence := a.sequence.Add(1)
			putHeader(d.b[:], Forward, 0, octet3, a.cfg.Self, a.cfg.Peer, p.outID, sequence)
			d.seal(p, dataHeaderLen+copy(d.b[dataHeaderLen:], plain))
			o, err := b.Open(now, d.Bytes())
			if len(o.Packet) > MaxPacket || err != nil && o.Packet != nil {
				t.Fatalf("%+v, %v", o, err)
			}
			if piece(octet3&pieceMask>>pieceShift) == first {
				octet3 = octet3&^pieceMask | byte(second)<<pieceShift
			}
		}
	})
}

// FuzzHello parses what a hello has: what is parsed is written as it was, but for padding.
func FuzzHello(f *testing.F) {
	one := nonce{1}
	m := message{process: one, session: one, challenge: one, ask: true, hello: Hello{Number: 1, Source: client6.Local.Addr(), Heard: []HeardSource{{client4.Local.Addr(), 7}}}}
	f.Add(m.append(nil))
	m = message{process: one, session: one, challenge: one, probe: true, hello: Hello{Number: 1, Epoch: keys.At(base)}}
	f.Add(append(m.append(nil), make([]byte, 100)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again message
		if !m.parse(b) {
			return
		}
		w := m.append(nil)
		if len(w) < bareLen || helloHeaderLen+len(w)+tagLen > largestHello {
			t.Fatalf("%d octets", len(w))
		}
		if !again.parse(w) || !bytes.Equal(again.append(nil), w) {
			t.Fatalf("% x", b)
		}
	})
}

func TestAnswersAreShort(t *testing.T) {
	if n := len((&message{}).append(nil)); n != bareLen {
		t.Fatalf("%d octets, not %d", n, bareLen)
	}
}
