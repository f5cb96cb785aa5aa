package fleet

import (
	"bufio"
	"context"
	"errors"
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

// responder answers one request on a connection, or does worse.
type responder func(c net.Conn, r *http.Request)

// respond serves each connection of a listener with that until the listener closes; connections are closed when it is done with them.
func respond(l net.Listener, do responder) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			br := bufio.NewReader(c)
			for {
				r, err := http.ReadRequest(br)
				if err != nil {
					break
				}
				do(c, r)
			}
			c.Close()
		}
	}()
	return func() { l.Close(); <-done }
}

// answer writes a response that an honest edge would write.
func answer(c io.Writer, k *keyring, r *http.Request, body string) {
	q, _, _ := readQuestion(r.Header)
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s", fieldMAC, k.pairs[0].answerMAC(q, []byte(body)), len(body), body)
}

func TestHostileAnswers(t *testing.T) {
	k, stranger := ring(t, secretA), ring(t, secretB)
	var recorded string // an answer to an earlier question
	plain := func(text string) responder {
		return func(c net.Conn, _ *http.Request) { io.WriteString(c, text); c.Close() }
	}
	// drip sends something at a time, for ever.
	drip := func(first, again string) responder {
		return func(c net.Conn, _ *http.Request) {
			_, err := io.WriteString(c, first)
			for err == nil {
				time.Sleep(50 * time.Millisecond)
				_, err = io.WriteString(c, again)
			}
		}
	}
	huge := strings.Repeat("x", 1<<20)
	const mac = fieldMAC + ": 00\r\n"
	for _, tt := range []struct {
		why  string
		do   responder
		want Outcome
	}{
		{"an honest one", func(c net.Conn, r *http.Request) { answer(c, k, r, valid) }, OutcomeAnswered},
		{"in chunks", func(c net.Conn, r *http.Request) {
			q, _, _ := readQuestion(r.Header)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%s: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", fieldMAC, k.pairs[0].answerMAC(q, []byte(valid)), len(valid), valid)
		}, OutcomeAnswered},
		{"nothing at all", func(net.Conn, *http.Request) {}, OutcomeTimeout},
		{"a connection that closes", func(c net.Conn, _ *http.Request) { c.Close() }, OutcomeLost},
		{"another secret", func(c net.Conn, r *http.Request) { answer(c, stranger, r, valid) }, OutcomeNotAuthentic},
		{"no signature", plain("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), OutcomeNotAuthentic},
		{"two signatures", plain("HTTP/1.1 200 OK\r\n" + mac + mac + "Content-Length: 2\r\n\r\n{}"), OutcomeNotAuthentic},
		{"the question's signature", func(c net.Conn, r *http.Request) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%s: %s\r\nContent-Length: 0\r\n\r\n", fieldMAC, r.Header.Get(fieldMAC))
		}, OutcomeNotAuthentic},
		{"a changed body", func(c net.Conn, r *http.Request) {
			var b strings.Builder
			answer(&b, k, r, valid)
			io.WriteString(c, strings.Replace(b.String(), "nyc-1", "nyc-2", 1))
		}, OutcomeNotAuthentic},
		{"a replayed answer", func(c net.Conn, r *http.Request) {
			if recorded == "" {
				var b strings.Builder
				answer(&b, k, r, valid)
				recorded = b.String()
				io.WriteString(c, "HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n")
				return
			}
			io.WriteString(c, recorded)
		}, OutcomeNotAuthentic},
		{"what is no report", func(c net.Conn, r *http.Request) { answer(c, k, r, "[1]") }, OutcomeMalformed},
		{"an old version", func(c net.Conn, r *http.Request) { answer(c, k, r, `{"version":0}`) }, OutcomeOldVersion},
		{"another region", func(c net.Conn, r *http.Request) { answer(c, k, r, strings.Replace(valid, `"nyc"`, `"tyo"`, 1)) }, OutcomeWrongRegion},
		{"a redirect", plain("HTTP/1.1 302 Found\r\nLocation: http://198.51.100.99/fleet\r\nContent-Length: 0\r\n\r\n"), OutcomeRefused},
		{"an interim response", plain("HTTP/1.1 103 \r\n\r\n"), OutcomeRefused},
		{"a switch of protocols", plain("HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"), OutcomeRefused},
		{"an error", plain("HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n"), OutcomeRefused},
		{"garbage", plain("\x16\x03\x01\x00\r\n\r\n\r\n"), OutcomeMalformed},
		{"a status that is none", plain("HTTP/1.1 abc\r\n\r\n"), OutcomeMalformed},
		{"half a header section", plain("HTTP/1.1 200 OK\r\nX: "), OutcomeLost},
		{"half a body", plain("HTTP/1.1 200 OK\r\n" + mac + "Content-Length: 100\r\n\r\n{"), OutcomeLost},
		{"a huge status line", plain(huge), OutcomeTooLarge},
		{"a huge field", plain("HTTP/1.1 200 OK\r\nX: " + huge), OutcomeTooLarge},
		{"a huge body", plain("HTTP/1.1 200 OK\r\n" + mac + "Content-Length: 1048576\r\n\r\n" + huge), OutcomeTooLarge},
		{"a body that claims to be huge", plain("HTTP/1.1 200 OK\r\n" + mac + "Content-Length: 9223372036854775807\r\n\r\n" + huge), OutcomeTooLarge},
		{"a body without end", plain("HTTP/1.1 200 OK\r\n" + mac + "\r\n" + huge), OutcomeTooLarge},
		{"fields that drip", drip("HTTP/1.1 200 OK\r\n", "X: y\r\n"), OutcomeTimeout},
		{"a body that drips", drip("HTTP/1.1 200 OK\r\n"+mac+"Content-Length: 9999\r\n\r\n", " "), OutcomeTimeout},
		{"chunks that drip", drip("HTTP/1.1 200 OK\r\n"+mac+"Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"), OutcomeTimeout},
	} {
		t.Run(tt.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				wait := respond(n.listen(nycAddr), tt.do)
				fra := n.edge(t, fraAddr, "fra-1", "fra", Target{"nyc", nycAddr})
				state := Silent
				if tt.want == OutcomeAnswered {
					state = Heard
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				p := fra.want(t, nycAddr, state, tt.want, "after many questions")
				if p.Err != nil && len(p.Err.Error()) > 2*maxErrorText {
					t.Errorf("an error of %d bytes", len(p.Err.Error()))
				}
				fra.stop()
				wait()
			})
		})
	}
}

