package upstream

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"nearcast/proxy/message"
)

func TestAMalformedResponseIsRefusedAndItsConnectionDropped(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, reply := range map[string]string{
		"no version":               "200 OK\r\n\r\n",
		"another protocol":         "SSH-2.0-x\r\n",
		"another protocol, bare":   "+PONG",
		"empty line first":         "\r\n" + ok + "Content-Length: 0\r\n\r\n",
		"HTTP/2":                   "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.x":                 "HTTP/1.x 200 OK\r\nContent-Length: 0\r\n\r\n",
		"status of two digits":     "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
		"status of four digits":    "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
		"status below 100":         "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
		"bare LF":                  "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		"bare LF among the fields": ok + "A: b\nContent-Length: 0\r\n\r\n",
		"bare CR":                  ok + "A: b\rc\r\nContent-Length: 0\r\n\r\n",
		"NUL":                      ok + "A: b\x00c\r\nContent-Length: 0\r\n\r\n",
		"folded line":              ok + "A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
		"space before the colon":   ok + "Content-Length : 0\r\n\r\n",
		"no colon":                 ok + "Content-Length\r\n\r\n",
		"no name":                  ok + ": x\r\nContent-Length: 0\r\n\r\n",
		"two lengths":              ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
		"one length twice":         ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		"a list of lengths":        ok + "Content-Length: 1, 1\r\n\r\nx",
		"negative length":          ok + "Content-Length: -1\r\n\r\n",
		"signed length":            ok + "Content-Length: +1\r\n\r\nx",
		"huge length":              ok + "Content-Length: 99999999999999999999\r\n\r\n",
		"empty length":             ok + "Content-Length:\r\n\r\n",
		"length and chunked":       ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two codings":              ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"another coding":           ok + "Transfer-Encoding: deflate\r\n\r\n",
		"coding twice":             ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked in HTTP/1.0":      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a change not asked for":   "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"1xx with a body":          "HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nabc" + ok + "Content-Length: 0\r\n\r\n",
		"too many 1xx":             strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxHints) + ok + "Content-Length: 0\r\n\r\n",
		"header section too large": ok + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 70) + "\r\n",
		"endless line":             "HTTP/1.1 200 " + strings.Repeat("a", 70000),
		"too many lines":           ok + strings.Repeat("A: b\r\n", 300) + "\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			dropped := make(chan bool, 1)
			s := staged(t, quick, func(_ int, p *peer) {
				p.head()
				p.say(reply)
				_, err := p.Read(make([]byte, 1))
				dropped <- err == io.EOF
			})
			_, err := s.RoundTrip(t.Context(), &Attempt{Request: get("/")})
			want(t, name, err, message.BlameOrigin, 502, "malformed response", false)
			if !<-dropped || s.idle() != 0 || s.inFlight.Load() != 0 {
				t.Errorf("%s: the connection lives on, %d idle, %d in flight", name, s.idle(), s.inFlight.Load())
			}
		})
	}
}

func TestABodyThatIsNotFramedRightIsCutAndItsConnectionDropped(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct{ name, reply, body, reason string }{
		{"short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "abc", "response body cut"},
		{"ends between chunks", chunked + "3\r\nabc\r\n", "abc", "response body cut"},
		{"ends in a chunk", chunked + "9\r\nabc", "abc", "response body cut"},
		{"ends before the trailers' end", chunked + "3\r\nabc\r\n0\r\nA: b\r\n", "abc", "response body cut"},
		{"no size", chunked + "\r\nabc\r\n0\r\n\r\n", "", "malformed response"},
		{"size that is no number", chunked + "3\r\nabc\r\nxyz\r\n", "abc", "malformed response"},
		{"0x before a size", chunked + "0x3\r\nabc\r\n0\r\n\r\n", "", "malformed response"},
		{"huge size", chunked + "fffffffffffffffff\r\n", "", "malformed response"},
		{"bare LF after a size", chunked + "3\nabc\r\n0\r\n\r\n", "", "malformed response"},
		{"no line end after a chunk", chunked + "3\r\nabcd\r\n0\r\n\r\n", "abc", "malformed response"},
		{"junk in an extension", chunked + "3;\x00\r\nabc\r\n0\r\n\r\n", "", "malformed response"},
		{"a length among the trailers", chunked + "0\r\nContent-Length: 3\r\n\r\n", "", "malformed response"},
		{"a folded trailer", chunked + "0\r\nA: b\r\n c\r\n\r\n", "", "malformed response"},
		{"trailers too large", chunked + "0\r\nA: " + strings.Repeat("b", 70000) + "\r\n\r\n", "", "malformed response"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := staged(t, quick, func(_ int, p *peer) { p.head(); p.say(c.reply) })
			_, body, err := fetch(t.Context(), s.Origin, &Attempt{Request: get("/")})
			status := 502
			want(t, c.name, err, message.BlameOrigin, status, c.reason, false)
			if body != c.body {
				t.Errorf("%s: body %q, want %q", c.name, body, c.body)
			}
			if s.idle() != 0 || s.inFlight.Load() != 0 || s.saw() != closeFault {
				t.Errorf("%s: %d idle, %d in flight, closed %q", c.name, s.idle(), s.inFlight.Load(), s.saw())
			}
		})
	}
}

