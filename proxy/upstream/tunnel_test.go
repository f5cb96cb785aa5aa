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

func upgrade(protocol string, fields ...message.Field) *Attempt {
	r := get("/chat")
	r.Upgrade = protocol
	return &Attempt{Request: r, Fields: fields}
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"

func TestATunnelPassesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, func(_ int, p *peer) {
			head := p.head()
			if !strings.Contains(head, "connection: upgrade\r\nupgrade: websocket\r\n") || !strings.Contains(head, "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n") {
				t.Errorf("asked with %q", head)
			}
			p.say(switching + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nearly ")
			p.say("late ")
			line, _ := p.ReadString('\n')
			p.say("echo " + line)
		})
		res, err := s.RoundTrip(t.Context(), upgrade("websocket", message.Field{Name: "sec-websocket-key", Value: "dGhlIHNhbXBsZSBub25jZQ=="}))
		if err != nil {
			t.Fatal(err)
		}
		if res.Status != 101 || res.Tunnel == nil || res.Fields.Get("sec-websocket-accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || res.Fields.Has("upgrade") {
			t.Fatalf("got %d, %v", res.Status, res.Fields)
		}
		time.Sleep(time.Hour) // no timeout of an exchange's
		go io.WriteString(res.Tunnel, "hello\n")
		if b, err := io.ReadAll(res.Tunnel); string(b) != "early late echo hello\n" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
		if s.inFlight.Load() != 1 {
			t.Error("a tunnel holds a place")
		}
		res.Tunnel.Close()
		res.Body.Close()
		if s.inFlight.Load() != 0 || s.idle() != 0 || s.saw() != closeTunnel {
			t.Errorf("%d in flight, %d idle, closed %q", s.inFlight.Load(), s.idle(), s.saw())
		}
	})
}

func TestATunnelEnds(t *testing.T) {
	for _, c := range []struct {
		what string
		end  func(res *Response, cancel func())
	}{
		{"Close", func(res *Response, _ func()) { res.Tunnel.Close() }},
		{"the context", func(_ *Response, cancel func()) { cancel() }},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := staged(t, quick, func(_ int, p *peer) { p.head(); p.say(switching + "\r\n"); io.Copy(io.Discard, p) })
			ctx, cancel := context.WithCancel(t.Context())
			res, err := s.RoundTrip(ctx, upgrade("websocket", message.Field{Name: "sec-websocket-key", Value: "x"}))
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Second, func() { c.end(res, cancel) })
			if n, err := res.Tunnel.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("%s: read %d, %v", c.what, n, err)
			}
			res.Tunnel.Close()
			cancel()
			if s.inFlight.Load() != 0 {
				t.Errorf("%s: %d in flight", c.what, s.inFlight.Load())
			}
		})
	}
}

func TestOneSideOfATunnelCanEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Read(make([]byte, 4096))
		io.WriteString(c, switching+"\r\n")
		b, _ := io.ReadAll(c)
		io.WriteString(c, "after "+string(b))
	}()
	res, err := originOf(t, "http://"+l.Addr().String(), quick).RoundTrip(t.Context(), upgrade("websocket", message.Field{Name: "sec-websocket-key", Value: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Tunnel.Close()
	io.WriteString(res.Tunnel, "the end")
	if err := res.Tunnel.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Tunnel); string(b) != "after the end" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestAnUpgradeThatIsRefusedIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"))
		res, body, err := fetch(t.Context(), s.Origin, upgrade("websocket"))
		if err != nil || res.Status != 403 || body != "no" || res.Tunnel != nil {
			t.Fatalf("got %v, %q, %v", res, body, err)
		}
		if s.idle() != 1 {
			t.Errorf("not kept: %s", s.saw())
		}
	})
}

func TestAChangeToAnythingElseIsMalformed(t *testing.T) {
	for what, reply := range map[string]string{
		"another protocol":   "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
		"no protocol":        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
		"no connection":      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
		"HTTP/1.0":           "HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"no hash of our key": switching + "\r\n",
		"a wrong hash":       switching + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := staged(t, quick, answering(reply))
			_, err := s.RoundTrip(t.Context(), upgrade("websocket"))
			want(t, what, err, message.BlameOrigin, 502, "malformed response", false)
			if s.idle() != 0 || s.inFlight.Load() != 0 {
				t.Errorf("%s: %d idle, %d in flight", what, s.idle(), s.inFlight.Load())
			}
		})
	}
}

// TestAClientOfHTTP2GetsAWebSocketOfHTTP1: its extended CONNECT has no key (RFC 8441 §5).
func TestAClientOfHTTP2GetsAWebSocketOfHTTP1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := staged(t, quick, func(_ int, p *peer) {
			_, rest, ok := strings.Cut(p.head(), "sec-websocket-key: ")
			key, _, _ := strings.Cut(rest, "\r\n")
			if !ok || len(key) != 24 {
				t.Errorf("the key is %q", key)
			}
			p.say(switching + "Sec-WebSocket-Accept: " + hashOf(key) + "\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
		})
		res, err := s.RoundTrip(t.Context(), upgrade("websocket", message.Field{Name: "sec-websocket-version", Value: "13"}))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Tunnel.Close()
		if res.Fields.Has("sec-websocket-accept") || res.Fields.Get("sec-websocket-protocol") != "chat" {
			t.Errorf("fields %v", res.Fields)
		}
	})
	if hashOf("dGhlIHNhbXBsZSBub25jZQ==") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455 §1.3
		t.Error("the hash is wrong")
	}
}

func TestATunnelsEndOfAPipe(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	x := &exchange{}
	if err := (&tunnel{x: x, c: newConn(a)}).CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
