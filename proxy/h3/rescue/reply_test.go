package rescue

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// Answers go through the edge that sends the client's packets on, split where QUIC sends several at once, until the client comes by itself.
func TestReplyThroughTunnel(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			nodes := fleetOf(t, f, fleetOptions{n: 2, reply: ReplyTunnel})
			a, b := nodes[0], nodes[1]
			r := newRouter(t, f, nodes)
			qc := r.dial(t)
			direct := r.from[0].Load()
			r.to.Store(1)
			ask(t, r, qc, strings.Repeat("x", 200_000), nil)
			if n := r.from[1].Load(); n < 100 {
				t.Errorf("%d answers came through the other edge", n)
			}
			if n := r.from[0].Load() - direct; n > 10 { // what was on its way
				t.Errorf("%d answers came directly", n)
			}
			if out, in := a.hub.peers[0].metrics.returnedOut.Get(), b.hub.peers[0].metrics.returned.Get(); out < 100 || in < 100 {
				t.Errorf("%d packets went back, %d were given back", out, in)
			}
			r.to.Store(0)
			for range 3 { // what was on its way through the other edge may come after what came directly
				ask(t, r, qc, "hello", nil)
			}
			if n := a.hub.Status().Clients; n != 0 {
				t.Errorf("%d clients are still taken for elsewhere", n)
			}
			before := r.from[1].Load()
			ask(t, r, qc, "hello", nil)
			if n := r.from[1].Load() - before; n != 0 {
				t.Errorf("%d answers came through the other edge, though the client comes by itself", n)
			}
		})
	}
}

// With reply auto, answers go directly while the address is announced, and when it is not, through the tunnel until it is known that packets
// from it get out.
func TestReplyAuto(t *testing.T) {
	for _, same := range []bool{false, true} {
		var announced atomic.Bool
		announced.Store(true)
		nodes := fleetOf(t, families[1], fleetOptions{n: 2, sameplace: same, announced: func(edge int, _ netip.Addr) bool { return edge != 0 || announced.Load() }})
		r := newRouter(t, families[1], nodes)
		qc := r.dial(t)
		r.to.Store(1)
		ask(t, r, qc, "announced", nil)
		if n := r.from[1].Load(); n != 0 {
			t.Errorf("%d answers came through the other edge while the address was announced", n)
		}
		announced.Store(false)
		ask(t, r, qc, "withdrawn", nil)
		if n := r.from[1].Load(); n == 0 {
			t.Errorf("no answer came through the other edge after the address was withdrawn")
		}
		if same { // its edges are behind the same routers, so what they hear proves nothing
			direct := nodes[0].hub.direct(Path{Local: netip.MustParseAddr(families[1].anycast)}, nodes[0].hub.now())
			if direct {
				t.Error("a peer of the same region was taken as a witness")
			}
			continue
		}
		local := netip.MustParseAddr(families[1].anycast)
		await(t, "direct way", func() bool { return nodes[0].hub.direct(Path{Local: local}, nodes[0].hub.now()) })
		ask(t, r, qc, "settled", nil)
		before := r.from[1].Load()
		ask(t, r, qc, "heard", nil)
		if n := r.from[1].Load() - before; n > 3 {
			t.Errorf("%d answers came through the other edge though the direct way is known to be open", n)
		}
	}
}

// When the edge that sends packets on is gone, answers go directly.
func TestReplyWithoutPeer(t *testing.T) {
	nodes := fleetOf(t, families[0], fleetOptions{n: 2, reply: ReplyTunnel})
	r := newRouter(t, families[0], nodes)
	qc := r.dial(t)
	r.to.Store(1)
	ask(t, r, qc, "hello", nil)
	nodes[1].hub.SetState(Gone)
	await(t, "farewell", func() bool { return nodes[0].hub.peers[0].view.Load().reach != up })
	if _, _, _, ok := nodes[0].hub.Write(0, make([]byte, 100), appendControl(nil, control{local: r.anycast}), udpAddr(addrPort(r.udp.LocalAddr()), false)); ok {
		t.Error("an answer was sent to an edge that is gone")
	}
}