// TestAnswerThatWasNotAskedForIsOfNoUse is a peer that sends answers ahead of the questions.
func TestAnswerThatWasNotAskedForIsOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := ring(t, secretA)
		n := newNetwork()
		conns := 0
		wait := respond(n.listen(nycAddr), func(c net.Conn, r *http.Request) {
			conns++
			var b strings.Builder
			answer(&b, k, r, valid)
			io.WriteString(c, b.String()+b.String())
		})
		l := &link{address: nycAddr, dial: n.dialer(fraAddr), timeout: time.Second}
		q := newQuestion("fra-1")
		for i := range 3 {
			if _, err := l.ask(t.Context(), q, k.signQuestion(q)); err != nil {
				t.Fatal(err)
			}
			if l.conn != nil {
				t.Errorf("question %d: a connection with an answer nobody asked for is kept", i)
			}
		}
		l.close()
		wait()
	})
}

func TestConnectionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", Target{"nyc", nycAddr})
		n.edge(t, nycAddr, "nyc-1", "nyc")
		time.Sleep(time.Minute)
		fra.want(t, nycAddr, Heard, OutcomeAnswered, "a minute of questions")
		if c := len(n.listeners[nycAddr].given); c != 1 {
			t.Errorf("%d connections, want one", c)
		}
	})
}

// TestAFarEdgeGetsItsTimeTwice is an edge 700ms away: the connection takes one round trip, the answer another.
func TestAFarEdgeGetsItsTimeTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := ring(t, secretA)
		n := newNetwork()
		wait := respond(n.listen(nycAddr), func(c net.Conn, r *http.Request) { time.Sleep(700 * time.Millisecond); answer(c, k, r, valid) })
		far := func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(700 * time.Millisecond):
				return n.dial(ctx, fraAddr, to)
			}
		}
		l := &link{address: nycAddr, dial: far, timeout: time.Second}
		for range 3 {
			q := newQuestion("fra-1")
			r, err := l.ask(t.Context(), q, k.signQuestion(q))
			if err != nil || r.rtt != 700*time.Millisecond {
				t.Fatalf("%s, %v", r.rtt, err)
			}
		}
		l.close()
		wait()
	})
}

func TestAnAnswerThatDoesNotComeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		wait := respond(n.listen(nycAddr), func(net.Conn, *http.Request) {})
		l := &link{address: nycAddr, dial: n.dialer(fraAddr), timeout: time.Second}
		start := time.Now()
		_, err := l.ask(t.Context(), newQuestion("fra-1"), "")
		if outcomeOf(err) != OutcomeTimeout || time.Since(start) != time.Second || l.conn != nil {
			t.Errorf("%v after %s, the connection is kept: %v", err, time.Since(start), l.conn != nil)
		}
		wait()
	})
}

func TestASlowDialIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{address: nycAddr, dial: newNetwork().dialer(fraAddr), timeout: time.Second}
		start := time.Now()
		_, err := l.ask(t.Context(), question{}, "")
		if outcomeOf(err) != OutcomeNoConnection || time.Since(start) != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}
