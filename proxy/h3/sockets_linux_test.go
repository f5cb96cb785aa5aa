package h3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue"
)

// portOf binds n sockets to one port of the loopback interface.
func portOf(t testing.TB, n int) (sockets []*net.UDPConn) {
	t.Helper()
	return bound(t, n, "127.0.0.1:0")
}

func bound(t testing.TB, n int, address string) (sockets []*net.UDPConn) {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return err
	}}
	for range n {
		pc, err := lc.ListenPacket(context.Background(), "udp", address)
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			t.Skip(err) // a host without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		address = pc.LocalAddr().String()
		sockets = append(sockets, pc.(*net.UDPConn))
		t.Cleanup(func() { pc.Close() })
	}
	return sockets
}

// shortTo and longTo are packets with a connection ID.
func shortTo(id []byte) []byte {
	return append(append([]byte{0x41}, id...), bytes.Repeat([]byte{0xaa}, 60)...)
}

func longTo(first byte, id []byte) []byte {
	b := append([]byte{first, 0, 0, 0, 1, byte(len(id))}, id...)
	return append(b, bytes.Repeat([]byte{0xaa}, minInitial)...)
}

func TestSteeringReadsTheWorker(t *testing.T) {
	if !rescue.IsTunnel([]byte{tunnelOctet}) {
		t.Fatal("the first octet of what edges send each other is another")
	}
	vm, err := bpf.NewVM(steering())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.New([]string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	codec := cid.NewCodec(func() *keys.Ring { return ring }, time.Now())
	id := codec.Encode(cid.Place{Worker: 19}, 1)
	for _, c := range []struct {
		what string
		b    []byte
		want int
	}{
		{"a short header", shortTo(id[:]), 19},
		{"a long header", longTo(0xe0, id[:]), 19},
		{"a long header with an ID of the client's own", longTo(0xc0, id[:8]), byHash},
		{"a tunnel's", []byte{tunnelOctet, 1, 7, 9}, 7},
		{"a tunnel's for a worker that can't be", []byte{tunnelOctet, 1, 200, 9}, 200},
	} {
		if got, err := vm.Run(c.b); err != nil || got != c.want {
			t.Errorf("%s: socket %d, %v; want %d", c.what, got, err, c.want)
		}
	}
	if n := len(steering()); n > 16 {
		t.Errorf("%d instructions for each datagram", n)
	}
}

// TestTheKernelSteers: what names a socket comes to it from whatever address, and everything else is spread.
func TestTheKernelSteers(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) { theKernelSteers(t, address) })
	}
}

func theKernelSteers(t *testing.T, address string) {
	sockets := bound(t, 4, address)
	if err := steer(sockets); err != nil {
		t.Fatal(err)
	}
	to := sockets[0].LocalAddr()
	send := func(b []byte) {
		t.Helper()
		c, err := net.Dial("udp", to.String()) // from a port of its own
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 2000)
	for i := range 64 {
		worker := i % 4
		id := bytes.Repeat([]byte{byte(i)}, cid.Len)
		id[0] = 5<<5 | byte(worker)
		for what, b := range map[string][]byte{"short header": shortTo(id), "long header": longTo(0xe0, id), "tunnel": {tunnelOctet, 0, byte(worker), 1, 2, 3}} {
			send(b)
			_ = sockets[worker].SetReadDeadline(time.Now().Add(patience))
			if n, _, err := sockets[worker].ReadFrom(buf); err != nil || !bytes.Equal(buf[:n], b) {
				t.Fatalf("%s for socket %d: % x, %v", what, worker, buf[:n], err)
			}
		}
	}
	got := make(chan int, 400)
	var readers sync.WaitGroup
	for i, s := range sockets {
		_ = s.SetReadDeadline(time.Now().Add(patience))
		readers.Go(func() {
			buf := make([]byte, 2000)
			for {
				if _, _, err := s.ReadFrom(buf); err != nil {
					return
				}
				got <- i
			}
		})
	}
	outside := bytes.Repeat([]byte{31}, cid.Len) // a worker that the port has not
	const each = 60
	for range each {
		send(longTo(0xc0, []byte{1, 2, 3, 4, 5, 6, 7, 8}))
		send(shortTo(outside))
		send([]byte{tunnelOctet, 0, 200, 1})
	}
	count := map[int]int{}
	for range 3 * each {
		count[<-got]++
	}
	for _, s := range sockets {
		_ = s.SetReadDeadline(time.Unix(1, 0))
	}
	readers.Wait()
	if len(count) < 2 {
		t.Errorf("what names no socket is not spread: %v", count)
	}
}

