package demo

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fakeEdges answer TCP lines and UDP datagrams with their region's name, on loopback addresses of the test's own.
type fakeEdges struct {
	rib     *rib
	targets [len(places)]netip.AddrPort
	f       *forwarder
}

func startEdges(t *testing.T) *fakeEdges {
	t.Helper()
	e := &fakeEdges{rib: newRIB()}
	for i, p := range places {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			t.Skipf("the UDP port of the same number is taken: %v", err)
		}
		e.targets[i] = l.Addr().(*net.TCPAddr).AddrPort()
		var serving sync.WaitGroup
		t.Cleanup(func() { l.Close(); u.Close(); serving.Wait() })
		serving.Go(func() { echoTCP(l, p.name, &serving) })
		serving.Go(func() { echoUDP(u, p.name) })
	}
	e.f = &forwarder{from: tyo, rib: e.rib, target: func(edge int) netip.AddrPort { return e.targets[edge] }}
	var err error
	if e.f.tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if e.f.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(e.addr())); err != nil {
		t.Skipf("the UDP port of the same number is taken: %v", err)
	}
	return e
}

func (e *fakeEdges) addr() netip.AddrPort { return e.f.tcp.Addr().(*net.TCPAddr).AddrPort() }

// hold sets what an edge's session holds.
func (e *fakeEdges) hold(edge int, r routes) { e.rib.update(edge, func(o *routes) { *o = r }) }

func echoTCP(l net.Listener, name string, serving *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			defer c.Close()
			for br := bufio.NewReader(c); ; {
				line, err := br.ReadString('\n')
				if err != nil {
					io.WriteString(c, name+": bye\n") // what follows the client's half-close still reaches it
					return
				}
				io.WriteString(c, name+": "+line)
			}
		})
	}
}

func echoUDP(u net.PacketConn, name string) {
	b := make([]byte, 2048)
	for {
		n, from, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		u.WriteTo([]byte(name+": "+string(b[:n])), from)
	}
}

type client struct {
	t *testing.T
	net.Conn
	br *bufio.Reader
}

func dial(t *testing.T, network string, a netip.AddrPort) *client {
	t.Helper()
	c, err := net.DialTimeout(network, a.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) ask(want string) {
	c.t.Helper()
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		c.t.Fatal(err)
	}
	if got, err := c.br.ReadString('\n'); got != want+": hello\n" {
		c.t.Fatalf("got %q, %v; want an answer of %s", got, err, want)
	}
}

func (c *client) wantReset(why string) {
	c.t.Helper()
	if _, err := c.br.ReadString('\n'); !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("%s: want a reset, got %v", why, err)
	}
}

// wantRefusal wants a new connection to be reset, which may be so soon that connecting fails.
func wantRefusal(t *testing.T, a netip.AddrPort, why string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", a.String(), patience)
	if err == nil {
		c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("%s: want a reset, got %v", why, err)
	}
}

var (
	announcing = routes{up: true, ipv4: true, ipv6: true}
	draining   = routes{up: true}
	gone       = routes{}
)

func TestTCPFollowsTheRoute(t *testing.T) {
	e := startEdges(t)
	background(t, e.f.run)
	wantRefusal(t, e.addr(), "nobody announces")

	e.hold(nyc, announcing)
	far := dial(t, "tcp", e.addr())
	far.ask("nyc")
	e.hold(tyo, announcing)
	near := dial(t, "tcp", e.addr())
	near.ask("tyo")
	far.ask("nyc") // its edge is still there

	e.hold(tyo, draining)
	dial(t, "tcp", e.addr()).ask("nyc")
	near.ask("tyo") // finishes with the edge that drains
	e.hold(tyo, gone)
	near.wantReset("the edge is gone")
	far.ask("nyc")
}

