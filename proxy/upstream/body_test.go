package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// stuck is a body whose client sends some and then nothing, until it is interrupted.
type stuck struct {
	first string
	end   chan struct{}
	once  sync.Once

	mu          sync.Mutex
	reading     bool
	interrupted bool
}

func newStuck(first string) *stuck { return &stuck{first: first, end: make(chan struct{})} }

func (s *stuck) Read(p []byte) (int, error) {
	s.mu.Lock()
	s.reading = true
	if n := copy(p, s.first); n > 0 {
		s.first = s.first[n:]
		s.reading = false
		s.mu.Unlock()
		return n, nil
	}
	s.mu.Unlock()
	<-s.end
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	return 0, errors.New("interrupted")
}

func (s *stuck) Interrupt() {
	s.mu.Lock()
	s.interrupted = true
	s.mu.Unlock()
	s.once.Do(func() { close(s.end) })
}

func TestAnEarlyAnswerIsNotMissed(t *testing.T) {
	for _, c := range []struct {
		what, reply string
		status      int
	}{
		{"a refusal", "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno", 413},
		{"a refusal that closes", "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", 413},
		{"success before the end", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 200},
	} {
		for _, length := range []int64{-1, 100000} {
			synctest.Test(t, func(t *testing.T) {
				s := staged(t, quick, func(_ int, p *peer) {
					p.head()
					p.Read(make([]byte, 10))
					p.say(c.reply)
					io.Copy(io.Discard, p)
				})
				body := newStuck("something")
				var res *Response
				var got string
				var err error
				took := in(func() {
					res, got, err = fetch(t.Context(), s.Origin, &Attempt{Request: with("POST", length), Body: body})
				})
				if err != nil || res.Status != c.status || got != "no" || took != 0 {
					t.Fatalf("%s: %v, %q, %v after %v", c.what, res, got, err, took)
				}
				if body.reading || !body.interrupted {
					t.Errorf("%s: the client's connection is still read from", c.what)
				}
				if s.idle() != 0 || s.inFlight.Load() != 0 {
					t.Errorf("%s: half a request on a kept connection", c.what)
				}
			})
		}
	}
}

func TestNoMoreIsSentToAnOriginThatHasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrived := 0
		s := staged(t, quick, func(_ int, p *peer) {
			p.head()
			p.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n")
			time.AfterFunc(time.Minute, func() { p.say("no") })
			n, _ := io.Copy(io.Discard, p)
			arrived = int(n)
		})
		body := &slow{make([]string, 1000), time.Second}
		for i := range body.pieces {
			body.pieces[i] = "0123456789"
		}
		res, got, err := fetch(t.Context(), s.Origin, &Attempt{Request: with("POST", 10000), Body: body})
		if err != nil || res.Status != 413 || got != "no" {
			t.Fatalf("%v, %q, %v", res, got, err)
		}
		synctest.Wait()
		if arrived > 10 {
			t.Errorf("%d bytes arrived", arrived)
		}
	})
}

func TestABodyThatEndsAfterTheAnswerBeganTakesNothingFromIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, Config{ResponseTimeout: time.Second}, func(_ int, p *peer) {
			p.head()
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
			io.ReadFull(p, make([]byte, len("1\r\na\r\n0\r\n\r\n")))
			time.Sleep(time.Minute)
			p.say("ok")
		})
		_, got, err := fetch(t.Context(), s.Origin, &Attempt{Request: with("POST", -1), Body: &slow{[]string{"a"}, 10 * time.Second}})
		if err != nil || got != "ok" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// patient is stuck, and can't be interrupted.
type patient struct{ s *stuck }

func (p patient) Read(b []byte) (int, error) { return p.s.Read(b) }

func TestNobodyReadsTheBodyAfterTheExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, func(_ int, p *peer) { p.head(); p.Read(make([]byte, 10)) })
		body := newStuck("something")
		time.AfterFunc(time.Minute, body.Interrupt) // the client's own timeout
		var err error
		took := in(func() {
			_, err = s.RoundTrip(t.Context(), &Attempt{Request: with("POST", -1), Body: patient{body}})
		})
		want(t, "the origin closes", err, message.BlameOrigin, 502, "connection closed", false)
		if body.reading || took != time.Minute {
			t.Errorf("returned after %v, still being read: %v", took, body.reading)
		}
	})
}

