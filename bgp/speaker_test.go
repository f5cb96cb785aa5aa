package bgp

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestSessionTellsBothFamilies goes once through a session's life: OPEN, both families, withdrawal, shutdown.
func TestSessionTellsBothFamilies(t *testing.T) {
	for _, at := range []string{"127.0.0.2:0", "[::1]:0"} {
		t.Run(at, func(t *testing.T) {
			r := newRouter(t, at, 64511)
			e := startEdge(t, testConfig(r.addrPort()))
			e.setRoutes(testPrefix4, testPrefix6)
			s := r.session(0)
			r.want("both prefixes", func() bool { return len(s.routes) == 2 })
			checkOpen(t, s.ours)

			hop4, hop6 := e.Status()[0].LocalAddress, testHop6
			if r.addrPort().Addr().Is6() {
				hop4, hop6 = netip.MustParseAddr("198.51.100.2"), netip.IPv6Loopback()
			}
			if got := s.routes[testPrefix4]; got != hop4 {
				t.Errorf("next hop of %s is %s, want %s: the session's own or the configured one", testPrefix4, got, hop4)
			}
			if got := s.routes[testPrefix6]; got != hop6 {
				t.Errorf("next hop of %s is %s, want %s", testPrefix6, got, hop6)
			}
			e.eventually("status to list both", func() bool { return len(e.Status()[0].Prefixes) == 2 })

			e.setRoutes(testPrefix4)
			if err := e.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.want("IPv6 withdrawn, IPv4 kept", func() bool { _, has4 := s.routes[testPrefix4]; return has4 && len(s.routes) == 1 })

			if err := e.Stop(t.Context(), "maintenance of fra-1"); err != nil {
				t.Fatal(err)
			}
			r.want("a NOTIFICATION and the end", func() bool { return s.closed && len(s.notifications) == 1 })
			if got, want := s.notifications[0].String(), "Cease/Administrative Shutdown: 'maintenance of fra-1'"; got != want {
				t.Errorf("NOTIFICATION is %q, want %q", got, want)
			}
		})
	}
}

// checkOpen allows in our OPEN what the session needs, and nothing else.
func checkOpen(t *testing.T, b []byte) {
	t.Helper()
	o, err := parseOpen(b)
	if err != nil {
		t.Fatal(err)
	}
	if o.asn != 64500 || o.holdTime != 9*time.Second || o.id != netip.MustParseAddr("198.51.100.2") {
		t.Errorf("OPEN says %+v", o)
	}
	params, wide, _ := optionalParameters(b[9:])
	seen := map[byte]bool{}
	for len(params) > 0 {
		_, value, rest, ok := nextParameter(params, wide)
		if !ok {
			t.Fatalf("OPEN's parameters: %x", params)
		}
		for params = rest; len(value) > 0; value = value[2+int(value[1]):] {
			seen[value[0]] = true
		}
	}
	for code, why := range map[byte]string{64: "graceful restart would keep a dead edge's routes", 71: "so would its long-lived kin",
		6: "extended messages lift the bound", 5: "next hops are of the prefix's own family", 69: "one path a prefix", 73: "host names are nobody's business"} {
		if seen[code] {
			t.Errorf("OPEN has capability %d: %s", code, why)
		}
	}
	for _, code := range []byte{capMultiprotocol, capFourOctetAS, capRouteRefresh} {
		if !seen[code] {
			t.Errorf("OPEN lacks capability %d", code)
		}
	}
	if !o.has(familyIPv4) || !o.has(familyIPv6) {
		t.Errorf("OPEN has families %v, want both", o.families)
	}
}

// TestLostSessionComesBack: the spare arm makes it fast, the second loss in a row waits a little.
func TestLostSessionComesBack(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	e := startEdge(t, testConfig(r.addrPort()))
	e.setRoutes(testPrefix4, testPrefix6)
	for i := range 3 {
		s := r.session(i)
		r.want("both prefixes", func() bool { return len(s.routes) == 2 })
		begun := time.Now()
		if i == 1 {
			s.send(shutdown("upgrade\n of the router"))
		}
		s.conn.Close()
		if i < 2 {
			r.session(i + 1)
			t.Logf("session %d was back after %s", i, time.Since(begun).Round(time.Millisecond))
		}
	}
	if !e.log.has("session lost: it closed the connection without a NOTIFICATION") {
		t.Error("no line for the first loss")
	}
	if !e.log.has("closed the session: Cease/Administrative Shutdown: 'upgrade. of the router'") {
		t.Error("no line for the second loss with the router's communication, made printable")
	}
}