// TestTwoAddresses: a client may have connections by two of our addresses from one port. What comes by one says nothing about the other, and what
// goes back leaves from where the client writes to.
func TestTwoAddresses(t *testing.T) {
	k := pairOf(t, func(c *Config) { c.Reply = ReplyTunnel })
	a, b := k.hubs[0], k.hubs[1]
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	to := client.LocalAddr().(*net.UDPAddr)
	at := func(local string) []byte { return appendControl(nil, control{local: netip.MustParseAddr(local)}) }
	for _, local := range []string{"127.0.0.9", "127.0.0.8"} {
		m, id, p, by := k.packet(0, 100)
		m.Addr, m.NN = to, copy(m.OOB, at(local))
		b.Foreign(0, m, id, p, by)
		b.Flush(0)
	}
	if n := k.drain(0); n != 2 {
		t.Fatalf("%d packets came", n)
	}
	if _, _, _, ok := a.Write(0, []byte("x"), at("127.0.0.7"), to); ok {
		t.Error("what comes by one address has answers from another go through the tunnel")
	}
	_, id, _, _ := k.packet(0, 100)
	a.Home(0, &ipv4.Message{Addr: to, OOB: at("127.0.0.7"), NN: len(at("127.0.0.7"))}, id)
	for _, local := range []string{"127.0.0.9", "127.0.0.8"} {
		if _, _, _, ok := a.Write(0, []byte("x"), at(local), to); !ok {
			t.Errorf("an answer from %s goes directly", local)
		}
		k.drain(1)
		client.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, from, err := client.ReadFromUDP(make([]byte, 100)); err != nil || !from.IP.Equal(net.ParseIP(local)) {
			t.Errorf("an answer from %s came from %v, %v", local, from, err)
		}
	}
}

// TestNotOurAddress: what a client wrote to an address that only the other edge has, such as its own, is answered through that edge. The kernel would not
// send it from here, and QUIC ends a connection whose packets can't be sent.
func TestNotOurAddress(t *testing.T) {
	k := pairOf(t, nil)
	a, b := k.hubs[0], k.hubs[1]
	elsewhere := netip.MustParseAddr("203.0.113.9")
	if bindable(elsewhere) == nil {
		t.Skip("this host sends from any address")
	}
	theirs := appendControl(nil, control{local: elsewhere})
	m, id, p, by := k.packet(0, 100)
	m.NN = copy(m.OOB, theirs)
	b.Foreign(0, m, id, p, by)
	b.Flush(0)
	if n := k.drain(0); n != 1 {
		t.Fatalf("%d packets came", n)
	}
	for range 2 {
		if _, _, _, ok := a.Write(0, []byte("x"), theirs, m.Addr.(*net.UDPAddr)); !ok {
			t.Error("it is answered directly")
		}
		a.second(a.now())
	}
}

// TestSpoofedHome: whoever knows a client's address can send packets with it to a connection ID of his own; the client's answers keep their way.
func TestSpoofedHome(t *testing.T) {
	k := pairOf(t, func(c *Config) { c.Reply = ReplyTunnel })
	a, b := k.hubs[0], k.hubs[1]
	m, id, p, by := k.packet(0, 100)
	at, to := bytes.Clone(m.OOB[:m.NN]), m.Addr.(*net.UDPAddr)
	b.Foreign(0, m, bytes.Clone(id), p, by)
	b.Flush(0)
	k.drain(0)
	other := k.ids[0].Encode(p, 8)
	for _, c := range []struct {
		what string
		id   []byte
		want bool
	}{{"another connection's", other[:], true}, {"none", nil, true}, {"its own", id, false}} {
		a.Home(0, &ipv4.Message{Addr: to, OOB: at, NN: len(at)}, c.id)
		if _, _, _, ok := a.Write(0, []byte("x"), at, to); ok != c.want {
			t.Errorf("a direct packet with %s: the answer goes through the tunnel: %t", c.what, ok)
		}
	}
}
