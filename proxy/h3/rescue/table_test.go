package rescue

import (
	"hash/maphash"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/h3/rescue/tunnel"
)

// A full table forgets something for each that is added, and counts it.
func TestTableFull(t *testing.T) {
	full := new(metrics.Counter)
	tab := newTable[int, int](64, full)
	for i := range 10_000 {
		s := tab.lock(i)
		if s.m[i] != nil {
			t.Fatal("it is there already")
		}
		tab.add(s, i, &i)
		if *s.m[i] != i {
			t.Fatal("it is not there")
		}
		s.mu.Unlock()
	}
	n := 0
	for i := range tab.parts {
		n += len(tab.parts[i].m)
	}
	if n != 64 || tab.count.Load() != 64 || full.Get() != 10_000-64 {
		t.Errorf("there are %d, counted as %d, %d were forgotten", n, tab.count.Load(), full.Get())
	}
	tab.sweep(func(v *int) bool { return *v%2 == 0 })
	for i := range tab.parts {
		for k := range tab.parts[i].m {
			n--
			if k%2 == 0 {
				t.Errorf("%d is still there", k)
			}
		}
	}
	if tab.count.Load() != int64(64-n) {
		t.Errorf("%d are counted, %d were removed", tab.count.Load(), n)
	}
}

func TestRate(t *testing.T) {
	r := newRate(1000) // 100 at once
	passed := func(now time.Duration, n int) (p int) {
		for range n {
			if r.allow(int64(now)) {
				p++
			}
		}
		return p
	}
	if n := passed(time.Hour, 1000); n != 100 {
		t.Errorf("%d at once", n)
	}
	if n := passed(time.Hour+10*time.Millisecond, 1000); n != 10 {
		t.Errorf("%d after 10 ms", n)
	}
	if n := passed(time.Hour+20*time.Second, 1000); n != 100 {
		t.Errorf("%d after a long time", n)
	}
}

// A move has one line, and not another within ten minutes; when there are too many, they are summed up. The list has the latest.
func TestMoves(t *testing.T) {
	var out strings.Builder
	full := new(metrics.Counter)
	m := newMoves(slog.New(slog.NewTextHandler(&out, nil)), netip.MustParseAddr("198.51.100.1"), full)
	owner := &peer{edge: Edge{Address: netip.MustParseAddr("198.51.100.2"), Region: "fra"}}
	now := time.Unix(1e9, 0)
	lines := func() int {
		n := strings.Count(out.String(), "\n")
		out.Reset()
		return n
	}
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 7}) }
	first := m.seen(at(0), owner, Moved, now)
	for range 10 {
		if m.seen(netip.MustParseAddr("10.0.0.99"), owner, Moved, now.Add(moveQuiet-1)) != first {
			t.Fatal("the same part of the network is another move")
		}
	}
	if s := out.String(); lines() != 1 || !strings.Contains(s, "client=10.0.0.0/24 from=198.51.100.2 from_region=fra to=198.51.100.1 reason=moved") {
		t.Errorf("the log has %q", s)
	}
	if m.seen(at(0), owner, Moved, now.Add(moveQuiet)) == first || lines() != 1 {
		t.Error("after ten minutes it is the same move still")
	}
	now = now.Add(moveQuiet)
	for i := range maxKnownMoves + 10 {
		m.seen(at(i), owner, Moved, now)
	}
	if n := lines(); n > moveLines {
		t.Errorf("a flood has %d lines", n)
	}
	m.second(now)
	if s := out.String(); lines() != 1 || !strings.Contains(s, "moves=410") {
		t.Errorf("it is summed up as %q", s)
	}
	if n := full.Get(); n != 10 {
		t.Errorf("%d moves had no place", n)
	}
	l := m.list()
	if len(l) != maxMoves || l[0].Client.Addr() != netip.AddrFrom4([4]byte{10, 16, 9, 0}) {
		t.Errorf("the list has %d, first %v", len(l), l[0])
	}
	m.second(now.Add(moveQuiet))
	if len(m.known) != 0 {
		t.Errorf("%d are known for ever", len(m.known))
	}
	if six := m.seen(netip.MustParseAddr("2001:db8:1:2::3%eth0"), owner, ECMP, now); six.client.String() != "2001:db8:1::/48" {
		t.Errorf("the prefix is %v", six.client)
	}
}

