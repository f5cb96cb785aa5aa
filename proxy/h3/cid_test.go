package h3

import (
	"bytes"
	"testing"

	"github.com/quic-go/quic-go"
)

var testKey = CIDKey{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func TestCIDSaysWhereTheConnectionLives(t *testing.T) {
	c := NewCIDCodec(testKey)
	for _, p := range []Place{{}, {Edge: 1}, {Edge: 65535, Instance: 255, Worker: 255}, {Edge: 0x1234, Instance: 5, Worker: 6}} {
		cid := c.Encode(p, 42)
		if got, ok := c.Decode(cid[:]); !ok || got != p {
			t.Errorf("%+v came back as %+v, %t", p, got, ok)
		}
	}
}

// TestCIDFormat keeps the bytes: edges of different versions must read each other's.
func TestCIDFormat(t *testing.T) {
	cid := NewCIDCodec(testKey).Encode(Place{Edge: 0x0102, Instance: 3, Worker: 4}, 0x05060708090a0b0c)
	want := []byte{0x10, 0xa7, 0x48, 0x3d, 0x10, 0x8d, 0x1d, 0xa6, 0xf1, 0x1e, 0x43, 0xb6, 0xac, 0xdd, 0xc7, 0x9e, 0xaa}
	if !bytes.Equal(cid[:], want) {
		t.Errorf("% x, want % x", cid, want)
	}
}

func TestCIDOfOthersIsNotOurs(t *testing.T) {
	c := NewCIDCodec(testKey)
	cid := c.Encode(Place{Edge: 7}, 1)
	other := NewCIDCodec(CIDKey{9}).Encode(Place{Edge: 7}, 1)
	flipped := cid
	flipped[9] ^= 1
	config := cid
	config[0] |= 0x20
	for name, b := range map[string][]byte{
		"another key": other[:], "one bit changed": flipped[:], "another configuration": config[:],
		"too short": cid[:16], "too long": append(cid[:], 0), "empty": nil, "a client's own": make([]byte, CIDLen),
	} {
		if p, ok := c.Decode(b); ok {
			t.Errorf("%s: taken for ours, at %+v", name, p)
		}
	}
}

func TestCIDsOfOnePlaceDiffer(t *testing.T) {
	g := &cidGenerator{codec: NewCIDCodec(testKey), place: Place{Edge: 3, Instance: 1}}
	seen := map[quic.ConnectionID]bool{}
	for range 1000 {
		id, err := g.GenerateConnectionID()
		if err != nil {
			t.Fatal(err)
		}
		if seen[id] {
			t.Fatal("the same connection ID twice")
		}
		seen[id] = true
		if p, ok := g.codec.Decode(id.Bytes()); !ok || p != g.place || id.Len() != g.ConnectionIDLen() {
			t.Fatalf("%v decodes to %+v, %t", id, p, ok)
		}
	}
}

func FuzzCID(f *testing.F) {
	c := NewCIDCodec(testKey)
	seed := c.Encode(Place{Edge: 1, Instance: 2, Worker: 3}, 4)
	f.Add(seed[:])
	f.Add([]byte{})
	f.Add(make([]byte, CIDLen))
	f.Fuzz(func(t *testing.T, cid []byte) {
		p, ok := c.Decode(cid)
		if !ok {
			return
		}
		var plain [16]byte
		c.block.Decrypt(plain[:], cid[1:])
		nonce := uint64(0)
		for _, b := range plain[8:] {
			nonce = nonce<<8 | uint64(b)
		}
		if again := c.Encode(p, nonce); !bytes.Equal(again[:], cid) {
			t.Errorf("% x was taken for ours but encodes to % x", cid, again)
		}
	})
}

func BenchmarkCID(b *testing.B) {
	c := NewCIDCodec(testKey)
	b.ReportAllocs()
	for i := range b.N {
		cid := c.Encode(Place{Edge: 1}, uint64(i))
		if _, ok := c.Decode(cid[:]); !ok {
			b.Fatal("not ours")
		}
	}
}
