package rescue

import (
	"bytes"
	"crypto/rand"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue/tunnel"
)

// attacker sends datagrams from its own address and says what comes back.
type attacker struct {
	t   *testing.T
	udp *net.UDPConn
	to  netip.AddrPort
}

func newAttacker(t *testing.T, n *node) *attacker {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 66)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	return &attacker{t, udp, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), n.port)}
}

func (a *attacker) send(b []byte) {
	a.t.Helper()
	if _, err := a.udp.WriteToUDPAddrPort(b, a.to); err != nil {
		a.t.Fatal(err)
	}
}

// answer returns what has come, nil if nothing has.
func (a *attacker) answer(wait time.Duration) []byte {
	b := make([]byte, 2000)
	a.udp.SetReadDeadline(time.Now().Add(wait))
	n, err := a.udp.Read(b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// The oracle of RFC 9000 §21.11: who knows a connection ID, and sends it to another edge that has the reset key, gets nothing while the owner
// lives; and the connection goes on.
func TestNoOracle(t *testing.T) {
	nodes := fleetOf(t, families[0], fleetOptions{n: 2})
	r := newRouter(t, families[0], nodes)
	qc := r.dial(t)
	for r.seen.Load() == nil { // the first may be behind a packet with a long header
		ask(t, r, qc, "hello", nil)
	}
	seen := *r.seen.Load()
	a := newAttacker(t, nodes[1])
	forged := make([]byte, 78)
	rand.Read(forged)
	forged[0] = 0x40
	copy(forged[1:], seen[1:1+cid.Len])
	for range 20 {
		a.send(forged)
	}
	sent := &nodes[0].hub.peers[0].metrics
	await(t, "forged packet at its owner", func() bool { return sent.received.Get() >= 20 })
	if b := a.answer(20 * time.Millisecond); b != nil {
		t.Errorf("the attacker got %x", b)
	}
	ask(t, r, qc, "the connection goes on", nil)
	for c := silence; c < causes; c++ {
		if n := nodes[1].hub.metrics.resets[c].Get(); n != 0 {
			t.Errorf("%d resets were sent: %v", n, c)
		}
	}
}

// For a connection of an edge that is not configured there is no answer: it may live.
func TestUnknownEdge(t *testing.T) {
	nodes := fleetOf(t, families[0], fleetOptions{n: 2})
	a := newAttacker(t, nodes[0])
	id := nodes[0].codec.Encode(cid.Place{Edge: 12345, Generation: nodes[0].place.Generation}, 1)
	a.send(append(append([]byte{0x40}, id[:]...), make([]byte, 100)...))
	await(t, "dropped datagram", func() bool { return nodes[0].dropped(dropUnknownEdge) == 1 })
	if b := a.answer(10 * time.Millisecond); b != nil {
		t.Errorf("there is an answer, %x", b)
	}
}

// A connection of an earlier process of this edge is over.
func TestEarlierProcess(t *testing.T) {
	nodes := fleetOf(t, families[0], fleetOptions{n: 1})
	a := newAttacker(t, nodes[0])
	p := nodes[0].place
	p.Instance++
	id := nodes[0].codec.Encode(p, 1)
	for _, c := range []struct{ size, want int }{{21, 0}, {22, 21}, {40, 39}, {43, 42}, {1200, 42}} {
		packet := make([]byte, c.size)
		packet[0] = 0x40
		copy(packet[1:], id[:])
		a.send(packet)
		wait := 10 * time.Millisecond
		if c.want > 0 {
			wait = 10 * time.Second
		}
		if b := a.answer(wait); len(b) != c.want || c.want > 0 && b[0]&0xc0 != 0x40 {
			t.Errorf("a packet of %d octets gets %d, want %d", c.size, len(b), c.want)
		}
	}
	long := make([]byte, 1200)
	long[0], long[5] = 0xc0, cid.Len
	copy(long[6:], id[:])
	a.send(long)
	if b := a.answer(10 * time.Millisecond); b != nil {
		t.Errorf("a packet with a long header gets %x", b)
	}
}

// What comes out of a tunnel is what the client sent, with its addresses and ECN; once. Forged and replayed datagrams do nothing.
func TestForgedAndReplayed(t *testing.T) {
	k := pairOf(t, nil)
	m, id, p, by := k.packet(0, 1200)
	want := append([]byte(nil), m.Buffers[0][:1200]...)
	k.hubs[1].Foreign(0, m, id, p, by)
	if m.N != 0 {
		t.Error("the datagram was not consumed")
	}
	k.hubs[1].Flush(0)
	sealed := k.read(0)
	keep := append([]byte(nil), sealed.Buffers[0][:sealed.N]...)
	again := func(change func([]byte)) *ipv4.Message {
		m := &ipv4.Message{Buffers: [][]byte{make([]byte, 1452)}, OOB: make([]byte, 128), Addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 66), Port: 1}}
		m.N = copy(m.Buffers[0], keep)
		change(m.Buffers[0][:m.N])
		return m
	}
	if bytes.Contains(keep, want[100:200]) || bytes.Contains(keep, []byte{127, 0, 0, 1}) {
		t.Error("the tunnel shows what it carries")
	}
	h := k.hubs[0]
	for i := range keep {
		if m := again(func(b []byte) { b[i] ^= 1 }); h.Tunnelled(0, m) || m.N != 0 {
			t.Fatalf("a datagram with octet %d changed was taken", i)
		}
	}
	if h.Status().Clients != 0 {
		t.Error("a forged datagram has left a trace")
	}
	if !h.Tunnelled(0, sealed) || !bytes.Equal(sealed.Buffers[0][:sealed.N], want) {
		t.Fatalf("what came out is not what was sent on")
	}
	c := parseControl(sealed.OOB[:sealed.NN])
	if c != (control{local: netip.MustParseAddr("127.0.0.9"), ecn: 2}) || sealed.Addr.String() != "127.0.0.1:4444" || len(sealed.Addr.(*net.UDPAddr).IP) != 4 {
		t.Errorf("it has %+v and comes from %v", c, sealed.Addr)
	}
	if m := again(func([]byte) {}); h.Tunnelled(0, m) {
		t.Error("a datagram was taken twice")
	}
	if h.metrics.dropped[dropReplayed].Get() != 1 || h.metrics.dropped[dropForged].Get() == 0 {
		t.Error("what was refused was not counted")
	}
}