// nat relays one client's datagrams to the server, from a port that it can change.
type nat struct {
	inside *net.UDPConn

	mu      sync.Mutex
	server  *net.UDPAddr
	client  *net.UDPAddr
	strict  bool           // nothing comes in from where the route does not lead
	outside []*net.UDPConn // the current one last
	work    sync.WaitGroup
}

func newNAT(t *testing.T, server net.Addr) *nat {
	t.Helper()
	inside, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n := &nat{inside: inside}
	n.route(server)
	n.rebind(t)
	n.work.Go(n.up)
	t.Cleanup(func() {
		inside.Close()
		for _, o := range n.outside {
			o.Close()
		}
		n.work.Wait()
	})
	return n
}

// rebind takes another port; nothing comes in by the old one any more.
func (n *nat) rebind(t *testing.T) {
	t.Helper()
	o, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	if len(n.outside) > 0 {
		n.outside[len(n.outside)-1].Close()
	}
	n.outside = append(n.outside, o)
	n.mu.Unlock()
	n.work.Go(func() { n.down(o) })
}

// route leads to another server from now on.
func (n *nat) route(server net.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server = server.(*net.UDPAddr)
}

func (n *nat) up() {
	buf := make([]byte, 2000)
	for {
		k, from, err := n.inside.ReadFromUDP(buf)
		if err != nil {
			return
		}
		n.mu.Lock()
		n.client = from
		o, to := n.outside[len(n.outside)-1], n.server
		n.mu.Unlock()
		_, _ = o.WriteToUDP(buf[:k], to)
	}
}

func (n *nat) down(o *net.UDPConn) {
	buf := make([]byte, 2000)
	for {
		k, from, err := o.ReadFromUDP(buf)
		if err != nil {
			return
		}
		n.mu.Lock()
		to, lost := n.client, n.strict && !from.IP.Equal(n.server.IP)
		n.mu.Unlock()
		if lost {
			continue
		}
		_, _ = n.inside.WriteToUDP(buf[:k], to)
	}
}

// TestRebindingFailsNothing, whether the kernel knows whose a packet is or not.
func TestRebindingFailsNothing(t *testing.T) {
	for _, steered := range []bool{true, false} {
		t.Run(fmt.Sprintf("steered %t", steered), func(t *testing.T) {
			sockets := portOf(t, 4)
			r := startOn(t, sockets, ok, Config{})
			if !steered {
				raw, _ := sockets[0].SyscallConn()
				_ = raw.Control(func(fd uintptr) {
					if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0); err != nil {
						t.Error(err)
					}
				})
			}
			n := newNAT(t, sockets[0].LocalAddr())
			client := r.client(t)
			get := func() {
				t.Helper()
				if err := n.get(t, client); err != nil {
					t.Fatal(err)
				}
			}
			get()
			for range 20 {
				n.rebind(t)
				for range 3 {
					get()
				}
			}
			if c := r.counts.accepted.Load(); c != 1 {
				t.Errorf("%d connections, want one", c)
			}
			if m := r.Server.counts.misdirected.Get(); (m == 0) != steered {
				t.Errorf("%d datagrams came to the wrong socket", m)
			}
			if f := r.Server.counts.full.Get(); f > 0 {
				t.Errorf("%d datagrams were dropped", f)
			}
		})
	}
}

