package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"nearcast/fleet/keys"
)

// twins are two links that have found each other, without a network between them.
func twins(t testing.TB) (a, b *Link, now time.Time) {
	r := ring(t, "secret")
	now = base
	make := func(self, peer uint32) *Link {
		return NewLink(LinkConfig{Self: self, Peer: peer, Keys: func() *keys.Ring { return r }, Rand: newRandom(uint64(self))}, now)
	}
	a, b = make(0xa1a2a3a4, 0xb1b2b3b4), make(0xb1b2b3b4, 0xa1a2a3a4)
	meet(t, a, b, now)
	return a, b, now
}

// meet has two links say hello, and answer until there is nothing more to say.
func meet(t testing.TB, a, b *Link, now time.Time) {
	for _, l := range []*Link{a, b} {
		to := b
		if l == b {
			to = a
		}
		for _, d := range l.Tick(now, Hello{}) {
			from, to := l, to
			for d != nil {
				o, err := to.Open(now, bytes.Clone(d))
				if err != nil {
					t.Fatal(err)
				}
				d, from, to = o.Answer, to, from
			}
		}
	}
	if !a.Peer(now).Ready || !b.Peer(now).Ready {
		t.Fatal("they have not met")
	}
}

func TestPacketsArriveAsTheyWere(t *testing.T) {
	a, b, now := twins(t)
	mapped := Client{netip.MustParseAddrPort("[::ffff:198.51.100.7]:50123"), netip.MustParseAddrPort("[::ffff:192.0.2.1]:443"), 2}
	mixed := Client{netip.MustParseAddrPort("198.51.100.7:1"), netip.MustParseAddrPort("[2001:db8::1]:65535"), 3}
	for _, c := range []struct{ in, out Client }{
		{client4, client4}, {client6, client6}, {mapped, client4}, {mixed, mixed},
	} {
		for size := 1; size <= MaxPacket; size++ {
			p := bytes.Repeat([]byte{byte(size)}, size)
			p[size-1] = byte(size >> 8)
			var into [2]Buffer
			n := a.Seal(now, Return, 31, c.in, p, &into)
			if _, addresses := c.in.family(); (n == 1) != (dataHeaderLen+addresses+size+tagLen <= BaseDatagram) {
				t.Fatalf("%d octets in %d datagrams", size, n)
			}
			for i := range n {
				d := into[(i+size)%n].Bytes() // either half may be first
				if d[0] != Magic || d[2] != 31 || len(d) > BaseDatagram {
					t.Fatalf("header % x, %d octets", d[:4], len(d))
				}
				o, err := b.Open(now, d)
				if err != nil {
					t.Fatal(err)
				}
				if i < n-1 {
					if o.Packet != nil {
						t.Fatal("a packet before its second half")
					}
					continue
				}
				if !bytes.Equal(o.Packet, p) || o.Client != c.out || o.Kind != Return || o.Hello != nil || o.Answer != nil {
					t.Fatalf("%d octets of %+v became %d of %+v, kind %d", size, c.in, len(o.Packet), o.Client, o.Kind)
				}
			}
		}
	}
	if c := b.Counters(); c.Opened != 4*MaxPacket || c.HalvesLost != 0 || c.Forged+c.Replayed+c.Malformed+c.Unknown+c.Other != 0 {
		t.Fatalf("%+v", c)
	}
	if c := a.Counters(); c.Sealed != 4*MaxPacket || c.Split == 0 {
		t.Fatalf("%+v", c)
	}
}

func TestOverhead(t *testing.T) {
	a, _, now := twins(t)
	var into [2]Buffer
	for _, c := range []struct {
		client Client
		most   int
	}{{client4, 50}, {client6, 74}} {
		if a.Seal(now, Forward, 0, c.client, make([]byte, 100), &into); into[0].n-100 != c.most {
			t.Errorf("%d octets more", into[0].n-100)
		}
	}
}

func TestWhatIsNotSealed(t *testing.T) {
	a, _, now := twins(t)
	var into [2]Buffer
	for _, size := range []int{0, MaxPacket + 1} {
		if n := a.Seal(now, Forward, 0, client4, make([]byte, size), &into); n != 0 {
			t.Errorf("%d octets sealed in %d", size, n)
		}
	}
	// An address that is none does no harm.
	if n := a.Seal(now, Forward, 0, Client{}, make([]byte, 10), &into); n != 1 {
		t.Errorf("%d datagrams", n)
	}
	l := NewLink(LinkConfig{Self: 1, Peer: 2, Keys: a.cfg.Keys}, now)
	l.Tick(now, Hello{})
	if n := l.Seal(now, Forward, 0, client4, make([]byte, 10), &into); n != 0 {
		t.Errorf("sealed for a peer that was never heard")
	}
}

