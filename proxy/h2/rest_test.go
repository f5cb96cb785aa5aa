package h2

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// stretches serves a session as the sockets do, each stretch on a goroutine of its own, and counts the rests.
func stretches(t *testing.T, ctx context.Context, s *Server) (x *session, rests *atomic.Int32) {
	rests = new(atomic.Int32)
	x = beginWith(t, func(nc net.Conn) {
		c := s.Open(ctx, nc, testInfo)
		ended := make(chan bool)
		for {
			go func() { ended <- !c.Serve() }()
			if <-ended {
				return
			}
			rests.Add(1)
		}
	})
	x.greet()
	return x, rests
}

// TestAnIdleConnectionRests once, until something comes, and the time that it may be idle goes on.
func TestAnIdleConnectionRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if r.Target.Path == "/slow" {
				time.Sleep(5 * time.Second)
			}
			ok(ctx, w, r)
		})
		x, rests := stretches(t, t.Context(), New(h, Config{IdleTimeout: time.Minute}))
		for i, path := range []string{"/", "/slow", "/"} {
			x.request(uint32(2*i+1), path, true)
			want(t, x.next(), func(r *response) bool { return r.status == "200" }, "an answer")
			begin, before := time.Now(), rests.Load()
			time.Sleep(idleSoon - 1)
			synctest.Wait()
			if n := rests.Load(); n > before {
				t.Errorf("%s: it rested before the time", path)
			}
			time.Sleep(20*time.Second - time.Since(begin))
			if n := rests.Load(); n != before+1 {
				t.Errorf("%s: it rested %d times, want once", path, n-before)
			}
		}
		begin := time.Now()
		<-x.done
		if took := time.Since(begin); took != 40*time.Second+lingerTime {
			t.Errorf("it ended after another %v", took)
		}
	})
}

func TestARestEnds(t *testing.T) {
	for name, end := range map[string]func(s *Server, x *session, stop func()){
		"by CloseIdle":        func(s *Server, _ *session, _ func()) { s.CloseIdle() },
		"by Leave":            func(s *Server, _ *session, _ func()) { s.Leave() },
		"by Drain":            func(s *Server, _ *session, _ func()) { s.Drain() },
		"by the client":       func(_ *Server, x *session, _ func()) { x.Close() },
		"by the server's end": func(_ *Server, _ *session, stop func()) { stop() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				s := New(ok, Config{IdleTimeout: time.Hour})
				x, rests := stretches(t, ctx, s)
				x.request(1, "/", true)
				want(t, x.next(), func(r *response) bool { return r.status == "200" }, "an answer")
				time.Sleep(time.Minute)
				if rests.Load() != 1 {
					t.Fatalf("it rested %d times", rests.Load())
				}
				begin := time.Now()
				end(s, x, stop)
				<-x.done
				if took := time.Since(begin); took > leaveWait+lingerTime || len(s.conns) > 0 {
					t.Errorf("it went on for %v; %d connections are left", took, len(s.conns))
				}
				told := false
				for f := range x.frames {
					g, is := f.(*goAway)
					told = told || is && g.code == http2.ErrCodeNo
				}
				if ours := name == "by CloseIdle" || name == "by Leave" || name == "by Drain"; told != ours {
					t.Errorf("GOAWAY: %t", told)
				}
				x.Close()
			})
		})
	}
}
