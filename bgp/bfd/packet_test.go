package bfd

import (
	"testing"
	"time"
)

// good is a packet as it goes over the wire: Up, both discriminators, 300 ms both ways.
var good = [packetSize]byte{0x20, 0xc0, 3, 24, 0, 0, 0x23, 0x29, 0, 0, 0x1b, 0x59, 0, 0x04, 0x93, 0xe0, 0, 0x04, 0x93, 0xe0, 0, 0, 0, 0}

// TestWireFormat is RFC 5880 section 4.1, octet by octet.
func TestWireFormat(t *testing.T) {
	want := packet{state: Up, multiplier: 3, mine: theirs, yours: ours, desiredMinTx: interval, requiredMinRx: interval}
	if got, d := decode(good[:]); d != kept || got != want {
		t.Errorf("%+v, %q", got, dropNames[d])
	}
	var b [packetSize]byte
	want.encode(&b)
	if b != good {
		t.Errorf("% x, want % x", b, good)
	}
	want.diag, want.state, want.poll = ForwardingPlaneReset, Down, true
	want.encode(&b)
	if b[0] != 0x24 || b[1] != 0x60 {
		t.Errorf("% x", b[:2])
	}
	want.poll, want.final = false, true
	want.encode(&b)
	if b[1] != 0x50 {
		t.Errorf("% x", b[:2])
	}
}

// TestDiscarded is RFC 5880 section 6.8.6, rule by rule.
func TestDiscarded(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(b []byte) []byte
		want   drop
	}{
		{"as it should be", func(b []byte) []byte { return b }, kept},
		{"octets after it", func(b []byte) []byte { return append(b, 1, 2, 3) }, kept},
		{"another version", func(b []byte) []byte { b[0] = 0x40; return b }, dropMalformed},
		{"version 0", func(b []byte) []byte { b[0] = 0; return b }, dropMalformed},
		{"shorter than the least", func(b []byte) []byte { return b[:23] }, dropMalformed},
		{"nothing", func(b []byte) []byte { return nil }, dropMalformed},
		{"a length below the least", func(b []byte) []byte { b[3] = 23; return b }, dropMalformed},
		{"a length beyond the datagram", func(b []byte) []byte { b[3] = 25; return b }, dropMalformed},
		{"a multiplier of zero", func(b []byte) []byte { b[2] = 0; return b }, dropMalformed},
		{"multipoint", func(b []byte) []byte { b[1] |= 1; return b }, dropMalformed},
		{"my discriminator zero", func(b []byte) []byte { clear(b[4:8]); return b }, dropMalformed},
		{"up, but for nobody", func(b []byte) []byte { clear(b[8:12]); return b }, dropMalformed},
		{"init, but for nobody", func(b []byte) []byte { b[1] = 0x80; clear(b[8:12]); return b }, dropMalformed},
		{"down, for nobody yet", func(b []byte) []byte { b[1] = 0x40; clear(b[8:12]); return b }, kept},
		{"admin down, for nobody", func(b []byte) []byte { b[1] = 0; clear(b[8:12]); return b }, kept},
		{"Poll and Final", func(b []byte) []byte { b[1] |= 0x30; return b }, dropMalformed},
		{"authenticated", func(b []byte) []byte { b[1] |= 4; b[3] = 28; return append(b, 1, 4, 0, 'x') }, dropAuthentication},
		{"said to be authenticated", func(b []byte) []byte { b[1] |= 4; return b }, dropAuthentication},
		{"control plane independent", func(b []byte) []byte { b[1] |= 8; return b }, kept},
		{"demand", func(b []byte) []byte { b[1] |= 2; return b }, kept},
		{"an unknown diagnostic", func(b []byte) []byte { b[0] |= 31; return b }, kept},
	} {
		b := good
		if _, got := decode(c.change(b[:])); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, dropNames[got], dropNames[c.want])
		}
	}
}

func FuzzPacket(f *testing.F) {
	f.Add(good[:])
	b := good
	b[0], b[1] = 0x3f, 0x6a
	f.Add(b[:])
	f.Add(good[:11])
	f.Add(append(good[:], 1, 4, 0, 'x'))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, d := decode(data)
		if d != kept {
			if p != (packet{}) {
				t.Errorf("a discarded packet has content: %+v", p)
			}
			return
		}
		var again [packetSize]byte
		p.encode(&again)
		if q, d := decode(again[:]); d != kept || !p.demand && q != p {
			t.Errorf("% x: %+v became %+v, %q", data, p, q, dropNames[d])
		}
		// Whatever comes, the machine neither panics nor spins.
		m := testMachine(ours, usual())
		now := epoch
		for i := range 8 {
			m.receive(now, p)
			m.advance(now)
			if n := len(drain(&m, now)); n > 3 {
				t.Errorf("%d packets at once", n)
			}
			if next := m.next(); !next.IsZero() && next.Before(now) {
				t.Errorf("it wants to be asked again %s ago", now.Sub(next))
			}
			now = now.Add(time.Duration(i) * 100 * time.Millisecond)
			p.yours = ours
		}
	})
}
