package h3

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/qpack"
	"nearcast/proxy/message"
)

// hit is a handler that has every answer ready. Its answers are used again.
type hit struct {
	handlerFunc
	block block
	body  []byte
	free  sync.Pool
	one   *hitAnswer // if set, the only answer
}

// block is a stored header section.
type block struct {
	fields message.Fields
	once   sync.Once
	enc    []byte
}

func (b *block) Encoded(_ message.Protocol, encode func([]byte, message.Fields) []byte) []byte {
	b.once.Do(func() { b.enc = encode(nil, b.fields) })
	return b.enc
}

type hitAnswer struct {
	message.Ready
	h      *hit
	pieces pieces
	age    [1]message.Field
	done   func(sent int64, complete bool, err error)
}

// pieces gives one piece.
type pieces struct {
	p    []byte
	size int // of each; 0: all at once
}

func (p *pieces) Next() []byte {
	if len(p.p) == 0 {
		return nil
	}
	n := len(p.p)
	if p.size > 0 {
		n = min(n, p.size)
	}
	next := p.p[:n]
	p.p = p.p[n:]
	return next
}

func newHit(size int) *hit {
	h := &hit{body: make([]byte, size)}
	h.block.fields = message.Fields{{Name: "content-type", Value: "text/html; charset=utf-8"}, {Name: "etag", Value: `"1234567890"`},
		{Name: "cache-control", Value: "max-age=3600"}, {Name: "last-modified", Value: "Mon, 02 Jan 2006 15:04:05 GMT"}}
	h.free.New = func() any { return &hitAnswer{h: h} }
	return h
}

func (h *hit) Quick(*message.Request) *message.Ready {
	a := h.one
	if a == nil {
		a = h.free.Get().(*hitAnswer)
	}
	a.age[0] = message.Field{Name: "age", Value: "17"}
	a.pieces = pieces{p: h.body}
	a.Ready = message.Ready{Status: 200, Block: &h.block, Fields: a.age[:], ContentLength: int64(len(h.body)), Body: &a.pieces, BodyLength: int64(len(h.body)), Owner: a}
	return &a.Ready
}

func (a *hitAnswer) Done(r *message.Ready, sent int64, complete bool) {
	if a.done != nil {
		a.done(sent, complete, r.Err)
	}
	if a != a.h.one {
		a.h.free.Put(a)
	}
}

// requestBytes is a GET as browsers send it.
func requestBytes(extra ...message.Field) []byte {
	out, at := beginHeaders(nil)
	out = qpack.AppendFields(out, append(message.Fields{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "www.example.test"}, {Name: ":path", Value: "/index.html"}, {Name: "accept", Value: "*/*"},
		{Name: "user-agent", Value: "Mozilla/5.0 (X11; Linux x86_64)"}}, extra...))
	return endHeaders(out, at)
}

// load sends b.N requests on one connection, streams at a time, and reads the answers.
func load(b *testing.B, qc *quic.Conn, streams int) {
	b.ReportAllocs()
	b.ResetTimer()
	drive(b, qc, b.N, streams)
}

// drive sends so many requests on a connection.
func drive(b *testing.B, qc *quic.Conn, requests, streams int) {
	req := requestBytes()
	var wg sync.WaitGroup
	left := make(chan struct{}, requests)
	for range requests {
		left <- struct{}{}
	}
	close(left)
	for range streams {
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for range left {
				str, err := qc.OpenStreamSync(context.Background())
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = str.Write(req)
				_ = str.Close()
				n := 0
				for err == nil {
					var k int
					k, err = str.Read(buf)
					n += k
				}
				if err != io.EOF || n == 0 {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkHit(b *testing.B) {
	for _, size := range []int{1 << 10, 10 << 10, 100 << 10} {
		for _, streams := range []int{1, 32} {
			b.Run(benchName(size, streams), func(b *testing.B) {
				r := start(b, newHit(size), Config{})
				load(b, r.dial(b), streams)
				r.each(func(c *conn) { b.ReportMetric(float64(c.qc.ConnectionStats().PacketsSent)/float64(b.N), "packets/op") })
			})
		}
	}
}

// BenchmarkEcho is the floor: a server that reads the request and writes as many bytes, and knows nothing of HTTP.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{1 << 10, 10 << 10, 100 << 10} {
		for _, streams := range []int{1, 32} {
			b.Run(benchName(size, streams), func(b *testing.B) {
				udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					b.Fatal(err)
				}
				cfg := testTLS(b)
				cfg.NextProtos = []string{"h3"}
				tr := &quic.Transport{Conn: udp}
				ln, err := tr.Listen(cfg, nil)
				if err != nil {
					b.Fatal(err)
				}
				defer func() { ln.Close(); tr.Close(); udp.Close() }()
				go func() {
					qc, err := ln.Accept(context.Background())
					if err != nil {
						return
					}
					body := make([]byte, size+100)
					work := func() {
						buf := make([]byte, 4<<10)
						for {
							str, err := qc.AcceptStream(context.Background())
							if err != nil {
								return
							}
							for err == nil {
								_, err = str.Read(buf)
							}
							_, _ = str.Write(body)
							_ = str.Close()
						}
					}
					for range 4 {
						go work()
					}
				}()
				r := &running{Server: &Server{sockets: []*socket{{udp: udp}}}}
				load(b, r.dial(b), streams)
			})
		}
	}
}

func benchName(size, streams int) string {
	name := map[int]string{1 << 10: "1k", 10 << 10: "10k", 100 << 10: "100k"}[size]
	if streams == 1 {
		return name + "/1"
	}
	return name + "/32"
}
