package bgp

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// audited is a speaker with one neighbor, a session that exists on paper alone, and an audit that runs in the bubble.
type audited struct {
	*edge
	n    *neighbor
	ends atomic.Int32 // how often the audit ended the session
}

func startAudit(t *testing.T) *audited {
	c := testConfig(netip.MustParseAddrPort("198.51.100.1:179"))
	e := &edge{t: t, log: &logBuffer{}, set: metrics.NewSet()}
	var err error
	if e.Speaker, err = NewSpeaker(c, slog.New(slog.NewTextHandler(e.log, nil)), e.set); err != nil {
		t.Fatal(err)
	}
	a := &audited{edge: e, n: e.neighbors[0]}
	go e.audit(t.Context())
	return a
}

// establish begins a session, on which nothing has been sent yet.
func (a *audited) establish(families ...family) {
	a.n.setState(SessionOpen)
	a.n.opened(open{holdTime: 9 * time.Second, families: families})
	a.n.mu.Lock()
	a.n.end = func(error) { a.ends.Add(1) }
	a.n.mu.Unlock()
	a.n.confirm(confirmOwn)
	a.n.confirm(confirmTheirs)
}

// send notes UPDATEs as sent.
func (a *audited) send(rs ...Route) {
	o := &outbound{config: a.config, neighbor: a.n.config, fourOctet: true, hops: nextHops{netip.MustParseAddr("198.51.100.2"), testHop6}}
	for _, out := range o.announce(rs) {
		a.n.sent(out, 0)
	}
}

func (a *audited) mismatches() (out []string) {
	for _, m := range a.Status()[0].Mismatches {
		out = append(out, fmt.Sprintf("%s: %s", m.Prefix, m.Kind))
	}
	return out
}

// TestMismatches: each kind is told of once it is older than 2 s and no earlier, with its end, and counted.
func TestMismatches(t *testing.T) {
	four, six := Route{Prefix: testPrefix4}, Route{Prefix: testPrefix6}
	cases := []struct {
		name        string
		begin, end  func(*audited)
		want        []string
		line        string
		resets      bool
		kind, quiet string
	}{
		{name: "no session", begin: func(a *audited) { a.SetRoutes([]Route{four}) }, end: func(a *audited) { a.establish(familyIPv4); a.send(four) },
			want: []string{"192.0.2.0/24: no session"}, line: "there is no session to announce on: 192.0.2.0/24", kind: "no session"},
		{name: "a family that was not agreed to", begin: func(a *audited) { a.establish(familyIPv4); a.SetRoutes([]Route{four, six}); a.send(four) }, end: func(a *audited) { a.SetRoutes([]Route{four}) },
			want: []string{"2001:db8:53::/48: family not agreed"}, line: "it did not agree to the address family: 2001:db8:53::/48", kind: "family not agreed"},
		{name: "not announced", begin: func(a *audited) { a.establish(familyIPv4, familyIPv6); a.SetRoutes([]Route{four, six}) }, end: func(a *audited) { a.send(four, six) },
			want: []string{"192.0.2.0/24: not announced", "2001:db8:53::/48: not announced"}, line: "it has not been sent what should be announced: 192.0.2.0/24, 2001:db8:53::/48", resets: true, kind: "not announced"},
		{name: "not withdrawn", begin: func(a *audited) { a.establish(familyIPv4); a.send(four) }, end: func(a *audited) { a.n.sent(outgoing{withdrawn: []netip.Prefix{testPrefix4}}, 0) },
			want: []string{"192.0.2.0/24: not withdrawn"}, line: "it has been sent, and not been told of the withdrawal of: 192.0.2.0/24", resets: true, kind: "not withdrawn"},
		{name: "other attributes", begin: func(a *audited) {
			a.establish(familyIPv4)
			a.send(four)
			a.SetRoutes([]Route{{Prefix: testPrefix4, GracefulShutdown: true}})
		}, end: func(a *audited) { a.send(Route{Prefix: testPrefix4, GracefulShutdown: true}) },
			want: []string{"192.0.2.0/24: other attributes"}, line: "it has been sent other attributes than it should have: 192.0.2.0/24", resets: true, kind: "other attributes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := startAudit(t)
				time.Sleep(10*auditEvery + auditEvery/2)
				if got := a.mismatches(); len(got) != 0 {
					t.Errorf("before anything: %v", got)
				}
				c.begin(a)
				time.Sleep(mismatchAge)
				if got := a.mismatches(); len(got) != 0 || a.log.has("mismatch") {
					t.Errorf("after %s: %v", mismatchAge, got)
				}
				time.Sleep(2 * auditEvery)
				if got := a.mismatches(); !slices.Equal(got, c.want) {
					t.Errorf("%v, want %v", got, c.want)
				}
				labels := fmt.Sprintf(`{neighbor="198.51.100.1",kind="%s"}`, c.kind)
				if got := a.metric("nearcast_bgp_mismatches" + labels); got != fmt.Sprint(len(c.want)) {
					t.Errorf("gauge is %s", got)
				}
				time.Sleep(3 * auditEvery)
				if resets := a.ends.Load() > 0; resets != c.resets {
					t.Errorf("%d sessions ended within %s", a.ends.Load(), mismatchAge+5*auditEvery)
				}
				c.end(a)
				time.Sleep(auditEvery)
				if got := a.mismatches(); len(got) != 0 || a.metric("nearcast_bgp_mismatches"+labels) != "0" {
					t.Errorf("after its end: %v", got)
				}
				if begun, ended := strings.Count(a.log.String(), "mismatch: "+c.line), strings.Count(a.log.String(), "mismatch over: "+c.line); begun != 1 || ended != 1 {
					t.Errorf("%d lines of the beginning, %d of the end; log: %s", begun, ended, a.log.String())
				}
				if got := a.metric("nearcast_bgp_mismatch_seconds_total" + labels); got != "5" {
					t.Errorf("%s seconds counted, want 5", got)
				}
			})
		})
	}
}