// A packet that does not fit the path travels in two, and large ones of clients come out whole in the buffers that QUIC reads into.
func TestTwoHalves(t *testing.T) {
	k := pairOf(t, nil)
	for _, c := range []struct{ size, datagrams int }{{1000, 1}, {1452, 2}} {
		m, id, p, by := k.packet(0, c.size)
		rand.Read(m.Buffers[0][1+cid.Len : c.size])
		want := append([]byte(nil), m.Buffers[0][:c.size]...)
		k.hubs[1].Foreign(0, m, id, p, by)
		k.hubs[1].Flush(0)
		for i := range c.datagrams {
			m := k.read(0)
			if m == nil {
				t.Fatalf("%d octets travel in %d datagrams", c.size, i)
			}
			if out := k.hubs[0].Tunnelled(0, m); out != (i == c.datagrams-1) || out && !bytes.Equal(m.Buffers[0][:m.N], want) {
				t.Errorf("datagram %d of %d octets gives a packet: %v", i, c.size, out)
			}
		}
	}
}

// An edge can't use another to send anybody anything: only clients that sent it something through that one are sent to.
func TestNoSpray(t *testing.T) {
	k := pairOf(t, nil)
	victim, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	a, b := k.hubs[0], k.hubs[1]
	send := func() {
		var pair [2]tunnel.Buffer
		c := tunnel.Client{Remote: addrPort(victim.LocalAddr()), Local: netip.MustParseAddrPort("127.0.0.9:443")}
		n := a.peers[0].link.Seal(a.now(), tunnel.Return, 0, c, []byte("for the client"), &pair)
		for i := range n {
			m := &ipv4.Message{Buffers: [][]byte{make([]byte, 1452)}, OOB: make([]byte, 128), Addr: a.peers[0].addr}
			m.N = copy(m.Buffers[0], pair[i].Bytes())
			if b.Tunnelled(0, m) {
				t.Error("it was taken for a client's")
			}
		}
		b.Flush(0)
	}
	send()
	if n := b.metrics.dropped[dropNotForwarded].Get(); n != 1 {
		t.Fatalf("%d were dropped", n)
	}
	m, id, p, by := k.packet(0, 100)
	m.Addr = victim.LocalAddr()
	b.Foreign(0, m, id, p, by)
	send()
	got := make([]byte, 100)
	victim.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := victim.ReadFromUDP(got)
	if err != nil || string(got[:n]) != "for the client" || !from.IP.Equal(net.IPv4(127, 0, 0, 9)) {
		t.Errorf("the client got %q from %v, %v", got[:n], from, err)
	}
	// A minute later it may not any more.
	later := b.now().Add(flowLife + time.Second)
	b.now = func() time.Time { return later }
	if b.flowOf(tunnel.Client{Remote: addrPort(victim.LocalAddr()), Local: netip.MustParseAddrPort("127.0.0.9:443")}, b.peers[0], b.since(later)) != nil {
		t.Error("the flow never ends")
	}
	b.second(later)
	if b.Status().Flows != 0 {
		t.Error("the flow is still there")
	}
}

