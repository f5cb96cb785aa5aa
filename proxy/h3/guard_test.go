package h3

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/h3/flood"
)

// press makes s believe in n more handshakes in progress, or -n fewer.
func press(s *Server, n int) {
	for range n {
		s.guard.Begin(netip.AddrPort{})
	}
	for range -n {
		s.guard.End()
	}
}

// longHeader is a packet with that first octet, version, connection ID, and token length.
func longHeader(first byte, version uint32, id []byte, token ...byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{first}, version)
	b = append(append(b, byte(len(id))), id...)
	b = append(b, 4, 's', 'r', 'c', '1')
	return append(b, token...)
}

func TestParseOpening(t *testing.T) {
	id := bytes.Repeat([]byte{0x5a}, 8)
	for _, c := range []struct {
		what               string
		b                  []byte
		ok, initial, token bool
	}{
		{"an Initial", longHeader(0xc0, versionOne, id, 0), true, true, false},
		{"an Initial with a token", longHeader(0xc0, versionOne, id, 1, 7), true, true, true},
		{"an Initial with a long token", longHeader(0xc0, versionOne, id, 0x40, 80), true, true, true},
		{"an Initial that ends before its token", longHeader(0xc0, versionOne, id), true, true, false},
		{"an Initial of version 2", longHeader(0xd0, versionTwo, id, 1, 7), true, true, true},
		{"an Initial without a connection ID", longHeader(0xc0, versionOne, nil, 0), true, true, false},
		{"a 0-RTT packet", longHeader(0xd0, versionOne, id, 1), true, false, false},
		{"a 0-RTT packet of version 2", longHeader(0xe0, versionTwo, id, 1), true, false, false},
		{"an unknown version", longHeader(0xc0, 0x1a2a3a4a, id, 1), true, false, false},
		{"Version Negotiation", longHeader(0xc0, 0, id), false, false, false},
		{"a Handshake packet", longHeader(0xe0, versionOne, id), false, false, false},
		{"a Handshake packet of version 2", longHeader(0xf0, versionTwo, id), false, false, false},
		{"a Retry", longHeader(0xf0, versionOne, id), false, false, false},
		{"a short header", append([]byte{0x40}, id...), false, false, false},
		{"nothing", nil, false, false, false},
		{"one that ends within its connection ID", longHeader(0xc0, versionOne, id)[:12], false, false, false},
	} {
		o, ok := parseOpening(c.b)
		if ok != c.ok || o.initial != c.initial || o.token != c.token {
			t.Errorf("%s: %+v, %t", c.what, o, ok)
		}
		if ok && len(o.id) != int(c.b[5]) {
			t.Errorf("%s: connection ID %x", c.what, o.id)
		}
	}
}

func FuzzParseOpening(f *testing.F) {
	f.Add(longHeader(0xc0, versionOne, make([]byte, 8), 1, 7))
	f.Add(longHeader(0xd0, versionTwo, make([]byte, 20)))
	f.Add([]byte{0xff, 0x6b, 0x33, 0x43, 0xcf, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, ok := parseOpening(b); ok && (len(o.id) > len(b) || o.token && !o.initial) {
			t.Errorf("%+v", o)
		}
	})
}

