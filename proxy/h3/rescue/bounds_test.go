package rescue

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue/tunnel"
)

// What is sent on is bounded, for each client and for each peer; what is over is dropped and counted.
func TestRates(t *testing.T) {
	k := pairOf(t, func(c *Config) { c.MaxRate = 400 })
	b := k.hubs[1]
	now := b.now()
	b.now = func() time.Time { return now }
	push := func(client byte, n int) {
		for range n {
			m, id, p, by := k.packet(0, 100)
			m.Addr = &net.UDPAddr{IP: net.IP{192, 0, 2, client}, Port: 1}
			b.Foreign(0, m, id, p, by)
		}
	}
	push(1, 100)
	if n := b.metrics.dropped[dropClientRate].Get(); n != 100-32 {
		t.Errorf("%d of one client's packets were dropped, want all but 32", n)
	}
	push(2, 32)
	if n := b.metrics.dropped[dropRate].Get(); n != 32+32-40 {
		t.Errorf("%d packets were dropped for the peer, want all but a tenth of a second's", n)
	}
	now = now.Add(time.Second)
	push(1, 1)
	if n := b.peers[0].metrics.forwarded[Moved].Get(); n != 41 {
		t.Errorf("%d packets were sent on", n)
	}
}

// Nothing that a hub does for each packet allocates memory.
func TestAllocations(t *testing.T) {
	k := pairOf(t, func(c *Config) { c.MaxRate, c.Reply = maxRate, ReplyTunnel })
	a, b := k.hubs[0], k.hubs[1]
	m, id, p, by := k.packet(0, 1200)
	var sealed [300][]byte
	i := 0
	for ; i < len(sealed); i++ {
		var pair [2]tunnel.Buffer
		c := tunnel.Client{Remote: addrPort(m.Addr), Local: netip.MustParseAddrPort("127.0.0.9:443"), ECN: 1}
		b.peers[0].link.Seal(b.now(), tunnel.Forward, 0, c, m.Buffers[0][:1200], &pair)
		sealed[i] = append(sealed[i], pair[0].Bytes()...)
	}
	if n := testing.AllocsPerRun(200, func() {
		m.N = 1200
		b.Foreign(0, m, id, p, by)
		b.Flush(0)
	}); n >= 1 && !underRace {
		t.Errorf("to send a packet on allocates %v times", n)
	}
	i = 0
	if n := testing.AllocsPerRun(200, func() {
		m.N = copy(m.Buffers[0], sealed[i])
		i++
		if !a.Tunnelled(0, m) {
			t.Fatal("refused")
		}
	}); n >= 1 && !underRace {
		t.Errorf("to take one from the tunnel allocates %v times", n)
	}
	to := m.Addr.(*net.UDPAddr)
	body, oob := make([]byte, 12000), appendMessage(appendControl(nil, control{local: netip.MustParseAddr("127.0.0.9")}), 17, 103, []byte{0xb0, 0x04})
	if n := testing.AllocsPerRun(100, func() {
		if _, _, _, ok := a.Write(0, body, oob, to); !ok {
			t.Fatal("not written")
		}
	}); n >= 1 && !underRace {
		t.Errorf("to answer through the tunnel allocates %v times", n)
	}
	away := &ipv4.Message{Addr: b.peers[0].addr, OOB: oob, NN: len(oob)}
	if n := testing.AllocsPerRun(100, func() { a.Home(0, away, id) }); n != 0 {
		t.Errorf("to look whether a client is at home allocates %v times", n)
	}
}