// Every bit of every kind of datagram matters, and a wrong one changes nothing.
func TestForgedBits(t *testing.T) {
	a, b, now := twins(t)
	var into [2]Buffer
	kinds := map[string][]byte{}
	for name, size := range map[string]int{"short": 1, "packet": 1100, "half": MaxPacket} {
		n := a.Seal(now, Forward, 5, client6, bytes.Repeat([]byte{7}, size), &into)
		for i := range n {
			kinds[fmt.Sprint(name, i)] = bytes.Clone(into[i].Bytes())
		}
	}
	for i, d := range a.Tick(now.Add(a.Interval()), Hello{State: 1}) {
		kinds[fmt.Sprint("hello", i)] = d
	}
	if len(kinds) < 5 {
		t.Fatal(len(kinds))
	}
	opened := b.Counters().Opened
	peer := b.Peer(now)
	for name, d := range kinds {
		for bit := range 8 * len(d) {
			f := bytes.Clone(d)
			f[bit/8] ^= 1 << (bit % 8)
			o, err := b.Open(now, f)
			if err == nil || o.Packet != nil || o.Hello != nil || o.Answer != nil {
				t.Fatalf("%s with bit %d of octet %d changed: %+v, %v", name, bit%8, bit/8, o, err)
			}
		}
		for n := range len(d) {
			if _, err := b.Open(now, bytes.Clone(d[:n])); err == nil {
				t.Fatalf("%s of %d octets is taken with %d", name, len(d), n)
			}
		}
		if _, err := b.Open(now, append(bytes.Clone(d), 0)); err == nil {
			t.Fatalf("%s is taken with an octet more", name)
		}
	}
	if c := b.Counters(); c.Opened != opened || c.Forged == 0 || c.Unknown == 0 || c.Other == 0 || c.Malformed == 0 || c.Replayed != 0 {
		t.Fatalf("%+v", c)
	}
	if p := b.Peer(now); fmt.Sprint(p) != fmt.Sprint(peer) {
		t.Fatalf("%+v\n%+v", p, peer)
	}
	for name, d := range kinds {
		if _, err := b.Open(now, d); err != nil {
			t.Errorf("%s is refused after all that: %v", name, err)
		}
	}
}

func TestErrors(t *testing.T) {
	a, b, now := twins(t)
	var into [2]Buffer
	seal := func() []byte {
		a.Seal(now, Forward, 0, client4, make([]byte, 100), &into)
		return bytes.Clone(into[0].Bytes())
	}
	used := seal()
	b.Open(now, bytes.Clone(used))
	for _, c := range []struct {
		name string
		err  error
		d    []byte
	}{
		{"nothing", ErrMalformed, nil},
		{"QUIC", ErrMalformed, append([]byte{0x40}, seal()[1:]...)},
		{"another version", ErrMalformed, change(seal(), 1, 0x80|byte(Forward)<<typeShift)},
		{"another type", ErrMalformed, change(seal(), 1, version|3<<typeShift)},
		{"an epoch", ErrMalformed, change(seal(), 1, version|byte(Forward)<<typeShift|1)},
		{"reserved bits", ErrMalformed, change(seal(), 3, 0x80)},
		{"a third piece", ErrMalformed, change(seal(), 3, pieceMask)},
		{"a hello of another worker", ErrMalformed, change(a.Tick(now, Hello{})[0], 2, 1)},
		{"a short hello", ErrMalformed, a.Tick(now, Hello{})[0][:bareDatagram-1]},
		{"from another", ErrOther, change(seal(), 4, 1)},
		{"to another", ErrOther, change(seal(), 8, 1)},
		{"its own", ErrOther, b.Tick(now, Hello{})[0]},
		{"another session", ErrSession, change(seal(), 12, seal()[12]+1)},
		{"another sequence", ErrForged, change(seal(), 16, 1)},
		{"another worker", ErrForged, change(seal(), 2, 1)},
		{"other addresses", ErrForged, change(seal(), dataHeaderLen, seal()[dataHeaderLen]+1)},
		{"a packet again", ErrReplayed, used},
	} {
		if _, err := b.Open(now, bytes.Clone(c.d)); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, not %v", c.name, err, c.err)
		}
	}
}

func change(b []byte, i int, v byte) []byte {
	b[i] = v
	return b
}

func TestNothingIsAllocated(t *testing.T) {
	a, b, now := twins(t)
	into := new([2]Buffer)
	in := make([]byte, MaxPacket)
	for _, size := range []int{60, 1200, 1452} {
		p := make([]byte, size)
		if n := testing.AllocsPerRun(1000, func() {
			n := a.Seal(now, Forward, 1, client6, p, into)
			for i := range n {
				o, err := b.Open(now, in[:copy(in, into[i].Bytes())])
				if err != nil || (i == n-1) != (o.Packet != nil) {
					t.Fatal(err)
				}
			}
		}); n != 0 {
			t.Errorf("%v allocations for %d octets", n, size)
		}
	}
	forged := bytes.Clone(a.Tick(now, Hello{})[0])
	forged[20]++
	if n := testing.AllocsPerRun(1000, func() { b.Open(now, forged) }); n > 0.1 {
		t.Errorf("%v allocations for a forged hello", n)
	}
}
