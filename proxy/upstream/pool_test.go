package upstream

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

func TestAConnectionIsKeptOnlyWhenAllIsBeyondDoubt(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct{ name, method, reply, body, closed string }{
		{"length", "GET", ok + "Content-Length: 3\r\n\r\nabc", "abc", ""},
		{"length 0", "GET", ok + "Content-Length: 0\r\n\r\n", "", ""},
		{"chunked", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", ""},
		{"chunked with trailers", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-A: b\r\n\r\n", "abc", ""},
		{"HEAD", "HEAD", ok + "Content-Length: 3\r\n\r\n", "", ""},
		{"HEAD, chunked", "HEAD", ok + "Transfer-Encoding: chunked\r\n\r\n", "", ""},
		{"HEAD without a length", "HEAD", ok + "\r\n", "", ""},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "", ""},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "", ""},
		{"HTTP/1.0 that keeps", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", "abc", ""},
		{"after hints", "GET", "HTTP/1.1 103 Early Hints\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n", "", ""},
		{"close", "GET", ok + "Connection: close\r\nContent-Length: 3\r\n\r\nabc", "abc", closeAsked},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc", closeAsked},
		{"more than the body", "GET", ok + "Content-Length: 3\r\n\r\nabcd", "abc", closeByOrigin},
		{"more than chunks", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1", "", closeByOrigin},
		{"a body to HEAD", "HEAD", ok + "Content-Length: 3\r\n\r\nabc", "", closeByOrigin},
		{"a body of 204", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", "", closeAsked},
		{"a body of 304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nabc", "", closeByOrigin},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := staged(t, quick, answering(c.reply))
			r := with(c.method, 0)
			res, body, err := fetch(t.Context(), s.Origin, &Attempt{Request: r})
			if err != nil || body != c.body {
				t.Fatalf("%s: %q, %v", c.name, body, err)
			}
			if s.saw() != c.closed || s.idle() != map[bool]int{true: 1}[c.closed == ""] || s.inFlight.Load() != 0 {
				t.Errorf("%s: closed %q, %d idle, %d in flight", c.name, s.saw(), s.idle(), s.inFlight.Load())
			}
			if strings.Contains(c.reply, "X-A") && res.Trailers().Get("x-a") != "b" {
				t.Errorf("trailers: %v", res.Trailers())
			}
			if _, body, err = fetch(t.Context(), s.Origin, &Attempt{Request: r}); err != nil || body != c.body {
				t.Errorf("%s, again: %q, %v", c.name, body, err)
			}
			if s.dials != 2-s.reused || s.reused != s.idle() {
				t.Errorf("%s: %d connections, %d reused", c.name, s.dials, s.reused)
			}
		})
	}
}

func TestABodyThatEndsWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, func(_ int, p *peer) { p.head(); p.say("HTTP/1.1 200 OK\r\n\r\nall of "); p.say("it") })
		res, body, err := fetch(t.Context(), s.Origin, &Attempt{Request: get("/")})
		if err != nil || body != "all of it" || res.ContentLength != -1 || s.saw() != closeAsked {
			t.Errorf("%q, length %d, %v, closed %q", body, res.ContentLength, err, s.saw())
		}
	})
}

// TestRFC9112_6_3_ACodingThatIsNone: what follows such a response can be nothing but its body, and no other exchange sees the connection.
func TestRFC9112_6_3_ACodingThatIsNone(t *testing.T) {
	const next = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, func(_ int, p *peer) {
			p.head()
			p.say("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: x-made-up\r\n\r\n4\r\nbody\r\n0\r\n\r\n" + next)
		})
		res, body, err := fetch(t.Context(), s.Origin, &Attempt{Request: get("/")})
		if err != nil || body != "4\r\nbody\r\n0\r\n\r\n"+next || res.ContentLength != -1 || s.saw() != closeAsked || s.idle() != 0 {
			t.Errorf("%q, length %d, %v, closed %q, %d idle", body, res.ContentLength, err, s.saw(), s.idle())
		}
		if res.Fields.Has("transfer-encoding") || res.Fields.Has("connection") {
			t.Errorf("%v", res.Fields)
		}
	})
}

func TestABodyThatIsNotReadCostsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, func(_ int, p *peer) {
			p.head()
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
			p.say("def")
		})
		res, err := s.RoundTrip(t.Context(), &Attempt{Request: get("/")})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if _, err := res.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("a closed body says %v", err)
		}
		if s.saw() != closeUnread || s.inFlight.Load() != 0 {
			t.Errorf("closed %q, %d in flight", s.saw(), s.inFlight.Load())
		}
	})
}