func TestGuardIsAskedAboutOpenings(t *testing.T) {
	set := metrics.NewSet()
	g := flood.New(flood.Limits{All: flood.Rate{PerSecond: 1, Burst: 8}}, time.Now(), flood.NewMetrics(set))
	initial := func(n byte) []byte {
		return append(longHeader(0xc0, versionOne, []byte{1, 2, 3, 4, 5, 6, 7, n}, 0), make([]byte, minInitial)...)
	}
	for _, c := range []struct {
		what string
		b    []byte
		want bool
	}{
		{"the first", initial(1), true},
		{"another", initial(2), true},
		{"another", initial(3), true},
		{"another", initial(4), true},
		{"one too many", initial(5), false},
		{"a 0-RTT packet of the first", append(longHeader(0xd0, versionOne, initial(1)[6:14]), 1, 2, 3), true},
		{"a 0-RTT packet of the last", append(longHeader(0xd0, versionOne, initial(5)[6:14]), 1, 2, 3), false},
		{"one that is too short", initial(1)[:minInitial-1], false},
		{"a Handshake packet", longHeader(0xe0, versionOne, initial(6)[6:14]), true},
	} {
		if got := lets(g, message4(c.b), false); got != c.want {
			t.Errorf("%s: %t", c.what, got)
		}
	}
	if n := set.GetOrCreateCounter(`nearcast_quic_initials_total{result="short"}`).Get(); n != 1 {
		t.Errorf("%d are counted as short", n)
	}
	m := message4(initial(9))
	if allocs := testing.AllocsPerRun(1000, func() { lets(g, m, false) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestClientsComeInAfterTheyWereShed uses up what is for strangers: a client that comes again gets a Retry, and is served.
func TestClientsComeInAfterTheyWereShed(t *testing.T) {
	set := metrics.NewSet()
	g := flood.New(flood.Limits{All: flood.Rate{PerSecond: 1, Burst: 800}}, time.Now(), flood.NewMetrics(set))
	for n := uint16(0); g.Initial(time.Now(), flood.Packet{From: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), n), ID: make([]byte, 8)}) == flood.Passed; n++ {
	}
	r := start(t, ok, Config{Guard: g})
	if resp, err := r.getFrom(t, elsewhere); err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	for metric, least := range map[string]uint64{`nearcast_quic_initials_total{result="shed_all"}`: 2, "nearcast_quic_retries_total": 1} {
		if n := set.GetOrCreateCounter(metric).Get(); n < least {
			t.Errorf("%s is %d", metric, n)
		}
	}
	eventually(t, "the handshake is over", func() bool { return g.HalfOpen() == 0 })
}

// TestAFloodDoesNotKeepTheEdgeFromItself: nothing is left for anybody, and a handshake from a loopback address is begun at once, without a Retry. Else the
// edge would find itself dead, and take back its routes.
func TestAFloodDoesNotKeepTheEdgeFromItself(t *testing.T) {
	set := metrics.NewSet()
	g := flood.New(flood.Limits{Prefix: flood.Rate{PerSecond: 1, Burst: 1}, All: flood.Rate{PerSecond: 1, Burst: 1}, RetryAbove: 1, HalfOpen: 2}, time.Now(), flood.NewMetrics(set))
	from := netip.MustParseAddrPort("192.0.2.1:1")
	for g.Begin(from) {
	}
	r := start(t, ok, Config{Guard: g})
	for range 3 {
		if resp, err := r.get(t); err != nil || resp.StatusCode != 200 {
			t.Fatalf("got %v, %v", resp, err)
		}
	}
	for _, metric := range []string{`nearcast_quic_initials_total{result="shed_all"}`, `nearcast_quic_initials_total{result="shed_prefix"}`,
		`nearcast_quic_initials_total{result="half_open"}`, "nearcast_quic_retries_total"} {
		if n := set.GetOrCreateCounter(metric).Get(); n != 0 {
			t.Errorf("%s is %d", metric, n)
		}
	}
	eventually(t, "the handshakes are over", func() bool { return g.HalfOpen() == 2 })
}

func TestHandshakesInProgressAreBounded(t *testing.T) {
	g := flood.New(flood.Limits{HalfOpen: 1}, time.Now(), nil)
	s := &Server{guard: g}
	a, err := s.begin(netip.AddrPort{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.begin(netip.AddrPort{}, true); !errors.Is(err, errHalfOpen) {
		t.Errorf("one too many: %v", err)
	}
	if !s.finish(a, true) || s.finish(a, false) || g.HalfOpen() != 0 {
		t.Errorf("%d are in progress", g.HalfOpen())
	}
	s.cfg.Events.Admit = func(netip.AddrPort) bool { return false }
	if _, err := s.begin(netip.AddrPort{}, true); !errors.Is(err, errRefused) || g.HalfOpen() != 0 {
		t.Errorf("refused by the owner: %v, %d in progress", err, g.HalfOpen())
	}
}
