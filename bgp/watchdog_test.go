package bgp

import (
	"strings"
	"testing"
	"time"
)

// TestALeaseThatRunsOutEndsTheSessions though the speaker lives, and a new one brings them back.
func TestALeaseThatRunsOutEndsTheSessions(t *testing.T) {
	r := newRouter(t, "127.0.0.2:0", 64511)
	e := startEdge(t, testConfig(r.addrPort()))
	e.setRoutes(testPrefix4, testPrefix6)
	s := r.session(0)
	r.want("both prefixes", func() bool { return len(s.routes) == 2 })
	if !e.Alive() {
		t.Error("not alive before the first lease")
	}
	e.Renew(time.Now().Add(-time.Second))
	if e.Alive() {
		t.Error("alive after its lease")
	}
	r.want("a NOTIFICATION and the end", func() bool { return s.closed && len(s.notifications) == 1 })
	if got := s.notifications[0].String(); !strings.HasPrefix(got, "Cease/Administrative Shutdown") || !strings.Contains(got, "nothing decides") {
		t.Errorf("NOTIFICATION is %q", got)
	}
	e.eventually("the loss with its cause", func() bool { return strings.Contains(e.Status()[0].LastDown, "watchdog") })
	if n := e.metric(`nearcast_bgp_session_failures_total{neighbor="` + neighborName(&e.config.BGP.Neighbors[0]) + `",reason="watchdog"}`); n != "1" {
		t.Errorf("%s failures counted, want 1", n)
	}
	e.Renew(time.Now().Add(time.Hour))
	again := r.session(1)
	r.want("both prefixes again", func() bool { return len(again.routes) == 2 })
}

// TestTheAnnouncerLooksEachSecond, however patient the watchdog is: other edges take one for stuck whose words are old.
func TestTheAnnouncerLooksEachSecond(t *testing.T) {
	for watchdog, want := range map[time.Duration]time.Duration{minWatchdog: 400 * time.Millisecond, 5 * time.Second: time.Second, time.Hour: time.Second} {
		c := Config{Watchdog: watchdog}
		if got := c.beat(); got != want {
			t.Errorf("with a watchdog of %s it looks every %s, want %s", watchdog, got, want)
		}
	}
}
