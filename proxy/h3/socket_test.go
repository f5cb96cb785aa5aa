package h3

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue"
)

// bare is a server of workers that have two generations each, today's and yesterday's, and no transport.
func bare(t testing.TB, workers int, fleet *Fleet) *Server {
	t.Helper()
	s := &Server{cfg: Config{Fleet: fleet}.withDefaults(), counts: newCounters(nil, "")}
	s.guard = s.cfg.Guard
	now := time.Now()
	if err := s.takeKeys(now); err != nil {
		t.Fatal(err)
	}
	if fleet != nil && fleet.Rescue != nil {
		s.hub = rescue.New(*fleet.Rescue, 443)
	}
	for i := range workers {
		sock := &socket{server: s, worker: uint8(i)}
		var all []*generation
		for back := range keys.Epoch(2) {
			all = append(all, &generation{sock: sock, epoch: keys.At(now) - back, call: make(chan struct{}, 1)})
		}
		sock.generations.Store(&all)
		sock.woken.Store(true) // there is nothing to wake
		s.sockets = append(s.sockets, sock)
	}
	return s
}

func message4(b []byte) *ipv4.Message {
	return &ipv4.Message{Buffers: [][]byte{b}, N: len(b), OOB: make([]byte, 128), Addr: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}}
}

func (s *Server) waiting() (where []string) {
	for g := range s.generations {
		if n := g.inbox.waiting.Load(); n > 0 {
			age := int((*g.sock.generations.Load())[0].epoch - g.epoch)
			where = append(where, fmt.Sprintf("%d at worker %d, %d days old", n, g.sock.worker, age))
		}
	}
	return where
}

// TestWhoseADatagramIs: worker 1 of 3 has read it.
func TestWhoseADatagramIs(t *testing.T) {
	const stays, dropped = "stays", "dropped"
	today := uint16(keys.At(time.Now()))
	self := cid.Place{Edge: 513, Instance: 7, Worker: 1, Generation: today}
	at := func(change func(p *cid.Place)) cid.Place { p := self; change(&p); return p }
	for _, c := range []struct {
		what string
		p    cid.Place
		want string
	}{
		{"at home", self, stays},
		{"another worker", at(func(p *cid.Place) { p.Worker = 2 }), "1 at worker 2, 0 days old"},
		{"yesterday's", at(func(p *cid.Place) { p.Generation-- }), "1 at worker 1, 1 days old"},
		{"yesterday's of another worker", at(func(p *cid.Place) { p.Generation--; p.Worker = 0 }), "1 at worker 0, 1 days old"},
		{"of a generation that is gone", at(func(p *cid.Place) { p.Generation -= 9 }), stays},
		{"of a worker that is not there", at(func(p *cid.Place) { p.Worker = 30 }), stays},
		{"another edge's", at(func(p *cid.Place) { p.Edge = 514 }), dropped},
		{"an earlier process's", at(func(p *cid.Place) { p.Instance = 8 }), dropped},
	} {
		for _, packet := range []func([]byte) []byte{shortTo, func(id []byte) []byte { return longTo(0xe0, id) }} {
			s := bare(t, 3, testFleet(t, "a"))
			sock := s.sockets[1]
			id := s.codec.Encode(c.p, 1)
			b := packet(id[:])
			m := message4(bytes.Clone(b))
			sock.sort(sock.current(), m)
			got := stays
			if m.N == 0 {
				got = dropped
				if where := s.waiting(); len(where) == 1 {
					got = where[0]
				}
			}
			if got != c.want {
				t.Errorf("%s, first octet %#x: %s; want %s", c.what, b[0], got, c.want)
			}
		}
	}
}

