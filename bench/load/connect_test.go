package load

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestConnectErrorsSayWhatToDo(t *testing.T) {
	s := serve(t, hello)
	closed := listen(t)
	closed.Close()
	nowhere := closed.Addr().String()
	otherALPN := s.client.Clone()
	conf, _ := certificate(t)
	conf.NextProtos = []string{"http/1.1"}
	only1, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := only1.Accept()
			if err != nil {
				return
			}
			c.(*tls.Conn).Handshake()
			c.Close()
		}
	})
	defer accepting.Wait()
	defer only1.Close()
	otherALPN.InsecureSkipVerify = true
	for _, tt := range []struct {
		why  string
		o    Options
		hint string
	}{
		{"nobody there", Options{URL: "http://" + nowhere}, "is the server running"},
		{"nobody there with TLS", Options{URL: "https://" + nowhere, Protocol: HTTP2}, "is the server running"},
		{"nobody there over QUIC", Options{URL: "https://" + nowhere, Protocol: HTTP3}, "UDP port"},
		{"not trusted", Options{URL: s.https}, "--ca-file"},
		{"not trusted by HTTP/2", Options{URL: s.https, Protocol: HTTP2}, "--insecure"},
		{"not trusted by QUIC", Options{URL: s.https, Protocol: HTTP3}, "--insecure"},
		{"another name", Options{URL: strings.Replace(s.https, "127.0.0.1", "localhost", 1), TLS: s.client}, "--server-name"},
		{"plain", Options{URL: strings.Replace(s.http, "http", "https", 1)}, "begin the URL with http://"},
		{"no HTTP/2", Options{URL: "https://" + only1.Addr().String(), Protocol: HTTP2, TLS: otherALPN}, "does not speak h2"},
	} {
		tt.o.Requests, tt.o.Connections = 1, 5
		if tt.hint == "UDP port" {
			tt.o.Timeout = 300 * time.Millisecond
		}
		_, err := Run(t.Context(), tt.o)
		e, ok := errors.AsType[*ConnectError](err)
		if !ok || !strings.Contains(e.Hint, tt.hint) || !strings.Contains(err.Error(), "cannot connect to ") {
			t.Errorf("%s: %v", tt.why, err)
		}
	}
}

// script is an HTTP/2 server whose frames a test writes by hand. Each connection is given to f, after the client's preface and with the
// server's SETTINGS sent.
func script(t *testing.T, settings []byte, f func(n int, c *scripted)) string {
	t.Helper()
	l := listen(t)
	var serving sync.WaitGroup
	serving.Go(func() {
		for n := 0; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				io.CopyN(io.Discard, nc, int64(len(preface)))
				c := &scripted{Conn: nc}
				c.Write(append(appendFrameHeader(nil, len(settings), frameSettings, 0, 0), settings...))
				f(n, c)
				// What the client still sends must not make a reset of the closing.
				nc.(*net.TCPConn).CloseWrite()
				nc.SetReadDeadline(time.Now().Add(time.Second))
				io.Copy(io.Discard, nc)
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return "http://" + l.Addr().String()
}

type scripted struct{ net.Conn }

// request reads frames up to the next HEADERS and returns its stream; 0 at the end of the connection.
func (c *scripted) request() uint32 {
	for {
		var head [frameHeader]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return 0
		}
		io.CopyN(io.Discard, c, int64(head[0])<<16|int64(head[1])<<8|int64(head[2]))
		if head[3] == frameHeaders {
			return binary.BigEndian.Uint32(head[5:])
		}
	}
}

func (c *scripted) answer(stream uint32) {
	c.Write(append(appendFrameHeader(nil, 1, frameHeaders, flagEndHeaders|flagEndStream, stream), 0x88))
}

func (c *scripted) goAway(last, code uint32) {
	b := appendFrameHeader(nil, 8, frameGoAway, 0, 0)
	c.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, last), code))
}

func TestH2RequestsThatAGoAwayLeftUnseenAreMadeAgain(t *testing.T) {
	url := script(t, nil, func(n int, c *scripted) {
		for {
			stream := c.request()
			if stream == 0 {
				return
			}
			if n == 0 && stream == 7 { // 1 to 5 are answered, 7 is not seen
				c.goAway(5, codeNo)
				return
			}
			c.answer(stream)
		}
	})
	r := mustRun(t, Options{URL: url, Protocol: HTTP2, Streams: 2, Requests: 20})
	if r.OK != 20 || r.Failed != 0 || r.Retried < 1 || r.Reconnects != 1 {
		t.Errorf("%+v", r)
	}
}

