package rescue

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
)

// talk delivers what two hubs without sockets' readers want to say to each other. Datagrams are looked at on their way.
type talk struct {
	f    family
	hubs [2]*Hub
	udp  [2]*net.UDPConn
	ids  [2]*cid.Codec
}

// pairOf makes two hubs that nobody reads for: the test takes every datagram to where it belongs, so nothing depends on time.
func pairOf(t testing.TB, change func(*Config)) *talk {
	t.Helper()
	ring, err := keys.New([]string{"a secret of the tests that is long enough"})
	if err != nil {
		t.Fatal(err)
	}
	k := &talk{f: families[0]}
	var edges [2]Edge
	for i := range 2 {
		edges[i] = Edge{Number: uint32(i + 1), Region: string(rune('a' + i)), Address: netip.MustParseAddr(k.f.edges[i])}
	}
	for i := range 2 {
		udp, err := net.ListenUDP("udp4", &net.UDPAddr{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { udp.Close() })
		cfg := Config{Self: edges[i], Instance: uint8(10 + i), Peers: []Edge{edges[1-i]}, Keys: func() *keys.Ring { return ring }, DeadAfter: time.Hour}
		if change != nil {
			change(&cfg)
		}
		k.hubs[i], k.udp[i] = New(cfg, 443), udp
		k.hubs[i].Add(0, udp)
		k.ids[i] = cid.NewCodec(cfg.Keys, time.Now())
	}
	for i := range 2 {
		k.hubs[i].peers[0].addr.Port = k.udp[1-i].LocalAddr().(*net.UDPAddr).Port
	}
	for range 4 {
		for i, h := range k.hubs {
			h.greet(h.now())
			k.drain(1 - i)
		}
	}
	for i, h := range k.hubs {
		h.judge(h.now())
		if h.peers[0].view.Load().reach != up {
			t.Fatalf("hub %d does not see the other: %+v", i, h.peers[0].link.Peer(h.now()))
		}
	}
	return k
}

// drain has a hub take what has come for it, and returns the number of clients' packets that came out.
func (k *talk) drain(i int) (welcome int) {
	for {
		m := k.read(i)
		if m == nil {
			return welcome
		}
		if k.hubs[i].Tunnelled(0, m) {
			welcome++
		}
		k.hubs[i].Flush(0)
	}
}

// read returns the next datagram for a hub, nil when there is none.
func (k *talk) read(i int) *ipv4.Message {
	m := &ipv4.Message{Buffers: [][]byte{make([]byte, 1452)}, OOB: make([]byte, 128)}
	k.udp[i].SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	n, from, err := k.udp[i].ReadFromUDP(m.Buffers[0])
	if err != nil {
		return nil
	}
	m.N, m.Addr = n, from
	return m
}

// packet is one of a client's for the connection with that hub.
func (k *talk) packet(owner int, size int) (m *ipv4.Message, id []byte, p cid.Place, by *keys.Secret) {
	c := k.ids[owner].Encode(cid.Place{Edge: uint32(owner + 1), Instance: uint8(10 + owner), Generation: uint16(keys.At(time.Now()))}, 7)
	m = &ipv4.Message{Buffers: [][]byte{make([]byte, 1452)}, OOB: make([]byte, 128), Addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1).To4(), Port: 4444}, N: size}
	m.Buffers[0][0] = 0x40
	copy(m.Buffers[0][1:], c[:])
	m.NN = len(appendControl(m.OOB[:0], control{local: netip.MustParseAddr("127.0.0.9"), ecn: 2}))
	id, _ = cid.Destination(m.Buffers[0][:size])
	p, by, _ = k.ids[owner].Decode(id)
	return m, id, p, by
}