func TestWhatNamesNoPlace(t *testing.T) {
	theirs := bytes.Repeat([]byte{0x5a}, 8)
	for _, c := range []struct {
		what          string
		b             []byte
		open, pausing bool // delivered
	}{
		{"an Initial", longTo(0xc0, theirs), true, false},
		{"a 0-RTT packet", longTo(0xd0, theirs), true, false},
		{"an Initial to an ID as long as ours", longTo(0xc0, bytes.Repeat([]byte{0x5a}, cid.Len)), true, false},
		{"of a version that we don't know", append([]byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8}, longTo(0xc0, theirs)[6:]...), true, true},
		{"a Handshake packet", longTo(0xe0, theirs), false, false},
		{"a Retry", longTo(0xf0, theirs), false, false},
		{"Version Negotiation", append([]byte{0xc0, 0, 0, 0, 0, 8}, longTo(0xc0, theirs)[6:]...), false, false},
		{"a long header that ends too soon", longTo(0xc0, theirs)[:9], false, false},
		{"a short header", shortTo(bytes.Repeat([]byte{0x5a}, cid.Len)), false, false},
		{"what other edges send, without a fleet", []byte{tunnelOctet, 1, 2, 3}, false, false},
		{"nothing", nil, false, false},
	} {
		for _, paused := range []bool{false, true} {
			s := bare(t, 1, nil)
			s.paused.Store(paused)
			m := message4(c.b)
			s.sockets[0].sort(s.sockets[0].current(), m)
			want := c.open
			if paused {
				want = c.pausing
			}
			if got := m.N > 0; got != want {
				t.Errorf("%s, paused %t: delivered %t", c.what, paused, got)
			}
		}
	}
}

// TestPauseKnowsItsClients: a handshake that has been answered goes on.
func TestPauseKnowsItsClients(t *testing.T) {
	s := bare(t, 1, nil)
	s.paused.Store(true)
	id := s.codec.Encode(cid.Place{Generation: uint16(s.sockets[0].current().epoch)}, 1)
	m := message4(longTo(0xc0, id[:]))
	if s.sockets[0].sort(s.sockets[0].current(), m); m.N == 0 {
		t.Error("an Initial packet to a connection ID of ours was dropped")
	}
}

// TestOnlyRescueSharesConnectionIDs: a key of resets that others know is no good where packets are not sent on to their edge.
func TestOnlyRescueSharesConnectionIDs(t *testing.T) {
	fleet := testFleet(t, "a")
	shared := fleet.Keys().First()
	epoch := keys.At(time.Now())
	rescued := bare(t, 1, fleet)
	fleet.Rescue = nil
	plain := bare(t, 1, fleet)
	alone := bare(t, 1, nil)
	for _, c := range []struct {
		what           string
		s              *Server
		resets, tokens bool // are the fleet's
	}{{"with rescue", rescued, true, true}, {"without rescue", plain, false, true}, {"without a fleet", alone, false, false}} {
		if got := c.s.codec.Own().Key(keys.Reset, epoch, "") == shared.Key(keys.Reset, epoch, ""); got != c.resets {
			t.Errorf("%s: the reset key is shared: %t", c.what, got)
		}
		if got := c.s.tokens.Key(keys.Token, epoch, "") == shared.Key(keys.Token, epoch, ""); got != c.tokens {
			t.Errorf("%s: the token key is shared: %t", c.what, got)
		}
	}
}

// TestReadUnpinsTheInterface in the one place that every datagram passes, for both families.
func TestReadUnpinsTheInterface(t *testing.T) {
	for _, c := range []struct {
		network           string
		any, host         net.IP
		level, opt, index int // where the packet info is, in its message
		kind              int32
	}{
		{"udp4", net.IPv4zero, net.IPv4(127, 0, 0, 1), unix.IPPROTO_IP, unix.IP_PKTINFO, 0, unix.IP_PKTINFO},
		{"udp6", net.IPv6zero, net.IPv6loopback, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 16, unix.IPV6_PKTINFO},
	} {
		udp, err := net.ListenUDP(c.network, &net.UDPAddr{IP: c.any})
		if err != nil {
			t.Log(err) // a host without IPv6
			continue
		}
		defer udp.Close()
		raw, _ := udp.SyscallConn()
		_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), c.level, c.opt, 1) })
		if err != nil {
			t.Fatal(err)
		}
		s := bare(t, 1, nil)
		sock := s.sockets[0]
		sock.udp, sock.batch = udp, ipv4.NewPacketConn(udp)
		to := &net.UDPAddr{IP: c.host, Port: udp.LocalAddr().(*net.UDPAddr).Port}
		out, err := net.DialUDP(c.network, nil, to)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if _, err := out.Write(longTo(0xc0, []byte{1, 2, 3, 4, 5, 6, 7, 8})); err != nil {
			t.Fatal(err)
		}
		ms := []ipv4.Message{{Buffers: [][]byte{make([]byte, 2000)}, OOB: make([]byte, 128)}}
		if n, err := sock.read(sock.current(), ms, 0); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		h, body, _, err := unix.ParseOneSocketControlMessage(ms[0].OOB[:ms[0].NN])
		if err != nil || h.Type != c.kind {
			t.Fatalf("%s: no packet info: %+v, %v", c.network, h, err)
		}
		if i := binary.NativeEndian.Uint32(body[c.index:]); i != 0 {
			t.Errorf("%s: the reply would leave by interface %d", c.network, i)
		}
	}
}

