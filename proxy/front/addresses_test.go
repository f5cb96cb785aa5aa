package front

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// clock is a time that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time       { return c.t }
func (c *clock) pass(d time.Duration) { c.t = c.t.Add(d) }

func testAddresses(conns, rate, burst, maxConns int) (*addresses, *clock) {
	c := &clock{t: time.Unix(1e9, 0)}
	limits := &LimitsConfig{MaxConnections: maxConns, MaxConnectionsPerAddress: conns, HandshakesPerAddress: RateConfig{Rate: rate, Burst: burst}}
	return newAddresses(limits, c.now), c
}

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
)

func (a *addresses) expect(t *testing.T, addr netip.Addr, handshake bool, want verdict) {
	t.Helper()
	if got, _ := a.admit(addr, handshake); got != want {
		t.Errorf("%s: verdict %d, want %d", addr, got, want)
	}
}

func TestConnectionsOfOneAddress(t *testing.T) {
	a, _ := testAddresses(2, 0, 0, 100)
	a.expect(t, alice, false, admitted)
	a.expect(t, alice, true, admitted)
	a.expect(t, alice, false, tooManyConns)
	a.expect(t, netip.MustParseAddr("::ffff:192.0.2.1"), false, tooManyConns) // the same client
	a.expect(t, bob, false, admitted)
	a.release(alice)
	a.expect(t, alice, false, admitted)
	a.expect(t, alice, false, tooManyConns)
}

func TestAnIPv6CustomerIsOneAddress(t *testing.T) {
	a, _ := testAddresses(1, 0, 0, 100)
	a.expect(t, netip.MustParseAddr("2001:db8::1"), false, admitted)
	a.expect(t, netip.MustParseAddr("2001:db8::ffff:0:0:1"), false, tooManyConns)
	a.expect(t, netip.MustParseAddr("2001:db8:0:1::1"), false, admitted)
	a.expect(t, netip.MustParseAddr("0.0.0.1"), false, admitted)
	a.expect(t, netip.MustParseAddr("0:0:0:1::"), false, admitted) // the same number, another family
}

func TestHandshakesOfOneAddress(t *testing.T) {
	a, c := testAddresses(0, 10, 3, 100)
	for range 3 {
		a.expect(t, alice, true, admitted)
	}
	a.expect(t, alice, true, tooManyHandshakes)
	a.expect(t, alice, false, admitted) // no handshake, no limit
	a.expect(t, bob, true, admitted)
	c.pass(99 * time.Millisecond)
	a.expect(t, alice, true, tooManyHandshakes)
	c.pass(time.Millisecond)
	a.expect(t, alice, true, admitted)
	a.expect(t, alice, true, tooManyHandshakes)
	c.pass(time.Hour)
	for range 3 {
		a.expect(t, alice, true, admitted)
	}
	a.expect(t, alice, true, tooManyHandshakes) // a long silence saves up no more than the burst
}

func TestARefusedHandshakeCostsNothing(t *testing.T) {
	a, c := testAddresses(0, 10, 1, 100)
	a.expect(t, alice, true, admitted)
	for range 100 {
		a.expect(t, alice, true, tooManyHandshakes)
	}
	c.pass(100 * time.Millisecond)
	a.expect(t, alice, true, admitted)
}

func TestNothingIsRememberedForLong(t *testing.T) {
	a, c := testAddresses(10, 10, 3, 100)
	a.expect(t, alice, true, admitted)
	c.pass(time.Second)
	if a.size() != 1 {
		t.Fatalf("%d addresses, want 1", a.size())
	}
	a.release(alice)
	if a.size() != 0 {
		t.Errorf("%d addresses after the last connection's end", a.size())
	}
	a.release(alice) // once too often: no harm
	a.expect(t, alice, true, admitted)
	a.release(alice)
	if a.size() != 1 {
		t.Errorf("the handshake that is not paid for yet was forgotten")
	}
}

func address(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(i))
	return netip.AddrFrom4(b)
}

func TestTheTableIsBounded(t *testing.T) {
	a, c := testAddresses(10, 1, 1, 1)
	a.perShard = 4
	forgotten := 0
	for i := range 10_000 {
		v, forgot := a.admit(address(i), true)
		if v != admitted {
			t.Fatalf("address %d: verdict %d", i, v)
		}
		if forgot {
			forgotten++
		}
		a.release(address(i)) // the handshake is still owed for
	}
	if n := a.size(); n > 4*addressShards {
		t.Errorf("%d addresses, want at most %d", n, 4*addressShards)
	}
	if forgotten < 9000 {
		t.Errorf("%d were forgotten early, want nearly all", forgotten)
	}
	c.pass(time.Minute)
	for i := range 1000 {
		if v, forgot := a.admit(address(1e6+i), true); v != admitted || forgot {
			if v == tableFull {
				return // every place holds a connection now
			}
			t.Fatalf("address %d: verdict %d, forgot %t, though others owed nothing", i, v, forgot)
		}
	}
	t.Error("the table never filled up with addresses that have connections")
}

func TestAddressesAtOnce(t *testing.T) {
	a, _ := testAddresses(1000, 1e6, 1e6, 100)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				if v, _ := a.admit(address(i%10), g%2 == 0); v == admitted {
					a.release(address(i % 10))
				}
			}
		})
	}
	wg.Wait()
	for i := range 10 {
		if n := a.shard(keyOf(address(i))).m[keyOf(address(i))].conns; n != 0 {
			t.Errorf("address %d has %d connections, want none", i, n)
		}
	}
}

func TestAddressLimitsCostNoAllocation(t *testing.T) {
	a, _ := testAddresses(10, 10, 1<<30, 100)
	a.admit(alice, false)
	if n := testing.AllocsPerRun(1000, func() { a.admit(alice, true); a.release(alice) }); n != 0 && !raceDetector {
		t.Errorf("%v allocations a connection", n)
	}
}

func BenchmarkAddress(b *testing.B) {
	a := newAddresses(&LimitsConfig{MaxConnectionsPerAddress: 10, HandshakesPerAddress: RateConfig{Rate: 1e9, Burst: 1e9}}, time.Now)
	for b.Loop() {
		a.admit(alice, true)
		a.release(alice)
	}
}