func TestABodyThatHasComeNeedNotBeRead(t *testing.T) {
	for _, reply := range []string{"Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nX: y\r\n\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			s := staged(t, quick, answering("HTTP/1.1 500 Oh\r\n"+reply))
			for range 2 {
				res, err := s.RoundTrip(t.Context(), &Attempt{Request: get("/")})
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if n, err := res.Body.Read(make([]byte, 9)); n != 0 || err != errBodyClosed {
					t.Errorf("a closed body gives %d bytes, %v", n, err)
				}
			}
			if s.dials != 1 || s.idle() != 1 {
				t.Errorf("%q: %d connections, closed %q", reply, s.dials, s.saw())
			}
		})
	}
}

func TestAnIdleConnectionIsClosedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
		a, err := s.RoundTrip(t.Context(), &Attempt{Request: get("/")})
		if err != nil {
			t.Fatal(err)
		}
		fetch(t.Context(), s.Origin, &Attempt{Request: get("/")}) // over a second connection, which comes to the pool first
		time.Sleep(30 * time.Second)
		a.Body.Close()
		time.Sleep(idleTimeout - 30*time.Second - time.Nanosecond)
		synctest.Wait()
		if s.idle() != 2 {
			t.Errorf("%d idle, want 2", s.idle())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if s.idle() != 1 || s.saw() != closeIdle {
			t.Errorf("after the first's time: %d idle, closed %q", s.idle(), s.saw())
		}
		for range 3 { // the one used is always the same
			if _, _, err := fetch(t.Context(), s.Origin, &Attempt{Request: get("/")}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(idleTimeout - time.Second)
		}
		if s.dials != 2 {
			t.Errorf("%d connections, want 2", s.dials)
		}
		time.Sleep(2 * idleTimeout)
		synctest.Wait()
		if s.idle() != 0 {
			t.Errorf("%d idle at the end", s.idle())
		}
	})
}

func TestAClosedOriginKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
		a, err := s.RoundTrip(t.Context(), &Attempt{Request: get("/")})
		if err != nil {
			t.Fatal(err)
		}
		fetch(t.Context(), s.Origin, &Attempt{Request: get("/")})
		s.Close()
		if s.idle() != 0 || s.saw() != closeShutdown {
			t.Errorf("%d idle, closed %q", s.idle(), s.saw())
		}
		a.Body.Close()
		if s.idle() != 0 || s.saw() != closeShutdown+", "+closeShutdown {
			t.Errorf("afterwards: %d idle, closed %q", s.idle(), s.saw())
		}
	})
}

// TestAnIdleConnectionThatEndedOrSpokeIsNotUsed looks into real sockets.
func TestAnIdleConnectionThatEndedOrSpokeIsNotUsed(t *testing.T) {
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	defer certs.Close()
	for _, scheme := range []string{"http", "https"} {
		for _, unasked := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if scheme == "https" {
				l = tls.NewListener(l, &tls.Config{Certificates: certs.TLS.Certificates, NextProtos: []string{"http/1.1"}})
			}
			speak, spoken := make(chan bool), make(chan bool)
			var served atomic.Int32
			go func() {
				for n := 0; ; n++ {
					c, err := l.Accept()
					if err != nil {
						return
					}
					buf := make([]byte, 4096)
					for {
						if _, err := c.Read(buf); err != nil {
							break
						}
						served.Add(1)
						io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
						if n == 0 {
							<-speak
							if io.WriteString(c, unasked); unasked == "" {
								c.Close()
							}
							spoken <- true
						}
					}
					c.Close()
				}
			}()
			cfg, closed := quick, make(chan string, 9)
			cfg.Roots = certs.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			cfg.ServerName = "example.com"
			cfg.Events.Closed = func(reason string) { closed <- reason }
			o := originOf(t, scheme+"://"+l.Addr().String(), cfg)
			post := with("POST", 0) // can't be sent twice: it is the look that helps
			if _, body, err := fetch(t.Context(), o, &Attempt{Request: post}); err != nil || body != "good" {
				t.Fatalf("%s: %q, %v", scheme, body, err)
			}
			speak <- true
			<-spoken
			awaitDead(t, o)
			if _, body, err := fetch(t.Context(), o, &Attempt{Request: post}); err != nil || body != "good" {
				t.Errorf("%s after %q: %q, %v", scheme, unasked, body, err)
			}
			if n := served.Load(); n != 2 {
				t.Errorf("%s after %q: %d requests arrived", scheme, unasked, n)
			}
			if r := <-closed; r != closeByOrigin {
				t.Errorf("%s after %q: closed as %q", scheme, unasked, r)
			}
			o.Close()
		}
	}
}

