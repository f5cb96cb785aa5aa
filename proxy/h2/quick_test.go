package h2

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"nearcast/proxy/message"
)

// hits answers every GET from memory and leaves the rest to next.
type hits struct {
	handlerFunc
	fields message.Fields
	body   []byte
	pool   sync.Pool

	mu       sync.Mutex
	done     []doneCall
	keep     bool // done calls
	refusals []message.Refusal
	blocks   encodedOnce
}

type doneCall struct {
	sent     int64
	complete bool
	err      error
}

// encodedOnce is a message.Block.
type encodedOnce struct {
	fields message.Fields
	once   sync.Once
	b      []byte
}

func (e *encodedOnce) Encoded(_ message.Protocol, encode func(dst []byte, f message.Fields) []byte) []byte {
	e.once.Do(func() { e.b = encode(nil, e.fields) })
	return e.b
}

// hit is what one answer needs.
type hit struct {
	message.Ready
	pieces [2][]byte
	next   int
}

func (x *hit) Next() []byte {
	if x.next == len(x.pieces) {
		return nil
	}
	x.next++
	return x.pieces[x.next-1]
}

func newHits(size int) *hits {
	h := &hits{body: bytes.Repeat([]byte("x"), size), handlerFunc: ok}
	h.blocks.fields = message.Fields{{Name: "content-type", Value: "text/plain"}, {Name: "connection", Value: "close"}}
	h.fields = message.Fields{{Name: "age", Value: "7"}}
	h.pool.New = func() any { return new(hit) }
	return h
}

func (h *hits) Quick(r *message.Request) *message.Ready {
	if r.Target.Path == "/slow" {
		return nil
	}
	x := h.pool.Get().(*hit)
	x.next = 0
	x.pieces = [2][]byte{h.body[:len(h.body)/3], h.body[len(h.body)/3:]}
	x.Ready = message.Ready{Status: 200, Block: &h.blocks, Fields: h.fields, ContentLength: int64(len(h.body)), Owner: h}
	if len(h.body) > 0 && r.Method != "HEAD" {
		x.Body, x.BodyLength = x, int64(len(h.body))
	}
	if r.Target.Path == "/short" {
		x.BodyLength++
	}
	if r.Target.Path == "/panic" {
		panic("on purpose")
	}
	return &x.Ready
}

func (h *hits) Done(a *message.Ready, sent int64, complete bool) {
	if h.keep {
		h.mu.Lock()
		h.done = append(h.done, doneCall{sent, complete, a.Err})
		h.mu.Unlock()
	}
	if x, is := a.Body.(*hit); is {
		h.pool.Put(x)
	}
}

func (h *hits) Refused(x message.Refusal) {
	x.Method, x.Authority = strings.Clone(x.Method), strings.Clone(x.Authority)
	h.refusals = append(h.refusals, x)
}

func (h *hits) ends() []doneCall {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]doneCall(nil), h.done...)
}

// scripted is a connection that reads what it is told and counts what is written.
type scripted struct {
	net.Conn
	in  chan []byte
	out chan int
	cur []byte
}

func (c *scripted) Read(p []byte) (int, error) {
	if len(c.cur) == 0 {
		b, open := <-c.in
		if !open {
			return 0, io.EOF
		}
		c.cur = b
	}
	n := copy(p, c.cur)
	c.cur = c.cur[n:]
	return n, nil
}
func (c *scripted) Write(p []byte) (int, error)      { c.out <- len(p); return len(p), nil }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// clientHello is what a client sends first.
func clientHello() []byte {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&b, nil)
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	_ = fr.WriteWindowUpdate(0, maxWindow-defaultWindow)
	return b.Bytes()
}

// bursts makes bursts of n requests with ids that go on from burst to burst.
type bursts struct {
	b    bytes.Buffer
	fr   *http2.Framer
	enc  *hpack.Encoder
	blk  bytes.Buffer
	next uint32
}

func newBursts() *bursts {
	x := &bursts{next: 1}
	x.fr = http2.NewFramer(&x.b, nil)
	x.enc = hpack.NewEncoder(&x.blk)
	return x
}

func (x *bursts) make(n int) []byte {
	x.b.Reset()
	for range n {
		x.blk.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "www.example.com"}, {":path", "/a/path/of/some/length"},
			{"user-agent", "a browser of some kind/1.0"}, {"accept", "*/*"}, {"accept-encoding", "gzip, br"}} {
			_ = x.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: x.next, BlockFragment: x.blk.Bytes(), EndHeaders: true, EndStream: true})
		x.next += 2
	}
	return bytes.Clone(x.b.Bytes())
}

