package h2

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// lateConn is a connection that the library gets to know only after its server's clients were told to leave.
type lateConn struct {
	net.Conn
	leave func()
}

func (c *lateConn) RemoteAddr() net.Addr {
	if c.leave != nil {
		c.leave()
		c.leave = nil
		time.Sleep(time.Millisecond) // GOAWAY is sent by a goroutine
	}
	return c.Conn.RemoteAddr()
}

func TestAConnectionThatBeginsInTheMomentOfLeave(t *testing.T) {
	tests := map[string]struct {
		act  func(s *Server, x *session)
		what string
	}{
		"is told with its first response": {func(_ *Server, x *session) { x.request(1, "/", true) }, "GOAWAY with the response"},
		"is told by the next Leave":       {func(s *Server, _ *session) { s.Leave() }, "GOAWAY after a second Leave"},
		"is told by Drain":                {func(s *Server, _ *session) { s.Drain() }, "GOAWAY after Drain"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, ok, Config{IdleTimeout: 24 * time.Hour})
				x := serveVia(t, t.Context(), s, func(c net.Conn) net.Conn { return &lateConn{c, s.Leave} })
				time.Sleep(time.Second)
				tt.act(s, x)
				got := x.next()
				if _, first := got.(*response); first { // they come in either order
					got = x.next()
				}
				want(t, got, func(g *goAway) bool { return g.code == http2.ErrCodeNo }, tt.what)
				x.Close()
				<-x.done
			})
		})
	}
}

func TestGenerationsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, ok, Config{IdleTimeout: 24 * time.Hour})
		x := serve(t, t.Context(), s)
		for range 5 {
			s.Leave()
		}
		<-x.done
		if n := len(s.live); n != 1 {
			t.Errorf("%d generations are held, want the one for new connections", n)
		}
	})
}