// awaitDead waits until the kernel has what the origin sent.
func awaitDead(t *testing.T, o *Origin) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		o.pool.mu.Lock()
		alive := len(o.pool.idle) > 0 && o.pool.idle[0].alive()
		o.pool.mu.Unlock()
		if !alive {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the idle connection is still thought good")
		}
	}
}

// closing is a body during whose coming the origin closes the idle connection that was taken for it.
type closing struct {
	io.Reader
	close func()
}

func (c *closing) Read(p []byte) (int, error) { c.close(); return c.Reader.Read(p) }

func TestAConnectionThatClosesWhileTheClientIsSlow(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
			go func() {
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}()
		}
	}()
	var dialed []*conn
	cfg := quick
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err == nil {
			dialed = append(dialed, newConn(c))
		}
		return c, err
	}
	o := originOf(t, "http://"+l.Addr().String(), cfg)
	if _, _, err := fetch(t.Context(), o, &Attempt{Request: get("/")}); err != nil {
		t.Fatal(err)
	}
	body := &closing{strings.NewReader("abc"), func() {
		(<-accepted).Close()
		for end := time.Now().Add(20 * time.Second); dialed[0].alive() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, _, err := fetch(ctx, o, &Attempt{Request: with("POST", 3), Body: body}); err != nil || len(dialed) != 2 {
		t.Errorf("%v, over %d connections", err, len(dialed))
	}
}

func TestAConnectionThatClosesUnderARequest(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for _, c := range []struct {
		what    string
		r       *message.Request
		body    string
		partial string // what it says before it closes
		dials   int
		reason  string // "" for an answer
		safe    bool
	}{
		{"GET", get("/"), "", "", 2, "", true},
		{"DELETE", with("DELETE", 0), "", "", 2, "", true},
		{"POST", with("POST", 0), "", "", 1, "stale connection", false},
		{"a small body", with("PUT", 3), "abc", "", 1, "stale connection", false},
		{"a streamed body", with("PUT", -1), "abc", "", 1, "stale connection", false},
		{"GET, half an answer", get("/"), "", "HTTP/1.1 2", 1, "connection closed", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := staged(t, quick, func(n int, p *peer) {
				p.head()
				p.say(ok)
				if n == 0 {
					p.head()
					p.say(c.partial)
					return
				}
				answering(ok)(n, p)
			})
			fetch(t.Context(), s.Origin, &Attempt{Request: get("/")})
			a := &Attempt{Request: c.r}
			if c.body != "" {
				a.Body = strings.NewReader(c.body)
			}
			_, _, err := fetch(t.Context(), s.Origin, a)
			if c.reason == "" && err != nil {
				t.Errorf("%s: %v", c.what, err)
			} else if c.reason != "" {
				want(t, c.what, err, message.BlameOrigin, 502, c.reason, c.safe)
			}
			if s.dials != c.dials || s.inFlight.Load() != 0 {
				t.Errorf("%s: %d connections, %d in flight", c.what, s.dials, s.inFlight.Load())
			}
		})
	}
}

func TestARequestIsSentAgainOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, func(n int, p *peer) {
			p.head()
			if n == 0 {
				p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				p.head()
			}
		})
		fetch(t.Context(), s.Origin, &Attempt{Request: get("/")})
		_, _, err := fetch(t.Context(), s.Origin, &Attempt{Request: get("/")})
		want(t, "the new connection closes too", err, message.BlameOrigin, 502, "connection closed", false)
		if s.dials != 2 {
			t.Errorf("%d connections", s.dials)
		}
	})
}

func TestMoreThanMaxConnectionsAreNeverOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open, most atomic.Int32
		s := staged(t, quick, func(_ int, p *peer) {
			n := open.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			defer open.Add(-1)
			for p.head() != "" {
				time.Sleep(time.Microsecond) // so that there are others meanwhile
				p.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
			}
		})
		limited := make(chan bool, 1000)
		s.cfg.Events.Limited = func() { limited <- true }
		done := make(chan bool)
		for range 20 {
			go func() {
				for range 20 {
					if _, _, err := fetch(context.Background(), s.Origin, &Attempt{Request: get("/")}); err != nil {
						want(t, "over the limit", err, message.BlameEdge, 503, "origin connection limit", true)
						time.Sleep(time.Millisecond)
					}
				}
				done <- true
			}()
		}
		for range 20 {
			<-done
		}
		if most.Load() > int32(quick.MaxConnections) || s.inFlight.Load() != 0 || len(limited) == 0 {
			t.Errorf("%d at once, %d in flight, %d refused", most.Load(), s.inFlight.Load(), len(limited))
		}
	})
}
