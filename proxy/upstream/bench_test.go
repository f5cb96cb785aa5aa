package upstream

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// fixed answers every request, which must come in one piece, with the same bytes and without an allocation.
func fixed(t testing.TB, reply []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					if n, err := c.Read(buf); err != nil || !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						return
					}
					if _, err := c.Write(reply); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func page(size int) []byte {
	b := []byte("HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sat, 28 Nov 2026 07:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\n" +
		"Cache-Control: no-cache\r\nEtag: \"5f3-18c2\"\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n")
	return append(b, bytes.Repeat([]byte("x"), size)...)
}

func proxied() *message.Request {
	r := get("/a/page?with=query")
	r.Fields = message.Fields{
		{Name: "user-agent", Value: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		{Name: "accept", Value: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		{Name: "accept-encoding", Value: "gzip, br"}, {Name: "x-forwarded-for", Value: "192.0.2.7"},
		{Name: "x-forwarded-proto", Value: "https"}, {Name: "via", Value: "2.0 fra1 (nearcast)"},
	}
	return r
}

// once makes one exchange and reads its body.
func once(t testing.TB, ctx context.Context, o *Origin, a *Attempt, buf []byte) {
	res, err := o.RoundTrip(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err = res.Body.Read(buf); err != nil {
			break
		}
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	res.Body.Close()
}

// maxAllocs: the response with its body and fields, the header section's bytes, and what context.AfterFunc makes.
const maxAllocs = 4

func TestAnExchangeMakesFewAllocations(t *testing.T) {
	o, err := New(parseURL(t, "http://"+fixed(t, page(10<<10))), quick)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := proxied()
	a := &Attempt{Request: r, Fields: r.Fields}
	buf := make([]byte, 32<<10)
	for name, ctx := range map[string]context.Context{"with a context that ends": ctx, "with one that does not": context.Background()} {
		got := testing.AllocsPerRun(500, func() { once(t, ctx, o, a, buf) })
		if got > maxAllocs || ctx.Done() == nil && got > 2 {
			t.Errorf("%s: %v allocations an exchange", name, got)
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, size := range []int{1 << 10, 10 << 10, 100 << 10} {
		b.Run("ours/"+strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			o, err := New(parseURL(b, "http://"+fixed(b, page(size))), quick)
			if err != nil {
				b.Fatal(err)
			}
			defer o.Close()
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			r := proxied()
			a := &Attempt{Request: r, Fields: r.Fields}
			buf := make([]byte, 32<<10)
			b.ReportAllocs()
			for b.Loop() {
				once(b, ctx, o, a, buf)
			}
		})
		b.Run("net-http/"+strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			transport := &http.Transport{DisableCompression: true, ResponseHeaderTimeout: 20 * time.Second, WriteBufferSize: 16 << 10, ReadBufferSize: 16 << 10}
			defer transport.CloseIdleConnections()
			u := "http://" + fixed(b, page(size)) + "/a/page?with=query"
			buf := make([]byte, 32<<10)
			b.ReportAllocs()
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), "GET", u, nil)
				if err != nil {
					b.Fatal(err)
				}
				for _, f := range proxied().Fields {
					req.Header.Set(f.Name, f.Value)
				}
				res, err := transport.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = res.Body.Read(buf)
				}
				res.Body.Close()
			}
		})
	}
}
