package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

const patience = 20 * time.Second // for what should take milliseconds

// lines collects what is said.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startRouter runs a router on a free port until the test ends.
func startRouter(t *testing.T) (*rib, netip.AddrPort, *lines) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := new(lines)
	r := &router{listener: l, rib: newRIB(), say: (&screen{w: said, start: time.Now()}).say}
	background(t, r.run)
	return r.rib, l.Addr().(*net.TCPAddr).AddrPort(), said
}

// background runs f until the test ends, and waits for it.
func background(t *testing.T, f func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("has not ended after its context")
		}
	})
}

// await waits until the table is as wanted.
func await(t *testing.T, r *rib, why string, wanted func(*table) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if got, err := r.await(ctx, wanted); err != nil {
		t.Fatalf("%s: %v; the table is %+v", why, err, got.routes)
	}
}

// speaker is an edge's side of a session, from the edge's address.
type speaker struct {
	t *testing.T
	session
}

func dialRouter(t *testing.T, edge int, router netip.AddrPort) *speaker {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: places[edge].edgeAddr().AsSlice()}, Timeout: patience}
	c, err := d.Dial("tcp", router.String())
	if err != nil {
		t.Skipf("no connection from %v, an address that Linux has: %v", places[edge].edgeAddr(), err)
	}
	t.Cleanup(func() { c.Close() })
	return &speaker{t, session{conn: c, deadline: patience}}
}

func (s *speaker) send(messages ...*bgp.BGPMessage) {
	s.t.Helper()
	for _, m := range messages {
		if err := s.write(m); err != nil {
			s.t.Fatal(err)
		}
	}
}

// open establishes the session and checks what the router offers.
func (s *speaker) open() {
	s.t.Helper()
	m, err := bgp.NewBGPOpenMessage(edgeASN, 9, netip.MustParseAddr("198.51.100.1"), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(m)
	reply, err := s.read()
	if err != nil {
		s.t.Fatal(err)
	}
	if o, ok := reply.Body.(*bgp.BGPOpen); !ok || o.MyAS != routerASN || o.HoldTime != 9 {
		s.t.Fatalf("the router's OPEN: %+v", reply.Body)
	}
	if m, err := s.read(); err != nil || m.Header.Type != bgp.BGP_MSG_KEEPALIVE {
		s.t.Fatalf("want a KEEPALIVE: %v, %v", m, err)
	}
	s.send(bgp.NewBGPKeepAliveMessage())
}

func nlri(t *testing.T, p netip.Prefix) []bgp.PathNLRI {
	n, err := bgp.NewIPAddrPrefix(p)
	if err != nil {
		t.Fatal(err)
	}
	return []bgp.PathNLRI{{NLRI: n}}
}

func (s *speaker) announce() {
	reach, err := bgp.NewPathAttributeMpReachNLRI(bgp.RF_IPv6_UC, nlri(s.t, prefixIPv6), netip.MustParseAddr("2001:db8::1"))
	if err != nil {
		s.t.Fatal(err)
	}
	path := []bgp.AsPathParamInterface{bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{edgeASN})}
	nextHop, err := bgp.NewPathAttributeNextHop(netip.MustParseAddr("127.0.1.1"))
	if err != nil {
		s.t.Fatal(err)
	}
	attributes := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(0), bgp.NewPathAttributeAsPath(path)}
	s.send(bgp.NewBGPUpdateMessage(nil, append(attributes, nextHop), nlri(s.t, prefixIPv4)),
		bgp.NewBGPUpdateMessage(nil, append(attributes, reach), nil))
}

func (s *speaker) withdraw() {
	unreach, err := bgp.NewPathAttributeMpUnreachNLRI(bgp.RF_IPv6_UC, nlri(s.t, prefixIPv6))
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(bgp.NewBGPUpdateMessage(nlri(s.t, prefixIPv4), nil, nil),
		bgp.NewBGPUpdateMessage(nil, []bgp.PathAttributeInterface{unreach}, nil))
}

