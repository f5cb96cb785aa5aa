package bgp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

const patience = 20 * time.Second // for anything that should take well under 5 s

// router is a raw BGP peer: it takes connections, answers OPENs, and remembers what it was told.
type router struct {
	t    *testing.T
	l    net.Listener
	open open // what it answers

	mu sync.Mutex
	// guarded by mu
	sessions []*routerSession
	silent   bool                      // takes connections and says nothing
	greet    func(*routerSession) bool // nil, or what is done with a new connection: false closes it; called under the lock
	wait     chan struct{}
}

// routerSession is one connection to the router.
type routerSession struct {
	r    *router
	conn net.Conn
	// guarded by r.mu
	ours          []byte // the edge's OPEN as it came
	established   bool
	routes        map[netip.Prefix]netip.Addr      // with next hop
	attrs         map[netip.Prefix]map[byte]string // by type, without next hops
	withdrawals   int
	mute          bool // says nothing more
	notifications []notification
	closed        bool
}

func newRouter(t *testing.T, addr string, asn uint32) *router {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return serveRouter(t, l, asn)
}

func serveRouter(t *testing.T, l net.Listener, asn uint32) *router {
	r := &router{t: t, l: l, wait: make(chan struct{}), open: open{
		asn: asn, holdTime: 90 * time.Second, id: netip.MustParseAddr("198.51.100.1"),
		families: []family{familyIPv4, familyIPv6}, refresh: true, fourOct: true,
	}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s := &routerSession{r: r, conn: c, routes: map[netip.Prefix]netip.Addr{}, attrs: map[netip.Prefix]map[byte]string{}}
			r.change(func() { r.sessions = append(r.sessions, s) })
			wg.Go(s.serve)
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		for _, s := range r.sessions {
			s.conn.Close()
		}
		r.mu.Unlock()
		wg.Wait()
	})
	return r
}

func (r *router) addrPort() netip.AddrPort { return r.l.Addr().(*net.TCPAddr).AddrPort() }

func (r *router) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.wait)
	r.wait = make(chan struct{})
}

// want waits until cond holds, which is called under the lock.
func (r *router) want(what string, cond func() bool) {
	r.t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		ok, next := cond(), r.wait
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-next:
		case <-late:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("router: wanted %s within %s; sessions: %s", what, patience, r.describe())
		}
	}
}

func (r *router) describe() string {
	var b strings.Builder
	for i, s := range r.sessions {
		fmt.Fprintf(&b, "[%d: established %v, closed %v, routes %v, notifications %v] ", i, s.established, s.closed, s.routes, s.notifications)
	}
	return b.String()
}

// session waits for the nth session, from zero, to be established.
func (r *router) session(n int) *routerSession {
	r.t.Helper()
	r.want(fmt.Sprintf("session %d established", n), func() bool { return len(r.sessions) > n && r.sessions[n].established })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[n]
}

func (s *routerSession) serve() {
	defer s.conn.Close()
	defer s.r.change(func() { s.closed = true })
	s.r.mu.Lock()
	ok := s.r.greet == nil || s.r.greet(s)
	s.r.mu.Unlock()
	if !ok {
		return
	}
	br := bufio.NewReaderSize(s.conn, 64<<10)
	for {
		m, err := readOwn(br)
		if err != nil {
			return
		}
		m = bytes.Clone(m)
		s.r.mu.Lock()
		silent := s.r.silent || s.mute
		s.r.mu.Unlock()
		if silent {
			continue
		}
		switch m.kind() {
		case typeOpen:
			s.r.change(func() { s.ours = m.body() })
			s.send(s.r.open.encode())
			s.send(keepalive)
		case typeKeepalive:
			s.r.change(func() { s.established = true })
			s.send(keepalive)
		case typeNotification:
			s.r.change(func() { s.notifications = append(s.notifications, parseNotification(m.body())) })
			return
		case typeUpdate:
			s.update(m.body())
		}
	}
}