func TestBodiesArriveAsTheyWere(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 5000)
	for _, c := range []struct {
		name   string
		body   string
		length int64
		chunks bool
	}{
		{"small", "hello", 5, false},
		{"as small as can be streamed", large[:smallBody], smallBody, false},
		{"just larger", large[:smallBody+1], smallBody + 1, false},
		{"large", large, int64(len(large)), false},
		{"chunked", large, -1, true},
		{"chunked and empty", "", -1, true},
		{"longer than it says", "hello and more", 5, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			type seen struct {
				body    string
				trailer string
				err     error
			}
			got := make(chan seen, 1)
			s := staged(t, quick, func(_ int, p *peer) {
				for {
					req, err := http.ReadRequest(p.Reader)
					if err != nil {
						return
					}
					b, err := io.ReadAll(req.Body)
					got <- seen{string(b), fmt.Sprint(req.Trailer), err}
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			r := with("POST", c.length)
			r.Trailers = func() message.Fields {
				return message.Fields{{Name: "x-sum", Value: "1"}, {Name: "x-forwarded-for", Value: "1"}, {Name: "authorization", Value: "1"}}
			}
			for range 2 {
				if _, _, err := fetch(t.Context(), s.Origin, &Attempt{Request: r, Body: inPieces(c.body)}); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				g := <-got
				wantBody := c.body
				if c.length >= 0 {
					wantBody = c.body[:c.length]
				}
				if g.body != wantBody || g.err != nil {
					t.Errorf("%s: %d bytes arrived, want %d; %v", c.name, len(g.body), len(wantBody), g.err)
				}
				if wantTrailer := map[bool]string{true: "map[X-Sum:[1]]", false: "map[]"}[c.chunks]; g.trailer != wantTrailer {
					t.Errorf("%s: trailers %s, want %s", c.name, g.trailer, wantTrailer)
				}
			}
			if s.dials != 1 {
				t.Errorf("%s: the connection was not kept: %s", c.name, s.saw())
			}
		})
	}
}

// inPieces gives pieces of odd sizes, and io.EOF apart.
func inPieces(s string) io.Reader { return &pieces{s: s, n: 1} }

type pieces struct {
	s string
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.s == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.s)
	p.s, p.n = p.s[n:], p.n*3+1
	return n, nil
}

func TestASmallBodyIsSentWithTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan int, 1)
		s := staged(t, quick, func(_ int, p *peer) {
			n, _ := p.Conn.Read(make([]byte, bufferSize)) // of a pipe: what one Write wrote
			got <- n
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		})
		body := strings.Repeat("x", 4000)
		if _, _, err := fetch(t.Context(), s.Origin, &Attempt{Request: with("POST", 4000), Body: inPieces(body)}); err != nil {
			t.Fatal(err)
		}
		if n := <-got; n < 4000 {
			t.Errorf("the first write had %d bytes", n)
		}
	})
}

func TestABodyThatEndsEarlyIsTheClientsFault(t *testing.T) {
	own := &message.Error{Blame: message.BlameClient, Status: 408, Reason: "too slow"}
	for _, length := range []int64{10, smallBody + 10, -1} {
		for name, tail := range map[string]error{"io.EOF": io.EOF, "another": errors.New("reset"), "its own": own} {
			if length < 0 && tail == io.EOF {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				whole := make(chan bool, 1)
				s := staged(t, quick, func(_ int, p *peer) {
					req, err := http.ReadRequest(p.Reader)
					if err == nil {
						_, err = io.Copy(io.Discard, req.Body)
					}
					whole <- err == nil
				})
				_, _, err := fetch(t.Context(), s.Origin, &Attempt{Request: with("POST", length), Body: io.MultiReader(strings.NewReader("abc"), errReader{tail})})
				if name == "its own" {
					want(t, name, err, message.BlameClient, 408, "too slow", false)
				} else {
					want(t, name, err, message.BlameClient, 400, "request body cut", false)
				}
				if <-whole || s.idle() != 0 || s.inFlight.Load() != 0 {
					t.Errorf("length %d, %s: the origin may take it for whole; %d idle", length, name, s.idle())
				}
			})
		}
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("a fault of the front end's") }