// TestShortMismatchesAreQuiet: a change takes its moment, and a flapping one is not one that lasts.
func TestShortMismatchesAreQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startAudit(t)
		a.establish(familyIPv4)
		time.Sleep(auditEvery / 2)
		for i := range 20 {
			r := Route{Prefix: testPrefix4, Prepend: uint8(i)}
			a.SetRoutes([]Route{r})
			time.Sleep(mismatchAge)
			a.send(r)
			time.Sleep(auditEvery)
		}
		if a.log.has("mismatch") || a.ends.Load() > 0 {
			t.Errorf("log: %s", a.log.String())
		}
	})
}

// TestALongListIsCut: one line, however many prefixes.
func TestALongListIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startAudit(t)
		a.SetRoutes(manyRoutes(50))
		time.Sleep(5 * auditEvery)
		if n := strings.Count(a.log.String(), "mismatch"); n != 1 || !a.log.has(", 92 more") {
			t.Errorf("%d lines: %s", n, a.log.String())
		}
	})
}

// TestASessionIsNotEndedForTheOneBefore: a new one gets its own time to be told.
func TestASessionIsNotEndedForTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := startAudit(t)
		a.SetRoutes([]Route{{Prefix: testPrefix4}})
		for range 10 {
			a.establish(familyIPv4)
			time.Sleep(2 * auditEvery)
		}
		if a.ends.Load() > 0 {
			t.Errorf("%d sessions ended", a.ends.Load())
		}
	})
}

// TestUnacknowledged: octets that stay in the kernel's queue are seen, those that the other end has taken are not.
func TestUnacknowledged(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	s := &session{router: near.(*net.TCPConn), n: &neighbor{config: &NeighborConfig{HoldTime: 100 * time.Millisecond}}}
	m := makeMessage(typeUpdate, make([]byte, 4000))
	if err := s.send(m); err != nil {
		t.Fatal(err)
	}
	first := s.written.Load()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if got, ok := s.acknowledged(); ok && got == first {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what the other end's kernel has taken is not acknowledged")
		}
	}
	for s.send(m) == nil { // until there is no room, neither here nor there
	}
	if got, ok := s.acknowledged(); !ok || got < first || got >= s.written.Load() {
		t.Errorf("%d octets are acknowledged of %d (%t)", got, s.written.Load(), ok)
	}
	n := &neighbor{session: s, state: SessionEstablished, agreed: []family{familyIPv4}, routes: map[netip.Prefix]sentRoute{},
		unacked: map[netip.Prefix]int64{testPrefix4: first, testPrefix6: s.written.Load()}}
	found, _ := n.deviations(nil)
	if _, ok := found[deviation{testPrefix6, MismatchUnacknowledged}]; !ok || len(found) != 1 {
		t.Errorf("found %v", found)
	}
}
