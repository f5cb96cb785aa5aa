package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// echo answers with what the handler was given, one thing a line.
var echo = handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "protocol %s\nmethod %s\nscheme %s\nauthority %s\ntarget %s\nlength %d\nbody %t\ntls %t\n",
		r.Protocol, r.Method, r.Scheme, r.Authority, r.Target, r.ContentLength, r.Body != nil, r.TLS != nil)
	fmt.Fprintf(&b, "client %s\nlocal %s\n", r.Client.Addr(), r.Local)
	for _, f := range r.Fields {
		fmt.Fprintf(&b, "field %s: %s\n", f.Name, f.Value)
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(&b, "read %q %v\n", body, err)
		for _, f := range r.Trailers() {
			fmt.Fprintf(&b, "trailer %s: %s\n", f.Name, f.Value)
		}
	}
	_ = w.WriteHeader(200, message.Fields{{Name: "x-one", Value: "1"}, {Name: "x-two", Value: "a"}, {Name: "x-two", Value: "b"}}, int64(b.Len()))
	_, _ = io.WriteString(w, b.String())
})

func TestRequestReachesTheHandler(t *testing.T) {
	each(t, echo, func(t *testing.T, e *edge, c *client) {
		r := c.request(t, "PUT", "/a/%7Euser/../b?q=%20x", strings.NewReader("hello"))
		r.Host = "Shop.Example.TEST:8443"
		r.Header = http.Header{"X-Many": {"1", "2"}, "User-Agent": {"test"}, "Te": {"trailers"}}
		if c.proto == message.HTTP1 {
			r.Header.Set("Connection", "X-Hop")
			r.Header.Set("X-Hop", "must not pass")
			r.Header.Set("Keep-Alive", "timeout=5")
		}
		resp, body := c.read(t, c.do(t, r))
		lines := []string{
			"protocol " + c.proto.String(), "method PUT", "authority shop.example.test:8443", "target /a/b?q=%20x", "length 5", "body true",
			"client 127.0.0.1", "field x-many: 1", "field x-many: 2", "field user-agent: test", "field te: trailers", `read "hello" <nil>`,
		}
		if strings.HasPrefix(c.url, "https:") {
			lines = append(lines, "scheme https", "tls true", "local "+e.addr(tlsListener))
		} else {
			lines = append(lines, "scheme http", "tls false", "local "+e.addr(plainListener))
		}
		for _, line := range lines {
			if !strings.Contains(body, line+"\n") {
				t.Errorf("the handler was not told %q", line)
			}
		}
		for _, never := range []string{"x-hop", "keep-alive", "field host", "field content-length", "field connection"} {
			if strings.Contains(body, never) {
				t.Errorf("%q reached the handler", never)
			}
		}
		if t.Failed() {
			t.Log(body)
		}
		if got := resp.Header.Values("X-Two"); len(got) != 2 || got[0] != "a" || got[1] != "b" {
			t.Errorf("lines of one name arrived as %q, want them apart and in order", got)
		}
		if resp.Header.Values("Content-Type") != nil {
			t.Errorf("Content-Type %q was invented", resp.Header.Get("Content-Type"))
		}
	})
}

// Whether there is a body decides whether the cache may answer, and no version may differ in it.
func TestAGetHasNoBodyUnlessItBringsOne(t *testing.T) {
	each(t, echo, func(t *testing.T, e *edge, c *client) {
		if _, body := c.read(t, c.do(t, c.request(t, "GET", "/", nil))); !strings.Contains(body, "length 0\nbody false\n") {
			t.Errorf("a GET without content was told as one with a body:\n%s", body)
		}
		r := c.request(t, "GET", "/", io.MultiReader(strings.NewReader("hello"))) // of unknown length
		if _, body := c.read(t, c.do(t, r)); !strings.Contains(body, "body true\n") || !strings.Contains(body, `read "hello" <nil>`) {
			t.Errorf("the content of a GET was lost:\n%s", body)
		}
	})
}

func TestDateOfTheResponseIsKept(t *testing.T) {
	const date = "Tue, 15 Nov 1994 08:12:31 GMT"
	each(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteHeader(200, message.Fields{{Name: "date", Value: date}}, 0)
	}), func(t *testing.T, _ *edge, c *client) {
		resp, _ := c.get(t, "/")
		if got := resp.Header.Values("Date"); len(got) != 1 || got[0] != date {
			t.Errorf("Date %q, want what the response had", got)
		}
	})
}