func TestAPanicOfTheBodyEndsTheExchangeAlone(t *testing.T) {
	url := cleartext(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	for _, o := range []*Origin{staged(t, quick, func(_ int, p *peer) { io.Copy(io.Discard, p) }).Origin, originOf(t, url, quick)} {
		_, err := o.RoundTrip(t.Context(), &Attempt{Request: with("POST", -1), Body: panicking{}})
		want(t, "a panic", err, message.BlameEdge, 500, "internal error", false)
	}
}

func TestInformationalResponsesPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, answering("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n"+
			"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
		var got []string
		a := &Attempt{Request: get("/"), Informational: func(status int, f message.Fields) { got = append(got, fmt.Sprint(status, f)) }}
		if _, body, err := fetch(t.Context(), s.Origin, a); err != nil || body != "x" {
			t.Fatalf("%q, %v", body, err)
		}
		if g, w := strings.Join(got, "; "), "103 [{link </a>} {link </b>}]; 102 []"; g != w {
			t.Errorf("got %q, want %q", g, w)
		}
	})
}

func TestTheResponsesFieldsAreItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := staged(t, quick, func(_ int, p *peer) {
			for p.head() != "" {
				n++
				p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nX-N: %d\r\nContent-Length: 1\r\n\r\n%d", n, n))
			}
		})
		first, _, err := fetch(t.Context(), s.Origin, &Attempt{Request: get("/")})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			fetch(t.Context(), s.Origin, &Attempt{Request: get("/")})
		}
		if g := first.Fields.Get("x-n"); g != "1" {
			t.Errorf("an earlier response's field is %q now", g)
		}
	})
}

func TestAHeaderSectionLargerThanTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("v", 50000)
		s := staged(t, quick, answering("HTTP/1.1 103 Early Hints\r\nA: "+long+"\r\n\r\nHTTP/1.1 200 OK\r\nA: "+long+"\r\nContent-Length: 5\r\n\r\nhello"))
		for range 2 {
			res, body, err := fetch(t.Context(), s.Origin, &Attempt{Request: get("/")})
			if err != nil || body != "hello" || res.Fields.Get("a") != long {
				t.Fatalf("%q, %v", body, err)
			}
		}
		if s.dials != 1 {
			t.Errorf("not kept: %s", s.saw())
		}
	})
}

func TestALargeRequestHeadIsSentWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("v", 3*bufferSize)
		got := make(chan string, 1)
		s := staged(t, quick, func(_ int, p *peer) { got <- p.head(); p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") })
		_, _, err := fetch(t.Context(), s.Origin, &Attempt{Request: get("/"), Fields: message.Fields{{Name: "a", Value: long}}})
		if g := <-got; err != nil || !strings.Contains(g, "a: "+long+"\r\n") {
			t.Errorf("%d bytes arrived, %v", len(g), err)
		}
	})
}

// FuzzExchange feeds an origin's bytes to an exchange, whole and in pieces: it must come to the same, without a panic.
func FuzzExchange(f *testing.F) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, seed := range []string{
		ok + "Content-Length: 3\r\n\r\nabc", ok + "Transfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\n",
		ok + "\r\nuntil the end", "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 200\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nx", ok + "Content-Length: 3\r\n\r\nabcdef", "HTTP/1.1 200 OK\nA: b\n\n",
	} {
		f.Add([]byte(seed), uint8(3), false)
	}
	f.Fuzz(func(t *testing.T, reply []byte, step uint8, head bool) {
		if len(reply) > 1<<16 {
			return
		}
		whole := exchangeWith(t, reply, len(reply)+1, head)
		if parts := exchangeWith(t, reply, int(step)+1, head); parts != whole {
			t.Errorf("in pieces of %d bytes: %q\nat once: %q", int(step)+1, parts, whole)
		}
	})
}

// exchangeWith describes what an exchange comes to.
func exchangeWith(t *testing.T, reply []byte, step int, head bool) (outcome string) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, func(_ int, p *peer) {
			p.head()
			for rest := reply; len(rest) > 0; {
				n := min(step, len(rest))
				if _, err := p.Conn.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		})
		r := get("/")
		if head {
			r.Method = "HEAD"
		}
		var b bytes.Buffer
		res, err := s.RoundTrip(context.Background(), &Attempt{Request: r, Informational: func(status int, f message.Fields) { fmt.Fprintln(&b, status, f) }})
		if err != nil {
			outcome = b.String() + err.Error()
			return
		}
		body, err := io.ReadAll(bufio.NewReaderSize(res.Body, 64))
		res.Body.Close()
		if s.inFlight.Load() != 0 || s.idle() > 1 {
			t.Errorf("%d in flight, %d idle", s.inFlight.Load(), s.idle())
		}
		fmt.Fprintf(&b, "%d %v %d %q %v %v", res.Status, res.Fields, res.ContentLength, body, res.Trailers(), err)
		outcome = b.String()
	})
	return outcome
}