func TestH2ServersThatBreakTheRules(t *testing.T) {
	limit := func(n byte) []byte { return []byte{0, settingMaxStreams, 0, 0, 0, n} }
	for _, tt := range []struct {
		why   string
		class string
		f     func(c *scripted, stream uint32)
	}{
		{"reset", Stream, func(c *scripted, s uint32) {
			for ; s != 0; s = c.request() {
				c.Write(appendWordFrame(nil, frameRSTStream, s, 7))
			}
		}},
		{"error of the connection", Protocol, func(c *scripted, s uint32) { c.goAway(s, 2) }},
		{"push", Protocol, func(c *scripted, s uint32) { c.Write(appendWordFrame(nil, framePushPromise, s, 2)) }},
		{"a stream that was not opened", Protocol, func(c *scripted, s uint32) { c.answer(s + 2) }},
		{"DATA first", Protocol, func(c *scripted, s uint32) { c.Write(appendWordFrame(nil, frameData, s, 2)) }},
		{"no status", Protocol, func(c *scripted, s uint32) {
			c.Write(append(appendFrameHeader(nil, 5, frameHeaders, flagEndHeaders|flagEndStream, s), "\x00\x01a\x01b"...))
		}},
		{"a window that overflows", Protocol, func(c *scripted, s uint32) { c.Write(appendWordFrame(nil, frameWindowUpdate, 0, 1<<31-1)) }},
		{"a block that is interrupted", Protocol, func(c *scripted, s uint32) {
			c.Write(append(appendFrameHeader(nil, 1, frameHeaders, 0, s), 0x88))
			c.Write(appendWordFrame(nil, frameWindowUpdate, 0, 1))
		}},
		{"a block that never ends", Protocol, func(c *scripted, s uint32) {
			c.Write(append(appendFrameHeader(nil, 1, frameHeaders, 0, s), 0x88))
			for range maxBlock/maxFrame + 2 {
				c.Write(append(appendFrameHeader(nil, maxFrame, frameContinuation, 0, s), zeros[:]...))
			}
		}},
		{"the end", Closed, func(c *scripted, s uint32) {}},
	} {
		url := script(t, limit(1), func(n int, c *scripted) {
			if s := c.request(); s != 0 {
				tt.f(c, s)
			}
		})
		r := mustRun(t, Options{URL: url, Protocol: HTTP2, Requests: 3, Timeout: 5 * time.Second})
		if f := r.Failures[tt.class]; r.OK != 0 || f == nil || f.Count != 3 {
			t.Errorf("%s: %+v", tt.why, r.Failures)
		}
	}
	for why, settings := range map[string][]byte{"no streams": limit(0), "no SETTINGS": {1}} {
		_, err := Run(t.Context(), Options{URL: script(t, settings, func(int, *scripted) {}), Protocol: HTTP2, Requests: 1})
		if classOf(err) != Protocol {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func TestH2KeepsTheServersLimitOfStreams(t *testing.T) {
	var mu sync.Mutex
	most := 0
	url := script(t, []byte{0, settingMaxStreams, 0, 0, 0, 3}, func(n int, c *scripted) {
		var held []uint32
		for {
			if len(held) < 3 { // the client cannot send more, so that it must have sent these
				s := c.request()
				if s == 0 {
					return
				}
				held = append(held, s)
				mu.Lock()
				most = max(most, len(held))
				mu.Unlock()
				continue
			}
			c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if c.request() != 0 {
				mu.Lock()
				most = 99
				mu.Unlock()
			}
			c.SetReadDeadline(time.Time{})
			for _, s := range held {
				c.answer(s)
			}
			held = nil
		}
	})
	r := mustRun(t, Options{URL: url, Protocol: HTTP2, Streams: 10, Requests: 9})
	if r.OK != 9 || most != 3 {
		t.Errorf("%d streams at once, %+v", most, r)
	}
}

func TestH1ConnectionThatWasClosedIdleIsReplaced(t *testing.T) {
	l := listen(t)
	var serving sync.WaitGroup
	serving.Go(func() {
		for n := 0; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				buf := make([]byte, 4096)
				for i := 0; ; i++ {
					if _, err := nc.Read(buf); err != nil || n == 0 && i == 3 { // the fourth request is not answered
						return
					}
					io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	o := Options{URL: "http://" + l.Addr().String(), Requests: 10}
	r := mustRun(t, o)
	if r.OK != 10 || r.Retried != 1 || r.Reconnects != 1 {
		t.Errorf("%+v", r)
	}
}

func TestRecordsAreGivenOutOneAtATime(t *testing.T) {
	server, client := net.Pipe()
	go func() {
		server.Write([]byte("\x17\x03\x03\x00\x03abc\x17\x03\x03\x00\x01d\x17\x03"))
		server.Write([]byte("\x03\x00\x02e"))
		server.Write([]byte("f"))
		server.Close()
	}()
	waits := 0
	rec := &records{Conn: client, buf: make([]byte, 16), flush: func() error { waits++; return nil }}
	var got []string
	for {
		b := make([]byte, 100)
		n, err := rec.Read(b)
		if err != nil {
			break
		}
		got = append(got, string(b[:n]))
	}
	if strings.Join(got, "|") != "\x17\x03\x03\x00\x03abc|\x17\x03\x03\x00\x01d|\x17\x03\x03\x00\x02e|f" || waits < 3 || waits > 5 {
		t.Errorf("%q after %d waits", got, waits)
	}
}