func TestNothingInARequestCanEndALine(t *testing.T) {
	for name, spoil := range map[string]func(*Attempt){
		"CRLF in a value":   func(a *Attempt) { a.Fields = message.Fields{{Name: "a", Value: "b\r\nc: d"}} },
		"NUL in a value":    func(a *Attempt) { a.Fields = message.Fields{{Name: "a", Value: "b\x00"}} },
		"colon in a name":   func(a *Attempt) { a.Fields = message.Fields{{Name: "a: b", Value: "c"}} },
		"capitals":          func(a *Attempt) { a.Fields = message.Fields{{Name: "Content-Length", Value: "5"}} },
		"empty name":        func(a *Attempt) { a.Fields = message.Fields{{Value: "5"}} },
		"space in a method": func(a *Attempt) { a.Request.Method = "GET /x" },
		"no method":         func(a *Attempt) { a.Request.Method = "" },
		"space in a target": func(a *Attempt) { a.Request.Target.Path = "/ HTTP/1.1" },
		"LF in a query":     func(a *Attempt) { a.Request.Target.Query, a.Request.Target.HasQuery = "\n", true },
		"no target":         func(a *Attempt) { a.Request.Target = message.Target{} },
		"CRLF in the host":  func(a *Attempt) { a.Request.Authority = "a\r\nb: c" },
	} {
		for _, scheme := range []string{"http", "h2c"} {
			synctest.Test(t, func(t *testing.T) {
				s := staged(t, quick, func(_ int, p *peer) {
					if b, _ := io.ReadAll(p); len(b) > 0 {
						t.Errorf("%s: %q went out", name, b)
					}
				})
				if scheme == "h2c" {
					s.multi = newMultiplexed(&s.cfg, true)
				}
				a := &Attempt{Request: get("/")}
				spoil(a)
				_, err := s.RoundTrip(t.Context(), a)
				want(t, scheme+": "+name, err, message.BlameEdge, 500, "unsendable request", false)
				if s.inFlight.Load() != 0 {
					t.Errorf("%s: still in flight", name)
				}
			})
		}
	}
}

func TestWhatIsForOneConnectionIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 1)
		s := staged(t, quick, func(_ int, p *peer) {
			got <- p.head()
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		})
		r := with("POST", 0)
		r.Target.Query, r.Target.HasQuery = "q=1", true
		a := &Attempt{Request: r, Fields: message.Fields{
			{Name: "connection", Value: "x"}, {Name: "keep-alive", Value: "x"}, {Name: "te", Value: "trailers"}, {Name: "transfer-encoding", Value: "chunked"},
			{Name: "upgrade", Value: "x"}, {Name: "trailer", Value: "x"}, {Name: "content-length", Value: "7"}, {Name: "expect", Value: "100-continue"},
			{Name: "host", Value: "evil"}, {Name: "proxy-connection", Value: "x"}, {Name: "accept", Value: "*/*"}, {Name: "x-tab", Value: "a\tb"},
		}}
		if _, _, err := fetch(t.Context(), s.Origin, a); err != nil {
			t.Fatal(err)
		}
		const head = "POST /?q=1 HTTP/1.1\r\nhost: shop.example\r\naccept: */*\r\nx-tab: a\tb\r\ncontent-length: 0\r\n\r\n"
		if g := <-got; g != head {
			t.Errorf("sent %q, want %q", g, head)
		}
	})
}