// What is made of what a link says.
func TestView(t *testing.T) {
	const after = 300 * time.Millisecond
	now := time.Unix(1e9, 0)
	upAs := func(instance uint8, s State) tunnel.Peer {
		return tunnel.Peer{Up: s != Gone, Dead: s == Gone, HearsUs: s != Gone, Hello: tunnel.Hello{Number: 1, Instance: instance, State: uint8(s)}}
	}
	v, stood := &view{}, false
	step := func(what string, p tunnel.Peer, r reach, instance uint8, want cause) {
		t.Helper()
		now = now.Add(time.Second)
		v = v.next(p, after, now, stood)
		if v.reach != r || v.over(instance) != want {
			t.Errorf("%s: %v, %q", what, v.reach, v.over(instance))
		}
		if r != unknown && v.since.IsZero() {
			t.Error(what, "since when?")
		}
	}
	step("not heard", tunnel.Peer{}, unknown, 1, alive)
	step("never heard", tunnel.Peer{Dead: true}, dead, 1, silence)
	step("heard", upAs(1, Announcing), up, 1, alive)
	step("an instance that we have not heard of", upAs(1, Announcing), up, 9, alive)
	step("silent", tunnel.Peer{Dead: true, Hello: tunnel.Hello{Number: 2, Instance: 1}}, dead, 1, silence)
	step("again", upAs(1, Draining), up, 1, alive)
	step("started anew", upAs(2, Announcing), up, 1, replaced)
	step("started anew, the new one", upAs(2, Announcing), up, 2, alive)
	step("gone", upAs(2, Gone), dead, 2, gone)
	step("an old number again", upAs(1, Announcing), up, 1, alive)
	deaf := upAs(1, Announcing)
	deaf.HearsUs = false
	step("deaf for a moment", deaf, up, 1, alive)
	stood = true
	step("deaf while we stood still", deaf, up, 1, alive)
	stood = false
	step("deaf", deaf, dead, 1, deafness)
	stood = true
	step("deaf before we stood still", deaf, dead, 1, deafness)
	stood = false
	step("hears again", upAs(1, Announcing), up, 1, alive)
	v = &view{}
	step("not heard by it yet", deaf, unknown, 1, alive)
}

// TestFirstAnswer: a far edge is not dead because its first answer takes longer to come than the silence that means death.
func TestFirstAnswer(t *testing.T) {
	const after = 100 * time.Millisecond
	start := time.Unix(1000, 0)
	v := (&view{since: start}).next(tunnel.Peer{Dead: true}, after, start.Add(250*time.Millisecond), false)
	if v.reach != unknown || v.over(1) != alive {
		t.Errorf("before an answer can have come: %v, %q", v.reach, v.over(1))
	}
	if v = v.next(tunnel.Peer{Dead: true}, after, start.Add(after+firstAnswer), false); v.reach != dead || v.over(1) != silence {
		t.Errorf("without an answer: %v, %q", v.reach, v.over(1))
	}
	heard := tunnel.Peer{Dead: true, LastHeard: start.Add(200 * time.Millisecond)}
	if v = (&view{since: start}).next(heard, after, start.Add(350*time.Millisecond), false); v.reach != dead {
		t.Errorf("heard once and silent since: %v", v.reach)
	}
}

// TestCrowd: who has left a table, in whatever way, is not in its crowd any more, so that packets to him take no lock.
func TestCrowd(t *testing.T) {
	c := &crowd{seed: maphash.MakeSeed()}
	full := new(metrics.Counter)
	table := newTable[netip.AddrPort, int](64, full)
	table.noted = func(k netip.AddrPort, by int32) { c.place(k).Add(by) }
	client := func(i int) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i)) }
	for i := range 500 {
		s := table.lock(client(i))
		table.add(s, client(i), new(i))
		if c.lacks(client(i)) {
			t.Fatal("it lacks who has just come")
		}
		if i%3 == 0 {
			table.remove(s, client(i))
		}
		s.mu.Unlock()
	}
	if full.Get() == 0 {
		t.Error("nobody had to go")
	}
	table.sweep(func(*int) bool { return true })
	for i := range c.here {
		if n := c.here[i].Load(); n != 0 {
			t.Fatalf("%d are left at place %d", n, i)
		}
	}
}
