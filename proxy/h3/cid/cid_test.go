package cid

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"nearcast/fleet/keys"
)

// day is noon of the first day of 2027.
var day = time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)

func ring(t testing.TB, secrets ...string) func() *keys.Ring {
	t.Helper()
	r, err := keys.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return func() *keys.Ring { return r }
}

func codec(t testing.TB, now time.Time, secrets ...string) *Codec {
	return NewCodec(ring(t, secrets...), now)
}

// random is an ID as a client makes up.
func random(r *rand.Rand) (id [Len]byte) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

func TestItSaysWhereTheConnectionLives(t *testing.T) {
	c := codec(t, day, "a")
	for _, p := range []Place{{}, {Edge: 1}, {Edge: 1<<32 - 1, Generation: 65535, Instance: 255, Worker: 31}, {Edge: 0x12345678, Generation: 20819, Instance: 5, Worker: 6}} {
		id := c.Encode(p, 42)
		if got, by, ok := c.Decode(id[:]); !ok || got != p || by != c.Own() {
			t.Errorf("%+v came back as %+v, %t", p, got, ok)
		}
		if id[0]&31 != p.Worker {
			t.Errorf("%+v: the first octet %#x does not show the worker", p, id[0])
		}
	}
}

// TestFormat keeps the octets: edges of different versions must read each other's.
func TestFormat(t *testing.T) {
	for _, k := range []struct {
		now  time.Time
		want string
	}{
		{day, "2478965b8fb3143f72530a0b8f51cef9ee"},
		{day.Add(keys.Length), "447579f4a09b9063d43aa84293fe430945"},
	} {
		id := codec(t, k.now, "correct horse battery staple").Encode(Place{Edge: 0x01020304, Generation: 0x0506, Instance: 7, Worker: 4}, 0x08090a0b)
		if got := hex.EncodeToString(id[:]); got != k.want {
			t.Errorf("%v: %s, want %s", k.now, got, k.want)
		}
	}
}

