package bgp

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestRetry: a router that is back does not wait for longer than retryMost; only rejected OPENs, which somebody has to correct, are tried
// more rarely.
func TestRetry(t *testing.T) {
	const ms = time.Millisecond
	refused, hungUp, closed, rejected := &down{failure: failRefused}, &down{failure: failReset}, &down{failure: failNotification}, &down{failure: failOpen}
	type attempt struct {
		d      *down
		lasted time.Duration
		want   time.Duration
	}
	cases := []struct {
		name     string
		attempts []attempt
	}{
		{"a router that is away", []attempt{{refused, 0, 250 * ms}, {refused, 0, 500 * ms}, {refused, 0, 1000 * ms}, {refused, 0, 1000 * ms}}},
		{"a steady session is followed at once", []attempt{{closed, steady, 0}, {hungUp, 0, 250 * ms}, {hungUp, 0, 500 * ms}, {closed, steady, 0}}},
		{"a session that flaps", []attempt{{closed, 1, 250 * ms}, {closed, 1, 500 * ms}, {closed, 1, 1000 * ms}, {closed, 1, 1000 * ms}}},
		{"OPENs that are rejected", []attempt{{rejected, 0, 1000 * ms}, {rejected, 0, 2000 * ms}, {rejected, 0, 4000 * ms}, {rejected, 0, 8000 * ms}, {rejected, 0, 8000 * ms}}},
		{"and then the router goes away", []attempt{{rejected, 0, 1000 * ms}, {rejected, 0, 2000 * ms}, {refused, 0, 250 * ms}, {rejected, 0, 1000 * ms}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, random := range []float64{0, 1} {
				var r retry
				for i, a := range c.attempts {
					want := a.want - time.Duration(retryJitter*random*float64(a.want))
					if got := r.after(a.d, a.lasted, random); got != want {
						t.Errorf("wait %d is %s with random %v, want %s", i, got, random, want)
					}
				}
			}
		})
	}
}

// TestEveryLossNamesItsCause: what ended the session stands in the log, the status and the metric, and another session follows.
func TestEveryLossNamesItsCause(t *testing.T) {
	cease := func(subcode byte, data ...byte) func(*routerSession) {
		return func(s *routerSession) {
			s.send(makeMessage(typeNotification, append([]byte{codeCease, subcode}, data...)))
			s.conn.Close()
		}
	}
	limit := binary.BigEndian.AppendUint32([]byte{0, 1, 1}, 1)
	cases := []struct {
		loss   func(*routerSession)
		want   string
		metric string
	}{
		{cease(1, limit...), "it closed the session: Cease/Maximum Number of Prefixes Reached (its limit is 1 for IPv4 unicast)", "closed by neighbor"},
		{cease(2, append([]byte{7}, "upgrade"...)...), "it closed the session: Cease/Administrative Shutdown: 'upgrade'", "closed by neighbor"},
		{cease(3), "it closed the session: Cease/Peer De-configured", "closed by neighbor"},
		{cease(4), "it closed the session: Cease/Administrative Reset", "closed by neighbor"},
		{cease(5), "it closed the session: Cease/Connection Rejected", "closed by neighbor"},
		{cease(6), "it closed the session: Cease/Other Configuration Change", "closed by neighbor"},
		{cease(7), "it closed the session: Cease/Connection Collision Resolution", "closed by neighbor"},
		{cease(8), "it closed the session: Cease/Out of Resources", "closed by neighbor"},
		{cease(9, codeCease, 3), "it closed the session: Cease/Hard Reset (Cease/Peer De-configured)", "closed by neighbor"},
		{cease(10), "it closed the session: Cease/BFD Down", "bfd down"},
		{func(s *routerSession) {
			s.send(makeMessage(typeNotification, []byte{codeHoldTimer, 0}))
			s.conn.Close()
		}, "it closed the session: Hold Timer Expired", "closed by neighbor"},
		{func(s *routerSession) { s.send(makeMessage(typeNotification, []byte{3, 11})); s.conn.Close() }, "it closed the session: UPDATE Message Error/Malformed AS_PATH", "closed by neighbor"},
		{func(s *routerSession) { _ = s.conn.(*net.TCPConn).SetLinger(0); s.conn.Close() }, "it reset the connection without a NOTIFICATION", "reset"},
		{func(s *routerSession) { s.conn.Close() }, "it closed the connection without a NOTIFICATION", "reset"},
	}
	r := newRouter(t, "127.0.0.2:0", 64511)
	e := startEdge(t, testConfig(r.addrPort()))
	e.setRoutes(testPrefix4, testPrefix6)
	counted := map[string]int{}
	for i, c := range cases {
		s := r.session(i)
		r.want("both prefixes", func() bool { return len(s.routes) == 2 })
		begun := time.Now()
		c.loss(s)
		e.eventually("the cause in the status", func() bool { return e.Status()[0].LastDown == c.want })
		if !e.log.has("session lost: " + strings.ReplaceAll(c.want, `"`, `\"`)) {
			t.Errorf("no line says: %s", c.want)
		}
		counted[c.metric]++
		next := r.session(i + 1)
		r.want("both prefixes again", func() bool { return len(next.routes) == 2 })
		t.Logf("%s: back after %s", c.want, time.Since(begun).Round(time.Millisecond))
	}
	for reason, n := range counted {
		name := fmt.Sprintf(`nearcast_bgp_session_failures_total{neighbor="%s",reason="%s"}`, r.addrPort(), reason)
		if got := e.metric(name); got != fmt.Sprint(n) {
			t.Errorf("%s is %s, want %d", name, got, n)
		}
	}
}

// TestRouterRestart: nobody listens for a while, then the router is there again.
func TestRouterRestart(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	e := startEdge(t, testConfig(r.addrPort()))
	e.setRoutes(testPrefix4, testPrefix6)
	s := r.session(0)
	r.want("both prefixes", func() bool { return len(s.routes) == 2 })
	r.l.Close()
	s.conn.Close()
	e.eventually("attempts to be refused", func() bool { return strings.Contains(e.Status()[0].LastDown, "it refused the TCP connection") })
	refused := fmt.Sprintf(`nearcast_bgp_session_failures_total{neighbor="%s",reason="refused"}`, r.addrPort())
	e.eventually("some more of them", func() bool { return len(e.metric(refused)) > 0 && e.metric(refused) >= "4" })
	l, err := net.Listen("tcp", r.addrPort().String())
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	back := serveRouter(t, l, 64511)
	next := back.session(0)
	back.want("both prefixes again", func() bool { return len(next.routes) == 2 })
	t.Logf("back %s after the router listened", time.Since(begun).Round(time.Millisecond))
}

// TestHangingUpCostsNoArm: a router that hangs up on connections for a while, or says why it takes none, finds the edge ready when it does.
func TestHangingUpCostsNoArm(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	turnedAway := 0
	r.change(func() {
		r.greet = func(s *routerSession) bool {
			if turnedAway++; turnedAway > 6 {
				return true
			}
			if turnedAway%2 == 0 {
				s.send(makeMessage(typeNotification, []byte{codeCease, 5}))
			}
			return false
		}
	})
	e := startEdge(t, testConfig(r.addrPort()))
	s := r.session(6)
	if st := e.Status()[0]; !strings.Contains(st.LastDown, "Cease/Connection Rejected") {
		t.Errorf("the last attempt failed for: %s", st.LastDown)
	}
	if len(s.ours) == 0 {
		t.Error("no OPEN")
	}
	for _, early := range r.sessions[:6] {
		if len(early.ours) > 0 {
			t.Error("an OPEN was spent on a connection that the router closed at once")
		}
	}
}