// TestEvilUpdatesAreDropped sends what has crashed or reset BGP speakers; the session and its routes stay.
func TestEvilUpdatesAreDropped(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	e := startEdge(t, testConfig(r.addrPort()))
	e.setRoutes(testPrefix4, testPrefix6)
	s := r.session(0)
	r.want("both prefixes", func() bool { return len(s.routes) == 2 })
	evil := evilUpdates()
	for _, m := range evil {
		s.send(m)
	}
	e.eventually("each to be counted", func() bool { return e.Status()[0].Filtered == uint64(len(evil)) })
	r.change(func() { clear(s.routes) })
	s.send(makeMessage(typeUpdate, []byte{0, 0, 0, 0}))       // End-of-RIB
	s.send(makeMessage(typeRouteRefresh, []byte{0, 1, 0, 1})) // shows that the stream is still in step
	r.want("the IPv4 prefix again after a ROUTE-REFRESH", func() bool { return len(s.routes) == 1 })
	if st := e.Status()[0]; st.State != SessionEstablished || len(st.Prefixes) != 2 || st.LastDown != "" {
		t.Errorf("status is %+v", st)
	}
	name := fmt.Sprintf(`nearcast_bgp_filtered_updates_total{neighbor="%s"}`, r.addrPort())
	if got, want := e.metric(name), fmt.Sprint(len(evil)); got != want {
		t.Errorf("%s is %s, want %s", name, got, want)
	}
}

// TestFullTableIsCheap: a hundred thousand routes pass by without being kept, and stand for KEEPALIVEs meanwhile.
func TestFullTableIsCheap(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	c := testConfig(r.addrPort())
	e := startEdge(t, c)
	e.setRoutes(testPrefix4, testPrefix6)
	s := r.session(0)
	r.want("both prefixes", func() bool { return len(s.routes) == 2 })
	attrs, _ := hex.DecodeString("40010100" + "4002060201" + "0000fbf5" + "4003040a090001")
	var burst []byte
	for i := range 1000 {
		burst = append(burst, makeUpdate(nil, attrs, []byte{24, 100, byte(i >> 8), byte(i)})...)
	}
	for range 100 {
		s.send(burst)
	}
	e.eventually("all to be counted", func() bool { return e.Status()[0].Filtered == 100_000 })
	if st := e.Status()[0]; st.State != SessionEstablished {
		t.Errorf("status is %+v", st)
	}
}

// TestBrokenFramingEndsTheSession with the NOTIFICATION that RFC 4271 section 6.1 asks for, and it comes back.
func TestBrokenFramingEndsTheSession(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	e := startEdge(t, testConfig(r.addrPort()))
	e.setRoutes(testPrefix4)
	bad := makeMessage(typeKeepalive, nil)
	bad[3] = 0
	long := makeMessage(typeKeepalive, []byte{1})
	for i, c := range []struct {
		send message
		want string
	}{
		{bad, "Message Header Error/Connection Not Synchronized"},
		{long, "Message Header Error/Bad Message Length"},
		{makeMessage(77, nil), "Message Header Error/Bad Message Type"},
	} {
		s := r.session(i)
		s.send(c.send)
		r.want("a NOTIFICATION", func() bool { return len(s.notifications) > 0 })
		if got := s.notifications[0].String(); got != c.want {
			t.Errorf("NOTIFICATION is %q, want %q", got, c.want)
		}
	}
	r.session(3)
}

// TestRefusedSessionsAreExplained: each way not to come up has a line that names the neighbor and says what to do.
func TestRefusedSessionsAreExplained(t *testing.T) {
	cases := []struct {
		name, want, reason string
		router             func(*router)
		config             func(*Config)
	}{
		{name: "wrong AS number", reason: "open rejected", want: "it says that its AS number is 64999, but the configuration says 64511",
			router: func(r *router) { r.open.asn = 64999 }},
		{name: "no hold timer", reason: "open rejected", want: "it asks for a session without hold timer",
			router: func(r *router) { r.open.holdTime = 0 }},
		{name: "no family in common", reason: "open rejected", want: "it has no address family in common",
			router: func(r *router) { r.open.families = []family{familyIPv6} },
			config: func(c *Config) { c.Prefixes = c.Prefixes[:1] }},
		{name: "nobody listens", reason: "refused", want: "it refused the TCP connection to port",
			router: func(r *router) { r.l.Close() }},
		{name: "hangs up at once", reason: "reset", want: "the connection before sending an OPEN; check that it lists 127.0.0.1 as neighbor",
			router: func(r *router) { r.silent = true; hangUp(r) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRouter(t, "127.0.0.2:0", 64511)
			c.router(r)
			conf := testConfig(r.addrPort())
			conf.BGP.Neighbors[0].LocalAddress = netip.MustParseAddr("127.0.0.1")
			if c.config != nil {
				c.config(conf)
			}
			e := startEdge(t, conf)
			name := fmt.Sprintf(`nearcast_bgp_session_failures_total{neighbor="%s",reason="%s"}`, r.addrPort(), c.reason)
			e.eventually("three failures counted in "+name, func() bool { return e.metric(name) >= "3" })
			if n := strings.Count(e.log.String(), c.want); n != 1 || !e.log.has("neighbor "+r.addrPort().String()+": ") {
				t.Errorf("log has %d lines with %q, want one that names the neighbor", n, c.want)
			}
			if st := e.Status()[0]; !strings.Contains(st.LastDown, c.want) || st.State == SessionEstablished {
				t.Errorf("status is %+v", st)
			}
		})
	}
}