func TestAltSvcOnTLSOnly(t *testing.T) {
	each(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteHeader(200, message.Fields{{Name: "alt-svc", Value: `h3=":1"`}}, 0) // the origin's own
	}), func(t *testing.T, e *edge, c *client) {
		resp, _ := c.get(t, "/")
		want := `h3=":1"`
		if strings.HasPrefix(c.url, "https") && c.proto != message.HTTP3 {
			want = fmt.Sprintf(`h3=":%d"; ma=86400`, e.tcp[tlsListener].info.Address.Port())
		}
		if got := resp.Header.Values("Alt-Svc"); len(got) != 1 || got[0] != want {
			t.Errorf("Alt-Svc %q, want %q", got, want)
		}
	})
}

// TestNoBodyFraming: a response that has no body keeps the length that a GET's would have had, and the connection stays usable.
func TestNoBodyFraming(t *testing.T) {
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		status := 200
		switch r.Target.Path {
		case "/204":
			status = 204
		case "/304":
			status = 304
		}
		length := int64(1234)
		if r.Target.HasQuery {
			length = -1
		}
		_ = w.WriteHeader(status, message.Fields{{Name: "etag", Value: `"e"`}, {Name: "content-type", Value: "text/css"}}, length)
		_, _ = w.Write(make([]byte, 1234)) // a handler may not care; nothing of it may be sent
	})
	tests := []struct {
		method, target string
		status         int
		length         string
		ctype          string
	}{
		{"HEAD", "/", 200, "1234", "text/css"},
		{"HEAD", "/?unknown", 200, "", "text/css"},
		{"GET", "/204", 204, "", "text/css"},
		{"GET", "/304", 304, "1234", "text/css"},
		{"GET", "/304?unknown", 304, "", "text/css"},
		{"HEAD", "/304", 304, "1234", "text/css"},
	}
	each(t, h, func(t *testing.T, e *edge, c *client) {
		for _, tt := range tests {
			resp, body := c.read(t, c.do(t, c.request(t, tt.method, tt.target, nil)))
			if tt.status == 304 && c.proto == message.HTTP2 {
				tt.length = "" // Go's client would wait for that body
			}
			if resp.StatusCode != tt.status || body != "" || resp.Header.Get("Content-Length") != tt.length || resp.Header.Get("Content-Type") != tt.ctype {
				t.Errorf("%s %s: %d, %d bytes, Content-Length %q, Content-Type %q; want %d, none, %q, %q", tt.method, tt.target, resp.StatusCode,
					len(body), resp.Header.Get("Content-Length"), resp.Header.Get("Content-Type"), tt.status, tt.length, tt.ctype)
			}
			if resp.Header.Get("Etag") != `"e"` {
				t.Errorf("%s %s: fields were lost: %v", tt.method, tt.target, resp.Header)
			}
		}
	})
}

// TestNoBodyOnTheWire looks at the bytes, since a client library hides a stray body until the next response.
func TestNoBodyOnTheWire(t *testing.T) {
	e := startEdge(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteHeader(304, nil, 5)
		_, _ = w.Write([]byte("stray"))
	}), testLimits())
	c := dialPlain(t, e)
	br := bufio.NewReader(c)
	for range 2 {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		line, err := br.ReadString('\n')
		if err != nil || line != "HTTP/1.1 304 Not Modified\r\n" {
			t.Fatalf("status line %q, %v", line, err)
		}
		h, err := textproto.NewReader(br).ReadMIMEHeader()
		if err != nil || h.Get("Content-Length") != "5" || h.Get("Transfer-Encoding") != "" || br.Buffered() != 0 {
			t.Fatalf("fields %v, %v, %d bytes after them", h, err, br.Buffered())
		}
	}
}