// Whatever arrives, from a client or from who says to be an edge, nothing panics, and what does not come from an edge is consumed without an answer.
func FuzzDatagram(f *testing.F) {
	k := pairOf(f, func(c *Config) { c.MaxRate = maxRate })
	m, _, _, _ := k.packet(0, 100)
	f.Add(m.Buffers[0][:100], m.OOB[:m.NN], uint8(10))
	f.Add([]byte{0xc0, 0, 0, 0, 1, 0}, []byte{}, uint8(9))
	var pair [2]tunnel.Buffer
	c := tunnel.Client{Remote: addrPort(m.Addr), Local: netip.MustParseAddrPort("127.0.0.9:443")}
	k.hubs[0].peers[0].link.Seal(time.Now(), tunnel.Return, 0, c, []byte("x"), &pair)
	f.Add(pair[0].Bytes(), []byte{}, uint8(0))
	f.Add(k.hubs[0].peers[0].link.Tick(time.Now(), tunnel.Hello{})[0], []byte{}, uint8(0))
	to := &net.UDPAddr{IP: net.IP{127, 0, 0, 1}, Port: 9}
	f.Fuzz(func(t *testing.T, b, oob []byte, instance uint8) {
		m := &ipv4.Message{Buffers: [][]byte{make([]byte, 1452)}, OOB: append(make([]byte, 0, 128), oob[:min(len(oob), 128)]...)[:min(len(oob), 128)], Addr: to}
		m.N, m.NN = copy(m.Buffers[0], b), len(m.OOB)
		h := k.hubs[1]
		defer h.Flush(0)
		if IsTunnel(b) {
			if h.Tunnelled(0, m) || m.N != 0 {
				t.Error("a datagram that no edge made was taken")
			}
			return
		}
		for _, edge := range []uint32{1, 2, 3} {
			id := k.ids[1].Encode(cid.Place{Edge: edge, Instance: instance}, 0)
			p, by, _ := k.ids[1].Decode(id[:])
			m.N = copy(m.Buffers[0], b)
			if h.Foreign(0, m, id[:], p, by); m.N != 0 {
				t.Error("a datagram was not consumed")
			}
		}
	})
}
