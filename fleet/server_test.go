package fleet

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var strangerAddr = netip.MustParseAddrPort("203.0.113.9:40000")

// connect makes a connection to an edge.
func (n *network) connect(t *testing.T, from, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := n.dial(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// status sends a request and returns the status of its response, 0 when the connection ends without one, and whether it ends then.
func status(c net.Conn, br *bufio.Reader, request string) (code int, ends bool) {
	go io.WriteString(c, request)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return 0, true
	}
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Close
}

func TestWhatIsNoQuestionGetsNoAnswer(t *testing.T) {
	k, q := ring(t, secretA), newQuestion("nyc-1")
	good := q.request(fraAddr, k.signQuestion(q))
	swap := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, tt := range []struct {
		why, request string
		want         int
		reason       string // by which it is counted; "" when the HTTP server refuses by itself
	}{
		{"a question", good, 200, ""},
		{"another signature", q.request(fraAddr, ring(t, secretB).signQuestion(q)), 403, "not authentic"},
		{"another asker", swap("nyc-1", "nyc-2"), 403, "not authentic"},
		{"no fields", "GET /fleet HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed"},
		{"another path", swap("/fleet", "/metrics"), 404, "malformed"},
		{"a query", swap("/fleet", "/fleet?x=y"), 404, "malformed"},
		{"an absolute form", swap("/fleet", "http://x/fleet"), 404, "malformed"},
		{"another method", swap("GET", "POST"), 404, "malformed"},
		{"HEAD", swap("GET", "HEAD"), 404, "malformed"},
		{"everything", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, "malformed"},
		{"a body", swap("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\nabc"), 404, "malformed"},
		{"a chunked body", swap("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 404, "malformed"},
		{"large fields", swap("\r\n\r\n", "\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n"), 431, ""},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404, "malformed"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, ""},
	} {
		t.Run(tt.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
				c := n.connect(t, strangerAddr, fraAddr)
				code, ends := status(c, bufio.NewReader(c), tt.request)
				if code != tt.want || ends != (tt.want != 200) {
					t.Errorf("status %d, connection ends: %v; want %d", code, ends, tt.want)
				}
				if fra.server.metrics.answered.Get() != map[bool]uint64{true: 1}[tt.want == 200] {
					t.Error("answered though it was no question, or not counted")
				}
				if tt.reason != "" && !strings.Contains(fra.text(), fmt.Sprintf("nearcast_fleet_questions_refused_total{reason=%q} 1\n", tt.reason)) {
					t.Errorf("not counted as %s:\n%s", tt.reason, fra.text())
				}
				c.Close()
			})
		})
	}
}

func TestAReplayedQuestionCostsAnAnswerAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		k, q := ring(t, secretA), newQuestion("nyc-1")
		recorded := q.request(fraAddr, k.signQuestion(q))
		answered, refused := 0, 0
		for range 1000 { // at one moment
			c := n.connect(t, strangerAddr, fraAddr)
			code, _ := status(c, bufio.NewReader(c), recorded)
			switch code {
			case 200:
				answered++
			case 429:
				refused++
			default:
				t.Fatalf("status %d", code)
			}
			c.Close()
			synctest.Wait()
		}
		if answered != perSecondOfStrangers+1 || refused != 1000-answered {
			t.Errorf("%d answered, %d refused; want a second's worth answered", answered, refused)
		}
		c := n.connect(t, nycAddr, fraAddr)
		if code, _ := status(c, bufio.NewReader(c), recorded); code != 200 {
			t.Errorf("an edge gets %d while a stranger asks too much", code)
		}
		if !strings.Contains(fra.text(), fmt.Sprintf(`reason="too many questions"} %d`, refused)) {
			t.Error("not counted")
		}
	})
}

func TestStrangersThatHoldConnectionsDoNotKeepEdgesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		for range connsOfStrangers {
			c := n.connect(t, strangerAddr, fraAddr)
			go func() { // a header section that never ends
				for _, err := io.WriteString(c, "GET /fleet HTTP/1.1\r\n"); err == nil; _, err = io.WriteString(c, "X: y\r\n") {
					time.Sleep(500 * time.Millisecond)
				}
			}()
		}
		synctest.Wait()
		more := n.connect(t, strangerAddr, fraAddr)
		if code, _ := status(more, bufio.NewReader(more), "GET /fleet HTTP/1.1\r\nHost: x\r\n\r\n"); code != 0 {
			t.Errorf("one connection too many gets status %d", code)
		}
		if !strings.Contains(fra.text(), `reason="too many connections"} 1`) {
			t.Error("not counted")
		}
		nyc := n.edge(t, nycAddr, "nyc-1", "nyc", all...)
		time.Sleep(time.Second)
		nyc.want(t, fraAddr, Heard, OutcomeAnswered, "the strangers are not in its way")

		time.Sleep(serveTimeout)
		synctest.Wait()
		again := n.connect(t, strangerAddr, fraAddr)
		if code, _ := status(again, bufio.NewReader(again), "GET /fleet HTTP/1.1\r\nHost: x\r\n\r\n"); code != 400 {
			t.Errorf("when the slow ones have been shut out a stranger gets %d, want 400", code)
		}
	})
}

func TestSharesOfSources(t *testing.T) {
	s := newSources([]Target{{"nyc", netip.MustParseAddrPort("[::ffff:198.51.100.18]:9181")}, {"tyo", tyoAddr}})
	tcp := func(a string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(a)) }
	for a, peer := range map[string]bool{
		"198.51.100.18:5": true, "[::ffff:198.51.100.18]:5": true, "[2001:db8:3::2]:5": true, "[2001:db8:3::3]:5": false, "198.51.100.2:9181": false,
	} {
		if got := s.of(tcp(a)) != s.strangers; got != peer {
			t.Errorf("%s is an edge: %v, want %v", a, got, peer)
		}
	}
	if s.of(&net.UnixAddr{}) != s.strangers {
		t.Error("an address of another kind is an edge's")
	}
}

func TestRateOfQuestions(t *testing.T) {
	s := newSource(1, 10)
	now := time.Unix(0, 0)
	asked := 0
	for s.ask(now) {
		asked++
	}
	if asked != 11 {
		t.Errorf("%d at once, want a second's worth and one", asked)
	}
	asked = 0
	for range 1000 {
		now = now.Add(10 * time.Millisecond)
		if s.ask(now) {
			asked++
		}
	}
	if asked != 100 {
		t.Errorf("%d in ten seconds, want 100", asked)
	}
	if !s.ask(now.Add(-time.Hour)) && !s.ask(now.Add(time.Hour)) {
		t.Error("closed for ever")
	}
}