// What an operator reads says who, from where, and why.
func TestStatus(t *testing.T) {
	k := pairOf(t, nil)
	m, id, p, by := k.packet(0, 100)
	k.hubs[1].Foreign(0, m, id, p, by)
	s := k.hubs[1].Status()
	peer := s.Peers[0]
	if peer.Reach != "up" || peer.State != "announcing" || peer.Instance != 10 || peer.ForwardedOut != 1 || peer.LastPacket.IsZero() || peer.MTU < 1200 {
		t.Errorf("the peer is %+v", peer)
	}
	if len(s.Moves) != 1 || s.Moves[0].Client.String() != "127.0.0.0/24" || s.Moves[0].Reason != "moved" {
		t.Errorf("the moves are %+v", s.Moves)
	}
	var b strings.Builder
	defer k.hubs[1].gauges()()
	k.hubs[1].cfg.Metrics.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		name, _, _ := strings.Cut(line, "{")
		if MetricHelp[name] == "" {
			t.Errorf("%s has no help", name)
		}
	}
	for name := range MetricHelp {
		if !strings.Contains(b.String(), "\n"+name+"{") && !strings.HasPrefix(b.String(), name+"{") {
			t.Errorf("there is help for %s, which is not", name)
		}
	}
}

// However many clients a dead edge had, each is told, once, a few at a time; but not those who have been silent for long, nor those of the process
// that took its place.
func TestManyDeaths(t *testing.T) {
	k := pairOf(t, nil)
	b := k.hubs[1]
	start := b.now()
	at := start
	b.now = func() time.Time { return at }
	push := func(instance uint8, from, to int) {
		for i := from; i < to; i++ {
			m, id, p, by := k.packet(0, 100)
			p.Instance = instance
			m.Addr = &net.UDPAddr{IP: net.IP{127, 77, byte(i >> 8), byte(i)}, Port: 9}
			b.Foreign(0, m, id, p, by)
		}
		b.Flush(0)
	}
	push(10, 0, 100)
	at = start.Add(mournLife + time.Second)
	push(10, 100, 2100)
	push(11, 2100, 2200)
	b.peers[0].view.Store(&view{reach: up, heard: true, instance: 11, past: [4]uint64{1 << 10}})
	b.mournOne(t.Context(), b.peers[0])
	if n := b.metrics.resets[replaced].Get(); n != 2000 {
		t.Errorf("%d were told", n)
	}
	if n := b.Status().Flows; n != 100 {
		t.Errorf("%d flows are left", n)
	}
	b.mournOne(t.Context(), b.peers[0])
	if n := b.metrics.resets[replaced].Get(); n != 2000 {
		t.Errorf("%d were told twice", n-2000)
	}
}

// The key is that of the day on which the connection's transport began.
func TestResetOfEarlierDay(t *testing.T) {
	ring, err := keys.New([]string{"a secret of the tests that is long enough"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)
	id := [cid.Len]byte{1, 2, 3}
	for _, ago := range []int{0, 1, 3} {
		e := keys.At(now) - keys.Epoch(ago)
		var b [maxReset]byte
		reset := resetFor(&b, 100, id, cid.Place{Generation: uint16(e)}, ring.First(), now)
		key := ring.First().Key(keys.Reset, e, "")
		mac := hmac.New(sha256.New, key[:])
		mac.Write(id[:])
		if !bytes.HasSuffix(reset, mac.Sum(nil)[:16]) {
			t.Errorf("that of %d days ago has another token", ago)
		}
	}
}

// TestBackAmidResets: the resets for a dead edge's clients end when it is heard again.
func TestBackAmidResets(t *testing.T) {
	k := pairOf(t, nil)
	b := k.hubs[1]
	p := b.peers[0]
	for i := range 2000 {
		m, id, place, by := k.packet(0, 100)
		m.Addr = &net.UDPAddr{IP: net.IP{127, 1, byte(i >> 8), byte(i)}, Port: 1}
		b.Foreign(0, m, id, place, by)
	}
	living := p.view.Load()
	died := *living
	died.reach = dead
	p.view.Store(&died)
	bursts := 0
	b.now = func() time.Time {
		if bursts++; bursts == 2 {
			p.view.Store(living)
		}
		return b.started
	}
	b.mournOne(t.Context(), p)
	if n := b.flows.count.Load(); n < 1400 {
		t.Errorf("%d of 2000 clients were told nothing, though the edge was back after the first %d", n, mournBurst)
	}
}
