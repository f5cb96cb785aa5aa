package front

import (
	"net/http/httptrace"
	"strings"
	"testing"
	"time"
)

// resting counts the connections that wait below TLS, on a new goroutine.
func resting() int { return strings.Count(stacks(), "readable.Waiter.Wait(") }

// TestIdleConnectionsRest on real sockets, in all ways to speak over TCP: they go on afterwards, and end with everything else.
func TestIdleConnectionsRest(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(e *edge)
		idle time.Duration
	}{
		"Leave":            {func(e *edge) { e.Leave() }, time.Hour},
		"Close":            {func(e *edge) { e.Close(t.Context()) }, time.Hour},
		"the server's end": {func(e *edge) { e.cancel() }, time.Hour},
		"the idle timeout": {func(*edge) {}, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			limits := testLimits()
			limits.IdleTimeout = c.idle
			e := startEdge(t, text(200, "here"), limits)
			clients := []*client{e.h1(), e.h1TLS(), e.h2(), e.h2c()}
			for round := range 2 {
				for _, cl := range clients {
					r, reused := cl.request(t, "GET", "/", nil), false
					trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
					if _, body := cl.read(t, cl.do(t, r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))); body != "here" {
						t.Errorf("%s: got %q", cl.name, body)
					}
					if reused != (round > 0) {
						t.Errorf("%s, request %d: the connection was there before: %t", cl.name, round+1, reused)
					}
				}
				eventually(t, "all connections rest", func() bool { return resting() == len(clients) })
			}
			if n := e.open.Load(); n != int64(len(clients)) {
				t.Errorf("%d connections are counted", n)
			}
			c.end(e)
			eventually(t, "all connections have ended", func() bool { return e.open.Load() == 0 && resting() == 0 })
			for _, cl := range clients {
				cl.close()
			}
		})
	}
}