func TestTCPHalfCloseAndReset(t *testing.T) {
	e := startEdges(t)
	background(t, e.f.run)
	e.hold(tyo, announcing)
	c := dial(t, "tcp", e.addr())
	c.ask("tyo")
	c.Conn.(*net.TCPConn).CloseWrite()
	if got, err := c.br.ReadString('\n'); got != "tyo: bye\n" {
		t.Errorf("an answer after the half-close: %q, %v", got, err)
	}
	if _, err := c.br.ReadString('\n'); err != io.EOF {
		t.Errorf("want the end of the stream, got %v", err)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e.targets[fra] = l.Addr().(*net.TCPAddr).AddrPort()
	e.hold(tyo, gone)
	e.hold(fra, announcing)
	c = dial(t, "tcp", e.addr())
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.(*net.TCPConn).SetLinger(0)
	server.Close()
	c.wantReset("the edge reset it")
}

// What an edge sent before its session ended still arrives, as packets on their way would.
func TestLastWordsArrive(t *testing.T) {
	e := startEdges(t)
	background(t, e.f.run)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e.targets[tyo] = l.Addr().(*net.TCPAddr).AddrPort()
	e.hold(tyo, announcing)
	for range 20 {
		c := dial(t, "tcp", e.addr())
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(server, "last words\n")
		server.Close()
		e.hold(tyo, gone)
		if got, err := c.br.ReadString('\n'); got != "last words\n" {
			t.Fatalf("got %q, %v", got, err)
		}
		e.hold(tyo, announcing)
	}
}

func TestUDPFollowsTheRoute(t *testing.T) {
	e := startEdges(t)
	background(t, e.f.run)
	e.hold(nyc, announcing)
	far := dial(t, "udp", e.addr())
	far.ask("nyc")
	e.hold(tyo, announcing)
	near := dial(t, "udp", e.addr())
	near.ask("tyo")
	far.ask("nyc") // a flow stays with its edge
	e.hold(tyo, draining)
	near.ask("tyo")
	dial(t, "udp", e.addr()).ask("nyc")
	e.hold(tyo, gone)
	near.ask("nyc") // re-evaluated: its edge is gone
}

func TestFlowsAreBounded(t *testing.T) {
	e := startEdges(t)
	e.hold(tyo, announcing)
	table := newFlows(e.f)
	defer table.end()
	defer e.f.tcp.Close()
	defer e.f.udp.Close()
	now := time.Now()
	addr := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(10000+i))
	}
	first := table.get(addr(0), now)
	for i := 1; i < maxFlows; i++ {
		table.get(addr(i), now)
	}
	if again := table.get(addr(0), now.Add(time.Second)); again != first {
		t.Fatal("a client's flow must be kept")
	}
	table.get(addr(maxFlows), now.Add(time.Second))
	if n := len(table.byAddr); n != maxFlows || table.evicted.Load() != 1 {
		t.Errorf("%d flows, %d evicted; want %d and 1", n, table.evicted.Load(), maxFlows)
	}
	if _, ok := table.byAddr[addr(1)]; ok {
		t.Error("the one silent longest must have gone")
	}
	table.expire(now.Add(flowIdle))
	if _, ok := table.byAddr[addr(0)]; !ok || len(table.byAddr) != 2 {
		t.Errorf("%d flows left; only the two with later datagrams may be", len(table.byAddr))
	}
	table.expire(now.Add(flowIdle + time.Second))
	if len(table.byAddr) != 0 || table.recent.Len() != 0 {
		t.Error("all flows have been silent")
	}
	e.hold(tyo, gone)
	if table.get(addr(0), now) != nil {
		t.Error("nobody announces: no flow")
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	e := startEdges(t)
	background(t, e.f.run)
	e.hold(tyo, announcing)
	e.f.carried.Store(maxCarried - 1)
	c := dial(t, "tcp", e.addr())
	c.ask("tyo")
	wantRefusal(t, e.addr(), "one more than the bound")
	c.ask("tyo")
}

// Many flows and connections at once end with the forwarder's context; background checks it.
func TestForwarderEndsWhatItCarries(t *testing.T) {
	e := startEdges(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.f.run(ctx) }()
	e.hold(tyo, announcing)
	var clients []*client
	for i := range 20 {
		c := dial(t, map[bool]string{true: "tcp", false: "udp"}[i%2 == 0], e.addr())
		c.ask("tyo")
		clients = append(clients, c)
	}
	cancel()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the forwarder has not ended")
	}
	clients[0].wantReset("the forwarder ended")
	if _, err := net.DialTimeout("tcp", e.addr().String(), time.Second); err == nil {
		t.Error("the listener must be closed")
	}
}