// get asks through the NAT.
func (n *nat) get(t *testing.T, client http.RoundTripper) error {
	t.Helper()
	req, _ := http.NewRequestWithContext(patient(t), "GET", "https://"+n.inside.LocalAddr().String()+"/", nil)
	resp, err := client.RoundTrip(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return err
}

// twoEdges are of two regions, on one port of two addresses.
func twoEdges(t *testing.T, now func() time.Time) (edges []*running) {
	t.Helper()
	ring, err := keys.New([]string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	all := []rescue.Edge{{Number: 1, Region: "a", Address: netip.MustParseAddr("127.0.0.1")}, {Number: 2, Region: "b", Address: netip.MustParseAddr("127.0.0.2")}}
	port := ""
	for i := range all {
		f := &Fleet{Keys: func() *keys.Ring { return ring }}
		f.Rescue = &rescue.Config{Self: all[i], Peers: []rescue.Edge{all[1-i]}, Instance: uint8(10 + i), Keys: f.Keys, DeadAfter: time.Second}
		sockets := bound(t, 3, net.JoinHostPort(all[i].Address.String(), cmp.Or(port, "0")))
		_, port, _ = net.SplitHostPort(sockets[0].LocalAddr().String())
		edges = append(edges, startOn(t, sockets, ok, Config{Fleet: f, now: now}))
	}
	return edges
}

// TestTwoEdges: the route moves, the key epoch changes, the client's port changes, and it is one connection; then its edge ends.
func TestTwoEdges(t *testing.T) {
	var c calendar
	c.days.Store(int64(time.Since(c.now()) / keys.Length)) // the hubs have no calendar
	edges := twoEdges(t, c.now)
	n := newNAT(t, edges[0].udp().LocalAddr())
	client := edges[0].client(t)
	must := func(what string) {
		t.Helper()
		if err := n.get(t, client); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("at home")
	eventually(t, "the edges know each other", func() bool { return edges[1].Rescue().Status().Peers[0].Reach == "up" })
	n.route(edges[1].udp().LocalAddr())
	for range 5 {
		must("after the move")
		n.rebind(t)
		must("from another port")
	}
	c.turn(edges[0].Server, 1)
	c.turn(edges[1].Server, 1)
	must("the next day")
	if a, b := edges[0].counts.accepted.Load(), edges[1].counts.accepted.Load(); a != 1 || b != 0 {
		t.Errorf("%d and %d connections, want 1 and 0", a, b)
	}
	if in := edges[0].Rescue().Status().Peers[0].ForwardedIn; in == 0 {
		t.Error("no packet was sent on")
	}
	edges[0].sendAfterRoutes()
	must("the move is recent")
	if b := edges[1].counts.accepted.Load(); b != 0 {
		t.Error("the client was sent after its route at once")
	}
	edges[0].cfg.Fleet.Rescue.FollowAfter = time.Nanosecond
	edges[0].sendAfterRoutes()
	eventually(t, "the client follows its route", func() bool {
		_ = n.get(t, client) // one may meet the connection's end
		return edges[1].counts.accepted.Load() == 1
	})
	n.route(edges[0].udp().LocalAddr())
	must("home again")
	edges[1].sendAfterRoutes() // which has no such limit
	edges[0].cancel()
	eventually(t, "the other edge hears that this one has ended", func() bool { return edges[1].Rescue().Status().Peers[0].State == "gone" })
}

// TestStrictNetwork: only the edge that the route leads to reaches the client, though the other believes to have the route, too.
func TestStrictNetwork(t *testing.T) {
	edges := twoEdges(t, nil)
	n := newNAT(t, edges[0].udp().LocalAddr())
	client := edges[0].client(t)
	eventually(t, "the edges know each other", func() bool { return edges[1].Rescue().Status().Peers[0].Reach == "up" })
	for i := range 3 {
		if i == 1 {
			n.mu.Lock()
			n.strict = true
			n.mu.Unlock()
			n.route(edges[1].udp().LocalAddr())
		}
		if err := n.get(t, client); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := edges[0].counts.accepted.Load(), edges[1].counts.accepted.Load(); a != 1 || b != 0 {
		t.Errorf("%d and %d connections, want 1 and 0", a, b)
	}
	if edges[0].Rescue().Status().Peers[0].ReturnedOut == 0 {
		t.Error("no answer came through the edge that the route leads to")
	}
}

// BenchmarkSockets is hits of several clients at once, on one socket and on more. cpu-µs/op is that of both ends.
func BenchmarkSockets(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		for _, n := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("%dk/%d", size>>10, n), func(b *testing.B) {
				r := startOn(b, portOf(b, n), newHit(size), Config{Fleet: testFleet(b, "a")})
				const clients, streams = 8, 4
				var conns []*quic.Conn
				for range clients {
					conns = append(conns, r.dial(b))
				}
				began := cpu(b)
				b.ResetTimer()
				var work sync.WaitGroup
				for i, qc := range conns {
					work.Go(func() { drive(b, qc, (b.N+i)/clients, streams) })
				}
				work.Wait()
				b.ReportMetric(float64((cpu(b)-began).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
			})
		}
	}
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
