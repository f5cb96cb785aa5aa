package bench

import (
	"bufio"
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
		retry     bool
		wantRetry bool
		wantFail  Class
	}{
		{"orderly, not retried unless asked for", func(_ *net.TCPConn, c net.Conn) { c.Close() }, false, false, Closed},
		{"orderly, retried", func(_ *net.TCPConn, c net.Conn) { c.Close() }, true, true, OK},
		{"no close_notify, as a killed process leaves", func(tcp *net.TCPConn, _ net.Conn) { tcp.Close() }, true, false, Closed},
		{"reset", func(tcp *net.TCPConn, _ net.Conn) { tcp.SetLinger(0); tcp.Close() }, true, false, Reset},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := load(closing(t, server, c.end), HTTP1, client)
			o.KeepAlive, o.Connections, o.RetryIdleClosed = true, 1, c.retry
			r := run1(t, o)
			if c.wantFail == OK && r.Failed != 0 || c.wantFail != OK && (r.Failures[c.wantFail] == 0 || r.Failures[c.wantFail] != r.Failed) {
				t.Errorf("want failures %q only: %v, examples %v", c.wantFail, r, r.Examples)
			}
			if (r.Retried > 0) != c.wantRetry {
				t.Errorf("want retries: %t; %v", c.wantRetry, r)
			}
		})
	}
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
	for _, retry := range []bool{false, true} {
		o := load(goingAway(t, server), HTTP2, client)
		o.KeepAlive, o.RetryIdleClosed = true, retry
		r := run1(t, o)
		if retry && (r.Failed != 0 || r.Retried == 0) || !retry && (r.Failures[Closed] == 0 || r.Failures[Closed] != r.Failed || r.Retried != 0) {
			t.Errorf("retry %t: %v, examples %v", retry, r, r.Examples)
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
	for _, retry := range []bool{false, true} {
		o := load(url, HTTP3, client)
		o.KeepAlive, o.RetryIdleClosed, o.Rate = true, retry, 50
		r := run1(t, o)
		if retry && r.Retried == 0 || !retry && (r.Failures[Closed] == 0 || r.Retried != 0) || r.Failures[Closed] != r.Failed {
			t.Errorf("retry %t: %v, examples %v", retry, r, r.Examples)
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
		o.KeepAlive, o.Connections, o.Timeout, o.Rate, o.Duration = true, 1, time.Second, 2, 2*time.Second
		if r := run1(t, o); r.Failures[Timeout] != 1 || r.Failed != 1 || r.Dialled < 2 {
			t.Errorf("%v: one timeout and a second connection: %v, %d dialled, %v", p, r, r.Dialled, r.Examples)
		}
	}
}
