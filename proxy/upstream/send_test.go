package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"testing"
	"time"

	"nearcast/proxy/message"
)

func TestTheLengthOf304IsTheRepresentationsOrNone(t *testing.T) {
	for reply, want := range map[string]int64{
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n": 1234,
		"HTTP/1.1 304 Not Modified\r\n\r\n":                         -1,
		"HTTP/1.1 204 No Content\r\n\r\n":                           0,
	} {
		res, err := originOf(t, rawOrigin(t, reply), quick).RoundTrip(t.Context(), &Attempt{Request: get("/")})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.ContentLength != want {
			t.Errorf("%q: length %d, want %d", reply, res.ContentLength, want)
		}
	}
}

func TestAStatusThatIsNoFinalOneIsMalformed(t *testing.T) {
	for _, reply := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n",
	} {
		o := originOf(t, rawOrigin(t, reply), quick)
		_, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
		var e *message.Error
		if !errors.As(err, &e) || e.Blame != message.BlameOrigin || e.Status != 502 || e.Reason != "malformed response" || e.RetrySafe {
			t.Errorf("%q: got %#v", reply, err)
		}
		if n := o.inFlight.Load(); n != 0 {
			t.Errorf("%d still count as in flight", n)
		}
	}
}

func TestOnlyAKeptConnectionThatTookNothingIsStale(t *testing.T) {
	gotConn := func(p *progress, c *conn, reused bool) {
		httptrace.ContextClientTrace(p.trace(context.Background(), nil)).GotConn(httptrace.GotConnInfo{Conn: c, Reused: reused})
	}
	a, b := net.Pipe()
	defer a.Close()
	go io.Copy(io.Discard, b)
	kept, fresh := &conn{Conn: a, stall: time.Minute}, &conn{Conn: a, stall: time.Minute}
	io.WriteString(kept, "an earlier request")

	p := &progress{}
	if p.wrote() || p.stale() {
		t.Error("without a connection nothing was sent, and nothing is stale")
	}
	gotConn(p, kept, true)
	if p.wrote() || !p.stale() {
		t.Error("what was written before is another request's")
	}
	io.WriteString(kept, "GET /")
	if !p.wrote() || p.stale() {
		t.Error("the origin may have acted on it")
	}
	gotConn(p, fresh, false)
	if !p.wrote() {
		t.Error("a second connection does not undo what the first one took")
	}
	p = &progress{}
	if gotConn(p, fresh, false); p.wrote() || p.stale() {
		t.Error("a fresh connection is not stale")
	}
}

func TestAnOriginThatTakesNothingIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, reads never
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hasty := quick
	hasty.ResponseTimeout = 100 * time.Millisecond
	r := get("/")
	r.Method, r.ContentLength = "POST", -1
	done := make(chan error, 1)
	go func() {
		_, err := originOf(t, "http://"+l.Addr().String(), hasty).RoundTrip(t.Context(), &Attempt{Request: r, Body: zeros{}})
		done <- err
	}()
	select {
	case err := <-done:
		var e *message.Error
		if !errors.As(err, &e) || e.Status != 504 || e.Reason != "response timeout" || e.RetrySafe {
			t.Errorf("got %#v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("an upload hangs for as long as its client")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestTrailersThatMeanSomethingElseStayBehind(t *testing.T) {
	for _, name := range []string{"content-length", "transfer-encoding", "host", "authorization", "x-forwarded-for", "x_forwarded_for", "forwarded", "cookie", "content-type", "connection"} {
		if trailing(name) {
			t.Errorf("%s passed as a trailer", name)
		}
	}
	for _, name := range []string{"grpc-status", "x-sum", "digest"} {
		if !trailing(name) {
			t.Errorf("%s was held back", name)
		}
	}
}
