package tunnel

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// Halves wait for each other in bounded room, and not for long.
func TestHalves(t *testing.T) {
	a, b, now := twins(t)
	open := func(d []byte) []byte {
		t.Helper()
		o, err := b.Open(now, d)
		if err != nil {
			t.Fatal(err)
		}
		return o.Packet
	}
	type pair [2][]byte
	var pairs []pair
	make := func(n int) {
		pairs = nil
		for i := range n {
			var into [2]Buffer
			if a.Seal(now, Forward, 0, client4, bytes.Repeat([]byte{byte(i)}, 1400), &into) != 2 {
				t.Fatal("not split")
			}
			pairs = append(pairs, pair{into[0].Bytes(), into[1].Bytes()})
		}
	}

	make(maxHalves + 10)
	for i, p := range pairs {
		if open(p[i%2]) != nil {
			t.Fatal("half a packet is one")
		}
	}
	if c := b.Counters(); c.HalvesLost != 10 {
		t.Fatalf("%d had to go", c.HalvesLost)
	}
	for i := len(pairs) - 1; i >= 10; i-- {
		whole := open(pairs[i][1-i%2])
		if len(whole) != 1400 || whole[0] != byte(i) || whole[1399] != byte(i) {
			t.Fatalf("packet %d: %d octets", i, len(whole))
		}
	}
	if b.halves.n != 0 {
		t.Fatalf("%d halves are kept", b.halves.n)
	}

	now = now.Add(2 * time.Second)
	make(3)
	open(pairs[0][0])
	now = now.Add(halfExpiry + time.Millisecond)
	lost := b.Counters().HalvesLost
	if open(pairs[0][1]) != nil {
		t.Fatal("it waited for longer than a second")
	}
	if n := b.Counters().HalvesLost - lost; n != 1 {
		t.Fatalf("%d lost", n)
	}
	if b.halves.n != 1 {
		t.Fatalf("%d halves are kept", b.halves.n)
	}

	// In a buffer without room.
	open(pairs[1][1])
	if p := open(pairs[1][0][:len(pairs[1][0]):len(pairs[1][0])]); len(p) != 1400 {
		t.Fatalf("%d octets", len(p))
	}
}

// Halves that do not belong together make no packet.
func TestHalvesThatDoNotFit(t *testing.T) {
	a, b, now := twins(t)
	p := a.sender.Load()
	half := func(k Kind, octet3 uint8, sequence uint64, plain []byte) []byte {
		d := new(Buffer)
		putHeader(d.b[:], k, 0, octet3, a.cfg.Self, a.cfg.Peer, p.outID, sequence)
		d.seal(p, dataHeaderLen+copy(d.b[dataHeaderLen:], plain))
		return d.Bytes()
	}
	plain := make([]byte, 1200)
	one, two := uint8(first)<<pieceShift, uint8(second)<<pieceShift
	for i, c := range []struct {
		kind   Kind
		octet3 uint8
		plain  []byte
	}{
		{Return, two, plain[:100]},             // another kind
		{Forward, two | 1, plain[:100]},        // other ECN bits
		{Forward, two | familyIPv6, plain},     // another family
		{Forward, two, plain[:MaxPacket-1187]}, // too much together
	} {
		sequence := uint64(100 + 10*i)
		if o, err := b.Open(now, half(Forward, one, sequence, plain)); err != nil || o.Packet != nil {
			t.Fatal(err)
		}
		if _, err := b.Open(now, half(c.kind, c.octet3, sequence+1, c.plain)); !errors.Is(err, ErrMalformed) {
			t.Fatalf("case %d: %v", i, err)
		}
		if b.halves.n != 0 {
			t.Fatal("they are kept")
		}
	}
	for _, plain := range [][]byte{nil, make([]byte, clientLen4-1), make([]byte, clientLen4)} {
		if _, err := b.Open(now, half(Forward, 0, 1000+uint64(len(plain)), append(plain, 0)[:max(len(plain), 1)])); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d octets: %v", len(plain), err)
		}
	}
}
