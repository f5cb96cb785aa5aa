package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// in measures how long f takes on the bubble's clock.
func in(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func TestEveryWaitHasItsTimeout(t *testing.T) {
	cfg := Config{ConnectTimeout: 2 * time.Second, ResponseTimeout: 5 * time.Second, ReadTimeout: 3 * time.Second}
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
	for _, c := range []struct {
		what   string
		r      *message.Request
		body   io.Reader
		serve  func(*peer)
		reason string
		after  time.Duration
	}{
		{"no answer", get("/"), nil, func(p *peer) { p.head() }, "response timeout", 5 * time.Second},
		{"half a header section", get("/"), nil, func(p *peer) { p.head(); p.say("HTTP/1.1 200 OK\r\nA:") }, "response timeout", 5 * time.Second},
		{"hints and no answer", get("/"), nil, func(p *peer) {
			p.head()
			for range 3 {
				time.Sleep(time.Second)
				p.say("HTTP/1.1 103 Early Hints\r\n\r\n")
			}
		}, "response timeout", 5 * time.Second},
		{"nothing taken", get("/"), nil, func(p *peer) {}, "response timeout", 5 * time.Second},
		{"no answer to a small body", with("POST", 3), strings.NewReader("abc"), func(p *peer) { p.head() }, "response timeout", 5 * time.Second},
		{"a streamed body not taken", with("POST", -1), zeros{}, func(p *peer) { p.head(); p.ReadByte() }, "response timeout", 5 * time.Second},
		{"no answer to a streamed body", with("POST", -1), &slow{[]string{"a", "b", "c"}, 4 * time.Second}, func(p *peer) { io.Copy(io.Discard, p) }, "response timeout", 12*time.Second + 5*time.Second},
		{"no body", get("/"), nil, func(p *peer) { p.head(); time.Sleep(4 * time.Second); p.say(head) }, "read timeout", 7 * time.Second},
		{"a body that stops", get("/"), nil, func(p *peer) {
			p.head()
			p.say(head)
			for range 3 {
				time.Sleep(2 * time.Second)
				p.say("x")
			}
		}, "read timeout", 9 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			hang := make(chan bool)
			s := staged(t, cfg, func(_ int, p *peer) { c.serve(p); <-hang })
			var err error
			took := in(func() { _, _, err = fetch(t.Context(), s.Origin, &Attempt{Request: c.r, Body: c.body}) })
			close(hang)
			want(t, c.what, err, message.BlameOrigin, 504, c.reason, c.what == "nothing taken")
			if took != c.after {
				t.Errorf("%s: given up after %v, want %v", c.what, took, c.after)
			}
			if s.idle() != 0 || s.inFlight.Load() != 0 {
				t.Errorf("%s: %d idle, %d in flight", c.what, s.idle(), s.inFlight.Load())
			}
		})
	}
}

// slow gives its pieces with a wait before each of them.
type slow struct {
	pieces []string
	wait   time.Duration
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	time.Sleep(s.wait)
	n := copy(p, s.pieces[0])
	s.pieces = s.pieces[1:]
	return n, nil
}

func TestASlowClientIsNotTheOriginsFault(t *testing.T) {
	for _, length := range []int64{3, -1, smallBody + 1} {
		synctest.Test(t, func(t *testing.T) {
			s := staged(t, Config{ResponseTimeout: time.Second, ReadTimeout: time.Second}, func(_ int, p *peer) {
				p.head()
				n := max(length, int64(len("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")))
				if length == 3 {
					n = 3
				}
				io.CopyN(io.Discard, p, n)
				p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			})
			body := &slow{[]string{"a", "b", "c"}, time.Minute}
			if length > 3 {
				body.pieces = []string{strings.Repeat("a", smallBody), "b"}
			}
			if _, _, err := fetch(t.Context(), s.Origin, &Attempt{Request: with("POST", length), Body: body}); err != nil {
				t.Errorf("length %d: %v", length, err)
			}
			if s.idle() != 1 {
				t.Errorf("length %d: the connection was not kept: %s", length, s.saw())
			}
		})
	}
}

