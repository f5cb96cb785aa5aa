package h1

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// stretches serves a session as the sockets do, each stretch on a goroutine of its own, and tells of the ends of them.
func stretches(ctx context.Context, s *Server) (x *session, c *conn, rests chan bool) {
	client, server := net.Pipe()
	x = &session{Conn: client, br: bufio.NewReader(client)}
	c = s.Open(ctx, addressed{server}, testInfo).(*conn)
	rests = make(chan bool, 1)
	go func() { rests <- c.Serve() }()
	return x, c, rests
}

// TestAnIdleConnectionRests: it holds next to nothing then, and the time that it may be idle goes on.
func TestAnIdleConnectionRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(short, Config{HeaderTimeout: time.Second, IdleTimeout: time.Minute})
		x, c, rests := stretches(t.Context(), s)
		var begin time.Time
		for range 3 {
			if resp := x.roundTrip(t, "GET /after HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != 200 || resp.Close {
				t.Fatalf("got %+v", resp)
			}
			begin = time.Now()
			if !<-rests || time.Since(begin) != idleSoon {
				t.Fatalf("it ended, or rested after %v", time.Since(begin))
			}
			if c.in.buf != nil || c.out.buf != nil || c.watch != nil {
				t.Errorf("it holds %d and %d bytes, %v", len(c.in.buf), cap(c.out.buf), c.watch)
			}
			go func() { rests <- c.Serve() }()
			synctest.Wait()
		}
		if <-rests || time.Since(begin) != time.Minute {
			t.Errorf("it ended after %v of idleness", time.Since(begin))
		}
		if _, err := x.br.ReadByte(); err != io.EOF || len(s.conns) > 0 {
			t.Errorf("the client got %v; %d connections are left", err, len(s.conns))
		}
	})
}

func TestARestEnds(t *testing.T) {
	for name, end := range map[string]func(s *Server, x *session, stop func()){
		"by CloseIdle":        func(s *Server, _ *session, _ func()) { s.CloseIdle() },
		"by Leave":            func(s *Server, _ *session, _ func()) { s.Leave() },
		"by the client":       func(_ *Server, x *session, _ func()) { x.Close() },
		"by the server's end": func(_ *Server, _ *session, stop func()) { stop() },
	} {
		for when, between := range map[string]bool{"while it waits": false, "between two goroutines": true} {
			t.Run(name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, stop := context.WithCancel(t.Context())
					defer stop()
					s := New(short, Config{IdleTimeout: time.Minute})
					x, c, rests := stretches(ctx, s)
					x.roundTrip(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
					if !<-rests {
						t.Fatal("it did not rest")
					}
					begin := time.Now()
					if between {
						end(s, x, stop)
						synctest.Wait()
					}
					go func() { rests <- c.Serve() }()
					synctest.Wait()
					if !between {
						end(s, x, stop)
					}
					if <-rests || time.Since(begin) > 0 || len(s.conns) > 0 {
						t.Errorf("it went on for %v; %d connections are left", time.Since(begin), len(s.conns))
					}
				})
			})
		}
	}
}

// TestTheFirstRequestHasItsTimeAfterARest: a connection that was opened in advance.
func TestTheFirstRequestHasItsTimeAfterARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(short, Config{HeaderTimeout: 10 * time.Second, IdleTimeout: time.Hour})
		x, c, rests := stretches(t.Context(), s)
		begin := time.Now()
		if !<-rests {
			t.Fatal("it did not rest")
		}
		go func() { rests <- c.Serve() }()
		time.Sleep(5 * time.Second)
		go func() { _, _ = io.WriteString(x, "GET / HTTP") }()
		answer, _ := io.ReadAll(x)
		if took := time.Since(begin); took != 10*time.Second+lingerRefused || len(answer) == 0 {
			t.Errorf("after %v it got %q", took, answer)
		}
		<-rests
	})
}

// TestLeaveWaitsForAFirstRequest: it is on its way, and its client would not repeat it on another connection. CloseIdle does not wait.
func TestLeaveWaitsForAFirstRequest(t *testing.T) {
	for when, rested := range map[string]bool{"at once": false, "after a rest": true} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(short, Config{IdleTimeout: time.Minute})
				x, c, rests := stretches(t.Context(), s)
				if rested {
					if !<-rests {
						t.Fatal("it did not rest")
					}
					go func() { rests <- c.Serve() }()
				}
				synctest.Wait()
				s.Leave()
				synctest.Wait()
				if resp := x.roundTrip(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != 200 || !resp.Close {
					t.Errorf("got %+v, want an answer that is the last", resp)
				}
				if <-rests || len(s.conns) > 0 {
					t.Error("it goes on after that")
				}
				idle, old, rests := stretches(t.Context(), s)
				if !<-rests {
					t.Fatal("it did not rest")
				}
				time.Sleep(message.Newcomer - idleSoon)
				go func() { rests <- old.Serve() }()
				synctest.Wait()
				s.Leave()
				if _, err := idle.br.ReadByte(); <-rests || err != io.EOF {
					t.Errorf("whoever has sent nothing for %v is waited for: %v", message.Newcomer, err)
				}
				y, late, rests := stretches(t.Context(), s)
				synctest.Wait()
				s.Leave()
				s.CloseIdle()
				begin := time.Now()
				for <-rests {
					go func() { rests <- late.Serve() }()
				}
				if time.Since(begin) > 0 {
					t.Errorf("CloseIdle ended it after %v", time.Since(begin))
				}
				if _, err := y.br.ReadByte(); err != io.EOF {
					t.Errorf("the client got %v", err)
				}
			})
		})
	}
}
