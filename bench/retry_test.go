package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// closing is an HTTP/1.1 server that answers two requests on each connection and ends it at the third with end, having
// read it.
func closing(t *testing.T, conf *tls.Config, end func(tcp *net.TCPConn, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			tcp, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer tcp.Close()
				c := tls.Server(tcp, conf)
				br := bufio.NewReader(c)
				for range 2 {
					if _, err := http.ReadRequest(br); err != nil {
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
				if _, err := http.ReadRequest(br); err == nil {
					end(tcp.(*net.TCPConn), c)
				}
			})
		}
	})
	return "https://" + l.Addr().String() + "/"
}

func TestHTTP1CloseRace(t *testing.T) {
	server, client := certificate(t, "fra-1")
	for _, c := range []struct {
		name      string
		end       func(*net.TCPConn, net.Conn)
		retry     Retry
		wantRetry bool
		want      Class
	}{
		{"orderly, not retried unless asked for", func(_ *net.TCPConn, c net.Conn) { c.Close() }, RetryNever, false, Closed},
		{"orderly, retried", func(_ *net.TCPConn, c net.Conn) { c.Close() }, RetryIdleClosed, true, OK},
		{"no close_notify, as a killed process leaves", func(tcp *net.TCPConn, _ net.Conn) { tcp.Close() }, RetryIdleClosed, false, Closed},
		{"reset", func(tcp *net.TCPConn, _ net.Conn) { tcp.SetLinger(0); tcp.Close() }, RetryIdleClosed, false, Reset},
		{"no close_notify, repeated as browsers do", func(tcp *net.TCPConn, _ net.Conn) { tcp.Close() }, RetryBroken, true, OK},
		{"reset, repeated as browsers do", func(tcp *net.TCPConn, _ net.Conn) { tcp.SetLinger(0); tcp.Close() }, RetryBroken, true, OK},
		{"orderly is no worse than broken", func(_ *net.TCPConn, c net.Conn) { c.Close() }, RetryBroken, true, OK},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := load(closing(t, server, c.end), HTTP1, client)
			o.KeepAlive, o.Connections, o.Retry = true, 1, c.retry
			classes, retried := inTurn(t, o, 3)
			if classes[0] != OK || classes[1] != OK || classes[2] != c.want || (retried > 0) != c.wantRetry {
				t.Errorf("got %v, %d retried; want the third %v, a retry: %t", classes, retried, c.want, c.wantRetry)
			}
		})
	}
}

// inTurn makes n requests, each after the one before, and returns how they ended and how many were retried.
func inTurn(t *testing.T, o Options, n int) (classes []Class, retried int) {
	t.Helper()
	p, err := newPlan(o)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(p)
	defer c.close()
	for range n {
		ctx, cancel := context.WithTimeout(t.Context(), p.Timeout)
		_, again, err := c.request(ctx)
		cancel()
		if again {
			retried++
		}
		if err != nil {
			t.Log(err)
		}
		classes = append(classes, classify(err))
	}
	return classes, retried
}

// An idle connection that the server ended before the next request was sent costs nothing: every client opens another.
func TestIdleConnectionsThatEndedAreReplaced(t *testing.T) {
	server, client := certificate(t, "fra-1")
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") })
	o := load(serve(t, server, h), HTTP1, client)
	o.KeepAlive = true
	if r := run1(t, o); r.OK != 40 || r.Dialled != 40 || r.Retried != 0 {
		t.Errorf("want 40 successes on 40 connections: %v, %d dialled, %v", r, r.Dialled, r.Examples)
	}
}

// goingAway is an HTTP/2 server that sends GOAWAY on its first connection when it sees the second stream. It answers every other.
func goingAway(t *testing.T, conf *tls.Config) string {
	t.Helper()
	conf = conf.Clone()
	conf.NextProtos = []string{"h2"}
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { defer c.Close(); answerStreams(c, n == 0) })
		}
	})
	return "https://" + l.Addr().String() + "/"
}

func answerStreams(c net.Conn, goAway bool) {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	fr := http2.NewFramer(c, c)
	fr.WriteSettings()
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		h, ok := f.(*http2.HeadersFrame)
		switch {
		case ok && h.StreamID > 1 && goAway:
			fr.WriteGoAway(1, http2.ErrCodeNo, nil)
		case ok: // :status 200 is entry 8 of HPACK's static table
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
		}
	}
}

func TestHTTP2GoAwayRace(t *testing.T) {
	server, client := certificate(t, "fra-1")
	for _, retry := range []Retry{RetryNever, RetryIdleClosed, RetryBroken} {
		o := load(goingAway(t, server), HTTP2, client)
		o.KeepAlive, o.Retry = true, retry
		want := map[bool]Class{false: Closed, true: OK}[retry != RetryNever]
		if classes, retried := inTurn(t, o, 3); classes[0] != OK || classes[1] != want || classes[2] != OK || (retried == 1) != (retry != RetryNever) {
			t.Errorf("retry %v: got %v, %d retried; the second meets GOAWAY", retry, classes, retried)
		}
	}
}

// A server that goes away rejects the requests that it hasn't begun (RFC 9114 §5.2).
func TestHTTP3Rejection(t *testing.T) {
	server, client := certificate(t, "fra-1")
	var n atomic.Int64
	url := serve(t, server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%2 == 0 {
			s, err := w.(http3.HTTPStreamer).HTTPStream()
			if err != nil {
				t.Error(err)
				return
			}
			s.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
			s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
		}
	}))
	for _, retry := range []Retry{RetryNever, RetryIdleClosed, RetryBroken} {
		n.Store(0)
		o := load(url, HTTP3, client)
		o.KeepAlive, o.Retry = true, retry
		want := map[bool]Class{false: Closed, true: OK}[retry != RetryNever]
		if classes, retried := inTurn(t, o, 2); classes[0] != OK || classes[1] != want || (retried == 1) != (retry != RetryNever) {
			t.Errorf("retry %v: got %v, %d retried; the second is rejected", retry, classes, retried)
		}
	}
}

// After a timeout the next request goes out on a new connection: otherwise a client whose packets vanish measures nothing but
// its own patience.
func TestTimedOutConnectionsAreReplaced(t *testing.T) {
	server, client := certificate(t, "fra-1")
	var stuck atomic.Bool
	url := serve(t, server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if stuck.CompareAndSwap(false, true) {
			<-r.Context().Done()
		}
	}))
	for _, p := range []Protocol{HTTP1, HTTP2, HTTP3} {
		stuck.Store(false)
		o := load(url, p, client)
		o.KeepAlive, o.Connections, o.Timeout = true, 1, 2*time.Second
		if classes, _ := inTurn(t, o, 2); classes[0] != Timeout || classes[1] != OK {
			t.Errorf("%v: got %v; the first meets a handler that never answers, the second must not share its connection", p, classes)
		}
	}
}