// hangUp has the router close each connection when it comes.
func hangUp(r *router) {
	go func() {
		for n := 0; ; n++ {
			r.mu.Lock()
			next := r.wait
			for _, s := range r.sessions {
				s.conn.Close()
			}
			r.mu.Unlock()
			select {
			case <-next:
			case <-r.t.Context().Done():
				return
			}
		}
	}()
}

// TestHalfAgreedFamiliesAreSaid: what is not announced for lack of agreement is told, the rest is announced.
func TestHalfAgreedFamiliesAreSaid(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	r.open.families, r.open.refresh, r.open.fourOct = nil, false, false // a speaker without any capability
	e := startEdge(t, testConfig(r.addrPort()))
	e.setRoutes(testPrefix4, testPrefix6)
	s := r.session(0)
	r.want("the IPv4 prefix", func() bool { return len(s.routes) == 1 })
	if err := e.Flush(t.Context()); err != nil {
		t.Errorf("Flush waits for a prefix that can't be sent: %v", err)
	}
	if !e.log.has("it did not agree to the address family of 2001:db8:53::/48") {
		t.Error("no line about the prefix that is not announced")
	}
}

// TestSilentRouterIsGivenUp by the hold timer, in so many words.
func TestSilentRouterIsGivenUp(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	c := testConfig(r.addrPort())
	c.BGP.Neighbors[0].HoldTime = 3 * time.Second
	e := startEdge(t, c)
	s := r.session(0)
	r.change(func() { s.mute = true })
	e.eventually("the hold timer to expire", func() bool { return e.log.has("session lost: hold timer expired") })
	r.want("the end of the session", func() bool { return s.closed })
	r.session(1)
}

// TestTwoRoutersShareNothing: each gets its own next hop, and Flush waits for both.
func TestTwoRoutersShareNothing(t *testing.T) {
	a, b := newRouter(t, "127.0.0.2:0", 64511), newRouter(t, "127.0.0.3:0", 64512)
	c := testConfig(a.addrPort())
	second := c.BGP.Neighbors[0]
	second.Address, second.Port, second.ASN = b.addrPort().Addr(), b.addrPort().Port(), 64512
	second.NextHopIPv4 = netip.MustParseAddr("203.0.113.9")
	second.HoldTime = 30 * time.Second
	c.BGP.Neighbors = append(c.BGP.Neighbors, second)
	e := startEdge(t, c)
	e.setRoutes(testPrefix4)
	sa, sb := a.session(0), b.session(0)
	a.want("the prefix", func() bool { return len(sa.routes) == 1 })
	b.want("the prefix", func() bool { return sb.routes[testPrefix4] == second.NextHopIPv4 })
	e.SetRoutes(nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := e.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for _, st := range e.Status() {
		if len(st.Prefixes) != 0 {
			t.Errorf("after Flush %s still has %v", st.Address, st.Prefixes)
		}
	}
}

// TestRunLeavesNothingBehind: no goroutine, neither ours nor the embedded speaker's.
func TestRunLeavesNothingBehind(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	t.Run("run", func(t *testing.T) {
		e := startEdge(t, testConfig(r.addrPort()))
		e.setRoutes(testPrefix4)
		r.session(0)
	})
	left := func() (bad []string) {
		b := make([]byte, 1<<20)
		for g := range strings.SplitSeq(string(b[:runtime.Stack(b, true)]), "\n\n") {
			if strings.Contains(g, "osrg/gobgp") || strings.Contains(g, "bgp.(*session)") || strings.Contains(g, "bgp.(*neighbor)") || strings.Contains(g, "bgp.(*arm)") {
				bad = append(bad, g)
			}
		}
		return bad
	}
	for end := time.Now().Add(patience); len(left()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still running:\n%s", strings.Join(left(), "\n\n"))
		}
	}
}