// TestAQuickHitAllocatesNothing, and all answers to a burst leave in one write.
func TestAQuickHitAllocatesNothing(t *testing.T) {
	c := &scripted{in: make(chan []byte), out: make(chan int, 100)}
	s := New(newHits(1000), Config{Pace: message.Pace{Grace: time.Minute, Rate: 1000}, IdleTimeout: time.Minute})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeConn(context.Background(), c, testInfo)
	}()
	c.in <- clientHello()
	<-c.out
	const n = 32
	x := newBursts()
	var all [][]byte
	for range 300 {
		all = append(all, x.make(n))
	}
	i := 0
	burst := func() {
		c.in <- all[i]
		if got := <-c.out; got < n*1000 {
			t.Fatalf("a write of %d bytes", got)
		}
		i++
	}
	for range 50 {
		burst()
	}
	if a := testing.AllocsPerRun(200, burst); a > 0 && !underRace { // the average is rounded down: what a collection takes out of pools does not count
		t.Errorf("%v allocations in a burst of %d", a, n)
	}
	close(c.in)
	<-done
}

func TestAQuickAnswerOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHits(100)
		h.keep = true
		x := serve(t, t.Context(), New(h, Config{}))
		x.request(1, "/", true)
		want(t, x.next(), func(r *response) bool {
			return r.status == "200" && r.get("content-length") == "100" && r.get("age") == "7" && r.get("content-type") == "text/plain" &&
				r.get("connection") == "" && !r.ended
		}, "the header section")
		want(t, x.next(), func(d *data) bool { return d.stream == 1 && d.ended && d.n == 100 }, "the content")
		x.ask("HEAD", 3, "/", true)
		want(t, x.next(), func(r *response) bool { return r.ended && r.get("content-length") == "100" }, "the answer to HEAD")
		x.request(5, "/slow", true)
		want(t, x.next(), func(r *response) bool { return r.stream == 5 && r.ended }, "Serve's answer")
		x.request(7, "/", false)
		want(t, x.next(), func(r *response) bool { return r.stream == 7 }, "an answer before the request's end")
		want(t, x.next(), func(d *data) bool { return d.stream == 7 && d.ended }, "all of it")
		want(t, x.next(), func(r *reset) bool { return r.stream == 7 && r.code == http2.ErrCodeNo }, "and that the rest is not needed")
		_ = x.fr.WriteData(7, false, make([]byte, 100))
		x.request(9, "/short", true)
		_ = x.next()
		want(t, x.next(), func(r *reset) bool { return r.stream == 9 && r.code == http2.ErrCodeInternal }, "a reset when content is missing")
		x.request(11, "/panic", true)
		want(t, x.next(), func(r *reset) bool { return r.stream == 11 && r.code == http2.ErrCodeInternal }, "a reset after a panic")
		x.Close()
		<-x.done
		want := []doneCall{{100, true, nil}, {0, true, nil}, {100, true, nil}, {0, false, nil}}
		if got := h.ends(); len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
			t.Errorf("the ends were %v, want %v", got, want)
		}
	})
}

func testTLS(tb testing.TB) (client, server *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: []string{"h2"}},
		&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}, DynamicRecordSizingDisabled: true}
}

// BenchmarkBurst is 32 requests in one write, answered from memory over loopback; ns/op is for one request, client included.
func BenchmarkBurst(b *testing.B) {
	for name, size := range map[string]int{"1k": 1 << 10, "10k": 10 << 10, "100k": 100 << 10} {
		b.Run("plain-"+name, func(b *testing.B) { benchBurst(b, size, false) })
		b.Run("tls-"+name, func(b *testing.B) { benchBurst(b, size, true) })
	}
}

func benchBurst(b *testing.B, size int, overTLS bool) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	clientTLS, serverTLS := testTLS(b)
	s := New(newHits(size), Config{Pace: message.Pace{Grace: time.Minute, Rate: 1000}, IdleTimeout: time.Minute})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		if overTLS {
			c = tls.Server(c, serverTLS)
		}
		s.ServeConn(context.Background(), c, testInfo)
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	if overTLS {
		c = tls.Client(c, clientTLS)
	}
	hello := clientHello()
	if _, err := c.Write(hello); err != nil {
		b.Fatal(err)
	}
	const n = 32
	x := newBursts()
	c.Write(x.make(n))
	read := make([]byte, 256<<10)
	var ends endCounter
	answers := func() {
		for ends.n = 0; ends.n < n; {
			m, err := c.Read(read)
			if err != nil {
				b.Fatal(err)
			}
			ends.take(read[:m])
		}
	}
	answers()
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for i := 0; b.Loop(); i++ {
		if i%n == 0 {
			b.StopTimer()
			p := x.make(n)
			b.StartTimer()
			c.Write(p)
			answers()
		}
	}
	c.Close()
	<-done
}

// endCounter counts the frames with END_STREAM in what is read piece by piece.
type endCounter struct {
	n    int
	head []byte // of a frame, so far
	skip int    // of its payload
}

func (e *endCounter) take(p []byte) {
	for len(p) > 0 {
		if e.skip > 0 {
			k := min(e.skip, len(p))
			e.skip -= k
			p = p[k:]
			continue
		}
		k := min(headerLength-len(e.head), len(p))
		e.head = append(e.head, p[:k]...)
		p = p[k:]
		if len(e.head) == headerLength {
			f, length := parseHeader(e.head)
			e.head, e.skip = e.head[:0], length
			if f.kind <= frameHeaders && f.has(flagEndStream) {
				e.n++
			}
		}
	}
}