func (s *routerSession) update(body []byte) {
	hop4, hop6 := sentHops(body)
	u, err := parseUpdate(body)
	if err != nil {
		s.r.t.Errorf("router: UPDATE %x: %v", body, err)
	}
	s.r.change(func() {
		for _, p := range u.withdrawn {
			delete(s.routes, p)
			s.withdrawals++
		}
		for _, p := range u.announced {
			s.routes[p] = hop4
			if p.Addr().Is6() {
				s.routes[p] = hop6
			}
			s.attrs[p] = sentAttributes(body)
		}
	})
}

// sentAttributes is the values of an UPDATE's path attributes by their type, in hexadecimal digits.
func sentAttributes(body []byte) map[byte]string {
	got := map[byte]string{}
	_, rest, _ := cutSized(body)
	attrs, _, _ := cutSized(rest)
	for len(attrs) > 0 {
		kind, value, next, ok := nextAttribute(attrs)
		if !ok {
			break
		}
		if kind != attrMPReach && kind != attrNextHop {
			got[kind] = hex.EncodeToString(value)
		}
		attrs = next
	}
	return got
}

func sentHops(body []byte) (v4, v6 netip.Addr) {
	_, rest, _ := cutSized(body)
	attrs, _, _ := cutSized(rest)
	for len(attrs) > 0 {
		kind, value, next, ok := nextAttribute(attrs)
		if !ok {
			return
		}
		switch kind {
		case attrNextHop:
			v4, _ = netip.AddrFromSlice(value)
		case attrMPReach:
			v6, _ = netip.AddrFromSlice(value[4:20])
		}
		attrs = next
	}
	return
}

func (s *routerSession) send(b []byte) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = s.conn.Write(b)
}

// edge is a running Speaker.
type edge struct {
	*Speaker
	t   *testing.T
	log *logBuffer
	set *metrics.Set
}

var (
	testPrefix4 = netip.MustParsePrefix("192.0.2.0/24")
	testPrefix6 = netip.MustParsePrefix("2001:db8:53::/48")
	testHop6    = netip.MustParseAddr("2001:db8:1::2")
)

// testConfig has one neighbor, the router.
func testConfig(to netip.AddrPort) *Config {
	c := &Config{Prefixes: []netip.Prefix{testPrefix4, testPrefix6}}
	c.SetDefaults()
	n := NeighborConfig{}
	n.SetDefaults()
	n.Address, n.Port, n.ASN, n.NextHopIPv6 = to.Addr(), to.Port(), 64511, testHop6
	if to.Addr().Is6() {
		n.NextHopIPv4, n.NextHopIPv6 = netip.MustParseAddr("198.51.100.2"), netip.Addr{}
	}
	c.BGP = SpeakerConfig{ASN: 64500, RouterID: netip.MustParseAddr("198.51.100.2"), Neighbors: []NeighborConfig{n}}
	return c
}

func startEdge(t *testing.T, c *Config) *edge {
	t.Helper()
	return startEdgeWith(t, c, startEngine)
}

// startEdgeWith has an embedded speaker of its own.
func startEdgeWith(t *testing.T, c *Config, start func(context.Context, *Config, *slog.Logger) (embedded, error)) *edge {
	t.Helper()
	c.Validate(func(key, fault string) { t.Errorf("config: %s %s", key, fault) })
	e := &edge{t: t, log: &logBuffer{}, set: metrics.NewSet()}
	var err error
	e.Speaker, err = NewSpeaker(c, slog.New(slog.NewTextHandler(e.log, nil)), e.set)
	if err != nil {
		t.Fatal(err)
	}
	e.start = start
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("Run did not return")
		}
		if t.Failed() {
			t.Logf("log:\n%s", e.log.String())
		}
	})
	return e
}

func (e *edge) setRoutes(ps ...netip.Prefix) {
	var rs []Route
	for _, p := range ps {
		rs = append(rs, Route{Prefix: p})
	}
	e.SetRoutes(rs)
}

func (e *edge) eventually(what string, cond func() bool) {
	e.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatalf("edge: wanted %s within %s; status %+v", what, patience, e.Status())
		}
	}
}

func (e *edge) metric(name string) string {
	var b bytes.Buffer
	e.set.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// logBuffer keeps log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) has(s string) bool { return strings.Contains(l.String(), s) }