func TestSessionLife(t *testing.T) {
	rib, addr, said := startRouter(t)
	s := dialRouter(t, fra, addr)
	s.open()
	await(t, rib, "established", func(t *table) bool { return t.routes[fra] == routes{up: true} })
	s.announce()
	await(t, rib, "both families announced", func(t *table) bool { return t.routes[fra] == routes{up: true, ipv4: true, ipv6: true} })
	s.withdraw()
	await(t, rib, "withdrawn, session up", func(t *table) bool { return t.routes[fra] == routes{up: true} })
	s.announce()
	await(t, rib, "announced again", func(t *table) bool { return t.routes[fra].ipv4 && t.routes[fra].ipv6 })
	s.send(bgp.NewBGPNotificationMessage(bgp.BGP_ERROR_CEASE, bgp.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN, []byte("\x04stop")))
	await(t, rib, "CEASE ends the routes", func(t *table) bool { return t.routes[fra] == routes{} })
	for deadline := time.Now().Add(patience); !strings.Contains(said.String(), `session with fra-1 ended: NOTIFICATION 6/2: "stop"`); {
		if time.Now().After(deadline) {
			t.Fatalf("the shutdown communication (RFC 9003) must be shown: %s", said)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestKilledEdgeLosesItsRoutes(t *testing.T) {
	rib, addr, _ := startRouter(t)
	s := dialRouter(t, tyo, addr)
	s.open()
	s.announce()
	await(t, rib, "announced", func(t *table) bool { return t.routes[tyo].ipv4 })
	s.conn.(*net.TCPConn).SetLinger(0)
	s.conn.Close()
	await(t, rib, "reset", func(t *table) bool { return t.routes[tyo] == routes{} })
}

func TestRestartedEdgeReplacesItsSession(t *testing.T) {
	rib, addr, _ := startRouter(t)
	old := dialRouter(t, nyc, addr)
	old.open()
	old.announce()
	await(t, rib, "announced", func(t *table) bool { return t.routes[nyc].ipv4 })
	s := dialRouter(t, nyc, addr)
	s.open()
	await(t, rib, "the new session begins empty", func(t *table) bool { return t.routes[nyc] == routes{up: true} })
	s.announce()
	await(t, rib, "announced again", func(t *table) bool { return t.routes[nyc].ipv4 })
	if _, err := old.read(); err == nil {
		t.Error("the old session must have been closed")
	}
	if !rib.load().routes[nyc].ipv4 {
		t.Error("the old session's end must not take the new one's routes")
	}
}

func TestStrangersAreRefused(t *testing.T) {
	_, addr, _ := startRouter(t)
	c, err := net.Dial("tcp", addr.String()) // from 127.0.0.1, which is no edge
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("want the connection closed, got %v", err)
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		announcing []int
		from       int
		want       int // -1: none
	}{
		{[]int{nyc, fra, tyo}, nyc, nyc},
		{[]int{nyc, fra, tyo}, tyo, tyo},
		{[]int{nyc, fra}, tyo, fra}, // 9,300 km; New York is 10,800 km away
		{[]int{nyc, tyo}, fra, nyc},
		{[]int{fra, tyo}, nyc, fra},
		{[]int{tyo}, fra, tyo},
		{nil, fra, -1},
	} {
		var now table
		for _, e := range c.announcing {
			now.routes[e] = routes{up: true, ipv4: true}
		}
		got, ok := now.nearest(c.from)
		if ok != (c.want >= 0) || ok && got != c.want {
			t.Errorf("%v announce, from %s: got %d, %t; want %d", c.announcing, places[c.from].name, got, ok, c.want)
		}
	}
	up := table{routes: [len(places)]routes{fra: {up: true, ipv6: true}}}
	if _, ok := up.nearest(fra); ok {
		t.Error("a session without the IPv4 route attracts nothing")
	}
}

func TestChanges(t *testing.T) {
	all := routes{up: true, ipv4: true, ipv6: true}
	before := &table{routes: [len(places)]routes{all, all, all}}
	after := &table{routes: [len(places)]routes{nyc: all, fra: {up: true, ipv6: true}, tyo: {}}}
	got := strings.Join(changes(before, after), "\n")
	want := `route: fra-1 withdraws 192.0.2.0/24
route: the session with tyo-1 is gone, and its routes
route: clients in fra go to nyc-1
route: clients in tyo go to nyc-1`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := changes(&table{routes: [len(places)]routes{nyc: all}}, &table{}); len(got) != 4 || !strings.Contains(got[1], "have no edge left") {
		t.Errorf("the last edge's end: %q", got)
	}
}

// readOnly is a connection that only has something to read.
type readOnly struct {
	net.Conn
	r io.Reader
}

func (c readOnly) Read(b []byte) (int, error)       { return c.r.Read(b) }
func (c readOnly) Write(b []byte) (int, error)      { return len(b), nil }
func (c readOnly) SetReadDeadline(time.Time) error  { return nil }
func (c readOnly) SetWriteDeadline(time.Time) error { return nil }
func (c readOnly) Close() error                     { return nil }

// FuzzSession feeds a session's side of the router with anything.
func FuzzSession(f *testing.F) {
	marker := strings.Repeat("\xff", 16)
	open, err := bgp.NewBGPOpenMessage(edgeASN, 9, netip.MustParseAddr("198.51.100.1"), nil)
	if err != nil {
		f.Fatal(err)
	}
	b, _ := open.Serialize()
	keepalive := marker + "\x00\x13\x04"
	f.Add([]byte(""))
	f.Add([]byte(keepalive))
	f.Add(append(b, keepalive...))
	f.Add([]byte(string(b) + keepalive + marker + "\x00\x17\x02\x00\x00\x00\x00"))
	f.Add([]byte(string(b) + keepalive + marker + "\x00\x1b\x02\x00\x04\x18\xc0\x00\x02\x00\x00"))
	f.Add([]byte(string(b) + keepalive + marker + "\x00\x15\x03\x06\x02"))
	f.Add([]byte(string(b) + keepalive + marker + "\xff\xff\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r routes
		s := &session{conn: readOnly{r: bytes.NewReader(b)}, deadline: time.Hour}
		if s.establish() == nil {
			s.receive(func(u *bgp.BGPUpdate) { apply(&r, u) })
		}
	})
}
