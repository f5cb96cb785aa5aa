package proxy

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// canned puts an origin in memory behind the edge's only service, which answers everything alike.
func canned(b testing.TB, e *edge, answer string) {
	conn, err := upstream.New(&url.URL{Scheme: "http", Host: "origin.example"}, upstream.Config{ResponseTimeout: 20 * time.Second, ReadTimeout: 20 * time.Second,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				buf, n := make([]byte, 8<<10), 0
				for {
					m, err := theirs.Read(buf[n:])
					if n += m; err != nil {
						return
					}
					if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						if _, err := theirs.Write([]byte(answer)); err != nil {
							return
						}
						n = 0
					}
				}
			}()
			return ours, nil
		}})
	if err != nil {
		b.Fatal(err)
	}
	e.table.services[0].origins[0].conn = conn
}

// sink is a client that counts.
type sink struct {
	client
	n int64
}

func (s *sink) WriteHeader(int, message.Fields, int64) error { return nil }

func (s *sink) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return len(p), nil
}

func BenchmarkMiss(b *testing.B) {
	head := "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/css\r\nServer: origin\r\nEtag: \"abc\"\r\nLast-Modified: Sun, 01 Mar 2020 11:00:00 GMT\r\n%sContent-Length: %d\r\n\r\n%s"
	for _, c := range []struct {
		name, fields string
		size         int
	}{{"stored", "Cache-Control: public, max-age=600\r\n", 1 << 10}, {"stored-vary", "Cache-Control: public, max-age=600\r\nVary: Accept-Encoding\r\n", 1 << 10},
		{"stored-100k", "Cache-Control: public, max-age=600\r\n", 100 << 10}, {"refused", "Cache-Control: private\r\n", 1 << 10}, {"off", "", 1 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			e := newEdge(b, map[string][]string{"fra": {"http://origin.example"}}, func(o *Options, s *ServiceConfig) {
				o.AccessLog = nil
				s.Cache.Enabled = c.name != "off"
				cfg := cache.Config{}
				cfg.SetDefaults()
				cfg.Memory = 64 << 20
				o.Cache = cache.New(cfg, nil)
			})
			canned(b, e, fmt.Sprintf(head, time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"), c.fields, c.size, strings.Repeat("x", c.size)))
			var n int
			w := &sink{}
			b.ReportAllocs()
			for b.Loop() {
				n++
				r := request("GET", fmt.Sprintf("/a/b/%d", n), "user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "accept", "*/*",
					"accept-encoding", "gzip, deflate, br", "accept-language", "en-GB,en;q=0.5", "cookie", "a=b")
				if e.Quick(r) != nil {
					b.Fatal("a hit")
				}
				e.Serve(context.Background(), w, r)
			}
			b.StopTimer()
			e.settle()
			if w.n != int64(n*c.size) {
				b.Fatalf("%d bytes of %d answers", w.n, n)
			}
		})
	}
}

func TestAMissBorrowsItsBuffers(t *testing.T) {
	if raced {
		t.Skip("pools drop at random")
	}
	e := newEdge(t, map[string][]string{"fra": {"http://origin.example"}}, nil)
	canned(t, e, "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 1\r\n\r\nx")
	n := 0
	var before, after runtime.MemStats
	miss := func() {
		n++
		e.Serve(context.Background(), &sink{}, request("GET", fmt.Sprintf("/%d", n)))
		e.settle()
	}
	for range 50 {
		miss()
	}
	runtime.ReadMemStats(&before)
	for range 200 {
		miss()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / 200; got > 30<<10 { // of which a buffer alone is 32 KiB
		t.Errorf("%d bytes a miss", got)
	}
}