func TestInboxIsBoundedAndInOrder(t *testing.T) {
	var q inbox
	for round := range 3 {
		for i := range inboxSize {
			m := message4(binary.BigEndian.AppendUint32(nil, uint32(i)))
			m.NN = copy(m.OOB, []byte{byte(i), 9})
			if !q.put(m) {
				t.Fatalf("round %d: full at %d", round, i)
			}
		}
		if q.put(message4([]byte{1})) {
			t.Fatal("takes more than it may")
		}
		for i := 0; i < inboxSize; {
			ms := make([]ipv4.Message, 7)
			for j := range ms {
				ms[j] = ipv4.Message{Buffers: [][]byte{make([]byte, 1452)}, OOB: make([]byte, 128), Flags: 1}
			}
			n := q.take(ms)
			for j := range n {
				m := &ms[j]
				if got := binary.BigEndian.Uint32(m.Buffers[0][:m.N]); got != uint32(i) || m.N != 4 || m.NN != 2 || m.OOB[0] != byte(i) || m.Addr == nil || m.Flags != 0 {
					t.Fatalf("round %d: the %dth is %d, %+v", round, i, got, m)
				}
				i++
			}
			if n == 0 {
				t.Fatal("empty too early")
			}
		}
		if n := q.take(make([]ipv4.Message, 3)); n != 0 {
			t.Fatalf("%d datagrams out of nothing", n)
		}
	}
}

func TestNoDatagramAtHomeCostsMemory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	s := bare(t, 2, testFleet(t, "a"))
	sock := s.sockets[1]
	id := s.codec.Encode(cid.Place{Edge: 513, Instance: 7, Worker: 1, Generation: uint16(sock.current().epoch)}, 1)
	m := message4(shortTo(id[:]))
	size := m.N
	if n := testing.AllocsPerRun(100, func() { sock.sort(sock.current(), m) }); n > 0 || m.N != size {
		t.Errorf("%v allocations, %d octets left of %d", n, m.N, size)
	}
}

func FuzzSort(f *testing.F) {
	s := bare(f, 2, testFleet(f, "a"))
	id := s.codec.Encode(cid.Place{Edge: 513, Instance: 7, Worker: 1, Generation: uint16(s.sockets[0].current().epoch)}, 1)
	f.Add(shortTo(id[:]), []byte{})
	f.Add(longTo(0xc0, []byte{1, 2, 3}), (&ipv4.ControlMessage{Src: net.IPv4(192, 0, 2, 1), IfIndex: 7}).Marshal())
	f.Add([]byte{tunnelOctet}, []byte{1})
	f.Fuzz(func(t *testing.T, b, oob []byte) {
		m := &ipv4.Message{Buffers: [][]byte{b}, N: len(b), OOB: oob, NN: len(oob)}
		s.sockets[0].sort(s.sockets[0].current(), m)
		if m.N != 0 && m.N != len(b) {
			t.Errorf("%d octets of %d", m.N, len(b))
		}
		for g := range s.generations {
			g.inbox.take([]ipv4.Message{{Buffers: [][]byte{make([]byte, 64)}, OOB: make([]byte, 64)}})
		}
	})
}

// BenchmarkSort is what a datagram at home costs.
func BenchmarkSort(b *testing.B) {
	s := bare(b, 4, testFleet(b, "a"))
	sock := s.sockets[1]
	id := s.codec.Encode(cid.Place{Edge: 513, Instance: 7, Worker: 1, Generation: uint16(sock.current().epoch)}, 1)
	m := message4(shortTo(id[:]))
	m.NN = copy(m.OOB, (&ipv4.ControlMessage{Src: net.IPv4(192, 0, 2, 1), IfIndex: 7}).Marshal())
	b.ReportAllocs()
	for b.Loop() {
		sock.sort(sock.current(), m)
	}
}

// BenchmarkInbox is what a datagram costs that came in by another socket.
func BenchmarkInbox(b *testing.B) {
	var q inbox
	m := message4(make([]byte, 1200))
	ms := []ipv4.Message{{Buffers: [][]byte{make([]byte, 1452)}, OOB: make([]byte, 128)}}
	b.ReportAllocs()
	for b.Loop() {
		q.put(m)
		if q.take(ms) != 1 {
			b.Fatal("it is empty")
		}
	}
}