func TestOthersAreNotOurs(t *testing.T) {
	c := codec(t, day, "a")
	id := c.Encode(Place{Edge: 7, Worker: 3}, 1)
	other := codec(t, day, "b").Encode(Place{Edge: 7, Worker: 3}, 1)
	flipped, config, reserved, worker := id, id, id, id
	flipped[9] ^= 1
	config[0] = id[0]&31 | (id[0]>>5+1)%configurations<<5
	reserved[0] |= 7 << 5
	worker[0] ^= 1
	for name, b := range map[string][]byte{
		"another secret": other[:], "one bit changed": flipped[:], "another configuration": config[:], "the reserved configuration": reserved[:],
		"another worker in clear": worker[:], "too short": id[:16], "too long": append(id[:], 0), "empty": nil, "zeros": make([]byte, Len),
	} {
		if p, _, ok := c.Decode(b); ok {
			t.Errorf("%s: taken for ours, at %+v", name, p)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 1 << 18 {
		if id := random(r); id[0]>>5 < configurations {
			if p, _, ok := c.Decode(id[:]); ok {
				t.Fatalf("% x, made up by a client, is taken for ours at %+v", id, p)
			}
		}
	}
}

// TestEpochs: what was written up to five days ago can be read, and what an edge writes whose clock is ahead.
func TestEpochs(t *testing.T) {
	p := Place{Edge: 9, Generation: 3, Instance: 2, Worker: 1}
	reader := codec(t, day, "a")
	for days := -9; days <= 4; days++ {
		id := codec(t, day.Add(time.Duration(days)*keys.Length), "a").Encode(p, 5)
		got, _, ok := reader.Decode(id[:])
		if want := days >= -5 && days <= 1; ok != want || ok && got != p {
			t.Errorf("written %d days from now: read as %+v, %t", days, got, ok)
		}
	}
}

func TestRefreshTakesTheEpochsOfTheTime(t *testing.T) {
	p := Place{Edge: 9}
	c := codec(t, day, "a")
	id := c.Encode(p, 1)
	for days := 1; days <= 6; days++ {
		now := day.Add(time.Duration(days) * keys.Length)
		c.Refresh(now)
		if _, _, ok := c.Decode(id[:]); ok != (days <= 5) {
			t.Errorf("after %d days: %t", days, ok)
		}
		written := c.Encode(p, 2)
		if _, _, ok := codec(t, now, "a").Decode(written[:]); !ok || written[0]>>5 != byte(keys.At(now)%configurations) {
			t.Errorf("after %d days it does not write with the key of the day", days)
		}
	}
}

// TestSecretsCanBeReplaced: a codec writes with the secret that it began with, and reads all that are accepted, in any order.
func TestSecretsCanBeReplaced(t *testing.T) {
	current := ring(t, "old")
	c := NewCodec(func() *keys.Ring { return current() }, day)
	p := Place{Edge: 1, Instance: 1}
	young := codec(t, day, "new", "old").Encode(p, 1)
	if _, _, ok := c.Decode(young[:]); ok {
		t.Error("reads what a secret wrote that it does not have")
	}
	for _, file := range [][]string{{"old", "new"}, {"new", "old"}, {"new"}} {
		current = ring(t, file...)
		c.Refresh(day)
		if _, by, ok := c.Decode(young[:]); !ok || by.Key(keys.Reset, 1, "") != ring(t, "new")().First().Key(keys.Reset, 1, "") {
			t.Errorf("%q: what another edge writes is not read, or ascribed to another secret", file)
		}
		own := c.Encode(p, 2)
		if _, by, ok := c.Decode(own[:]); !ok || by != c.Own() {
			t.Errorf("%q: its own is not read as its own", file)
		}
		if _, _, ok := codec(t, day, "old").Decode(own[:]); !ok {
			t.Errorf("%q: it writes with another secret than at its start", file)
		}
		if n := len(c.table.Load().read[0]); n > 2 {
			t.Errorf("%q: %d keys are tried for each configuration", file, n)
		}
	}
}

func TestEpochIsTheNearest(t *testing.T) {
	now := keys.At(day)
	for _, d := range []int{-32768, -5, -1, 0, 1, 32767} {
		e := keys.Epoch(int(now) + d)
		if got := Epoch(uint16(e), day); got != e {
			t.Errorf("%d days from now: %d, want %d", d, got, e)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	c := codec(t, day, "a", "b")
	id := c.Encode(Place{Edge: 1}, 1)
	if n := testing.AllocsPerRun(100, func() { c.Decode(id[:]) }); n > 0 {
		t.Errorf("Decode: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { id = c.Encode(Place{Edge: 1}, 1) }); n > 0 {
		t.Errorf("Encode: %v allocations", n)
	}
}

func TestDestination(t *testing.T) {
	id := bytes.Repeat([]byte{7}, Len)
	long := func(id []byte) []byte { return append(append([]byte{0xc0, 0, 0, 0, 1, byte(len(id))}, id...), 1, 2, 3) }
	for _, c := range []struct {
		what string
		b    []byte
		want []byte
		long bool
	}{
		{"a short header", append([]byte{0x40}, append(bytes.Clone(id), 1, 2)...), id, false},
		{"a short header and nothing behind", append([]byte{0x7f}, id...), id, false},
		{"a short header that is cut", append([]byte{0x40}, id[:16]...), nil, false},
		{"no QUIC", append([]byte{0x0e}, id...), nil, false},
		{"a long header", long(id), id, true},
		{"a long header without an ID", long(nil), []byte{}, true},
		{"a long header with an ID of 20 octets", long(bytes.Repeat([]byte{8}, 20)), bytes.Repeat([]byte{8}, 20), true},
		{"a long header that is cut in its ID", long(id)[:22], nil, true},
		{"a long header that is cut before its ID", []byte{0xc0, 0, 0, 0, 1}, nil, true},
		{"nothing", nil, nil, false},
	} {
		got, long := Destination(c.b)
		if !bytes.Equal(got, c.want) || long != c.long {
			t.Errorf("%s: % x, %t", c.what, got, long)
		}
	}
}

func TestEdgeNumber(t *testing.T) {
	a := netip.MustParseAddrPort("192.0.2.1:8443")
	for address, want := range map[string]bool{"[::ffff:192.0.2.1]:8443": true, "192.0.2.1:8444": false, "192.0.2.2:8443": false} {
		if same := EdgeNumber(netip.MustParseAddrPort(address)) == EdgeNumber(a); same != want {
			t.Errorf("%s has the number of %s: %t", address, a, same)
		}
	}
	if n := EdgeNumber(a); n != 0x19e86a01 {
		t.Errorf("%#x: edges of different versions must give each other the same number", n)
	}
}

func FuzzDecode(f *testing.F) {
	c := codec(f, day, "a", "b")
	seed := c.Encode(Place{Edge: 1, Generation: 9, Instance: 2, Worker: 3}, 4)
	f.Add(seed[:])
	f.Add([]byte{})
	f.Add(make([]byte, Len))
	f.Add(bytes.Repeat([]byte{0xff}, Len))
	f.Fuzz(func(t *testing.T, id []byte) {
		p, by, ok := c.Decode(id)
		if !ok {
			return
		}
		if by == nil || len(id) != Len || p.Worker >= MaxWorkers || p.Worker != id[0]&(MaxWorkers-1) {
			t.Errorf("% x was taken for ours, at %+v", id, p)
		}
	})
}

func FuzzDestination(f *testing.F) {
	f.Add([]byte{0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0xc0, 0, 0, 0, 1, 255})
	f.Add(append([]byte{0x40}, make([]byte, Len)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, long := Destination(b)
		if id != nil && !bytes.Contains(b, id) || !long && id != nil && len(id) != Len {
			t.Errorf("% x in % x", id, b)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	c := codec(b, day, "a")
	id := c.Encode(Place{Edge: 1}, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := c.Decode(id[:]); !ok {
			b.Fatal("not ours")
		}
	}
}

// BenchmarkDecodeForeign is for what a client made up, with two secrets.
func BenchmarkDecodeForeign(b *testing.B) {
	c := codec(b, day, "a", "b")
	id := [Len]byte{0x20}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := c.Decode(id[:]); ok {
			b.Fatal("ours")
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	c := codec(b, day, "a")
	b.ReportAllocs()
	for i := range b.N {
		c.Encode(Place{Edge: 1}, uint32(i))
	}
}
