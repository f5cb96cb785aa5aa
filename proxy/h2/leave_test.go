package h2

import (
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// TestAConnectionThatBeginsInTheMomentOfLeave: its client has sent nothing yet, or only the preface, and is served once before it goes.
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
				s := New(ok, Config{IdleTimeout: 24 * time.Hour})
				x := begin(t, t.Context(), s)
				s.Leave()
				x.greet()
				time.Sleep(time.Second)
				tt.act(s, x)
				got := x.next()
				if _, first := got.(*response); first { // they come in either order
					got = x.next()
				}
				want(t, got, leaves, tt.what)
				x.Close()
				<-x.done
			})
		})
	}
}

// TestLeaveWaitsForItsPing: a request that crosses the first GOAWAY is served; the second follows the answer to the PING at once.
func TestLeaveWaitsForItsPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(ok, Config{IdleTimeout: time.Hour})
		x := serve(t, t.Context(), s)
		time.Sleep(message.Newcomer)
		began := time.Now()
		s.Leave()
		want(t, x.next(), leaves, "the first GOAWAY")
		x.request(1, "/", true)
		want(t, x.next(), func(r *response) bool { return r.stream == 1 && r.status == "200" }, "a response to what was on its way")
		_ = x.fr.WritePing(true, leavePing)
		want(t, x.next(), last(1), "the second GOAWAY")
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
		<-x.done
	})
}

func TestLaterConnectionsAreServedAfterLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(ok, Config{IdleTimeout: time.Hour})
		old := serve(t, t.Context(), s)
		time.Sleep(message.Newcomer)
		s.Leave()
		x := serve(t, t.Context(), s)
		x.request(1, "/", true)
		want(t, x.next(), func(r *response) bool { return r.status == "200" }, "a response")
		<-old.done
		x.request(3, "/", true)
		want(t, x.next(), func(r *response) bool { return r.stream == 3 }, "no GOAWAY, but a further response")
		x.Close()
		<-x.done
	})
}

func TestCloseIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := New(waiting(release), Config{})
		busy, idle, silent := serve(t, t.Context(), s), serve(t, t.Context(), s), begin(t, t.Context(), s)
		busy.request(1, "/", true)
		s.CloseIdle()
		want(t, idle.next(), last(0), "one GOAWAY")
		<-idle.done
		want(t, silent.next(), last(0), "GOAWAY, after SETTINGS, for one whose request may be on its way")
		<-silent.done
		close(release)
		want(t, busy.next(), func(r *response) bool { return r.status == "200" }, "the response on the busy one")
		busy.Close()
		<-busy.done
	})
}

func TestConnectionsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(ok, Config{})
		x := serve(t, t.Context(), s)
		x.Close()
		<-x.done
		if n := len(s.conns); n != 0 {
			t.Errorf("%d connections are held", n)
		}
	})
}

// TestLeaveSparesANewcomer: some clients take a GOAWAY before their first request for a connection that can't be used, and the request fails.
func TestLeaveSparesANewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(ok, Config{IdleTimeout: time.Hour})
		x := serve(t, t.Context(), s)
		time.Sleep(message.Newcomer - time.Millisecond)
		s.Leave()
		synctest.Wait()
		x.request(1, "/", true)
		answered, told := false, false
		for range 2 { // they come in either order
			switch got := x.next().(type) {
			case *response:
				answered = got.status == "200"
			case *goAway:
				told = leaves(got)
			}
		}
		if !answered || !told {
			t.Errorf("response %v, GOAWAY %v; want both, and none before the request", answered, told)
		}
		y := serve(t, t.Context(), s)
		y.request(1, "/", true)
		want(t, y.next(), func(r *response) bool { return r.status == "200" }, "a response")
		synctest.Wait()
		s.Leave()
		want(t, y.next(), leaves, "GOAWAY at once for one as young that has had its request")
		y.Close()
		<-y.done
		x.Close()
		<-x.done
	})
}