// TestStreamingBothWays: the handler sees the first byte before the client has sent the last, and the client the first byte
// of the answer before the handler has written the last.
func TestStreamingBothWays(t *testing.T) {
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		_ = w.WriteHeader(200, nil, -1)
		buf := make([]byte, 64)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = w.Flush()
			if err != nil {
				return
			}
		}
	})
	each(t, h, func(t *testing.T, _ *edge, c *client) {
		pr, pw := io.Pipe()
		got := make(chan *http.Response, 1)
		r := c.request(t, "POST", "/", pr)
		go func() {
			resp, err := c.rt.RoundTrip(r)
			if err != nil {
				t.Error(err)
			}
			got <- resp
		}()
		var resp *http.Response
		for i := range 5 {
			part := fmt.Sprintf("part %d", i)
			if _, err := io.WriteString(pw, part); err != nil {
				t.Fatal(err)
			}
			if resp == nil {
				if resp = <-got; resp == nil {
					t.FailNow()
				}
			}
			back := make([]byte, len(part))
			if _, err := io.ReadFull(resp.Body, back); err != nil || string(back) != part {
				t.Fatalf("sent %q, came back %q, %v", part, back, err)
			}
		}
		pw.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
			t.Errorf("at the end: %q, %v", rest, err)
		}
		resp.Body.Close()
	})
}

func TestLargeBodies(t *testing.T) {
	const size = 8 << 20
	big := make([]byte, size)
	for i := range big {
		big[i] = byte(i * 31 >> 3)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(big))
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		hash := sha256.New()
		if _, err := io.Copy(hash, r.Body); err != nil {
			w.Abort()
			return
		}
		length := int64(len(big))
		if r.Target.Path == "/unknown" {
			length = -1
		}
		_ = w.WriteHeader(200, message.Fields{{Name: "x-sum", Value: fmt.Sprintf("%x", hash.Sum(nil))}}, length)
		_, _ = w.Write(big)
	})
	each(t, h, func(t *testing.T, _ *edge, c *client) {
		for _, path := range []string{"/", "/unknown"} {
			var up io.Reader = bytes.NewReader(big)
			if path == "/unknown" {
				up = io.MultiReader(up) // hides the length
			}
			resp, body := c.read(t, c.do(t, c.request(t, "POST", path, up)))
			if resp.Header.Get("X-Sum") != sum {
				t.Errorf("%s: the upload was damaged", path)
			}
			if !bytes.Equal([]byte(body), big) {
				t.Errorf("%s: the download was damaged (%d bytes)", path, len(body))
			}
		}
	})
}

func TestTrailersBothWays(t *testing.T) {
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = w.WriteHeader(200, nil, -1)
		_, _ = io.WriteString(w, "body")
		sent := r.Trailers()
		_ = w.WriteTrailers(message.Fields{{Name: "grpc-status", Value: "0"}, {Name: "x-up", Value: sent.Get("x-checksum")},
			{Name: "content-length", Value: "7"}})
	})
	each(t, h, func(t *testing.T, _ *edge, c *client) {
		r := c.request(t, "POST", "/", io.MultiReader(strings.NewReader("data")))
		r.Trailer = http.Header{"X-Checksum": {"abc"}}
		resp, body := c.read(t, c.do(t, r))
		if body != "body" || resp.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("body %q, trailers %v", body, resp.Trailer)
		}
		if resp.Trailer.Get("X-Up") != "abc" {
			t.Errorf("the request's trailer did not reach the handler: %v", resp.Trailer)
		}
		if resp.Trailer.Get("Content-Length") != "" {
			t.Errorf("a trailer that must not be one was sent: %v", resp.Trailer)
		}
	})
}

func TestEarlyHints(t *testing.T) {
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteInformational(103, message.Fields{{Name: "link", Value: "</a.css>; rel=preload"}})
		_ = w.WriteInformational(103, message.Fields{{Name: "link", Value: "</b.css>; rel=preload"}})
		if err := w.WriteInformational(101, nil); err == nil {
			panic("101 was accepted")
		}
		_ = w.WriteHeader(200, message.Fields{{Name: "x-final", Value: "1"}}, 2)
		_, _ = io.WriteString(w, "ok")
	})
	each(t, h, func(t *testing.T, _ *edge, c *client) {
		var hints []string
		r := c.request(t, "GET", "/", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
				return nil
			}}))
		resp, body := c.read(t, c.do(t, r))
		want := []string{"103 </a.css>; rel=preload", "103 </b.css>; rel=preload"}
		if fmt.Sprint(hints) != fmt.Sprint(want) {
			t.Errorf("hints %q, want %q", hints, want)
		}
		if body != "ok" || resp.Header.Get("X-Final") != "1" || resp.Header.Get("Link") != "" {
			t.Errorf("final response %q with %v", body, resp.Header)
		}
	})
}