func TestTheEndOfTheContextEndsEveryWait(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
	for _, c := range []struct {
		what  string
		r     *message.Request
		body  io.Reader
		serve func(*peer)
	}{
		{"sending", get("/"), nil, func(*peer) {}},
		{"waiting", get("/"), nil, func(p *peer) { p.head() }},
		{"sending a body", with("POST", -1), zeros{}, func(p *peer) { p.head() }},
		{"reading", get("/"), nil, func(p *peer) { p.head(); p.say(head) }},
	} {
		for _, deadline := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				hang := make(chan bool)
				s := staged(t, quick, func(_ int, p *peer) { c.serve(p); <-hang })
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if !deadline {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(time.Second, cancel)
				}
				var err error
				took := in(func() { _, _, err = fetch(ctx, s.Origin, &Attempt{Request: c.r, Body: c.body}) })
				close(hang)
				switch {
				case !deadline:
					want(t, c.what, err, message.BlameClient, 499, "client went away", false)
				case c.what == "reading":
					want(t, c.what, err, message.BlameOrigin, 504, "read timeout", false)
				default:
					want(t, c.what, err, message.BlameOrigin, 504, "response timeout", c.what == "sending")
				}
				if took != time.Second || s.idle() != 0 || s.inFlight.Load() != 0 {
					t.Errorf("%s: after %v: %d idle, %d in flight", c.what, took, s.idle(), s.inFlight.Load())
				}
			})
		}
	}
}

func TestAContextThatHasEndedSendsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := staged(t, quick, func(int, *peer) { t.Error("a connection was made") })
	_, err := s.RoundTrip(ctx, &Attempt{Request: get("/")})
	want(t, "it has ended", err, message.BlameClient, 499, "client went away", false)
}

func TestAnEndAfterTheBodyLeavesTheConnectionAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			if _, _, err := fetch(ctx, s.Origin, &Attempt{Request: get("/")}); err != nil {
				t.Fatal(err)
			}
			cancel()
			synctest.Wait()
		}
		if s.dials != 1 {
			t.Errorf("%d connections", s.dials)
		}
	})
}

func TestTheMakingOfAConnectionFails(t *testing.T) {
	for _, c := range []struct {
		what, reason string
		dial         func(ctx context.Context) (net.Conn, error)
		status       int
		after        time.Duration
	}{
		{"a timeout", "connect timeout", func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }, 504, 2 * time.Second},
		{"another error", "connect failed", func(context.Context) (net.Conn, error) { return nil, errors.New("no route") }, 502, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{ConnectTimeout: 2 * time.Second, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if network != "tcp" || addr != "origin.example:80" {
					t.Errorf("dialed %s %s", network, addr)
				}
				return c.dial(ctx)
			}}
			o := originOf(t, "http://origin.example", cfg)
			var err error
			took := in(func() { _, err = o.RoundTrip(t.Context(), &Attempt{Request: get("/")}) })
			want(t, c.what, err, message.BlameOrigin, c.status, c.reason, true)
			if took != c.after {
				t.Errorf("%s: after %v", c.what, took)
			}
		})
	}
}

func TestAClientThatIsSlowToTakeAHintIsNotTheOriginsFault(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := staged(t, quick, func(_ int, p *peer) {
				p.head()
				time.Sleep(time.Second)
				p.say("HTTP/1.1 103 Early Hints\r\n\r\n")
				if answers {
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
				p.head()
			})
			const slow = time.Minute
			a := &Attempt{Request: get("/"), Informational: func(int, message.Fields) { time.Sleep(slow) }}
			var body string
			var err error
			took := in(func() { _, body, err = fetch(t.Context(), s.Origin, a) })
			if answers {
				if err != nil || body != "ok" {
					t.Errorf("%q, %v", body, err)
				}
				return
			}
			want(t, "no answer", err, message.BlameOrigin, 504, "response timeout", false)
			if took != slow+quick.ResponseTimeout {
				t.Errorf("after %v", took)
			}
		})
	}
}
