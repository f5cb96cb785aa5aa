package h1

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// betweenReads calls then as soon as the first bytes of a connection have come, before whoever reads has them.
type betweenReads struct {
	net.Conn
	once atomic.Bool
	then func()
}

func (c *betweenReads) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.once.Swap(true) {
		c.then()
	}
	return n, err
}

// TestLeaveSparesARequestThatHasBegunToCome at the very moment when the connection seemed idle.
func TestLeaveSparesARequestThatHasBegunToCome(t *testing.T) {
	for name, parts := range map[string][]string{
		"in its header section": {"PUT / HTTP/1.1\r\nHo", "st: a\r\nContent-Length: 4\r\n\r\nbody"},
		"in its body":           {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo", "dy"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []byte
				h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
					got, _ = io.ReadAll(r.Body)
					short(ctx, w, r)
				})
				s := New(h, Config{HeaderTimeout: time.Minute, IdleTimeout: time.Minute, Pace: message.Pace{Grace: time.Minute}})
				client, server := net.Pipe()
				done := make(chan struct{})
				go func() {
					defer close(done)
					s.ServeConn(t.Context(), &betweenReads{Conn: server, then: s.Leave}, testInfo)
				}()
				go func() {
					_, _ = io.WriteString(client, parts[0])
					time.Sleep(time.Second)
					_, _ = io.WriteString(client, parts[1])
				}()
				answer, _ := io.ReadAll(client)
				if string(got) != "body" || !strings.HasPrefix(string(answer), "HTTP/1.1 200") || !strings.Contains(string(answer), "connection: close\r\n") {
					t.Errorf("the handler got %q, the client %q", got, answer)
				}
				<-done
			})
		})
	}
}

// TestWhoIsTooSlowIsTold, though the time to take an answer is shorter than that for a header section.
func TestWhoIsTooSlowIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		x := serve(t.Context(), New(m, Config{HeaderTimeout: 30 * time.Second, IdleTimeout: time.Minute, Pace: message.Pace{Grace: 10 * time.Second}}))
		_, _ = io.WriteString(x, "GET")
		answer, _ := io.ReadAll(x)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
			t.Errorf("got %q", answer)
		}
		<-x.done
		if len(m.refused) != 1 || m.refused[0].Status != 408 {
			t.Errorf("the handler was told %+v", m.refused)
		}
	})
}

// TestABurstHasItsTime: what a client takes of earlier answers of a burst is not time that it has lost for the later ones.
func TestABurstHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5 * maxBatch
		x := serve(t.Context(), New(newMemory(), Config{IdleTimeout: time.Hour, Pace: message.Pace{Grace: 10 * time.Second}}))
		go func() { _, _ = io.WriteString(x, strings.Repeat("GET /9 HTTP/1.1\r\nHost:a\r\n\r\n", n)) }()
		for i := range n {
			if i%maxBatch == 0 {
				time.Sleep(6 * time.Second) // for 16 answers
			}
			resp, err := http.ReadResponse(x.br, nil)
			if err != nil {
				t.Fatalf("answer %d: %v", i, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		x.Close()
		<-x.done
	})
}

// TestAClientThatTakesNothingIsLetGoInTime: nor is there time for it to take the end of TLS.
func TestAClientThatTakesNothingIsLetGoInTime(t *testing.T) {
	certificate := testCertificate(t)
	for _, path := range []string{"/1000", "/100000", "/slow"} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			sc := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{certificate}})
			done := make(chan time.Time)
			go func() {
				if sc.Handshake() != nil {
					t.Error("no handshake")
				}
				info := testInfo
				info.TLS = &message.TLS{}
				New(newMemory(), Config{IdleTimeout: time.Minute, Pace: message.Pace{Grace: 10 * time.Second}}).ServeConn(t.Context(), sc, info)
				done <- time.Now()
			}()
			cc := tls.Client(client, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
			_, _ = io.WriteString(cc, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
			begin := time.Now()
			if took := (<-done).Sub(begin); took > 11*time.Second {
				t.Errorf("%s: the connection was held for %v", path, took)
			}
			client.Close()
		})
	}
}

// TestAClientThatSendsOnHasTimeToSeeItsAnswer: closed at once behind what is taken of its body, the connection would be reset.
func TestAClientThatSendsOnHasTimeToSeeItsAnswer(t *testing.T) {
	for name, head := range map[string]string{
		"answered early": "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n",
		"refused":        "PUT / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := serve(t.Context(), New(short, Config{IdleTimeout: time.Minute}))
				begin := time.Now()
				resp := x.roundTrip(t, head)
				sent, err := 0, error(nil)
				for n := 0; err == nil; sent += n {
					n, err = x.Write(make([]byte, 1000))
				}
				if took := time.Since(begin); !resp.Close || took != lingerRefused || sent > maxLinger+buf4K {
					t.Errorf("close: %t, %d bytes were taken, the connection was closed after %v", resp.Close, sent, took)
				}
				<-x.done
			})
		})
	}
	t.Run("the server stops", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			x := serve(ctx, New(short, Config{IdleTimeout: time.Minute}))
			x.roundTrip(t, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
			go func() { _, _ = x.Write(make([]byte, 2*maxLinger)) }()
			synctest.Wait()
			begin := time.Now()
			stop()
			<-x.done
			if took := time.Since(begin); took > 0 {
				t.Errorf("it waited for %v", took)
			}
		})
	})
}

// asked knows how much the last read was for.
type asked struct {
	net.Conn
	size atomic.Int32
}

func (c *asked) Read(p []byte) (int, error) {
	c.size.Store(int32(len(p)))
	return c.Conn.Read(p)
}

// TestAConnectionThatStaysIdleHoldsNoBuffer, though its requests need one. The wait for the next is no longer for that.
func TestAConnectionThatStaysIdleHoldsNoBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(short, Config{HeaderTimeout: time.Second, IdleTimeout: time.Minute})
		client, server := net.Pipe()
		x := &session{Conn: client, br: bufio.NewReader(client), done: make(chan struct{})}
		c := &asked{Conn: server}
		go func() {
			defer close(x.done)
			s.ServeConn(t.Context(), c, testInfo)
		}()
		large := "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("x", 2000) + "\r\n\r\n"
		for range 3 {
			x.roundTrip(t, large)
			synctest.Wait()
			if n := c.size.Load(); n != buf4K {
				t.Errorf("a request that follows at once is awaited with %d bytes", n)
			}
			time.Sleep(2 * idleSoon)
			if n := c.size.Load(); n != buf1K {
				t.Errorf("an idle connection holds %d bytes", n)
			}
		}
		x.roundTrip(t, large)
		begin := time.Now()
		_, _ = io.Copy(io.Discard, x.br)
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("it was idle for %v", took)
		}
		<-x.done
		x = serve(t.Context(), s)
		x.roundTrip(t, large)
		synctest.Wait()
		s.CloseIdle()
		<-x.done
		if time.Since(begin) != time.Minute {
			t.Error("an idle connection was not closed at once")
		}
	})
}