func TestAbortIsSeenAsIncomplete(t *testing.T) {
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		length := int64(-1)
		if r.Target.Path == "/short" {
			length = 1000
		}
		_ = w.WriteHeader(200, nil, length)
		_, _ = io.WriteString(w, "the first half")
		_ = w.Flush()
		switch r.Target.Path {
		case "/abort":
			w.Abort()
		case "/panic":
			panic("a bug, on purpose")
		}
	})
	each(t, h, func(t *testing.T, _ *edge, c *client) {
		for _, path := range []string{"/abort", "/panic", "/short"} {
			// A stream reset may overtake the header section.
			if resp, err := c.rt.RoundTrip(c.request(t, "GET", path, nil)); err == nil {
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil {
					t.Errorf("%s: the client took %q for a complete response", path, body)
				}
			}
			resp, body := c.get(t, "/whole")
			if resp.StatusCode != 200 || body != "the first half" {
				t.Errorf("%s: the next request got %d %q", path, resp.StatusCode, body)
			}
		}
	})
}

func TestHandlerThatNeverAnswers(t *testing.T) {
	h := handlerFunc(func(_ context.Context, _ message.ResponseWriter, r *message.Request) {
		if r.Target.Path == "/panic" {
			panic("a bug, on purpose")
		}
	})
	each(t, h, func(t *testing.T, _ *edge, c *client) {
		for _, path := range []string{"/panic", "/nothing"} {
			if resp, body := c.get(t, path); resp.StatusCode != 500 || body != "" {
				t.Errorf("%s: %d %q, want 500 and no word about the inside", path, resp.StatusCode, body)
			}
		}
	})
}

func TestContextEndsWhenTheClientLeaves(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	h := handlerFunc(func(ctx context.Context, _ message.ResponseWriter, _ *message.Request) {
		began <- struct{}{}
		select {
		case <-ctx.Done():
			ended <- struct{}{}
		case <-time.After(patience):
		}
	})
	each(t, h, func(t *testing.T, _ *edge, c *client) {
		r := c.request(t, "GET", "/", nil)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = c.rt.RoundTrip(r.WithContext(ctx))
		}()
		<-began
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the handler was never told")
		}
		<-done
	})
}

func TestHeaderSectionTooLarge(t *testing.T) {
	limits := testLimits()
	limits.MaxHeaderSize = 16 << 10
	e := startEdge(t, text(200, "ok"), limits)
	for _, c := range e.clients() {
		t.Run(c.name, func(t *testing.T) {
			defer c.close()
			r := c.request(t, "GET", "/", nil)
			for i := range 8 { // far more costs an HTTP/2 client its connection
				r.Header.Set(fmt.Sprint("X-Big-", i), strings.Repeat("x", 2200))
			}
			resp, err := c.rt.RoundTrip(r)
			switch {
			case err == nil && resp.StatusCode == 431:
				resp.Body.Close()
			case err != nil && c.proto == message.HTTP2 && strings.Contains(err.Error(), "header list larger"):
				// The client has seen our limit in SETTINGS and does not even send.
			default:
				t.Errorf("got %v, %v; want 431", resp, err)
			}
			if resp, _ := c.get(t, "/"); resp.StatusCode != 200 {
				t.Errorf("the next request got %d", resp.StatusCode)
			}
		})
	}
}

// TestBadRequests: what no handler may see.
func TestBadRequests(t *testing.T) {
	e := startEdge(t, echo, testLimits())
	tests := []struct{ name, request, status string }{
		{"control byte in the target", "GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"broken escape", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"escaped NUL", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"asterisk with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"asterisk with OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "200"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
		{"user in the host", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "400"},
		{"path in the host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"},
		{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "501"},
		{"absolute form", "GET http://b/x?y HTTP/1.1\r\nHost: b\r\n\r\n", "200"},
		{"absolute form of another scheme", "GET ftp://b/x HTTP/1.1\r\nHost: b\r\n\r\n", "400"},
		{"upgrade is not taken", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "200"},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dialPlain(t, e)
			fmt.Fprint(c, tt.request)
			line, err := bufio.NewReader(c).ReadString('\n')
			if f := strings.Fields(line); err != nil || len(f) < 2 || f[1] != tt.status {
				t.Errorf("%q, %v; want status %s", line, err, tt.status)
			}
		})
	}
}
